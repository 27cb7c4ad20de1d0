"""Where dead letters are read, and the hands that may write: one line a system.

A new system is one module here with `open_source(url, name)`, and one line in SYSTEMS.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dlqanalysis.errors import QueryError, SchemaError, SettingsError, did_you_mean
from dlqanalysis.frame import COLUMNS, HEAVY, check, from_arrow, in_order
from dlqanalysis.model import Selection, moment, words
from dlqanalysis.profile import setting, url_of

if TYPE_CHECKING:
    from dlqanalysis.model import Hand, Monitor, Source

#: scheme of a URL -> module below this one
SYSTEMS = {
    "postgresql": "celery",
    "postgres": "celery",
    "postgresql+psycopg": "celery",
    "celery+postgresql": "celery",
    "celery+amqp": "celery_broker",
    "celery+amqps": "celery_broker",
    "celery+redis": "celery_broker",
    "celery+rediss": "celery_broker",
    "admin+http": "admin_api",
    "admin+https": "admin_api",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "results+redis": "celery_results",
    "results+rediss": "celery_results",
    "results+postgresql": "celery_results",
    "bullmq+redis": "bullmq",
    "bullmq+rediss": "bullmq",
    "priority+http": "priority_api",
    "priority+https": "priority_api",
    "priority+redis": "priority_redis",
    "priority+rediss": "priority_redis",
    "list+redis": "redis_list",
    "list+rediss": "redis_list",
    "log+file": "logs",
    "queue+http": "queue_api",
    "queue+https": "queue_api",
    "prometheus+http": "prometheus",
    "prometheus+https": "prometheus",
}
#: names of log files: celery.log, celery.log.1, celery.log-20261122.gz, celery*.log*, worker.journal.json
_LOG = re.compile(r"\.log([.*?-]|$)|\.journal\.jsonl?$")
_AT_ONCE = 5_000  #: rows whose details are asked for in one statement


def connect(name_or_url: "str | Path") -> "Source":
    """A source that reads: from a name (`DLQ_<NAME>_URL`), a URL, or the path of an export or snapshot."""
    place = str(name_or_url)
    if _is_path(place):
        return _of_path(place).open_source(place)
    url = url_of(place)
    if _is_path(url):  # a name may stand for an export, too
        return _of_path(url).open_source(url)
    return _module(url).open_source(url, _name(place, url))


def connect_hand(name_or_url: str) -> "Hand":
    """The hand that writes: from a name (`DLQ_<NAME>_HAND_URL`, else `DLQ_<NAME>_URL`) or a URL."""
    if _is_path(name_or_url):
        raise SettingsError(
            f"{name_or_url} is an export: nothing can be replayed from it. Connect the hand to the system that"
            " it came from."
        )
    url = setting(name_or_url, "HAND_URL") if "://" not in name_or_url else None
    module = _module(url or url_of(name_or_url))
    if module.__name__.endswith(".celery"):
        from dlqanalysis.sources.celery.hand import CeleryHand

        return CeleryHand.connect(name_or_url)
    url = url or url_of(name_or_url)
    return module.open_hand(url, _name(name_or_url, url))


def connect_monitor(name_or_url: str) -> "Monitor":
    """What tells how a system is now, from a name (`DLQ_<NAME>_MONITOR_URL`, else `DLQ_<NAME>_BROKER_URL`,
    else `DLQ_<NAME>_URL`) or a URL."""
    if _is_path(name_or_url):
        raise SettingsError(
            f"{name_or_url} is an export: it has no queues and no workers to look at."
        )
    url = name_or_url
    if "://" not in name_or_url:
        broker = setting(name_or_url, "BROKER_URL")
        url = setting(name_or_url, "MONITOR_URL") or (f"celery+{broker}" if broker else url_of(url))
    module = _module(url)
    if not hasattr(module, "open_monitor"):
        raise SettingsError(
            f"{name_or_url} tells nothing of queues and workers. For Celery, set DLQ_<NAME>_BROKER_URL;"
            " for others, DLQ_<NAME>_MONITOR_URL."
        )
    return module.open_monitor(url, _name(name_or_url, url))


def capabilities(name_or_url: str) -> pd.DataFrame:
    """What can be done with a system: capability, can (bool), how (a sentence; for what cannot be done, why).

    Nothing is connected to: it tells what the kit can do there, not what your credentials allow.
    """
    if _is_path(name_or_url) or _is_path(url_of(name_or_url)):
        module = _of_path(name_or_url if _is_path(name_or_url) else url_of(name_or_url))
    else:
        module = _module(url_of(name_or_url))
    rows = [(name, True, how) for name, how in module.CAN.items()]
    rows += [(name, False, why) for name, why in module.CANNOT.items()]
    frame = pd.DataFrame(rows, columns=["capability", "can", "how"])
    return frame.astype({"capability": "str", "how": "str"})


def load(
    source: "Source | str | Path",
    since: "str | date | datetime | None" = "7d",
    until: "str | date | datetime | None" = None,
    queue: "str | Iterable[str] | None" = None,
    task: "str | Iterable[str] | None" = None,
    exception: "str | Iterable[str] | None" = None,
    status: "str | Iterable[str] | None" = "failed",
    limit: int | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The failures of a source, as a failures frame; `attrs` say what was asked for and what to know of it.

    `since` takes a duration (7d), a date, an aware time, or None for all; `task` and `exception` whole names
    or their last part; `limit` keeps the newest. Tracebacks come for one representative of each task,
    exception type, message template and stack length; `columns=["traceback", "raw"]` asks for all of them.
    """
    if isinstance(source, str | Path):
        source = connect(source)
    asked = words(columns)
    for name in asked:
        if name not in COLUMNS:
            raise SchemaError(f"'{name}' is no column of the frame. {did_you_mean(name, COLUMNS)}")
    selection = selected(since, until, queue, task, exception, status, limit)
    read = source.read(selection, asked)
    notes, truncated = list(read.notes), read.truncated
    table = in_order(read.table)
    del read  # a million rows need not be there twice
    # a source that brings tracebacks unasked has them all, but for a snapshot of a frame that did not
    tracebacks = (
        getattr(source, "tracebacks", "all") if "traceback" in table.column_names else "none"
    )
    if "traceback_bytes" in table.column_names:
        if tracebacks == "none":
            table, tracebacks = _with_representatives(source, table, notes), "representatives"
        table = table.drop_columns("traceback_bytes")
    failures = from_arrow(table)
    failures.attrs = {
        "selection": str(selection),
        "narrows": selection.narrows,
        "truncated": truncated,
        "notes": notes,
        "source": source.name,
        "tracebacks": tracebacks,
    }
    return failures


