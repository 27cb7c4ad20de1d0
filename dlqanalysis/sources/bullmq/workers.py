"""Who works on which queue: the connections that BullMQ's workers name, `prefix:base64(queue)` and `:w:` a name."""

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from dlqanalysis.sources.bullmq.keys import Keys

if TYPE_CHECKING:
    import redis


class Worker(NamedTuple):
    """A worker's connection."""

    name: str  #: the one it was given, else its address
    age: int  #: seconds since it connected


def workers(
    client: "redis.Redis", prefix: str, queues: Iterable[Keys]
) -> dict[bytes, list[Worker]] | None:
    """queue -> its workers; None where this Redis or user lists no clients."""
    import redis

    try:
        every = client.client_list()
    except redis.ResponseError:
        return None
    found: dict[bytes, list[Worker]] = {keys.queue: [] for keys in queues}
    for queue, ones in found.items():
        base = f"{prefix}:{base64.b64encode(queue).decode()}"
        for one in every:
            name = str(one.get("name", ""))
            if name == base or name.startswith(f"{base}:w:"):
                told = name.removeprefix(base).removeprefix(":w:") or str(one.get("addr", ""))
                ones.append(Worker(told, int(one.get("age", 0))))
    return found
