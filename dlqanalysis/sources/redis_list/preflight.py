"""What stands before a replay: are the lists what they should be, and does the server keep what it gets."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlqanalysis.model import Finding
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.keys import shown

if TYPE_CHECKING:
    import redis

_FULL = 0.9  #: share of maxmemory above which it is said


def findings(client: "redis.Redis", address: Address, keys: Sequence[bytes]) -> list[Finding]:
    """One finding a dead-letter list with its main list, and one for each thing to think of."""
    found = list(server(client, address))
    found += list(_scripts(client, address))
    for key in keys:
        found += _lists(client, address, key)
    return found


def server(client: "redis.Redis", address: Address) -> Iterator[Finding]:
    """What the server says of itself: its role, its memory, its disk."""
    import redis

    said: dict[str, Any] = {}
    for section in ("replication", "memory", "persistence"):
        try:
            said |= client.info(section)
        except redis.ResponseError:
            continue  # a user need not have INFO
    if said.get("role") not in (None, "master"):
        text = f"Redis at {address.server} is a replica, which takes no writes. Give the hand the primary."
        yield Finding(name="role", severity="critical", text=text, blocks=True)
    limit, used = int(said.get("maxmemory", 0)), int(said.get("used_memory", 0))
    policy = str(said.get("maxmemory_policy", "noeviction"))
    facts = {"used_memory": used, "maxmemory": limit, "maxmemory_policy": policy}
    if limit and policy.startswith("allkeys"):
        text = (
            f"Redis at {address.server} deletes any key when its memory is full ({policy}): whole lists may"
            " vanish. Set maxmemory-policy noeviction for queues."
        )
        yield Finding(name="eviction", severity="warning", text=text, facts=facts)
    if limit and used > _FULL * limit:
        text = (
            f"Redis at {address.server} uses {used / limit:.0%} of its memory: it may refuse or delete what"
            " comes. Make room first."
        )
        yield Finding(name="memory", severity="critical", text=text, facts=facts)
    if said.get("rdb_last_bgsave_status") == "err" or said.get("aof_last_write_status") == "err":
        text = f"Redis at {address.server} cannot write to its disk: what moves now may be lost in a crash. Look at its log."
        yield Finding(name="disk", severity="critical", text=text)


def _scripts(client: "redis.Redis", address: Address) -> Iterator[Finding]:
    import redis

    try:
        client.eval("return 1", 0)
    except redis.ResponseError:
        text = f"Redis at {address.server} runs no scripts for this user: grant it EVAL."
        yield Finding(name="scripts", severity="critical", text=text, blocks=True)


def _lists(client: "redis.Redis", address: Address, key: bytes) -> Iterator[Finding]:
    name, main = shown(key), address.main_of(key)
    if main is None:
        text = f"Nothing says which list the consumers of {name} take from. Add it to the URL: &main=..."
        yield Finding(name=f"main of {name}", severity="critical", text=text, blocks=True)
        return
    for one in (key, main):
        kind = client.type(one)
        if kind not in (b"list", b"none"):
            text = (
                f"{shown(one)} is a {kind.decode()}, not a list. Check keys= and main= in the URL."
            )
            yield Finding(name=f"type {shown(one)}", severity="critical", text=text, blocks=True)
            return
    dead, waiting = client.llen(key), client.llen(main)
    facts = {"dead_lettered": dead, "waiting": waiting}
    text = f"{name} has {dead:,} dead letters; {waiting:,} messages wait in {shown(main)}."
    yield Finding(name=f"list {name}", severity="ok", text=text, facts=facts)
    if not waiting:
        text = (
            f"{shown(main)} is empty, as it is when consumers keep up, or when nobody uses that name. Make"
            " sure that they take from it."
        )
        yield Finding(name=f"main of {name}", severity="warning", text=text)
    if (left := client.ttl(key)) > 0:
        text = f"Redis forgets {name} in {left:,} seconds. Take a snapshot of what is to stay."
        yield Finding(name=f"expiry {name}", severity="warning", text=text)
