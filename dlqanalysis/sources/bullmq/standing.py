"""Which jobs stand where in a queue: those that workers hold, those whose worker is gone, ids in two places.

Reads only, in pages; what seems wrong is looked at a second time in one step, since jobs move while one reads.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dlqanalysis.sources.bullmq.jobs import FIELDS
from dlqanalysis.sources.bullmq.keys import Keys

if TYPE_CHECKING:
    import redis

#: a state -> its key and the key's type
PLACES = {
    "waiting": (b"wait", "list"), "paused": (b"paused", "list"), "active": (b"active", "list"),
    "prioritized": (b"prioritized", "zset"), "delayed": (b"delayed", "zset"),
    "waiting_children": (b"waiting-children", "zset"), "failed": (b"failed", "zset"),
    "completed": (b"completed", "zset"),
}  # fmt: skip
MOST = 20_000  #: ids of one place that are looked at
_AT_ONCE = 500
_ASKED = (*FIELDS, "processedOn")


class Standing(NamedTuple):
    """A job where it stands."""

    job: bytes
    state: str
    fields: dict[str, bytes | None]
    locked: bool


def depth(asking: Any, keys: Keys, state: str) -> None:
    """Ask how many stand in a place."""
    part, kind = PLACES[state]
    asking.execute_command("LLEN" if kind == "list" else "ZCARD", keys(part))


def ids(client: "redis.Redis", keys: Keys, state: str, most: int = MOST) -> list[bytes]:
    """The ids in a place, the next one to be taken first; at most so many."""
    part, kind = PLACES[state]
    found: list[bytes] = []
    while len(found) < most:
        size = min(_AT_ONCE * 4, most - len(found))
        if kind == "list":  # workers take from the right end
            page = client.execute_command(
                "LRANGE", keys(part), -len(found) - size, -len(found) - 1
            )[::-1]
        else:
            page = client.execute_command("ZRANGE", keys(part), len(found), len(found) + size - 1)
        found += page
        if len(page) < size:
            break
    # BullMQ 4 keeps markers in its lists, which are no jobs
    return [one for one in dict.fromkeys(found) if not one.startswith(b"0:")]


def standing(
    client: "redis.Redis", keys: Keys, states: Iterable[str], most: int = MOST
) -> list[Standing]:
    """The jobs of these states with what they say, each once: a job may move on while one reads."""
    import redis

    found = []
    seen: set[bytes] = set()
    for state in states:
        names = [job for job in ids(client, keys, state, most) if job not in seen]
        seen |= set(names)
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            asking = client.pipeline(transaction=False)
            for job in part:
                asking.execute_command("HMGET", keys(job), *_ASKED)
                asking.execute_command("EXISTS", keys(job) + b":lock")
            answers = asking.execute(raise_on_error=False)
            for job, row, lock in zip(part, answers[::2], answers[1::2], strict=True):
                if isinstance(row, redis.ResponseError):
                    row = [None] * len(_ASKED)
                found.append(Standing(job, state, dict(zip(_ASKED, row, strict=True)), lock == 1))
    return found


def stalled(client: "redis.Redis", keys: Keys, jobs: Sequence[bytes]) -> set[bytes]:
    """Those of these jobs that are active without a lock at one and the same moment: their worker is gone."""
    gone: set[bytes] = set()
    for start in range(0, len(jobs), _AT_ONCE):
        part = jobs[start : start + _AT_ONCE]
        asking = client.pipeline(transaction=True)
        asking.execute_command("LRANGE", keys(b"active"), 0, MOST)
        for job in part:
            asking.execute_command("EXISTS", keys(job) + b":lock")
        active, *locks = asking.execute()
        there = set(active)
        gone |= {job for job, lock in zip(part, locks, strict=True) if not lock and job in there}
    return gone


def twice(client: "redis.Redis", keys: Keys) -> dict[bytes, list[str]]:
    """Ids that stand in a list more than once, or in two places: job -> places. Each must be in one."""
    lists = {state: _raw(client, keys, state) for state in ("waiting", "paused", "active")}
    counts = Counter(job for names in lists.values() for job in names)
    suspects = {job for job, count in counts.items() if count > 1}
    names = list(counts)
    for start in range(0, len(names), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        asking = client.pipeline(transaction=False)
        for state in _SETS:
            asking.execute_command("ZMSCORE", keys(PLACES[state][0]), *part)
        for scores in asking.execute():
            suspects |= {job for job, score in zip(part, scores, strict=True) if score is not None}
    found = {}
    for job in sorted(suspects):
        asking = client.pipeline(transaction=True)
        for state in lists:
            asking.execute_command("LPOS", keys(PLACES[state][0]), job, "COUNT", 2)
        for state in _SETS:
            asking.execute_command("ZSCORE", keys(PLACES[state][0]), job)
        answers = asking.execute()
        places = [s for s, at in zip(lists, answers, strict=False) for _ in at or ()]
        places += [s for s, at in zip(_SETS, answers[3:], strict=True) if at is not None]
        if len(places) > 1:
            found[job] = places
    return found


_SETS = [state for state, (_, kind) in PLACES.items() if kind == "zset"]


def _raw(client: "redis.Redis", keys: Keys, state: str) -> list[bytes]:
    """A list's ids, an id as often as it stands there; the next ones first, and not markers."""
    part = PLACES[state][0]
    names = client.execute_command("LRANGE", keys(part), -MOST, -1)
    return [one for one in names if not one.startswith(b"0:")]
