"""What happened, in order: episodes, changes, runs."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.frame import error_of
from dlqanalysis.journal import Journal
from dlqanalysis.model import State
from dlqanalysis.report.dossier.ending import episodes
from dlqanalysis.report.dossier.fates import sources_of
from dlqanalysis.report.dossier.words import stamp
from dlqanalysis.text import many

_ERROR = 90  #: letters of an error in a line of the chronicle
_RUN_EVENTS = {
    "started": "replay begins",
    "resumed": "replay goes on",
    "paused": "replay rests",
    "stopped": "replay stops",
    "finished": "replay is done",
    "cancel": "replay is cancelled",
}


def chronicle(
    failures: pd.DataFrame,
    changed: pd.DataFrame | None = None,
    journal: Journal | None = None,
) -> pd.DataFrame:
    """What happened, in order: at (UTC), what, text. Onsets and ends of episodes, deploys and config changes,
    and every run of the journal on these sources, with what was noted to be done by hand, from the first failure on.
    """
    need(failures, "fingerprint")
    rows: list[tuple[Any, str, str]] = []
    named = failures.drop_duplicates("fingerprint").set_index("fingerprint")
    for one in episodes(failures).to_dict("records"):
        first = named.loc[one["fingerprint"]]
        what = f"{shorten(error_of(first), _ERROR, placeholder=' ...') or 'unnamed'} in {_text(first['task_name'])}"
        rows.append(
            (
                one["onset"],
                "begins",
                f"{what}; {many(one['count'], 'failures')}, {one['confidence']} confidence",
            )
        )
        if not pd.isna(one["until"]):
            rows.append((one["until"], "ends", what + _later(failures, one)))
    for one in [] if changed is None else changed.to_dict("records"):
        rows.append(
            (one["at"], one["kind"], f"{one['service']} {one['version']} {one['text']}".strip())
        )
    sources = set(sources_of(failures))
    for run in [] if journal is None else journal.runs().to_dict("records"):
        if run["action"] == "by_hand" and run["source"] in {*sources, "by hand"}:
            rows.append((run["started_at"], "by hand", f"{run['operator']}: {run['reason']}"))
        elif run["source"] in sources:
            rows += _of_run(run, journal)
    table = pd.DataFrame(rows, columns=["at", "what", "text"])
    table["at"] = pd.to_datetime(table["at"], utc=True).astype("datetime64[us, UTC]")
    table = table.astype({"what": "str", "text": "str"})
    begin = failures["failed_at"].min()
    if begin == begin:
        table = table[table["at"] >= begin - pd.Timedelta("1D")]
    return table.sort_values("at", kind="stable", ignore_index=True)


def _later(failures: pd.DataFrame, one: Mapping[str, Any]) -> str:
    """That failures of an episode's group came after its end, as rarely as before it; empty where none did."""
    mine = failures["fingerprint"].astype("str") == str(one["fingerprint"])
    later = failures.loc[mine & (failures["failed_at"] > one["until"]), "failed_at"]
    if not len(later):
        return ""
    return f"; {len(later):,} more came after it, the last {stamp(later.max())}"


def _of_run(run: Mapping[str, Any], journal: Journal) -> list[tuple[Any, str, str]]:
    """The moments of one run; where it stops or ends, what had become of its items by then."""
    rows = []
    items = journal.items(run["run_id"])
    done = None  #: when it came to its end
    for event in journal.events(run["run_id"]).itertuples():
        at = pd.Timestamp(event.at)
        if event.event not in _RUN_EVENTS:
            continue
        if done is not None and not (items["at"] > done).any():
            continue  # a resume that found nothing left to send
        why = event.detail.get("because", "") if isinstance(event.detail, dict) else ""
        if event.event == "started":
            why = f"{run['action']} by {run['operator']}: {run['reason']}"
        elif event.event in ("stopped", "finished"):
            known = items.loc[items["outcome_at"] <= at, "outcome"].value_counts().sort_index()
            sent = ((items["state"] == State.SENT) & (items["at"] <= at)).sum()
            counts = {**known, "pending": sent - known.sum()}
            became = ", ".join(
                f"{n:,} {str(name).replace('_', ' ')}" for name, n in counts.items() if n > 0
            )
            why = f"{why}; {became}".strip("; ")
            done = at if event.event == "finished" else None
        what = _RUN_EVENTS[event.event].replace("replay", run["action"])
        rows.append((event.at, what, f"{run['run_id']} {why}".strip()))
    return rows


def _text(value: Any) -> str:
    return "unnamed" if value is None or value != value else str(value)
