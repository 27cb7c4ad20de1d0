"""Lines of the API's log as a frame: evidence beside failures, never failures themselves."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from dlqanalysis.redact import redact
from dlqanalysis.sources._http import Answer
from dlqanalysis.text import storable

_TIMES = ("timestamp", "time", "ts", "at", "@timestamp", "createdAt")
_TEXTS = ("message", "msg", "text", "error")
_JOBS = ("jobId", "job_id", "jobID", "job")
_LISTS = ("logs", "data", "items", "results", "entries")
#: pino, which such APIs log with, has numbers
_LEVELS = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_LONGEST = 2_000


def entries(answer: Answer) -> list[Any]:
    """The log's entries of an answer: a list, or one under a name; none for anything else."""
    try:
        body = answer.json()
    except ValueError:
        return []
    if isinstance(body, Mapping):
        body = next((body[name] for name in _LISTS if isinstance(body.get(name), list)), None)
    return body if isinstance(body, list) else []


def lines(rows: Iterable[Any]) -> pd.DataFrame:
    """A frame of entries, in order of time: at (UTC), level, text, job_id."""
    told = [_line(row) for row in rows]
    frame = pd.DataFrame(told, columns=["at", "level", "text", "job_id"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True).astype("datetime64[us, UTC]")
    frame = frame.astype({"level": "str", "text": "str", "job_id": "str"})
    return frame.sort_values("at", kind="stable", ignore_index=True)


def _line(row: Any) -> tuple[Any, ...]:
    if not isinstance(row, Mapping):
        return None, None, _clean(row), None
    level = _first(row, ("level", "severity"))
    number = isinstance(level, int) and not isinstance(level, bool)
    level = _LEVELS.get(level, str(level)) if number else level
    job = _first(row, _JOBS)
    job = _first(job, ("id", "jobId")) if isinstance(job, Mapping) else job
    text = _first(row, _TEXTS)
    return _moment(_first(row, _TIMES)), _clean(level, 20), _clean(text), _clean(job, 200)


def _first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _moment(value: Any) -> datetime | None:
    """ISO text (without a zone it is UTC) or milliseconds since 1970; None for anything else."""
    try:
        if isinstance(value, str):
            when = datetime.fromisoformat(value)
            return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _clean(value: Any, most: int = _LONGEST) -> str | None:
    if value is None:
        return None
    text = storable(str(value))
    return redact(text[:most])