def selected(
    since: Any = None,
    until: Any = None,
    queue: Any = None,
    task: Any = None,
    exception: Any = None,
    status: Any = "failed",
    limit: int | None = None,
) -> Selection:
    """What load was asked for, checked; relative times resolved now."""
    selection = Selection(
        since=moment(since),
        until=moment(until),
        queue=words(queue),
        task=words(task),
        exception=words(exception),
        status=words(status),
        limit=_limit(limit),
    )
    if selection.since and selection.until and selection.since >= selection.until:
        raise SettingsError(
            f"since ({selection.since:%Y-%m-%d %H:%M}Z) is not before until"
            f" ({selection.until:%Y-%m-%d %H:%M}Z). Nothing lies between: swap or widen them."
        )
    return selection


def details(source: "Source | str | Path", rows: pd.DataFrame) -> pd.DataFrame:
    """These failures with traceback and raw as the source has them now; rows that are gone keep what they have."""
    if isinstance(source, str | Path):
        source = connect(source)
    check(rows)
    mine = (
        rows["source"].isin(getattr(source, "names", {source.name})).to_numpy()
    )  # a file may hold several
    ids = rows.loc[mine, "failure_id"].tolist()
    if ids and not mine.all():
        raise SettingsError(
            f"Some of these rows are not from {source.name}. Take one source at a time:"
            f" rows[rows.source == '{source.name}']."
        )
    if len(rows) and not ids:
        raise SettingsError(
            f"These rows are from {rows['source'].iloc[0]}, not from {source.name}. Connect that one."
        )
    found = _fetched(source, ids, HEAVY)
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(rows["failure_id"])
    filled = rows.copy()
    for name in HEAVY:
        if name in found.column_names and len(found):
            fresh = from_arrow(pa.table({name: found[name]}))[name].take(
                np.where(place < 0, 0, place)
            )
            fresh = fresh.set_axis(rows.index)
            filled[name] = fresh.where((place >= 0) & fresh.notna().to_numpy(), rows[name])
    gone = int((place < 0).sum())
    notes = [*rows.attrs.get("notes", [])]
    if gone:
        notes.append(f"{gone:,} of these rows are no longer in {source.name}.")
    filled.attrs = {**rows.attrs, "tracebacks": "all", "notes": notes}
    return filled


