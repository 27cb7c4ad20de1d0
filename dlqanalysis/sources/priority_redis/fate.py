"""What became of failures: from the ledger, from their task's own state, and from new entries of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dlqanalysis.model import Item, Outcome, Verdict
from dlqanalysis.sources._priority import DONE, UNDER_WAY, Entry
from dlqanalysis.sources.priority_redis.calls import back_field
from dlqanalysis.sources.priority_redis.entries import noted
from dlqanalysis.sources.priority_redis.keys import Keys, digest, priority_of
from dlqanalysis.text import decoded

if TYPE_CHECKING:
    import redis

_AT_ONCE = 200


def told(token: str) -> tuple[str, str, str]:
    """(action, run, time) of an entry of the ledger."""
    action, _, rest = token.partition("|")
    run, _, milliseconds = rest.rpartition("|")
    if not milliseconds.isdecimal():
        return action, run, "?"
    return (
        action,
        run,
        f"{datetime.fromtimestamp(int(milliseconds) / 1000, UTC):%Y-%m-%d %H:%M:%S}Z",
    )


def ledger(client: "redis.Redis", keys: Keys, failure_ids: Sequence[str]) -> dict[str, str]:
    """What was done with each failure, where the ledger has any."""
    return noted(client, keys, failure_ids)


def given_back(client: "redis.Redis", keys: Keys, failure_ids: Sequence[str]) -> dict[str, str]:
    """Who gave each failure back to its list last, where the ledger has any."""
    found = noted(client, keys, [back_field(one) for one in failure_ids])
    return {one: found[back_field(one)] for one in failure_ids if back_field(one) in found}


def aside(
    client: "redis.Redis", keys: Keys, failure_ids: Sequence[str]
) -> dict[str, tuple[str, bytes]]:
    """failure_id -> (quarantine or archive, bytes) of what lies there."""
    found: dict[str, tuple[str, bytes]] = {}
    for action in ("quarantine", "archive"):
        place, _ = keys.aside(action)
        for start in range(0, len(failure_ids), _AT_ONCE):
            part = failure_ids[start : start + _AT_ONCE]
            for one, raw in zip(part, client.hmget(place, part), strict=True):
                if raw is not None:
                    found[one] = (action, raw)
    return found


def taken(client: "redis.Redis", keys: Keys, item: Item) -> Entry | None:
    """The entry that a run replayed, while it keeps it."""
    held = client.hget(keys.taken(item.undoes), item.failure_id) if item.undoes else None
    if held is None:
        return None
    return Entry.of(priority_of(item.failure_id), held.partition(b":")[2])


def outcomes(client: "redis.Redis", keys: Keys, items: Mapping[str, str]) -> list[Verdict]:
    """What became of each, given failure_id -> the id of the task that was sent."""
    found: list[Verdict] = []
    ids = list(items)
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        asking = client.pipeline(transaction=False)
        for one in part:
            asking.hmget(keys.task(items[one]), "status", "last_error")
            asking.get(keys.copy(items[one]))
        answers = asking.execute(raise_on_error=False)
        for n, one in enumerate(part):
            task, copy = answers[2 * n : 2 * n + 2]
            status, error = task if isinstance(task, list) else (None, None)
            found.append(_verdict(one, status, error, copy if isinstance(copy, bytes) else None))
    return found


def _verdict(
    failure_id: str, status: bytes | None, error: bytes | None, copy: bytes | None
) -> Verdict:
    """A copy in `dlq:task:` is there only for what is dead-lettered now, until it is replayed."""
    word = (status or b"").decode("utf-8", "replace").lower()
    outcome, detail, message = Outcome.UNKNOWN, "nothing is known of its task any more", ""
    if word in DONE:
        outcome, detail = Outcome.SUCCEEDED, f"its task is {word}"
    elif word in UNDER_WAY:
        outcome, detail = Outcome.PENDING, f"its task is {word}"
    elif copy is not None and digest(copy) == failure_id.partition(":")[2].partition("#")[0]:
        outcome, detail = Outcome.PENDING, "it is where it was"
    elif copy is not None or word:
        outcome, detail = Outcome.FAILED_AGAIN, f"its task is {word or 'dead-lettered'} again"
        message = decoded(error or b"")
    return Verdict(failure_id=failure_id, outcome=outcome, detail=detail, exception_message=message)
