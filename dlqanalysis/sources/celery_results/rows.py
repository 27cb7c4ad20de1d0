"""One result of a Celery task as a row of the failures frame."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dlqanalysis.sources._counts import tries_of
from dlqanalysis.sources._json_text import members
from dlqanalysis.text import storable

_WORDS = {"failure": "failed", "failed": "failed"}
FAILED = ("FAILURE", "REVOKED", "REJECTED", "RETRY")  #: the states that are rows
_CUT = re.compile(r"(\.\.\.|…)['\"]?[,)\]}]*$")
_RANK = ("complete", "missing", "truncated", "unreadable")


def status_of(state: str) -> str:
    """Celery's state in our words: FAILURE is failed, the others are themselves in lower case."""
    return _WORDS.get(state.lower(), state.lower())


def from_json(task_id: str, raw: bytes) -> dict[str, Any] | None:
    """The row of a result that is one JSON text, None for what did not fail; unreadable ones stay rows."""
    try:
        found = members(raw.decode("utf-8"))
        meta = {name: json.loads(text) for name, text in found.items()}
    except (ValueError, RecursionError):
        return unreadable(task_id, raw)
    if meta.get("status") not in FAILED:
        return None
    parts = {"args": found.get("args"), "kwargs": found.get("kwargs")}
    return row(task_id, meta, parts, raw)


def unreadable(task_id: str, raw: bytes) -> dict[str, Any]:
    """A row for a result that cannot be read, such as a pickle, which is never loaded."""
    return {
        "failure_id": f"{_text(task_id)}/sha1:{hashlib.sha1(raw).hexdigest()[:16]}",
        "task_id": _text(task_id),
        "status": "failed",
        "payload_state": "unreadable",
        "exception_message": "the result is a pickle, which is not loaded"
        if raw[:1] == b"\x80"
        else "the result cannot be read",
        "raw": raw,
    }


def row(
    task_id: str, meta: Mapping[str, Any], parts: Mapping[str, str | None], raw: bytes | None
) -> dict[str, Any]:
    """A row from a result's fields; `parts` has args and kwargs as the JSON texts they stand in it."""
    result = meta.get("result")
    kind = message = None
    if isinstance(result, Mapping):
        kind, message = _text(result.get("exc_type")), _message(result.get("exc_message"))
    elif result is not None:
        message = _message(result)
    done = when(meta.get("date_done"))
    args, args_state = _payload(parts.get("args"), "[")
    kwargs, kwargs_state = _payload(parts.get("kwargs"), "{")
    state = max(args_state, kwargs_state, key=_RANK.index)
    return {
        "failure_id": f"{_text(task_id)}/{done.isoformat() if done else '-'}",
        "task_id": _text(task_id),
        "task_name": _text(meta.get("name")),
        "queue": _text(meta.get("queue")),
        "status": status_of(str(meta.get("status"))),
        "args": args,
        "kwargs": kwargs,
        "payload_state": state,
        "exception_type": kind,
        "exception_message": message,
        "traceback": _text(meta.get("traceback")),
        "retries": tries_of(meta.get("retries")),
        "failed_at": done,
        "worker": _text(meta.get("worker")),
        "raw": raw,
    }


def _payload(text: str | None, opening: str) -> tuple[str | None, str]:
    """args or kwargs as JSON text, and whether they are whole."""
    if text is None or text == "null":
        return None, "missing"
    if text[:1] == opening:
        return text, "complete"
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return text, "unreadable"
    while isinstance(inner, str) and inner[:1] == '"':  # a JSON text that holds a JSON text
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            break
    if isinstance(inner, str):  # Python's repr of them: shown, not evaluated
        return _text(inner), "truncated" if _CUT.search(inner) else "unreadable"
    return text, "unreadable"


def _message(found: Any) -> str | None:
    if isinstance(found, list | tuple):
        texts = [part if isinstance(part, str) else json.dumps(part, default=str) for part in found]
        return _text(", ".join(texts))
    return _text(
        found if isinstance(found, str) or found is None else json.dumps(found, default=str)
    )


def when(found: Any) -> datetime | None:
    """A moment in UTC; Celery writes naive times in UTC."""
    try:
        moment = found if isinstance(found, datetime) else datetime.fromisoformat(str(found))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(found: Any) -> str | None:
    if found is None or found == "":
        return None
    return storable(str(found))
