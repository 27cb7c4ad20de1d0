"""A failed_tasks row as a Celery message (protocol 2), built by hand: no task code, no `send_task`.

`send_task` declares queues with other arguments than the workers did (406 PRECONDITION_FAILED) and sends a
falsy exchange to the default queue; a message to the default exchange with the queue's name does neither.
The JSON text of the payload goes into the body as it is: a round trip through a parser would change it.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from socket import gethostname
from typing import Any

from dlqanalysis.sources._json_text import arguments, elements

_NAMESPACE = uuid.UUID("6f1c9b52-6a0e-4c61-9a44-0d5b0b6f7b1e")
_JSON = "application/json"
_MOST_URGENT = 255  #: a priority is one byte of a message's properties
_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


class NotReplayable(Exception):
    """Why a row cannot be made into a message. Becomes a refused receipt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What goes to the broker."""

    id: str
    queue: str
    body: bytes
    headers: Mapping[str, Any]
    priority: int = 0
    content_type: str = _JSON
    content_encoding: str = "utf-8"


def new_id(table: str, failure_id: str, task_id: str) -> str:
    """The id a failure runs under when it is replayed: the same from whoever computes it, so that two
    operators cannot send it under two names and a doubt can be settled by looking it up."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join((table, failure_id, task_id))))


def build(
    *,
    sent_id: str,
    task_id: str,
    task_name: str,
    queue: str,
    args: str | None,
    kwargs: str | None,
    run_id: str,
    generation: int,
    extra: Mapping[str, Any],
    payload: bytes | None = None,
) -> Message:
    """The message of one row. `extra` holds what the table knows beyond it: headers, priority, body, ...;
    `payload` is what goes instead of the row's own: `{"args": [...], "kwargs": {...}}`, one of them, kwargs alone or args alone."""
    if not task_name:
        raise NotReplayable("the row names no task")
    if not queue:
        raise NotReplayable("no queue is known: name one under [routes] in the profile")
    known = _headers(extra.get("headers"))
    embed, whole = _EMBED, _whole(extra)
    if payload is not None:
        args, kwargs = _repaired(payload, args, kwargs)
        embed, whole = _embed(whole), b""
    args_text, kwargs_text = _json("args", args, "[]", list), _json("kwargs", kwargs, "{}", dict)
    # the message as it was, chain and callbacks included, where the table keeps it
    body = whole or f"[{args_text}, {kwargs_text}, {embed}]".encode()
    headers: dict[str, Any] = {
        "lang": "py",
        "task": task_name,
        "id": sent_id,
        "shadow": known.get("shadow"),
        "eta": None,
        "expires": None,  # the old one would make the worker discard the task silently
        "group": known.get("group"),
        "group_index": known.get("group_index"),
        "retries": 0,  # the old count would fail it at its first error
        "timelimit": known.get("timelimit") or [None, None],
        "root_id": known.get("root_id") or task_id or sent_id,
        "parent_id": known.get("parent_id"),
        "argsrepr": args_text[:1024],
        "kwargsrepr": kwargs_text[:1024],
        "origin": f"dlqanalysis@{gethostname()}",
        "ignore_result": bool(known.get("ignore_result")),
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        "dlqanalysis_replay_of": task_id,
        "dlqanalysis_run": run_id,
        "dlqanalysis_generation": generation,
    }
    priority = extra.get("priority")
    priority = priority if isinstance(priority, int) else 0
    return Message(
        id=sent_id,
        queue=queue,
        body=body,
        headers=headers,
        priority=min(max(priority, 0), _MOST_URGENT),
    )


def _headers(kept: Any) -> dict[str, Any]:
    """The headers that the table keeps, if it keeps any."""
    try:
        known = json.loads(kept or "null") if isinstance(kept, str) else kept
    except (ValueError, RecursionError):
        raise NotReplayable("the row's headers are no JSON") from None
    if known is not None and not isinstance(known, dict):
        raise NotReplayable(f"the row's headers are a JSON {type(known).__name__}, not an object")
    return known or {}


def _whole(extra: Mapping[str, Any]) -> bytes:
    """The body that the table keeps, empty for none; one that a worker would die of is not sent."""
    kept = extra.get("body")
    if not kept or extra.get("content_type") != _JSON:
        return b""
    try:
        body = kept.encode() if isinstance(kept, str) else bytes(kept)
        parts = elements(body.decode())
    except ValueError:
        parts = []
    if [part[:1] for part in parts] != ["[", "{", "{"]:
        raise NotReplayable("the row's own body is none that a worker could read")
    return body


def _repaired(
    payload: bytes, args: str | None, kwargs: str | None
) -> tuple[str | None, str | None]:
    """Args and kwargs as texts, from a repair; what it leaves out stays the row's own."""
    try:
        found = arguments(payload.decode())
    except ValueError:
        raise NotReplayable(
            'the repair is no JSON object such as {"args": [], "kwargs": {}}'
        ) from None
    return found.get("args", args), found.get("kwargs", kwargs)


def _embed(whole: bytes) -> str:
    """Chain and callbacks of the message as it was, where the table keeps it."""
    return elements(whole.decode())[2] if whole else _EMBED


def _json(name: str, text: str | None, empty: str, kind: type) -> str:
    """The text itself, once it is known that a worker can read it: one with a broken body dies of it."""
    if text is None or not text.strip():
        return empty
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotReplayable(f"{name} is no JSON ({type(error).__name__})") from None
    if not isinstance(value, kind):
        raise NotReplayable(f"{name} is a JSON {type(value).__name__}, not a {kind.__name__}")
    return text
