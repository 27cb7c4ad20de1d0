"""What readings and histories say about the work itself: stuck, looping, unknown to workers, not run, not taken,
soon forgotten; in `pace` how fast it goes, whether there is room for more, what never came.

Frames in, frames out. Each answer has a column `because`; what cannot be told is a note or `cannot_tell`, never
silence.
"""

from datetime import UTC, datetime, timedelta

import pandas as pd

from dlqanalysis.errors import SchemaError, SettingsError, did_you_mean, need
from dlqanalysis.model import duration, moment
from dlqanalysis.text import many
from dlqanalysis.workload.pace import capacity, rates, unseen

__all__ = [
    "beat_gaps", "capacity", "expiring", "looping", "orphaned", "rates", "stuck", "unregistered", "unseen",
]  # fmt: skip

_HELD = ["failure_id", "task_id", "task_name", "queue", "worker", "status", "failed_at"]
_NEAR = 0.15  #: an interval is regular when it is this near to a multiple of the period
_REGULAR = 0.8  #: a task is periodic when this share of its intervals is regular
_ONCE = 0.5  #: and when this share of them is the period itself


def stuck(
    running: pd.DataFrame, after: str = "10m", now: "str | datetime | None" = None
) -> pd.DataFrame:
    """Tasks of `dlq.running` that a worker has held for longer than `after`, the longest first, with `held`
    (how long) and because; with those that wait behind them on the same worker.

    A reserved task has no time of its own, so it counts only behind one that is stuck.
    """
    limit, at = duration(after), _now(now)
    need(running, *_HELD, hint="dlq.running gives one.")
    held = (at - running["failed_at"]).astype("timedelta64[us]")
    status = running["status"].astype("str")
    long = (held > limit) & status.isin(["active", "scheduled"])
    behind = (status == "reserved") & running["worker"].isin(
        running.loc[long & (status == "active"), "worker"].dropna()
    )
    because = pd.Series("", index=running.index, dtype="str")
    because[long & (status == "active")] = f"a worker has been at it for more than {after}"
    because[long & (status == "scheduled")] = (
        f"its time came more than {after} ago, and no worker began it"
    )
    because[behind] = "it waits behind a task that is stuck on the same worker"
    found = running[_HELD].assign(held=held.where(long), because=because)[long | behind]
    found = found.sort_values(["held", "failure_id"], ascending=[False, True], ignore_index=True)
    found.attrs = {"notes": list(running.attrs.get("notes", []))}
    if len(running) or not found.attrs["notes"]:  # else nobody could be asked, and the notes say so
        found.attrs["empty"] = f"No worker that answered has held a task for longer than {after}."
    return found


def looping(failures: pd.DataFrame, least: int = 3) -> pd.DataFrame:
    """Tasks that come again and again: the same task_id in at least `least` failures, or more retries than
    allowed. One row a task_id: task_name, times, retries (the most seen), first and last, because.
    """
    if least < 2:
        raise SettingsError(f"least is {least}. Give a whole number of at least 2.")
    need(
        failures,
        "task_id",
        "task_name",
        "retries",
        "max_retries",
        "failed_at",
        hint="dlq.load gives one.",
    )
    named = failures[failures["task_id"].notna() & (failures["task_id"] != "")]
    table = (
        named.groupby("task_id", sort=False)
        .agg(
            task_name=("task_name", "last"),
            times=("task_id", "size"),
            retries=("retries", "max"),
            allowed=("max_retries", "max"),
            first=("failed_at", "min"),
            last=("failed_at", "max"),
        )
        .reset_index()
    )
    often = table["times"] >= least
    over = (table["retries"] > table["allowed"]).fillna(False).astype(bool)
    because = pd.Series("", index=table.index, dtype="str")
    because[over] = "it was tried more often than its maximum allows"
    because[often] = "the same task failed " + table["times"].astype("str") + " times"
    found = table.assign(because=because)[often | over]
    found = found.sort_values(
        ["times", "retries", "task_id"],
        ascending=[False, False, True],
        ignore_index=True,
        na_position="last",
    )
    found.attrs["empty"] = f"No task failed {least} times or more under one id."
    return found


