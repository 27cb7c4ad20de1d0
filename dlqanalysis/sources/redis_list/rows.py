"""Messages as columns of the frame, whatever their bytes are; one mapping for the source and the monitor.

| column | from |
|---|---|
| task_name | `type`, else `topic`, `task`, `name`, ... |
| kwargs | `payload` (`data`, `body`, ...) as it stands in the text; the whole message where there is none |
| args | the message, where it is a list |
| exception_* | `error` and its like: a text, or an object with name, message and stack |
| failed_at | `failed_at` and its like, else `timestamp`; numbers are seconds, or milliseconds above 1e11 |

What is no JSON object or list, or no JSON that others read (NaN, broken UTF-8, a BOM), is unreadable, or
truncated where its end is missing; it stays a row.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from dlqanalysis.sources._counts import tries_of
from dlqanalysis.sources._json_text import members
from dlqanalysis.text import storable

NAMES = {
    "type": ("type", "topic", "task", "name", "task_name", "task_type", "event", "kind", "job"),
    "id": ("id", "task_id", "taskId", "message_id", "messageId", "job_id", "jobId", "uuid"),
    "payload": ("payload", "data", "body", "message", "kwargs", "args"),
    "error": ("error", "last_error", "lastError", "exception", "error_message", "errorMessage",
              "failedReason", "failed_reason", "failure_reason", "reason"),
    "time": ("failed_at", "failedAt", "dead_lettered_at", "deadLetteredAt", "died_at", "last_failed_at",
             "error_time", "timestamp", "time", "ts"),
    "kind": ("exception_type", "exceptionType", "error_type", "errorType", "error_class", "errorClass",
             "exc_type"),
    "trace": ("traceback", "stack", "stacktrace", "stackTrace", "stack_trace"),
    "retries": ("retryCount", "retry_count", "retries", "attempts", "attemptsMade", "attempt"),
    "most": ("maxRetries", "max_retries", "maxAttempts", "max_attempts", "retry_limit"),
    "enqueued": ("enqueued_at", "enqueuedAt", "created_at", "createdAt", "original_created_at",
                 "queued_at", "queuedAt"),
    "first": ("first_failed_at", "firstFailedAt"),
    "priority": ("priority",),
    "worker": ("worker", "worker_id", "workerId", "hostname"),
    "idempotency": ("idempotency_key", "idempotencyKey", "dedup_key", "dedupKey"),
    "tracing": ("trace_id", "traceId", "traceparent", "correlation_id", "correlationId"),
}  # fmt: skip
_TYPE = re.compile(r"([A-Za-z_$][\w$.]*(?:Error|Exception)|[A-Z]\w*Timeout)\s*(?::|$)")
_SHAPES = 1_000  #: kinds of messages that are remembered
_Shape = dict[str, tuple[str, ...]]
_TEXTS = (
    "task_id", "task_name", "priority", "args", "kwargs", "payload_state", "exception_type",
    "exception_message", "traceback", "worker", "idempotency_key", "trace_id",
)  # fmt: skip
_COUNTS = ("retries", "max_retries")
_TIMES = ("enqueued_at", "first_failed_at", "failed_at")
COLUMNS = (*_TEXTS, *_COUNTS, *_TIMES)


@dataclass
class Reader:
    """Reads messages; counts the times that have no zone while none is given."""

    zone: tzinfo | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    naive: int = 0
    _shapes: dict[tuple[str, ...], "_Shape"] = field(default_factory=dict)

    def row(self, raw: bytes) -> dict[str, Any]:
        """What one message says, for the columns of the frame."""
        text, message, state = parsed(raw)
        if isinstance(message, list):
            return {"args": text, "payload_state": state}
        if not isinstance(message, dict):
            return {"payload_state": state}
        has = self._shape(message)
        kind, words, trace = exception(
            self._part(message, has, "error"),
            _first(message, has["kind"]),
            _first(message, has["trace"]),
        )
        row: dict[str, Any] = {
            "task_id": scalar(self._part(message, has, "id")),
            "task_name": scalar(self._part(message, has, "type")),
            "payload_state": state,
            "exception_type": scalar(kind),
            "exception_message": scalar(words),
            "traceback": scalar(trace),
            "trace_id": traced(_first(message, has["tracing"])),
            "failed_at": self.moment(self._part(message, has, "time")),
        }
        for column, name, read in (
            ("priority", "priority", scalar),
            ("worker", "worker", scalar),
            ("idempotency_key", "idempotency", scalar),
            ("retries", "retries", tries_of),
            ("max_retries", "most", tries_of),
            ("first_failed_at", "first", self.moment),
            ("enqueued_at", "enqueued", self.moment),
        ):
            if has[name]:
                row[column] = read(_first(message, has[name]))
        return row | self._payload(text, message, has)

    def _shape(self, message: dict[str, Any]) -> "_Shape":
        """Which of the names that are looked for a message has: the same for all that are built alike."""
        names = tuple(message)
        if (known := self._shapes.get(names)) is None:
            known = {part: tuple(n for n in NAMES[part] if n in message) for part in NAMES}
            if len(self._shapes) < _SHAPES:
                self._shapes[names] = known
        return known

    def _part(self, message: dict[str, Any], has: "_Shape", name: str) -> Any:
        if path := self.paths.get(name):
            return _at(message, path)
        return _first(message, has[name])

    def _payload(self, text: str, message: dict[str, Any], has: "_Shape") -> dict[str, str]:
        """args and kwargs as they stand in the text: no round trip, so that numbers and escapes stay."""
        if path := self.paths.get("payload"):
            value = _at(message, path)
            inner = text
            for step in path.split("."):
                inner = _member(inner, step) if inner else inner
            if isinstance(value, dict | list) and inner:
                return {"kwargs" if isinstance(value, dict) else "args": inner}
            return {"kwargs": text}
        if isinstance(message.get("args"), list) and isinstance(message.get("kwargs"), dict):
            return {"args": _member(text, "args"), "kwargs": _member(text, "kwargs")}
        for name in has["payload"]:
            value = message[name]
            if isinstance(value, dict):
                return {"kwargs": _member(text, name)}
            if isinstance(value, list):
                return {"args": _member(text, name)}
        return {"kwargs": text}

    def moment(self, value: Any) -> datetime | None:
        """A point in time in UTC; None for what is none, or has no zone, which is counted."""
        found = moment(value)
        if found is not None and found.tzinfo is None:
            if self.zone is None:
                self.naive += 1
                return None
            found = found.replace(tzinfo=self.zone)
        try:
            return found.astimezone(UTC) if found else None
        except OverflowError:
            return None


def parsed(raw: bytes) -> tuple[str, Any, str]:
    """The text of a message, what it says (None for nothing), and its payload_state."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "", None, "unreadable"
    try:
        message = _DECODER.decode(text)
    except (ValueError, RecursionError):
        bare = text.strip()
        cut = bare[:1] in ("{", "[") and bare[-1:] != {"{": "}", "[": "]"}[bare[0]]
        whole = cut and any(mark in bare for mark in ("}", "]")) and _begins_whole(bare)
        return text, None, "truncated" if cut and not whole else "unreadable"
    return text, message, "complete" if isinstance(message, dict | list) else "unreadable"


