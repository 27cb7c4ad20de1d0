"""What stands before a replay: are the lists what they should be, and does the server keep what it gets."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dlqanalysis.model import Finding
from dlqanalysis.sources._redis_health import keeps, takes
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.keys import shown
from dlqanalysis.text import some

if TYPE_CHECKING:
    import redis


def findings(client: "redis.Redis", address: Address, keys: Sequence[bytes]) -> list[Finding]:
    """One finding a dead-letter list with its main list, and one for each thing to think of."""
    found = [*takes(client, address.server), *keeps(client, address.server)]
    for key in keys:
        found += _lists(client, address, key)
    return found


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
    text = f"{name} has {some(dead, 'dead letter')}; {some(waiting, 'message waits', 'messages wait')} in {shown(main)}."
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
