"""One failed task as the admin API shows it, turned into columns of the failures frame."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import content_hash, light, to_arrow
from dlqanalysis.sources._counts import tries_of
from dlqanalysis.sources._payload_state import payload_state
from dlqanalysis.text import written

Row = Mapping[str, Any]

#: column -> the names that deployments give it, the first found wins
_NAMES: dict[str, tuple[str, ...]] = {
    "task_name": ("task_name", "name", "task"),
    "queue": ("queue_name", "queue"),
    "status": ("status", "state"),
    "priority": ("priority",),
    "args": ("args", "task_args"),
    "kwargs": ("kwargs", "task_kwargs"),
    "exception_type": ("exception_type", "error_type", "exception_class"),
    "exception_message": ("exception_message", "error_message", "error", "last_error", "exception"),
    "traceback": ("traceback", "stack_trace", "stacktrace"),
    "retries": ("retries_attempted", "retries", "retry_count", "attempts"),
    "max_retries": ("max_retries",),
    "enqueued_at": ("enqueued_at", "original_created_at"),
    "first_failed_at": ("first_failed_at",),
    "failed_at": ("failed_at",),
    "replayed_at": ("replayed_at",),
    "expires_at": ("expires_at",),
    "worker": ("worker", "worker_name", "hostname"),
    "idempotency_key": ("idempotency_key",),
    "trace_id": ("trace_id",),
}
_LISTS = ("tasks", "items", "results", "data", "failed_tasks")
_TIMES = ("enqueued_at", "first_failed_at", "failed_at", "replayed_at", "expires_at")


def rows_in(answer: Any) -> tuple[list[Row], int | None, int]:
    """The rows of a list answer, bare or wrapped; its total where it tells one; how many entries were no objects."""
    total = None
    for _ in range(2):
        if isinstance(answer, Mapping):
            total = answer["total"] if isinstance(answer.get("total"), int) else total
            answer = next((answer[name] for name in _LISTS if name in answer), answer)
    if not isinstance(answer, list):
        has = (
            f"an object with {', '.join(sorted(map(str, answer))[:8]) or 'nothing'}"
            if isinstance(answer, Mapping)
            else f"{type(answer).__name__}"
        )
        raise SchemaError(
            f"The list of failed tasks is {has}, not a list, nor a list under"
            f" {', '.join(_LISTS)}. Check that the URL ends where /tasks begins."
        )
    rows = [row for row in answer if isinstance(row, Mapping)]
    return rows, total, len(answer) - len(rows)


def row_in(answer: Any) -> Row | None:
    """The row of a single-task answer, bare or wrapped in task, item, result or data."""
    for name in ("task", "item", "result", "data", "failed_task"):
        if isinstance(answer, Mapping) and isinstance(answer.get(name), Mapping):
            return answer[name]
    return answer if isinstance(answer, Mapping) and failure_id(answer) else None


def number(row: Row) -> Any:
    """The row's own number as the server writes it; where it has none, the task's id; else nothing."""
    found = (row.get(name) for name in ("id", "failed_task_id", "task_id"))
    return next((n for n in found if n not in (None, "") and _names(n)), "")


def _names(value: Any) -> bool:
    """Whether a value can name a row: no object, no list, and neither NaN nor infinity, which no JSON has."""
    return not isinstance(value, Mapping | list | float) or (
        isinstance(value, float) and math.isfinite(value)
    )


def failure_id(row: Row) -> str:
    """The row's number as text. It and Celery's id are kept apart."""
    return str(number(row))


def key(row: Row) -> str:
    """The row's id, or a digest of its content where it has none."""
    if found := failure_id(row):
        return found
    text = json.dumps(row, sort_keys=True, default=str).encode("utf-8", "backslashreplace")
    return f"sha1:{hashlib.sha1(text).hexdigest()[:16]}"


def field(row: Row, column: str) -> Any:
    """A column's value under whichever of its names the row has it."""
    for name in _NAMES[column]:
        if (value := row.get(name)) is not None:
            return value
    return None


def task_id(row: Row) -> str | None:
    """Celery's own id, where the row tells it besides its number."""
    value = row.get("task_id")
    if not ("id" in row or "failed_task_id" in row) and str(value).isdecimal():
        value = None  # the runbook's dialect: a row's number under the name of the task's id
    value = value if value is not None else row.get("celery_task_id", row.get("original_task_id"))
    return None if value is None else written(value)


def when(value: Any) -> datetime | None:
    """A moment in UTC. Naive times are UTC: the published API writes `datetime.utcnow().isoformat()`."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def replay_count(row: Row | None) -> int | None:
    """How often the server began to replay the row, where it tells."""
    value = (row or {}).get("replay_count")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def hash_of(row: Row) -> str:
    """The content hash that a plan noted for this row, from the row as it is now."""
    return content_hash(*(record(row)[name] for name in _HASHED))


_as_json = json.JSONEncoder(ensure_ascii=False, default=str).encode
_HASHED = ("task_id", "task_name", "queue", "args", "kwargs")


def record(row: Row) -> dict[str, Any]:
    """One row's values for the columns of the frame, but for `source`, `payload_state` and `raw`."""
    found: dict[str, Any] = {"failure_id": written(key(row)), "task_id": task_id(row)}
    for column in _NAMES:
        value = field(row, column)
        if column in _TIMES:
            value = when(value)
        elif column in ("retries", "max_retries"):
            value = tries_of(value)
        elif value is not None:
            value = written(value)
        found[column] = value
    return found


def framed(rows: Sequence[Row], source: str, columns: Collection[str]) -> pa.Table:
    """Rows as columns of the frame: all but the heavy ones, and those only where `columns` asks for them."""
    wanted = light(columns)
    records = [record(row) for row in rows]
    if "raw" in wanted:  # the row as it came, not the server's bytes: `details` has those
        for entry, row in zip(records, rows, strict=True):
            entry["raw"] = written(row).encode()
    table = to_arrow(records, wanted, source=source)
    states = payload_state(table["args"], table["kwargs"], len(rows))
    return table.set_column(wanted.index("payload_state"), "payload_state", states)
