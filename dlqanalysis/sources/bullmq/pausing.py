"""Pauses queues and resumes them, so that workers of BullMQ 5 and 6 both go on with everything."""

from typing import TYPE_CHECKING

from dlqanalysis.errors import RunError
from dlqanalysis.sources.bullmq import scripts
from dlqanalysis.sources.bullmq.keys import Keys, shown

if TYPE_CHECKING:
    import redis

_PARTS = (b"wait", b"paused", b"meta", b"prioritized", b"events", b"delayed", b"marker")
_AT_ONCE = 1000  # jobs moved in one step


def note(keys: Keys) -> bytes:
    """Where it stands that we paused a queue: who, and when."""
    return keys.ours + b":paused"


def pause(client: "redis.Redis", keys: Keys, token: str) -> bool:
    """Workers take no new job from now on. False when it was paused already, by somebody else."""
    return _done(client, keys, "pause", token)


def resume(client: "redis.Redis", keys: Keys) -> bool:
    """Workers go on, with all that waits. False when it was not paused."""
    return _done(client, keys, "resume", "")


def _done(client: "redis.Redis", keys: Keys, what: str, token: str) -> bool:
    names = [keys(part) for part in _PARTS] + [note(keys)]
    did, left = False, 1
    while left:
        [answer] = scripts.run(client, [("pause", names, [what, token, _AT_ONCE])])
        if isinstance(answer, Exception):
            raise answer
        code, told = answer
        if code == -3:
            raise RunError(
                f"Queue {shown(keys.queue)} was not {what}d: its key {shown(told)} is of a strange type."
                " Look at it with TYPE."
            )
        did = did or code == 1
        left = told if code == 1 else 0
    return did
