"""Advice on retries from what was seen: too impatient for the outages, doomed from the start, or unsafe at all."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.patterns.onsets import onsets
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

FEWEST = 5  #: failures without which nothing is advised
_OUT = {
    "task_name": "str",
    "advice": "str",  # longer, do not retry, fewer
    "says": "str",  # before the numbers: a narrow page shows it
    "failures": "int64",
    "retries": "float64",
    "patience": "timedelta64[us]",
    "outage": "timedelta64[us]",
    "wasted_retries": "int64",
    "wasted_time": "timedelta64[us]",
}


def retry_advice(failures: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """One row a task and advice, what matters most first: task_name, advice, says (a sentence), failures,
    retries (median), patience (median time from the first attempt to giving up), outage (median length of its transient
    episodes), wasted_retries, wasted_time.

    longer: the retries end before the outages do, so that failures which time would mend are dead-lettered.
    do not retry: permanent and data failures were retried, which cannot help; how often and how long. fewer: a task
    whose profile grade does not let it run twice is retried all the same. Needs classified failures; patience
    needs first_failed_at or enqueued_at. `attrs["notes"]` says what could not be told.
    """
    need(failures, "failure_class")
    began = failures["first_failed_at"].fillna(failures["enqueued_at"])
    known = failures.assign(
        _task=failures["task_name"].astype("str"),
        _class=failures["failure_class"].astype("str"),
        _patience=(failures["failed_at"] - began).clip(lower=pd.Timedelta(0)),
    )
    rows = [
        *_impatient(known),
        *_doomed(known),
        *_unsafe(known, profile or current_profile()),
    ]
    table = pd.DataFrame(rows, columns=list(_OUT))
    for name in ("patience", "outage", "wasted_time"):
        table[name] = pd.to_timedelta(table[name].astype("object"))  # all missing: taken for times
    table["wasted_retries"] = table["wasted_retries"].fillna(0)
    table = table.astype(_OUT).sort_values(
        ["failures", "task_name", "advice"], ascending=[False, True, True], ignore_index=True
    )
    notes = []
    if len(failures) and not began.notna().any():
        notes.append(
            "Neither first_failed_at nor enqueued_at is known: nobody can say how long was retried."
        )
    table.attrs = {"notes": notes, "empty": "Nothing is to be said against the retries seen here."}
    return table


def _impatient(failures: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Transient failures that gave up before the outage they met was over."""
    transient = failures[(failures["_class"] == "transient") & failures["failed_at"].notna()]
    episodes = onsets(transient, by="_task") if len(transient) else pd.DataFrame()
    if not len(episodes):
        return
    last = failures["failed_at"].max()
    episodes = episodes.assign(length=episodes["until"].fillna(last) - episodes["onset"])
    for task, found in episodes.groupby("_task"):
        mine = transient[transient["_task"] == task]
        patience = mine["_patience"].median()
        outage = found["length"].median()
        if len(mine) < FEWEST or pd.isna(patience) or patience >= outage:
            continue
        open_ = " so far" if found["until"].isna().any() else ""
        yield {
            "task_name": task,
            "advice": "longer",
            "failures": len(mine),
            "retries": mine["retries"].astype("float64").median(),
            "patience": patience,
            "outage": outage,
            "says": (
                f"its retries give up after {_span(patience)}, its outages last {_span(outage)}{open_}:"
                f" delays that reach beyond {_span(outage)} would have outlived them"
            ),
        }


def _doomed(failures: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Retries of what retrying cannot mend, and what they cost."""
    retried = failures["_class"].isin(["permanent", "data"]) & (failures["retries"] > 0)
    for task, mine in failures[retried.fillna(False).astype(bool)].groupby("_task"):
        if len(mine) < FEWEST:
            continue
        wasted, spent = int(mine["retries"].sum()), mine["_patience"].sum(min_count=1)
        kinds = mine["exception_type"].astype("str").value_counts()
        often = f", most often {kinds.index[0]}" if len(kinds) else ""
        time = f" over {_span(spent)} of waiting" if spent > pd.Timedelta(0) else ""
        yield {
            "task_name": task,
            "advice": "do not retry",
            "failures": len(mine),
            "retries": mine["retries"].astype("float64").median(),
            "patience": mine["_patience"].median(),
            "wasted_retries": wasted,
            "wasted_time": spent,
            "says": f"{wasted:,} retries{time} could not help{often}: fail these at once",
        }


def _unsafe(failures: pd.DataFrame, profile: Profile) -> Iterator[dict[str, Any]]:
    """Tasks that may not run twice, and are retried."""
    for task, mine in failures.groupby("_task"):
        grade = profile.of(profile.safety, str(task)) or profile.safety.get("*")
        keyed = mine["idempotency_key"].notna().all() or profile.of(profile.keys, str(task))
        allowed = mine["max_retries"].max()
        risky = grade in ("never", "reconcile") or (grade == "needs_key" and not keyed)
        if not risky or pd.isna(allowed) or allowed < 1:
            continue
        yield {
            "task_name": str(task),
            "advice": "fewer",
            "failures": len(mine),
            "retries": mine["retries"].astype("float64").median(),
            "patience": mine["_patience"].median(),
            "says": (
                f"it is graded {grade}, and up to {int(allowed)} retries are allowed: each may do its work"
                " once more"
            ),
        }


def _span(span: Any) -> str:
    seconds = pd.Timedelta(span).total_seconds()
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
