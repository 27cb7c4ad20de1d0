"""A dead-lettered message as a row of the failures frame; the same mapping for the source and the hand."""

import bz2
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dlqanalysis.frame import content_hash
from dlqanalysis.sources._counts import tries_of
from dlqanalysis.sources._json_text import elements, members, value
from dlqanalysis.sources.rabbitmq.held import Message
from dlqanalysis.text import storable

#: queues that Celery's native delayed delivery routes through: passing them is no failure
_DELAYED = re.compile(r"celery_delayed_\d+")
_NEVER_RAN = ("expired", "maxlen")
#: the broker's word for what a consumer did with a message; rules would take "rejected" for a verdict on data
_DIED = {"rejected": "dead-lettered: its consumer gave it up"}
_MOST = 64 * 1024 * 1024  #: bytes that a compressed body may grow to
_IDEMPOTENCY = ("idempotency_key", "x-idempotency-key", "Idempotency-Key")
_JSON = ("application/json", "text/json")


@dataclass(frozen=True, slots=True)
class Payload:
    """What a body says: texts as they stand in it."""

    state: str  #: complete or unreadable
    kind: str  #: task (Celery protocol 2), task1 (protocol 1), json, bytes
    task_id: str | None = None
    task_name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    retries: int | None = None
    expires: Any = None  #: after when a worker discards it; in the body for protocol 1 only
    grouped: bool = False  #: a member of a group or chord, which counts it by its id


def payload(message: Message) -> Payload:
    """The payload of a message; what a worker could not read is unreadable, its bytes are kept."""
    header = message.properties.header
    task, own = _text(header("task")), _text(header("id"))
    known = {"task_id": own or _text(message.own_id), "task_name": task}
    kind = "task" if task and own else "bytes"
    retries = tries_of(header("retries"))
    unreadable = Payload("unreadable", kind, **known, retries=retries)
    if not known["task_name"]:
        unreadable = Payload(
            "unreadable", kind, known["task_id"], _text(message.properties.field("type"))
        )
    text = _body(message)
    if text is None:
        return unreadable
    try:
        if kind == "task":
            args, kwargs, embed = elements(text)
            if (args[:1], kwargs[:1], embed[:1]) != ("[", "{", "{"):
                return unreadable
            grouped = header("group") is not None
            grouped = grouped or value(members(embed).get("chord")) is not None
            return Payload("complete", kind, own, task, args, kwargs, retries, None, grouped)
        if text.lstrip()[:1] == "{":
            return _object(text, unreadable)
        elements(text)  # a list is taken for arguments
        return Payload("complete", "json", unreadable.task_id, unreadable.task_name, text)
    except (ValueError, RecursionError):
        return unreadable


def _object(text: str, unreadable: Payload) -> Payload:
    """A JSON object: a task of Celery's protocol 1, or something else."""
    found = members(text)
    task, own = (_part(found.get(name)) for name in ("task", "id"))
    if not ({"task", "id", "args"} <= set(found) and task and own):
        name = unreadable.task_name
        return Payload("complete", "json", unreadable.task_id, name, None, text)
    args, kwargs = found["args"], found.get("kwargs", "{}")
    if (args[:1], kwargs[:1]) != ("[", "{"):
        return Payload("unreadable", "task1", own, task)
    retries = tries_of(value(found.get("retries")))
    expires = value(found.get("expires"))
    return Payload("complete", "task1", own, task, args, kwargs, retries, expires, True)


def _part(text: str | None) -> str | None:
    found = value(text)
    return _text(found) if isinstance(found, str) else None


def _body(message: Message) -> str | None:
    """The body as text, or None: another format, another encoding, broken bytes. Nothing is unpickled."""
    kind = (message.properties.field("content_type") or "").split(";")[0].strip().lower()
    if kind and kind not in _JSON:
        return None
    body: bytes = message.body
    packed = message.properties.header("compression")
    try:
        if packed in ("application/x-gzip", "gzip", "zlib"):
            unpack = zlib.decompressobj()
            body = unpack.decompress(body, _MOST)
            if not unpack.eof:
                return None
        elif packed in ("application/x-bz2", "bzip2"):
            bunzip = bz2.BZ2Decompressor()
            body = bunzip.decompress(body, _MOST)
            if not bunzip.eof:
                return None
        elif packed:
            return None
        encoding = (message.properties.field("content_encoding") or "utf-8").lower()
        if encoding not in ("utf-8", "utf8", "us-ascii", "ascii", "binary"):
            return None
        return body.decode("utf-8")
    except (ValueError, OSError, zlib.error):
        return None


def reason(message: Message) -> str:
    """`failed`, or `expired` and `maxlen` for what no worker ever had."""
    entries = [e for e in message.deaths if not _DELAYED.fullmatch(str(e.get("queue")))]
    reasons = [str(entry.get("reason")) for entry in entries]
    if not reasons or any(word not in _NEVER_RAN for word in reasons):
        return "failed"
    return reasons[0]


def origin(message: Message) -> str | None:
    """The queue that the message died in first; a replay goes there."""
    first = message.properties.header("x-first-death-queue")
    if isinstance(first, str) and first and not _DELAYED.fullmatch(first):
        return first
    for entry in reversed(message.deaths):  # the oldest is the last
        name = entry.get("queue")
        if isinstance(name, str) and name and not _DELAYED.fullmatch(name):
            return name
    return None


def record(message: Message, ttl: timedelta | None = None) -> dict[str, Any]:
    """A message's values for the columns of the frame, but for `source`."""
    found, header = payload(message), message.properties.header
    deaths = message.deaths
    failed_at = _when(deaths[0].get("time")) if deaths else None
    sent_at = _when(message.properties.field("timestamp"))
    times = [when for entry in deaths if (when := _when(entry.get("time")))]
    trace = header("traceparent")
    parts = trace.split("-") if isinstance(trace, str) else []
    priority = message.properties.field("priority")
    died = _text(deaths[0].get("reason")) if deaths else None
    since = failed_at or sent_at
    return {
        "failure_id": message.failure_id,
        "task_id": found.task_id,
        "task_name": found.task_name,
        "queue": _text(origin(message)),
        "status": reason(message),
        "priority": None if priority is None else str(priority),
        "args": found.args,
        "kwargs": found.kwargs,
        "payload_state": found.state,
        "exception_message": _DIED.get(died, f"dead-lettered: {died}") if died else None,
        "retries": found.retries,
        "enqueued_at": sent_at,
        "first_failed_at": min(times, default=None),
        "failed_at": failed_at,
        "expires_at": since + ttl if since and ttl else None,
        "idempotency_key": next((_text(v) for n in _IDEMPOTENCY if (v := header(n))), None),
        "trace_id": parts[1] if len(parts) == 4 else _text(header("trace_id")),
        "raw": message.body,
    }


def hash_of(message: Message) -> str:
    """The content hash that a plan noted for this message."""
    row = record(message)
    return content_hash(
        *(row[name] for name in ("task_id", "task_name", "queue", "args", "kwargs"))
    )


def _when(seconds: Any) -> datetime | None:
    """A moment in UTC, from AMQP's seconds (some producers write milliseconds)."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(found: Any) -> str | None:
    if found is None or found == "":
        return None
    return storable(str(found))
