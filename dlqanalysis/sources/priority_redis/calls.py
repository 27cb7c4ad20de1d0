"""What each script is called with: its keys and arguments, in the order that it names them."""

from typing import Any

from dlqanalysis.model import Item
from dlqanalysis.sources._priority import Entry, Options
from dlqanalysis.sources.priority_redis.keys import Keys, months, priority_of
from dlqanalysis.sources.priority_redis.scripts import LEDGER_SECONDS, Call
from dlqanalysis.text import written

_TASK_SECONDS = 86_400  # as the system keeps what it knows of a task
_BACK = "back:"  # goes before the ledger's fields for what was taken back


def back_field(failure_id: str) -> str:
    """The ledger's field that notes that a failure was given back to its list."""
    return _BACK + failure_id


def replay(
    keys: Keys,
    item: Item,
    entry: Entry,
    new: Entry,
    token: str,
    run_id: str,
    options: Options,
    copy: bytes,
) -> Call:
    """Entry to task; `new` is what goes, the entry itself where it was not repaired."""
    task_id = entry.task_id or new.task_id
    names, arguments = _checked(keys, item, entry, token, copy, task_id)
    names += [keys.task(task_id), keys.queue(entry.priority), keys.waiting, keys.taken(run_id)]
    arguments += [
        _bytes(task_id),
        0 if options.reset_attempts else "",
        "" if new is entry else _bytes(new.payload or ""),
        _TASK_SECONDS,
        int(options.ttl.total_seconds()),
    ]
    for field, value in _fields(new, task_id).items():
        arguments += [field, _bytes(value)]
    return "replay", names, arguments


def remove(keys: Keys, item: Item, entry: Entry, token: str, action: str, copy: bytes) -> Call:
    """Entry aside (quarantine, archive) or away (purge)."""
    names, arguments = _checked(keys, item, entry, token, copy, entry.task_id)
    names += keys.aside("archive" if action == "purge" else action)
    return "remove", names, [*arguments, "" if action == "purge" else "1"]


def restore(keys: Keys, item: Item, token: str) -> Call:
    """Entry back from quarantine or archive, if the run that is undone set it aside."""
    names = [*_places(keys, item), *keys.aside("quarantine"), *keys.aside("archive")]
    return "restore", names, [*_back(item, token), item.undoes]


def undo(keys: Keys, item: Item, entry: Entry, token: str) -> Call:
    """A replayed task out of its queue, its entry back; `entry` is what the run took."""
    task_id = entry.task_id or item.sent_id
    names = [
        *_places(keys, item),
        keys.task(task_id),
        keys.queue(entry.priority),
        keys.taken(item.undoes),
    ]
    attempts = entry.value("retries")
    count = str(attempts) if isinstance(attempts, int) else ""
    return "undo", names, [*_back(item, token), _bytes(task_id), count, _bytes(entry.payload or "")]


def _checked(
    keys: Keys, item: Item, entry: Entry, token: str, copy: bytes, task_id: str
) -> tuple[list[bytes], list[Any]]:
    now, before = months()
    names = [keys.dead(entry.priority), keys.ledger(now), keys.ledger(before), keys.copy(task_id)]
    return names, [entry.raw, item.failure_id, token, LEDGER_SECONDS, copy]


def _places(keys: Keys, item: Item) -> list[bytes]:
    now, before = months()
    priority = priority_of(item.failure_id)
    return [keys.dead(priority), keys.ledger(now), keys.ledger(before), keys.copy(item.task_id)]


def _back(item: Item, token: str) -> list[Any]:
    return [item.failure_id, back_field(item.failure_id), token, LEDGER_SECONDS]


def _fields(entry: Entry, task_id: str) -> dict[str, str]:
    """What the system keeps of a task, as far as its entry tells: texts, the payload as the JSON that it was."""
    names = {
        "type": "task_name",
        "created_at": "enqueued_at",
        "attempts": "retries",
        "max_retries": "max_retries",
        "last_error": "exception_message",
        "idempotency_key": "idempotency_key",
        "trace_id": "trace_id",
    }
    fields = {"id": task_id, "payload": entry.payload or "", "priority": entry.priority}
    for field, column in names.items():
        if (value := entry.value(column)) is not None:
            fields[field] = written(value)
    return fields


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "backslashreplace")
