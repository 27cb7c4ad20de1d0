"""What a replayed or quarantined message carries: the old body, the old headers, and as few changes as can be."""

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dlqanalysis.model import Item
from dlqanalysis.sources._json_text import arguments, elements
from dlqanalysis.sources._properties import Properties
from dlqanalysis.sources.rabbitmq.held import ASIDE_FROM, ASIDE_ID, ASIDE_RUN, VOLATILE, Message
from dlqanalysis.sources.rabbitmq.rows import payload

_NAMESPACE = uuid.UUID("0b8d7c7e-3c2f-4a53-9e6a-9d2f6c1d7a44")
SENT = "dlqanalysis_sent"  #: the header that names this very replay
#: what a broker wrote when it dead-lettered: in a replay it would be counted on
_DEATH = frozenset(
    {
        "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
        "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason", "original-expiration",
        *VOLATILE,
    }
)  # fmt: skip
_ROUTES = frozenset({"CC", "BCC"})  #: would send copies to other queues


def sent_id(message: Message, same_ids: bool) -> str:
    """The id under which a message runs when it is replayed: a new one, the same from whoever computes it.

    Members of groups and chords are counted by their id, and protocol 1 has it in the body: they keep it.
    """
    found = payload(message)
    keeps = same_ids or found.grouped or found.kind == "task1"
    if found.task_id and found.kind.startswith("task") and keeps:
        return found.task_id
    return id_of(message.failure_id)


def id_of(failure_id: str) -> str:
    """The new id that a failure has when it is replayed."""
    return str(uuid.uuid5(_NAMESPACE, failure_id))


def replayed(message: Message, new_id: str, item: Item, run_id: str) -> Properties:
    """Properties and headers for the queue it came from. The old count of retries would fail it at its first
    error, an old `expires` would make the worker discard it without a word."""
    found = payload(message)
    headers: dict[str, Any] = {
        SENT: new_id,
        "dlqanalysis_replay_of": found.task_id or message.failure_id,
        "dlqanalysis_run": run_id,
        "dlqanalysis_generation": item.generation,
    }
    fields: dict[str, Any] = {"delivery_mode": 2, "expiration": None, "user_id": None}
    if found.kind == "task":
        headers |= {"id": new_id, "retries": 0, "eta": None, "expires": None}
        fields["correlation_id"] = new_id
    return message.properties.changed(fields, headers, drop=_DEATH | _ROUTES)


class Unfit(Exception):
    """Why a body cannot go instead of a message's own. Becomes a refused receipt."""


def repaired(message: Message, body: bytes, properties: Properties) -> tuple[bytes, Properties]:
    """Body and properties that go instead: `body` whole, or for a task `{"args": [...], "kwargs": {...}}` or its
    kwargs, which takes the message's own chain and callbacks along. One that a worker would die of is unfit."""
    found = payload(message)
    try:
        named = found.kind == "task" and body.lstrip()[:1] == b"{"
        asked = arguments(body.decode()) if named else {}
    except ValueError:
        raise Unfit("the repair cannot be read as JSON") from None
    if asked:
        if found.state != "complete":
            raise Unfit("its own body cannot be read: repair it with a whole body")
        args, kwargs, embed = _own(message)
        parts = asked.get("args", args), asked.get("kwargs", kwargs), embed
        body = f"[{', '.join(parts)}]".encode()
    whole = payload(replace(message, body=body))
    if whole.state != "complete" or whole.kind != found.kind:
        raise Unfit("the repaired body is none that a worker could read")
    if found.kind == "task":
        shown = {"argsrepr": (whole.args or "")[:1024], "kwargsrepr": (whole.kwargs or "")[:1024]}
        properties = properties.changed(headers=shown)
    return body, properties


def fit(message: Message, body: bytes | None) -> None:
    """Raises Unfit for what a worker would discard without a word: a task of protocol 1 that says in its body, where
    nothing is changed, until when it may run."""
    expires = payload(message if body is None else replace(message, body=body)).expires
    if expires is None:
        return
    try:
        until = datetime.fromisoformat(expires)
        late = until.replace(tzinfo=until.tzinfo or UTC) < datetime.now(UTC)
    except (TypeError, ValueError):
        late = True
    if late:
        raise Unfit(
            f"it expired at {str(expires)[:40]}, and a worker would discard it without a word: repair it, with"
            " `expires` as None"
        )


def _own(message: Message) -> list[str]:
    """Args, kwargs and embed of a task's own body, as texts."""
    try:
        return elements(message.body.decode())
    except ValueError:  # compressed
        raise Unfit("its body is compressed: repair it with a whole body") from None


def set_aside(message: Message, run_id: str) -> Properties:
    """Properties and headers for the quarantine queue: all as it was, and where it comes from."""
    headers = {ASIDE_FROM: message.dlq, ASIDE_RUN: run_id, ASIDE_ID: message.failure_id}
    fields = {"delivery_mode": 2, "expiration": None, "user_id": None}
    return message.properties.changed(fields, headers, drop=_ROUTES | set(VOLATILE))


def brought_back(message: Message) -> Properties:
    """Properties and headers for the dead-letter queue it was set aside from: as they were there."""
    return message.properties.changed(drop={ASIDE_FROM, ASIDE_RUN, ASIDE_ID, *VOLATILE, *_ROUTES})


def told(message: Message) -> str:
    """Properties and headers as JSON, for a person: the bytes are kept beside it."""
    properties = message.properties
    fields = {n: properties.field(n) for n in properties.fields if n != "headers"}
    headers = {
        name.encode("utf-8", "surrogateescape").decode(
            "utf-8", "backslashreplace"
        ): properties.header(name)
        for name in properties.headers or {}
    }
    return json.dumps({**fields, "headers": headers}, default=str)