def unregistered(failures: pd.DataFrame, workers: pd.DataFrame) -> pd.DataFrame:
    """Failures whose task no worker that answered (`dlq.workers`) knows: it was renamed, removed, or its
    module is not imported. One row a task: failures, registered (no, cannot_tell), nearest (text), because.

    Where no worker said what it knows, every task is `cannot_tell`.
    """
    need(failures, "task_name", hint="dlq.load gives one.")
    need(workers, "worker", "tasks", hint="dlq.workers gives one.")
    told = workers["tasks"].notna()
    known = {name for names in workers.loc[told, "tasks"] for name in names}
    counts = failures["task_name"].astype("str").dropna().value_counts().sort_index()
    counts = counts.sort_values(ascending=False, kind="stable")
    rows = [
        (name, int(count), *_registered(str(name), known))
        for name, count in counts[counts > 0].items()
        if name not in known
    ]
    columns = ["task_name", "failures", "registered", "nearest", "because"]
    found = pd.DataFrame(rows, columns=columns).astype(
        {name: "int64" if name == "failures" else "str" for name in columns}
    )
    silent = int((~told).sum())
    found.attrs["notes"] = [*workers.attrs.get("notes", [])]
    if silent:
        found.attrs["notes"].append(f"{many(silent, 'workers')} did not say which tasks they know.")
    if len(failures) and known:
        found.attrs["empty"] = "Every task that failed is known to a worker that answered."
    return found


def _registered(name: str, known: set[str]) -> tuple[str, str, str]:
    if not known:
        return "cannot_tell", "", "no worker said which tasks it knows"
    # a module's name is no sign: all tasks of one look alike
    last = {one.rpartition(".")[2]: one for one in sorted(known, reverse=True)}
    mine = name.rpartition(".")[2]
    hint = did_you_mean(mine, last)
    nearest = last.get(mine) or (last[hint.split("'")[1]] if hint.startswith("Did") else "")
    because = "no worker that answered knows it"
    return "no", nearest, f"{because}; {nearest} is there" if nearest else because


def orphaned(depths: pd.DataFrame) -> pd.DataFrame:
    """Queues of `dlq.depths` with waiting tasks and nobody who takes them: source, queue, depth, oldest_at,
    because. Queues whose consumers are not known are in the notes, not among them."""
    need(depths, "source", "queue", "state", "depth", "consumers", hint="dlq.depths gives one.")
    waiting = depths[(depths["state"] == "waiting") & (depths["depth"].fillna(0) > 0)]
    nobody = waiting["consumers"].eq(0).fillna(False).astype(bool)
    found = waiting.loc[nobody, ["source", "queue", "depth", "oldest_at"]]
    found = found.assign(because="nobody who answered takes from it").reset_index(drop=True)
    unknown = int(waiting["consumers"].isna().sum())
    notes = list(depths.attrs.get("notes", []))
    if unknown:
        notes.append(
            f"Of {many(unknown, 'queues')} with waiting tasks nobody can tell who takes them."
        )
    found.attrs = {"notes": notes}
    if len(depths):  # else nobody could be asked, and the notes say so
        found.attrs["empty"] = "No queue with waiting tasks is known to be without a worker."
    return found


#: how soon something is forgotten, in words -> at most this long from now
SPANS = {
    "gone already": timedelta(0),
    "within 1 hour": timedelta(hours=1),
    "within 6 hours": timedelta(hours=6),
    "within 24 hours": timedelta(hours=24),
    "within 3 days": timedelta(days=3),
    "within 7 days": timedelta(days=7),
}
_LATER, _NEVER = "later", "never, or not known"


def expiring(failures: pd.DataFrame, now: "str | datetime | None" = None) -> pd.DataFrame:
    """A countdown: how many failures their source forgets when. One row a span, the soonest first: within,
    failures, so_far (with all sooner ones), next (the first to go), tasks (the most frequent)."""
    need(failures, "expires_at", "task_name", hint="dlq.load gives one.")
    left = failures["expires_at"] - _now(now)
    span = pd.Series(_NEVER, index=failures.index, dtype="str").mask(left.notna(), _LATER)
    for name, limit in reversed(SPANS.items()):
        span = span.mask(left <= limit, name)
    rows = []
    for name in (*SPANS, _LATER, _NEVER):
        mine = failures[span == name]
        tasks = mine["task_name"].astype("str").dropna().value_counts()
        if len(mine):
            rows.append((name, len(mine), mine["expires_at"].min(), ", ".join(tasks.index[:3])))
    table = pd.DataFrame(rows, columns=["within", "failures", "next", "tasks"])
    table["next"] = pd.to_datetime(table["next"], utc=True).astype("datetime64[us, UTC]")
    table = table.astype({"within": "str", "failures": "int64", "tasks": "str"})
    table.insert(
        2, "so_far", table["failures"].where(table["within"] != _NEVER).cumsum().astype("Int64")
    )
    return table


