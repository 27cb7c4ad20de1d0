"""The frames that monitors answer with: how deep queues are, what workers do, what metrics say.

Each has fixed columns and dtypes, also when empty, so that systems can be laid one under the other.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from dlqanalysis.errors import SchemaError, did_you_mean

_TIME = "datetime64[us, UTC]"

#: queue depths: one row a queue and state
DEPTHS = {
    "source": "category",  # the monitor's name
    "queue": "category",
    "state": "category",  # waiting, active, delayed, prioritized, paused, unacked, failed, completed, dead_lettered, quarantined
    "depth": "Int64",  # missing where the system did not say
    "consumers": "Int32",  # who takes from it; missing where nobody can tell
    "oldest_at": _TIME,  # enqueued or failed; missing where the system keeps no times
    "at": _TIME,  # when it was read
}
#: one row a worker process
WORKERS = {
    "source": "category",
    "worker": "str",
    "queues": "str",  # with commas
    "concurrency": "Int32",
    "active": "Int32",
    "reserved": "Int32",  # taken from the queue, not begun
    "processed": "Int64",  # since it started
    "tasks": "object",  # tuple of the names it knows; None where it does not say
    "started_at": _TIME,
    "at": _TIME,
}
#: one row a sample of a metric
METRICS = {
    "source": "category",
    "metric": "category",
    "labels": "str",  # JSON text, keys sorted
    "at": _TIME,
    "value": "float64",
    "unit": "category",  # 1, seconds, per_second, per_minute, per_hour, bytes, ratio
}


def depths(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of DEPTHS from mappings; missing columns are filled, unknown ones refused."""
    return _frame(rows, DEPTHS)


def workers(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of WORKERS from mappings; missing columns are filled, unknown ones refused."""
    return _frame(rows, WORKERS)


def metrics(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of METRICS from mappings; missing columns are filled, unknown ones refused."""
    return _frame(rows, METRICS)


def noted(frame: pd.DataFrame, *notes: str) -> pd.DataFrame:
    """A frame with what a reader should know of it, such as why it is empty, in `attrs["notes"]`."""
    frame.attrs["notes"] = list(notes)
    return frame


def _frame(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, str]) -> pd.DataFrame:
    rows = list(rows)
    for row in rows:
        for name in row:
            if name not in schema:
                raise SchemaError(f"'{name}' is no column here. {did_you_mean(name, schema)}")
    columns: dict[str, pd.Series] = {}
    for name, dtype in schema.items():
        values = [row.get(name) for row in rows]
        if dtype == _TIME:
            columns[name] = pd.Series(pd.to_datetime(pd.Series(values, dtype=object), utc=True))
            columns[name] = columns[name].astype(_TIME)
        elif dtype == "category":
            texts = pd.Series(values, dtype="str")
            columns[name] = texts.astype(
                pd.CategoricalDtype(pd.Index(sorted(texts.dropna().unique()), dtype="str"))
            )
        else:
            columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)