def moment(value: Any) -> datetime | None:
    """A point in time as a message writes it, naive where it has no zone; None for what is none."""
    if isinstance(value, str):
        if value.strip().replace(".", "", 1).isdecimal():
            value = float(value)
        else:
            try:
                return datetime.fromisoformat(value.strip())
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
        for above, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
            if seconds > above:
                seconds /= unit
                break
        return datetime.fromtimestamp(seconds, UTC) if 1e8 < seconds < 1e11 else None
    except (ValueError, OverflowError, OSError):
        return None


def _refuse(word: str) -> None:
    raise ValueError(word)  # NaN and Infinity are Python's own


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _begins_whole(text: str) -> bool:
    """Whether a whole value stands at the beginning, so that what follows it is too much, not too little."""
    try:
        _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _member(text: str, name: str) -> str:
    """The text of a member of a JSON object that has it."""
    mark = f'"{name}"'
    if text.count(mark) == 1:  # it stands there once, so this is it
        place = text.index(mark) + len(mark)
        while text[place] in " \t\r\n:":
            place += 1
        return text[place : _DECODER.raw_decode(text, place)[1]]
    return members(text).get(name, "")


def _first(message: Mapping[str, Any], names: Sequence[str]) -> Any:
    """What the first of these names that is there and not null says."""
    for name in names:
        if (value := message.get(name)) is not None:
            return value
    return None


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def scalar(value: Any) -> str | None:
    """A scalar as text; lone surrogates, which Arrow cannot hold, as escapes."""
    if value is None or value == "" or isinstance(value, dict | list):
        return None
    if type(value) is int:
        return str(value)
    return storable(value if isinstance(value, str) else json.dumps(value))


def exception(error: Any, kind: Any, trace: Any) -> tuple[Any, Any, Any]:
    """Type, words and trace of what a message says of its error, its type and its trace: an error may be an object
    that says all three, or a text that begins with the type."""
    said = error if isinstance(error, dict) else {}
    words = _first(said, ("message", "msg", "error", "detail")) if said else error
    kind = kind or _first(said, ("name", "type", "class", "code"))
    if kind is None and isinstance(words, str) and (match := _TYPE.match(words)):
        kind = match[1]
    trace = trace or _first(said, NAMES["trace"])
    trace = "\n".join(map(str, trace)) if isinstance(trace, list) else trace
    return kind, json.dumps(said) if said and words is None else words, trace


def traced(value: Any) -> str | None:
    """The trace of a W3C traceparent; other scalars as text."""
    parts = value.split("-") if isinstance(value, str) else []
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else scalar(value)