def beat_gaps(
    executions: pd.DataFrame, least: int = 5, now: "str | datetime | None" = None
) -> pd.DataFrame:
    """Periodic tasks and the runs that did not come, from a history of runs (task_name, at; UTC).

    A task is periodic when at least `least` intervals keep to a multiple of their median. One row such a
    task, the latest first: runs, period, last, expected (the next run), late (how long it has not come, when
    that is more than half a period), missed (runs that the history lacks), because. What is too irregular
    or too rare to say is in the notes.
    """
    need(executions, "task_name", "at", hint="The query task_runs gives one.")
    when, at = executions["at"], _now(now)
    if not isinstance(when.dtype, pd.DatetimeTZDtype):
        raise SchemaError(
            "Column 'at' has no time zone. Give it one: frame['at'].dt.tz_localize('UTC')."
        )
    runs = executions.loc[when.notna(), ["task_name", "at"]].astype({"task_name": "str"})
    runs = runs.sort_values(["task_name", "at"], ignore_index=True)
    seconds = runs.groupby("task_name")["at"].diff().dt.total_seconds()
    gaps = runs.assign(gap=seconds)[seconds >= 1]  # the same run noted twice is no interval
    gaps["period"] = gaps.groupby("task_name")["gap"].transform("median")
    gaps["times"] = (gaps["gap"] / gaps["period"]).round().clip(lower=1)
    off = (gaps["gap"] - gaps["times"] * gaps["period"]).abs()
    gaps["kept"] = off <= _NEAR * gaps["period"]
    gaps["once"] = gaps["kept"] & (gaps["times"] == 1)
    gaps["missed"] = (gaps["times"] - 1).where(gaps["kept"], 0)
    table = gaps.groupby("task_name").agg(
        intervals=("gap", "size"),
        kept=("kept", "mean"),
        once=("once", "mean"),
        seconds=("period", "first"),
        missed=("missed", "sum"),
    )
    counted = runs.groupby("task_name")["at"].agg(runs="size", last="max")
    table = counted.join(table)
    periodic = (
        (table["intervals"] >= least) & (table["kept"] >= _REGULAR) & (table["once"] >= _ONCE)
    )
    found = _late(table[periodic].reset_index(), at)
    found.attrs["notes"] = _beat_notes(found, int((~periodic).sum()))
    return found


def _late(table: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    period = pd.to_timedelta(table["seconds"], unit="s").astype("timedelta64[us]")
    expected = (table["last"] + period).astype("datetime64[us, UTC]")
    late = (at - expected).astype("timedelta64[us]")
    overdue = late > period / 2
    missed = table["missed"].fillna(0).astype("int64")
    because = pd.Series("", index=table.index, dtype="str")
    because[missed > 0] = missed.astype("str") + " runs are missing in its history"
    because[overdue] = "its next run has not come"
    columns = {
        "task_name": table["task_name"].astype("str"),
        "runs": table["runs"].astype("int64"),
        "period": period,
        "last": table["last"].astype("datetime64[us, UTC]"),
        "expected": expected,
        "late": late.where(overdue),
        "missed": missed,
        "because": because,
    }
    order = ["late", "missed", "task_name"]
    return pd.DataFrame(columns).sort_values(
        order, ascending=[False, False, True], ignore_index=True
    )


def _beat_notes(found: pd.DataFrame, others: int) -> list[str]:
    notes = []
    late = found["late"].notna()
    if len(found) > 1 and late.all():
        notes.append(
            f"All {len(found):,} periodic tasks are late: look whether beat and the workers run. The last of"
            f" them ran at {found['last'].max():%Y-%m-%d %H:%M}Z."
        )
    if others:
        notes.append(
            f"{many(others, 'tasks run')} too seldom or too irregularly to say when they should have run."
        )
    return notes


def _now(now: "str | datetime | None") -> pd.Timestamp:
    return pd.Timestamp(moment(now) or datetime.now(UTC))
