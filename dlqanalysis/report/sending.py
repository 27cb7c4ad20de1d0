"""What a notebook that can send has done: the cell that stopped it, if one did, and the runs it made."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dlqanalysis.profile import armed

if TYPE_CHECKING:
    from dlqanalysis.replay.run import Run

#: parameters that hold the id of a plan, and open the cell that names them
_SENDS = ("confirm", "confirm_undo")
_ARMS = (*_SENDS, "run_id")  #: parameters that ask for more than a plan
_REFUSALS = ("NotConfirmed", "RunError")


def stopped_by(book: Any, parameters: Mapping[str, Any]) -> tuple[int, Any] | None:
    """The cell, and the error in it, that stopped a notebook; None where cells only refused what nobody armed.

    A refusal is one where an id that was given opened no cell at all: of two cells that name `confirm` it opens
    the one whose plan it is, and the undo after a run refuses as it should.
    """
    named: dict[str, list[tuple[int, Any] | None]] = {}  # parameter -> what each cell refused with
    for number, cell in enumerate(book.cells):
        marked = "raises-exception" in cell.metadata.get("tags", [])
        failed = [one for one in cell.get("outputs", []) if one.output_type == "error"]
        if failed and not (marked and failed[0].ename in _REFUSALS):
            return number, failed[0]
        for name in _ARMS:
            if marked and re.search(rf"\b{name}\b(?!\s*=)", cell.source):
                named.setdefault(name, []).append((number, failed[0]) if failed else None)
    for name, refused in named.items():
        if parameters.get(name) and (first := refused[0]) is not None and None not in refused:
            return first
    # DLQ_ARM opens whichever cell has that plan: one of them must have gone
    sending = [one for name in _SENDS for one in named.get(name, [])[:1]]
    if armed() and sending and None not in sending:
        return next((one for one in sending if one and one[1].ename != "NotConfirmed"), sending[0])
    return None


def sent_by(parameters: Mapping[str, Any], begin: datetime) -> "list[Run]":
    """The runs since `begin`, and that of `run_id`, the first first: of the plans whose ids these parameters or DLQ_ARM
    hold."""
    from dlqanalysis.journal import Journal
    from dlqanalysis.replay.run import Run

    given = [str(parameters.get(name) or "") for name in _SENDS] + [armed() or ""]
    plans = {text.split()[0] for text in given if text.strip()}  # a purge's has a number behind it
    if not plans or (journal := Journal.if_any()) is None:
        return []
    runs = journal.runs()
    new = (runs["started_at"] >= begin) | (runs["run_id"] == parameters.get("run_id"))
    ours = runs["plan_id"].isin(plans) & new  # an older one is gone on with
    return [Run.read(run_id, journal) for run_id in reversed(runs.loc[ours, "run_id"].tolist())]
