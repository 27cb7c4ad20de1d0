"""What stands before a replay: are the queues there, does anybody work, and what may go wrong with these jobs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlqanalysis.model import Finding, Item
from dlqanalysis.sources._redis import answers
from dlqanalysis.sources._redis_health import keeps, takes
from dlqanalysis.sources.bullmq import standing
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.health import asked
from dlqanalysis.sources.bullmq.keys import Failure, Keys, place, shown
from dlqanalysis.sources.bullmq.workers import workers
from dlqanalysis.text import many

if TYPE_CHECKING:
    import redis

_AT_ONCE = 200
_STATES = ("waiting", "prioritized", "paused", "active", "delayed", "failed")
_ASKED = ("deid", "atm", "attemptsMade", "opts")


def findings(client: "redis.Redis", address: Address, items: Sequence[Item]) -> list[Finding]:
    """One finding a queue and one for each thing to think of; those that block say why."""

    by_queue: dict[bytes, list[Failure]] = {}
    for one in (place(item.failure_id) for item in items):
        by_queue.setdefault(one.queue, []).append(one)
    found = [*takes(client, address), *keeps(client, address)]
    queues = [Keys(address.prefix.encode(), queue) for queue in sorted(by_queue)]
    working = workers(client, address.prefix, queues)
    for keys in queues:
        consumers = None if working is None else len(working[keys.queue])
        found += _queue(client, address, keys, consumers)
        found += _jobs(client, keys, by_queue[keys.queue])
    return found


def _queue(
    client: "redis.Redis", address: Address, keys: Keys, consumers: int | None
) -> Iterator[Finding]:
    queue = shown(keys.queue)
    counts = _counts(client, keys)
    meta = dict(
        zip(
            ("paused", "version", "concurrency"),
            asked(client, "HMGET", keys(b"meta"), "paused", "version", "concurrency") or [None] * 3,
            strict=True,
        )
    )
    known = any(counts.values()) or any(meta.values())
    if not known:
        text = (
            f"There is no queue {queue} with prefix {address.prefix} at {address}: check ?prefix=."
        )
        yield Finding(name=f"queue {queue}", severity="critical", text=text, blocks=True)
        return
    version = (meta["version"] or b"").decode("utf-8", "replace")
    told = ", ".join(f"{count:,} {part}" for part, count in counts.items() if count)
    text = f"Queue {queue} ({version or 'version unknown'}): {told or 'empty'}."
    facts: dict[str, Any] = {**counts, "version": version}
    yield Finding(name=f"queue {queue}", severity="ok", text=text, facts=facts)
    if meta["paused"] is not None:
        ours = client.execute_command("GET", keys.paused)
        if ours:
            who = ours.decode("utf-8", "replace").partition("|")[0]
            text = (
                f"Queue {queue} is paused by {who}. Unpause it when it may go on: action='unpause'."
            )
            yield Finding(name=f"paused {queue}", severity="critical", text=text)
        else:
            text = f"Queue {queue} is paused: what goes back waits until somebody resumes it."
            yield Finding(name=f"paused {queue}", severity="warning", text=text)
    if consumers is None:
        text = f"Whether anybody works on {queue} cannot be told: this user may not list clients."
        yield Finding(name=f"workers {queue}", severity="ok", text=text)
        return
    text = f"Queue {queue} has workers." if consumers else f"Nobody works on queue {queue} now."
    yield Finding(name=f"workers {queue}", severity="ok" if consumers else "warning", text=text)


def _jobs(client: "redis.Redis", keys: Keys, ones: Sequence[Failure]) -> Iterator[Finding]:
    """What these jobs give to think: deduplication that has moved on, attempts set by hand, children."""
    unique: list[bytes] = []
    hidden = children = 0
    for start in range(0, len(ones), _AT_ONCE):
        names = [keys(one.job) for one in ones[start : start + _AT_ONCE]]
        rows = answers(client, [("HMGET", name, *_ASKED) for name in names])
        below = [("EXISTS", name + b":dependencies", name + b":unsuccessful") for name in names]
        for row, count in zip(rows, answers(client, below), strict=True):
            if isinstance(row, list):
                unique += [row[0]] if row[0] else []
                hidden += row[1] is not None and row[2] is not None
            children += isinstance(count, int) and count > 0
    queue = shown(keys.queue)
    if unique:
        live = _live(client, keys, unique)
        text = (
            f"In {queue} {many(len(unique), 'jobs have')} a deduplication id. While they lay failed, others with the"
            f" same id were let in ({live:,} are there now): look whether the work was done by those."
        )
        yield Finding(name=f"deduplication {queue}", severity="warning", text=text)
    if hidden:
        text = (
            f"In {queue} {many(hidden, 'jobs have')} an attemptsMade that somebody set by hand. It hides the"
            " real count, and is removed when they go back."
        )
        yield Finding(name=f"attempts {queue}", severity="warning", text=text)
    if children:
        text = (
            f"In {queue} {many(children, 'jobs are')} waiting for children that are not done, and will be refused."
            " Replay the children, wait for them, then the parents."
        )
        yield Finding(name=f"flows {queue}", severity="warning", text=text)


def _live(client: "redis.Redis", keys: Keys, unique: Sequence[bytes]) -> int:
    asking = client.pipeline(transaction=False)
    for name in unique[:5_000]:
        asking.execute_command("EXISTS", keys(b"de:" + name))
    return sum(answer == 1 for answer in asking.execute(raise_on_error=False))


def _counts(client: "redis.Redis", keys: Keys) -> dict[str, int]:
    asking = client.pipeline(transaction=False)
    for state in _STATES:
        standing.depth(asking, keys, state)
    depths = asking.execute(raise_on_error=False)
    return {
        state: depth if isinstance(depth, int) else 0
        for state, depth in zip(_STATES, depths, strict=True)
    }
