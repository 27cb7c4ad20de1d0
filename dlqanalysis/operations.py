"""How systems are now: queue depths, workers, what is running, metrics. Reads only.

A place is a name (or several with commas), a URL or a monitor; what a system cannot tell comes as an empty frame
with a note in `attrs["notes"]`, so that one missing answer never keeps a report from being made.
"""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.display.progress import Progress
from dlqanalysis.errors import ConnectError, DLQError, SettingsError
from dlqanalysis.frame import empty
from dlqanalysis.interrupt import stops_on_ctrl_c
from dlqanalysis.model import SETTLED, Finding, Outcome, duration, moment, words
from dlqanalysis.sources import connect_monitor

if TYPE_CHECKING:
    from dlqanalysis.journal import Journal
    from dlqanalysis.model import Monitor


MOST_LOOKS = 1_000  #: of one watch


def depths(*places: "str | Monitor") -> pd.DataFrame:
    """How many tasks each queue holds, by state, what is not known and what is deepest first: the columns of
    readings.DEPTHS."""
    found = _asked(places, "depths", readings.depths([]))
    return found.sort_values(
        "depth", ascending=False, kind="stable", na_position="first", ignore_index=True
    )


def watch(*places: "str | Monitor", every: str = "30s", looks: int = 10) -> pd.DataFrame:
    """Queue depths `looks` times, `every` apart, laid one under the other; `dlq.rates` says what changed.

    It ends by itself, also under papermill; a Ctrl-C ends it with what was seen. A look that nobody answers
    is a note, and the next one is taken all the same.
    """
    pause = duration(every).total_seconds()
    if not 1 <= looks <= MOST_LOOKS or pause < 1:
        raise SettingsError(
            f"{looks} looks, {every} apart: take 1 to {MOST_LOOKS:,} looks, at least 1s apart."
        )
    progress, stop = Progress(), threading.Event()
    seen: list[pd.DataFrame] = []
    with stops_on_ctrl_c(stop):
        for number in range(1, looks + 1):
            seen.append(depths(*places))
            progress.say(f"look {number} of {looks}: {_in_words(seen[-1])}")
            if number == looks or stop.wait(pause):
                break
    frames = [frame for frame in seen if len(frame)]
    found = _stacked(frames) if frames else seen[-1]
    notes = dict.fromkeys(note for frame in seen for note in frame.attrs["notes"])
    found.attrs = {"notes": list(notes)}
    return found


def _in_words(depths: pd.DataFrame) -> str:
    sums = depths.groupby(depths["state"].astype("str"))["depth"].sum()
    told = ", ".join(f"{int(n):,} {state.replace('_', ' ')}" for state, n in sums.items() if n)
    return told or ("nothing waits" if len(depths) else "no answer")


def workers(*places: "str | Monitor") -> pd.DataFrame:
    """One row a worker that answered: the columns of readings.WORKERS. Silence is no proof of absence."""
    return _asked(places, "workers", readings.workers([]))


def running(*places: "str | Monitor") -> pd.DataFrame:
    """Tasks that workers hold at this moment, as a failures frame: status active, reserved or scheduled;
    failed_at is when each began. `dlq.plan(frame, action="revoke", ...)` takes it.
    """
    return _asked(places, "running", empty())


def pausable(*places: "str | Monitor") -> pd.DataFrame:
    """The queues that can be paused, as a failures frame: queue, status running or paused.
    `dlq.plan(frame, action="pause", ...)` takes it, and "unpause" likewise.
    """
    return _asked(places, "queues", empty())


def metrics(
    place: "str | Monitor",
    what: str,
    since: "str | datetime | None" = None,
    until: "str | datetime | None" = None,
    every: str | None = None,
) -> pd.DataFrame:
    """Samples of a named query (depth, failure_rate, p95_latency, ...) or of PromQL from a Prometheus: the columns
    of readings.METRICS. Without `since` its value now, else a sample each `every`.
    """
    with _opened(place) as monitor:
        if not hasattr(monitor, "metrics"):
            raise SettingsError(
                f"{monitor.name} keeps no metrics. Name a Prometheus: prometheus+http://host:9090, or a name"
                " whose DLQ_<NAME>_URL is one."
            )
        told: pd.DataFrame = monitor.metrics(what, since, until, every)
    return told


