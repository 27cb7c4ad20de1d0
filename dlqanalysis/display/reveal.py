"""Looking at what is redacted everywhere else: on purpose, with a reason, and written down before it is shown."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dlqanalysis.errors import PlanError, SchemaError
from dlqanalysis.journal import Journal

MOST = 100  #: failures at once: to look is to look at a few


@dataclass(frozen=True)
class Revealed:
    """A few failures as they are. A notebook that loaded the extension shows them; its repr and reports do not."""

    frame: pd.DataFrame = field(repr=False)
    run_id: str
    reason: str

    def __repr__(self) -> str:
        count = len(self.frame)
        return (
            f"{count} failure{'' if count == 1 else 's'} not redacted, in the journal as {self.run_id}."
            " %load_ext dlqanalysis shows them; .frame has them."
        )


@dataclass(frozen=True)
class _Looking:
    """What the journal asks of a plan."""

    source: str
    reason: str
    digest: str
    action: str = "reveal"
    held_back: tuple[Any, ...] = ()

    @property
    def id(self) -> str:
        """The first letters of the digest."""
        return self.digest[:8]

    def items(self) -> list[Any]:
        """None: nothing is done with a failure that is looked at."""
        return []


def reveal(rows: pd.DataFrame, *, reason: str, journal: Journal | None = None) -> Revealed:
    """These failures without redaction, once the journal has who looked at which of them, when and why.

    At most 100 at once, with the columns given: `dlq.reveal(failures.head(3)[["source", "failure_id", "kwargs"]],
    reason="INC-42: which address was refused")`. What a notebook shows of it is saved with the notebook, until you
    clear that output; reports leave it out.
    """
    if not isinstance(rows, pd.DataFrame) or not {"source", "failure_id"} <= set(rows.columns):
        raise SchemaError(
            "dlq.reveal takes failures with their source and failure_id, so that the journal can say which were"
            " looked at. Give failures.head(3), or more columns."
        )
    if not isinstance(reason, str) or not reason.strip():
        raise PlanError(
            'Looking needs a reason, for the journal: reason="INC-42: which address was refused".'
        )
    if not 0 < len(rows) <= MOST:
        raise PlanError(
            f"{len(rows):,} failures cannot be looked at at once. Choose between 1 and {MOST} of them."
        )
    names = [str(name) for name in rows.columns]
    which = [
        f"{source} {name}" for source, name in zip(rows["source"], rows["failure_id"], strict=True)
    ]
    digest = hashlib.sha256(
        "\x1f".join([reason, *names, *which]).encode("utf-8", "backslashreplace")
    )
    sources = ", ".join(sorted(set(rows["source"].astype("str"))))
    book = journal if journal is not None else Journal()
    run_id = book.start(_Looking(sources, reason.strip(), digest.hexdigest()), {})
    seen = {"failures": which, "columns": names}
    book.record(run_id, [("", "revealed", seen), ("", "finished", {"revealed": len(rows)})])
    return Revealed(rows.copy(), run_id, reason.strip())
