"""What can be seen to be wrong with Redis under BullMQ, and with its queues: one finding each."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dlqanalysis.model import Finding
from dlqanalysis.sources._redis_health import keeps
from dlqanalysis.sources.bullmq import standing
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.keys import Keys, shown
from dlqanalysis.text import some

if TYPE_CHECKING:
    import redis

_SAMPLE = 100  # failed jobs whose options are looked at


def server(client: "redis.Redis", address: Address) -> Iterator[Finding]:
    """Redis itself: reachable, never evicting, not full, able to save."""
    client.ping()
    told = asked(client, "INFO") or {}
    version = told.get("valkey_version") or told.get("redis_version") or "of unknown version"
    text = f"Redis at {address} answers ({version})."
    yield Finding(name="redis", severity="ok", text=text)
    yield from keeps(client, address)


def queue(client: "redis.Redis", keys: Keys, workers: int | None) -> Iterator[Finding]:
    """One queue: paused, worked on, stalled jobs, ids in two places, failures that are deleted."""
    import redis

    name = shown(keys.queue)
    try:
        paused = client.execute_command("HEXISTS", keys(b"meta"), "paused")
        asking = client.pipeline(transaction=False)
        for state in ("waiting", "paused", "prioritized"):
            standing.depth(asking, keys, state)
        waiting = sum(asking.execute())
        if paused:
            text = f"Queue {name} is paused; {some(waiting, 'job waits', 'jobs wait')}."
            yield Finding(name=f"paused {name}", severity="warning", text=text)
        elif waiting and workers == 0:
            text = f"{some(waiting, 'job waits', 'jobs wait')} in queue {name}, and nobody works on it."
            yield Finding(name=f"workers {name}", severity="critical", text=text)
        held = standing.ids(client, keys, "active")
        if gone := standing.stalled(client, keys, held):
            ones = sorted(map(shown, gone))
            text = (
                f"Without a worker any more: {some(len(gone), 'active job')} of queue {name} ({', '.join(ones[:3])})."
                " Any running worker puts such a job back within its stalledInterval. Do not clean active jobs."
            )
            facts = {"jobs": ones[:100]}
            yield Finding(name=f"stalled {name}", severity="warning", text=text, facts=facts)
        if doubles := standing.twice(client, keys):
            first, places = next(iter(doubles.items()))
            text = (
                f"Two places hold {some(len(doubles), 'job')} of queue {name}, such as {shown(first)} in"
                f" {' and '.join(places)}: somebody pushed ids by hand, and what stands twice may run twice."
            )
            facts = {"jobs": [shown(job) for job in list(doubles)[:100]]}
            yield Finding(name=f"duplicates {name}", severity="critical", text=text, facts=facts)
        yield from _deletes(client, keys)
    except redis.ResponseError as error:
        text = f"Queue {name} cannot be looked at: {' '.join(str(error).split())[:160]}"
        yield Finding(name=f"queue {name}", severity="warning", text=text)


def _deletes(client: "redis.Redis", keys: Keys) -> Iterator[Finding]:
    """Whether the newest failures say that BullMQ deletes failures."""
    asking = client.pipeline(transaction=False)
    for job in client.execute_command("ZREVRANGE", keys(b"failed"), 0, _SAMPLE - 1):
        asking.execute_command("HGET", keys(job), "opts")
    rows = asking.execute(raise_on_error=False)
    deleting = sum(_removes(opts) for opts in rows if isinstance(opts, bytes))
    if deleting:
        text = (
            f"{deleting} of the newest {len(rows)} failures of queue {shown(keys.queue)} say removeOnFail: BullMQ"
            " deletes failures there, so that what is read is not all that failed."
        )
        yield Finding(name=f"removes {shown(keys.queue)}", severity="warning", text=text)


def _removes(opts: bytes) -> bool:
    try:
        told = json.loads(opts, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and bool(told.get("removeOnFail"))


def moment(milliseconds: Any) -> datetime | None:
    """A time of BullMQ; None where there is none."""
    try:
        return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def asked(client: "redis.Redis", *command: Any) -> Any:
    """An answer; None where Redis refuses to give one."""
    import redis

    try:
        return client.execute_command(*command)
    except redis.ResponseError:
        return None