def show(source: "Source | str | Path", failure_id: Any) -> pd.Series:
    """Everything a source has on one failure, field by field, traceback included."""
    if isinstance(source, str | Path):
        source = connect(source)
    found = source.details([str(failure_id)], list(COLUMNS))
    if not found.num_rows:
        raise QueryError(
            f"{source.name} has no failure '{failure_id}'. Take a failure_id from a loaded frame; it is not"
            " the task's own id."
        )
    row = found.slice(0, 1).to_pylist()[0]
    row = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    return pd.Series(row, name=str(failure_id), dtype=object)


def _with_representatives(source: "Source", table: pa.Table, notes: list[str]) -> pa.Table:
    """The table with a traceback on one row of each kind."""
    from dlqanalysis.sources._representatives import MOST, representatives

    if (
        "exception_message" in table.column_names
    ):  # as the frame will have it: classify knows it again
        at = table.column_names.index("exception_message")
        wide = table["exception_message"].cast(pa.large_string())
        table = table.set_column(at, "exception_message", wide)
    rows, groups = representatives(table)
    if groups > MOST:
        notes.append(
            f"{groups:,} kinds of failures: tracebacks were fetched for the {MOST:,} most frequent ones."
        )
    ids = table["failure_id"].take(pa.array(rows)).to_pylist()
    found = _fetched(source, ids, ["traceback"])
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(pd.Index(ids))
    where = np.full(table.num_rows, -1)
    where[rows] = place
    traces = (
        found["traceback"]
        .cast(pa.large_string())
        .combine_chunks()
        .take(pa.array(where, mask=where < 0))
    )
    return table.append_column("traceback", traces)


def _fetched(source: "Source", ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
    parts = [
        source.details(ids[start : start + _AT_ONCE], columns)
        for start in range(0, max(len(ids), 1), _AT_ONCE)
    ]
    return pa.concat_tables(parts)


def _limit(limit: Any) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 1:
        raise SettingsError(f"limit is {limit!r}. Give a whole number above 0, or None for all.")
    return int(limit)


def _is_path(place: str) -> bool:
    if "://" in place:
        return False
    path = Path(place)
    exports = (".parquet", ".jsonl", ".ndjson", ".csv")
    return path.suffix in exports or len(path.parts) > 1 or bool(_LOG.search(path.name))


def _of_path(place: str) -> Any:
    """The module for a file: logs by their names or by what a journal's first entry holds, else exports."""
    path = Path(place).expanduser()
    log = bool(_LOG.search(path.name))
    if not log and path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as file:
            log = b'"__REALTIME_TIMESTAMP"' in file.read(100_000)
    return import_module(f"dlqanalysis.sources.{'logs' if log else 'export'}")


def _name(place: str, url: str) -> str:
    """The name that a place was given by; for a bare URL, its system's."""
    return place if "://" not in place else SYSTEMS[url.partition("://")[0]].partition("_")[0]


def _module(url: str) -> Any:
    scheme = url.partition("://")[0].lower()
    if scheme not in SYSTEMS:
        raise SettingsError(
            f"'{scheme}://' is no system that can be read yet. There are: {', '.join(SYSTEMS)}, and exports"
            " (.parquet, .jsonl, .csv)."
        )
    return import_module(f"dlqanalysis.sources.{SYSTEMS[scheme]}")
