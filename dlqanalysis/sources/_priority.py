"""Entries of the Redis priority dead-letter queue (`dlq:high`, `dlq:normal`, `dlq:low`) as rows of the frame.

Shared by its two roads, the HTTP API and Redis itself. An entry stays the text that it is: its payload is cut
out of it, never written anew.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.frame import COLUMNS, content_hash, light, to_arrow
from dlqanalysis.model import duration
from dlqanalysis.sources._counts import tries_of
from dlqanalysis.sources._json_text import members, value
from dlqanalysis.sources._payload_state import payload_state
from dlqanalysis.text import many, written

PRIORITIES = ("high", "normal", "low")
#: what a task's own state says when its entry is not simply waiting for somebody
UNDER_WAY = ("pending", "queued", "processing", "running", "retrying")
DONE = ("completed", "success", "succeeded", "done")

#: column -> the names that deployments give it, the first that is there wins
_NAMES: dict[str, tuple[str, ...]] = {
    "task_id": ("task_id", "id"),
    "task_name": ("task_type", "type", "task_name", "name"),
    "exception_type": ("error_type", "exception_type", "error_class"),
    "exception_message": ("last_error", "error", "error_message", "exception"),
    "traceback": ("traceback", "stack_trace", "stacktrace"),
    "retries": ("attempts", "retries", "retry_count"),
    "max_retries": ("max_retries", "max_attempts"),
    "enqueued_at": ("original_created_at", "created_at", "enqueued_at"),
    "failed_at": ("failed_at", "failed_on"),
    "worker": ("worker", "worker_id"),
    "idempotency_key": ("idempotency_key",),
    "trace_id": ("trace_id",),
    "payload": ("payload", "data", "kwargs"),
    "current_status": ("current_status",),
}
_COUNTS = ("retries", "max_retries")
_TIMES = ("enqueued_at", "failed_at")
_HASHED = ("task_id", "task_name", "queue", "args", "kwargs")
_QUARTER = 900  # zones differ by quarters of an hour
_NEAR = 120  # seconds that two clocks may differ and still tell a zone


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of a list: its bytes, and the texts of its members (none where it is no JSON object)."""

    priority: str
    raw: bytes
    parts: Mapping[str, str] = field(repr=False)
    readable: bool
    task_id: str = ""  #: the task's own id as text; empty where the entry names none

    @classmethod
    def of(cls, priority: str, raw: bytes) -> "Entry":
        """The entry behind an element's bytes; what is no JSON object in UTF-8 is kept as unreadable."""
        try:
            entry = cls(priority, raw, members(raw.decode("utf-8")), True)
        except ValueError:  # also of UTF-8
            return cls(priority, raw, {}, False)
        found = entry.value("task_id")
        named = isinstance(found, str | int) and not isinstance(found, bool)
        return replace(entry, task_id=written(found)) if named else entry

    def part(self, column: str) -> str | None:
        """The JSON text of a column, under whichever of its names the entry has it."""
        found = (self.parts.get(name) for name in _NAMES[column])
        return next((text for text in found if text is not None and text != "null"), None)

    def value(self, column: str) -> Any:
        """What a column says; None for nothing."""
        return value(self.part(column))

    @property
    def payload(self) -> str | None:
        """The payload's JSON text; one that was written as text inside of the JSON is unpacked."""
        found = self.part("payload")
        if found is not None and found.startswith('"') and value(found)[:1] == "{":
            return written(value(found))
        return found


