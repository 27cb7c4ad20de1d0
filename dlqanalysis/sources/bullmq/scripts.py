"""The Lua scripts: each one step of Redis, which happens whole or not at all."""

import hashlib
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
UNDO_DAYS = 7  # a job that nobody took for a week is another incident


@cache
def text(name: str) -> str:
    """A script by name, with head.lua in front; replay and remove have the checks of check.lua between."""
    here = files("dlqanalysis.sources.bullmq")
    parts = ("head", "check", name) if name in ("replay", "remove") else ("head", name)
    return "".join((here / f"{part}.lua").read_text() for part in parts)


@cache
def sha(name: str) -> str:
    """What Redis calls a script."""
    return hashlib.sha1(text(name).encode()).hexdigest()


def run(client: "redis.Redis", calls: Sequence[Call]) -> list[Any]:
    """Each call's answer, or its error. An answer that was lost is asked for once more: the ledger knows what
    was done, so that doing it again does nothing. Raises what redis-py raises when that is lost, too.
    """
    import redis

    answers = _twice(client, calls, by_name=True)
    unknown = [
        n for n, one in enumerate(answers) if isinstance(one, redis.exceptions.NoScriptError)
    ]
    if unknown:  # a script that Redis does not know has done nothing; its text makes it known
        again = _twice(client, [calls[n] for n in unknown], by_name=False)
        for n, answer in zip(unknown, again, strict=True):
            answers[n] = answer
    return answers


def _twice(client: "redis.Redis", calls: Sequence[Call], by_name: bool) -> list[Any]:
    import redis

    try:
        return _asked(client, calls, by_name)
    except (redis.ConnectionError, redis.TimeoutError):
        return _asked(client, calls, by_name)


def _asked(client: "redis.Redis", calls: Sequence[Call], by_name: bool) -> list[Any]:
    """All calls in one go, by name; else the first of each script by its text."""
    asking = client.pipeline(transaction=False)
    known = {name for name, _, _ in calls} if by_name else set()
    for name, keys, arguments in calls:
        how = ("EVALSHA", sha(name)) if name in known else ("EVAL", text(name))
        known.add(name)
        asking.execute_command(*how, len(keys), *keys, *arguments)
    return asking.execute(raise_on_error=False)


def months(now: float | None = None) -> tuple[str, str]:
    """The month of the ledger that is written now, and the one before it."""
    today = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return f"{today:%Y-%m}", f"{year}-{month:02}"
