"""The lists as they are now, read in pages from the oldest end: producers push at the other one."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dlqanalysis.sources._priority import Entry
from dlqanalysis.sources.priority_redis.keys import Keys, digest, months
from dlqanalysis.text import decoded

if TYPE_CHECKING:
    import redis

_PAGE = 1_000
_TRIES = 5
_AT_ONCE = 500


def listed(
    client: "redis.Redis", keys: Keys, priorities: Iterable[str]
) -> tuple[list[tuple[str, Entry]], list[str]]:
    """(failure_id, entry) of each element, oldest first within its list; and notes."""
    found: list[tuple[str, Entry]] = []
    notes: list[str] = []
    for priority in priorities:
        raws, stood_still = _elements(client, keys.dead(priority))
        if not stood_still:
            notes.append(
                f"dlq:{priority} kept changing while it was read: entries may be missing. Read again when"
                " nobody replays."
            )
        ids = _numbered(client, keys, priority, raws)
        found += [(key, Entry.of(priority, raw)) for key, raw in zip(ids, raws, strict=True)]
    return found, notes


def _elements(client: "redis.Redis", key: bytes) -> tuple[list[bytes], bool]:
    """All elements, oldest first; and whether the pages fitted together.

    Each page begins with the last element of the one before: when it does not, somebody took an element out
    meanwhile, which moved the others, and the list is read anew.
    """
    found: list[bytes] = []
    for _ in range(_TRIES):
        found, there = [], client.llen(key)  # what is pushed from now on is not read
        while True:
            end = -len(found) if found else -1
            page = client.lrange(key, end - _PAGE + 1, end)[::-1]
            if found and (not page or page[0] != found[-1]):
                break
            found += page[1:] if found else page
            if len(page) < _PAGE or len(found) >= there:
                return found, True
    return found, False


def _numbered(client: "redis.Redis", keys: Keys, priority: str, raws: Sequence[bytes]) -> list[str]:
    """The failure_id of each element: equal ones get the lowest numbers that no ledger has."""
    bases = [f"{priority}:{digest(raw)}" for raw in raws]
    free: dict[str, list[int]] = {base: [] for base in bases}
    want = Counter(bases)
    next_number = dict.fromkeys(free, 1)
    short = list(free)
    while short:
        asked = []
        for base in short:
            first = next_number[base]
            next_number[base] = first + want[base] - len(free[base])
            asked += [(base, number) for number in range(first, next_number[base])]
        taken = noted(client, keys, [name(*one) for one in asked])
        for base, number in asked:
            if name(base, number) not in taken:
                free[base].append(number)
        short = [base for base in short if len(free[base]) < want[base]]
    numbers = {base: iter(found) for base, found in free.items()}
    return [name(base, next(numbers[base])) for base in bases]


def name(base: str, number: int) -> str:
    """The failure_id of the n-th of several equal elements."""
    return base if number == 1 else f"{base}#{number}"


def noted(client: "redis.Redis", keys: Keys, fields: Sequence[str]) -> dict[str, str]:
    """What the ledger has of each of these fields, where it has any."""
    ledgers = [key for key in map(keys.ledger, months()) if client.exists(key)]
    found: dict[str, str] = {}
    for start in range(0, len(fields) if ledgers else 0, _AT_ONCE):
        part = fields[start : start + _AT_ONCE]
        for ledger in ledgers:
            for field, token in zip(part, client.hmget(ledger, part), strict=True):
                if token is not None:
                    found.setdefault(field, token.decode("utf-8", "replace"))
    return found


def tasks(
    client: "redis.Redis", keys: Keys, entries: Sequence[tuple[str, Entry]]
) -> dict[str, dict[str, Any]]:
    """failure_id -> what is known of its task beside the entry: status, max_retries, idempotency_key, and
    expiry (milliseconds; of the copy that the system's own retry needs, for the task's newest entry)."""
    names = ("status", "max_retries", "idempotency_key")
    found: dict[str, dict[str, Any]] = {}
    newest = {entry.task_id: key for key, entry in entries}
    for start in range(0, len(entries), _AT_ONCE):
        part = [one for one in entries[start : start + _AT_ONCE] if one[1].task_id]
        asking = client.pipeline(transaction=False)
        for _, entry in part:
            asking.execute_command("HMGET", keys.task(entry.task_id), *names)
            asking.execute_command("PEXPIRETIME", keys.copy(entry.task_id))
        answers = asking.execute(raise_on_error=False)
        for n, (key, entry) in enumerate(part):
            values, expiry = answers[2 * n], answers[2 * n + 1]
            known = found[key] = {}
            if isinstance(values, list):
                told = zip(names, values, strict=True)
                known |= {k: decoded(v) for k, v in told if v}
            if isinstance(expiry, Exception):  # Redis before 7
                expiry = _expiry(client, keys.copy(entry.task_id))
            if expiry > 0 and newest[entry.task_id] == key:
                known["expiry"] = expiry
    return found


def _expiry(client: "redis.Redis", key: bytes) -> int:
    """When a key expires, in milliseconds, to the second; 0 for never or not known."""
    left = client.pttl(key)
    return round(time.time() + left / 1000) * 1000 if left > 0 else 0