def figures(
    failures: pd.DataFrame, journal: "Journal | None" = None, now: "str | datetime | None" = None
) -> pd.DataFrame:
    """What a Prometheus would say, out of the frames themselves, under the same names and units: depth by queue
    and priority, failures_per_hour by task, and from the journal's outcomes retry_success_rate of the last hour,
    of the frame's own sources: a team's journal has the replays of other systems, too.
    """
    at = pd.Timestamp(moment(now) or datetime.now(UTC))
    waits = failures[~failures["status"].astype("str").str.lower().isin(SETTLED)]
    hour = at - pd.Timedelta("1h")
    recent = failures[(failures["failed_at"] > hour) & (failures["failed_at"] <= at)]
    rows = [
        *_counted("depth", waits, ["queue", "priority"], "1"),
        *_counted("failures_per_hour", recent, ["task_name"], "per_hour"),
    ]
    notes = ["What was sent as alerts is not counted here: ask a Prometheus for alerts_per_hour."]
    if journal is None:
        notes.append("Without a journal nobody knows what became of replays.")
    else:
        items = journal.items()
        told = items[(items["action"] == "replay") & (items["outcome_at"] > hour)]
        told = told.loc[told["source"].isin(_sources(failures)), "outcome"]
        told = told[told.isin([Outcome.SUCCEEDED, Outcome.FAILED_AGAIN])]
        share = float((told == Outcome.SUCCEEDED).mean()) if len(told) else None
        rows.append(
            {"metric": "retry_success_rate", "labels": "{}", "value": share, "unit": "ratio"}
        )
    source = str(failures.attrs.get("source") or "failures")
    frame = readings.metrics({"source": source, "at": at, **row} for row in rows)
    return readings.noted(frame, *notes)


def _sources(failures: pd.DataFrame) -> set[str]:
    """Whose failures these are; where all of them went back, the source that the frame was loaded from."""
    loaded = failures.attrs.get("source")
    return {*failures["source"].astype("str").unique(), *([str(loaded)] if loaded else [])}


def _counted(
    metric: str, failures: pd.DataFrame, by: list[str], unit: str
) -> Iterator[dict[str, Any]]:
    texts = failures[by].astype("str")
    for values, rows in texts.groupby(by, dropna=False, sort=True):
        labels = {k: v for k, v in zip(by, values, strict=True) if isinstance(v, str)}
        text = json.dumps(labels, sort_keys=True)
        yield {"metric": metric, "labels": text, "value": len(rows), "unit": unit}


def findings(*places: "str | Monitor") -> list[Finding]:
    """What systems say of their own health; beside `dlq.check` they make the whole picture.

    A place that does not answer is a critical finding, one that cannot be asked a warning.
    """
    found: list[Finding] = []
    asked = list(_each(places))
    for place in asked:
        name = place if isinstance(place, str) and "://" not in place else "monitor"
        try:
            with _opened(place) as monitor:
                name, told = monitor.name, monitor.health()
        except DLQError as error:
            severity = "critical" if isinstance(error, ConnectError) else "warning"
            told = [Finding(name="monitor", severity=severity, text=str(error))]
        if len(asked) > 1:  # each has its workers, its broker
            told = [replace(one, name=f"{name}: {one.name}") for one in told]
        found += told
    return found


@contextmanager
def _opened(place: "str | Monitor") -> Iterator[Any]:
    """A monitor by its name, closed afterwards; one that is given stays open."""
    if not isinstance(place, str):
        yield place
        return
    with closing(connect_monitor(place)) as monitor:
        yield monitor


def _told(monitor: Any, what: str) -> pd.DataFrame:
    if not hasattr(monitor, what):
        raise SettingsError(f"{monitor.name} cannot tell {what}: its system has no such thing.")
    frame: pd.DataFrame = getattr(monitor, what)()
    return frame


def _each(places: Iterable["str | Monitor"]) -> Iterable["str | Monitor"]:
    """The places one by one; a text may name several with commas."""
    for place in places:
        if isinstance(place, str) and "://" not in place:
            yield from words(place)
        else:
            yield place


def _asked(places: Iterable["str | Monitor"], what: str, nothing: pd.DataFrame) -> pd.DataFrame:
    """Every place's answer, one under the other; a place that cannot be asked becomes a note."""
    frames, notes = [], []
    asked = list(_each(places))
    if not asked:
        notes = [
            "No system was named. Name one whose DLQ_<NAME>_BROKER_URL or DLQ_<NAME>_URL is set."
        ]
    for place in asked:
        try:
            with _opened(place) as monitor:
                answer = _told(monitor, what)
        except DLQError as error:
            notes.append(str(error))
            continue
        notes += answer.attrs.get("notes", [])
        if len(answer):
            frames.append(answer)
    found = _stacked(frames) if frames else nothing
    found.attrs = {"notes": notes}
    return found


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame; categories are brought together, so that they stay categories."""
    for name in frames[0].select_dtypes("category"):
        known = sorted({value for frame in frames for value in frame[name].cat.categories})
        dtype = pd.CategoricalDtype(pd.Index(known, dtype="str"))
        frames = [frame.assign(**{name: frame[name].astype(dtype)}) for frame in frames]
    return pd.concat(frames, ignore_index=True)
