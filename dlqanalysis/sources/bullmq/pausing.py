"""Pauses queues and unpauses them, so that workers of BullMQ 5 and 6 both go on with everything."""

import time
from typing import TYPE_CHECKING, Any

from dlqanalysis.errors import RunError
from dlqanalysis.sources.bullmq import scripts
from dlqanalysis.sources.bullmq.keys import Keys, shown

if TYPE_CHECKING:
    import redis


def call(what: str, keys: Keys, who: str, token: str, field: bytes = b"") -> scripts.Call:
    """The script's call for pause or unpause; without a field the ledger notes nothing."""
    names = [keys(b"wait"), keys(b"paused"), *map(keys.ledger, scripts.months())]
    names += [keys(part) for part in (b"meta", b"events", b"prioritized", b"delayed", b"marker")]
    return (
        "pause",
        [*names, keys.paused],
        [what, who, token, field, "", scripts.LEDGER_DAYS * 86400],
    )


def who(run_id: str) -> str:
    """What our note says of a rest: no other one says the same."""
    return f"run {run_id}|{time.time_ns() // 1_000_000}"


def rest(client: "redis.Redis", keys: Keys, who: str) -> bool:
    """A queue rests while jobs of a run are put back; False when it was paused already."""
    code, told = _asked(client, keys, "pause", who)
    # the answer before this one may have been lost
    return code == 1 or told == who.encode()


def go_on(client: "redis.Redis", keys: Keys, who: str) -> None:
    """The end of that rest: workers go on, with all that waits."""
    _asked(client, keys, "unpause", who)


def _asked(client: "redis.Redis", keys: Keys, what: str, who: str) -> tuple[int, Any]:
    [answer] = scripts.run(client, [call(what, keys, who, "")])
    if isinstance(answer, Exception):
        raise answer
    code, told = answer
    if code == -3:
        raise RunError(
            f"Queue {shown(keys.queue)} was not {what}d: its key {shown(told)} is of a strange type."
            " Look at it with TYPE."
        )
    return code, told