def record(
    entry: Entry, failure_id: str, zone: tzinfo, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One entry's values for the columns of the frame; `more` is what else is known of its task."""
    more = more or {}
    payload = entry.payload
    state = str(more.get("status") or entry.value("current_status") or "").lower()
    found: dict[str, Any] = {
        "failure_id": failure_id,
        "task_id": entry.task_id or None,
        "queue": entry.priority,
        "priority": entry.priority,
        "status": state if state in (*UNDER_WAY, *DONE) else "failed",
        "expires_at": more.get("expires_at"),
        "raw": entry.raw,
        "args": None if payload is None or payload.startswith("{") else payload,
        "kwargs": payload if payload and payload.startswith("{") else None,
    }
    for name in _NAMES:
        if name in found or name not in COLUMNS:
            continue
        value = entry.value(name)
        if value is None:
            value = more.get(name)
        if name in _TIMES:
            found[name] = when(value, zone)
        elif name in _COUNTS:
            found[name] = tries_of(value)
        else:
            found[name] = None if value is None else written(value)
    return found


def framed(
    entries: Sequence[tuple[str, Entry]],
    source: str,
    zone: tzinfo,
    columns: Collection[str] = (),
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> pa.Table:
    """(failure_id, entry) as columns of the frame; raw only where `columns` asks for it."""
    wanted = light(columns)
    more = more or {}
    records = [record(entry, key, zone, more.get(key)) for key, entry in entries]
    table = to_arrow(records, wanted, source=source)
    whole = payload_state(table["args"], table["kwargs"], len(records)).to_pylist()
    states = [
        state if entry.readable else "unreadable"
        for state, (_, entry) in zip(whole, entries, strict=True)
    ]
    return table.set_column(wanted.index("payload_state"), "payload_state", pa.array(states))


def hash_of(entry: Entry) -> str:
    """The content hash that a plan noted for this entry, from the entry as it is now."""
    row = record(entry, "", UTC)
    return content_hash(*(row[name] for name in _HASHED))


def naive(value: Any) -> datetime | None:
    """A time as it is written, with its zone only where it has one; None for what is no time."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        return datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def when(value: Any, zone: tzinfo) -> datetime | None:
    """A moment in UTC; a time without a zone is one of `zone`."""
    moment = naive(value)
    try:
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def offset(written: datetime, utc: datetime) -> timezone | None:
    """The zone of a clock that wrote `written` (naive) at the moment `utc`; None where it tells none."""
    seconds = (written.replace(tzinfo=UTC) - utc).total_seconds()
    rounded = round(seconds / _QUARTER) * _QUARTER
    if abs(seconds - rounded) > _NEAR or abs(rounded) > 14 * 3600:
        return None
    return timezone(timedelta(seconds=rounded))


def shown(zone: tzinfo) -> str:
    """A zone for people: `UTC+02:00`, `Europe/Berlin`."""
    return str(zone)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a URL of this system may say after its question mark, whichever road it names."""

    zone: ZoneInfo | None = None  #: of failed_at where it has none; None: measured
    ttl: timedelta = timedelta(days=7)  #: how long the system keeps what it retries from
    reset_attempts: bool = False  #: whether a replayed task gets all its attempts again


#: what every URL of this system may say
OPTIONS = ("tz", "ttl", "reset_attempts")


def options(encoded: Mapping[str, str]) -> Options:
    """The options of a URL, from their names and still percent-encoded values; refuses unknown ones by name."""
    for name in encoded:
        if name not in OPTIONS:
            raise SettingsError(
                f"'{unquote(name)[:40]}' is no option of a priority queue's URL. {did_you_mean(name, OPTIONS)}"
            )
    said = {name: unquote(value) for name, value in encoded.items()}
    try:
        zone = ZoneInfo(said["tz"]) if said.get("tz") else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            f"tz={said['tz'][:40]} is no time zone. Write ?tz=Europe/Berlin or ?tz=UTC."
        ) from None
    reset = said.get("reset_attempts", "no").lower()
    if reset not in ("yes", "no", "true", "false", "1", "0"):
        raise SettingsError(
            f"reset_attempts={reset[:20]} says neither yes nor no. Write ?reset_attempts=yes."
        )
    return Options(
        zone=zone,
        ttl=duration(said.get("ttl") or "7d"),
        reset_attempts=reset in ("yes", "true", "1"),
    )


def hidden(statuses: Iterable[str | None]) -> list[str]:
    """A note about entries whose task is under way or done, which a load of failed ones leaves out."""
    odd = [one for one in statuses if one in (*UNDER_WAY, *DONE)]
    if not odd:
        return []
    words = ", ".join(sorted(set(map(str, odd))))
    return [
        f"{many(len(odd), 'entries lie')} there although the task is {words}: no failures to replay;"
        " status=None shows them."
    ]
