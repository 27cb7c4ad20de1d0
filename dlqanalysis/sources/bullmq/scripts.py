"""The Lua scripts: each one step of Redis, which happens whole or not at all."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

Call = tuple[str, Sequence[bytes], Sequence[Any]]  #: a script, its keys, its arguments
LEDGER_DAYS = 62


@cache
def text(name: str) -> str:
    """A script by name; replay and remove have the checks of check.lua in front."""
    here = files("dlqanalysis.sources.bullmq")
    check = (here / "check.lua").read_text() if name in ("replay", "remove") else ""
    return check + (here / f"{name}.lua").read_text()


def run(client: "redis.Redis", calls: Sequence[Call]) -> list[Any]:
    """Each call's answer, or its error. An answer that was lost is asked for once more: the ledger knows what
    was done, so that doing it again does nothing. Raises what redis-py raises when that is lost, too.
    """
    import redis

    for again in (True, False):
        asking = client.pipeline(transaction=False)
        for name, keys, arguments in calls:
            asking.execute_command("EVAL", text(name), len(keys), *keys, *arguments)
        try:
            return asking.execute(raise_on_error=False)
        except (redis.ConnectionError, redis.TimeoutError):
            if not again:
                raise
    raise AssertionError("unreachable")


def months(now: float | None = None) -> tuple[str, str]:
    """The month of the ledger that is written now, and the one before it."""
    today = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return f"{today:%Y-%m}", f"{year}-{month:02}"
