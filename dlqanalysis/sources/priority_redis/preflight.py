"""What stands before a replay: may we write, does anybody take tasks, and what these entries give to think."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dlqanalysis.model import Finding, Item
from dlqanalysis.sources._priority import PRIORITIES, Entry
from dlqanalysis.sources._redis_health import keeps, takes
from dlqanalysis.sources.priority_redis.address import Address
from dlqanalysis.sources.priority_redis.keys import Keys
from dlqanalysis.text import many

if TYPE_CHECKING:
    import redis

_TAKING = ("brpop", "blpop", "blmove", "brpoplpush", "blmpop")


def findings(
    client: "redis.Redis",
    address: Address,
    keys: Keys,
    items: Sequence[Item],
    entries: Mapping[str, Entry],
) -> list[Finding]:
    """What somebody should see before anything is sent; what blocks comes with the next step."""
    chosen = [entries[item.failure_id] for item in items if item.failure_id in entries]
    return [
        *takes(client, address),
        *keeps(client, address),
        *_lists(client, address, keys, items),
        *workers(client),
        *_entries(items, chosen),
    ]


def _lists(
    client: "redis.Redis", address: Address, keys: Keys, items: Sequence[Item]
) -> Iterator[Finding]:
    for priority in PRIORITIES:
        asked = sum(item.queue == priority for item in items)
        if not asked:
            continue
        kind = client.type(keys.queue(priority))
        if kind not in (b"list", b"none"):
            text = (
                f"tasks:{priority} at {address} is a {kind.decode()}, not a list: what is replayed"
                " would not be taken from there. Check the database's number and ?prefix=."
            )
            yield Finding(name=f"tasks {priority}", severity="critical", text=text, blocks=True)
            continue
        waiting, dead = client.llen(keys.queue(priority)), client.llen(keys.dead(priority))
        text = (
            f"tasks:{priority} has {waiting:,} waiting, dlq:{priority} {dead:,}; {asked:,} go back."
        )
        facts = {"waiting": waiting, "dead": dead, "planned": asked}
        yield Finding(name=f"tasks {priority}", severity="ok", text=text, facts=facts)


def workers(client: "redis.Redis") -> Iterator[Finding]:
    """Whether a client waits for an element of a list in this database, as far as this user may see."""
    import redis

    try:
        clients = client.client_list()
        here = client.connection_pool.connection_kwargs.get("db", 0)
    except redis.ResponseError:
        text = "Whether anybody takes tasks cannot be told: this user may not list clients."
        yield Finding(name="workers", severity="ok", text=text)
        return
    waiting = [
        one for one in clients if one.get("cmd") in _TAKING and int(one.get("db", 0)) == here
    ]
    if waiting:
        text = f"{len(waiting):,} clients wait for tasks."
        yield Finding(name="workers", severity="ok", text=text, facts={"waiting": len(waiting)})
    else:
        text = "No client waits for an element of a list now: workers are busy, ask now and then, or are down."
        yield Finding(name="workers", severity="warning", text=text)


def _entries(items: Sequence[Item], chosen: Sequence[Entry]) -> Iterator[Finding]:
    if gone := len(items) - len(chosen):
        text = f"{gone:,} of the plan's entries are not in their lists any more; they are skipped."
        yield Finding(name="gone", severity="warning", text=text)
    names = [entry.task_id for entry in chosen if entry.task_id]
    if twice := len(names) - len(set(names)):
        text = (
            f"{many(twice, 'entries are')} of a task that has another one here. The first that goes back makes the"
            " task pending, so that the others are skipped."
        )
        yield Finding(name="same task", severity="warning", text=text)
