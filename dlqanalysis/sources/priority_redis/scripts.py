"""The Lua scripts: each one step of Redis, which happens whole or not at all."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dlqanalysis.text import decoded

if TYPE_CHECKING:
    import redis

Call = tuple[str, Sequence[bytes], Sequence[Any]]  #: a script, its keys, its arguments
LEDGER_SECONDS = 62 * 86_400
_FRONT = {"replay": "check", "remove": "check", "restore": "back", "undo": "back"}


@cache
def text(name: str) -> str:
    """A script by name, with what it asks first in front."""
    here = files("dlqanalysis.sources.priority_redis")
    return (here / f"{_FRONT[name]}.lua").read_text() + (here / f"{name}.lua").read_text()


def run(client: "redis.Redis", call: Call) -> tuple[int, str]:
    """A script's answer: code, and what is known. An answer that was lost is asked for once more: the ledger
    knows what was done, so that doing it again does nothing. Raises what redis-py raises when that is lost, too.
    """
    import redis

    name, keys, arguments = call
    try:
        code, told = client.eval(text(name), len(keys), *keys, *arguments)
    except (redis.ConnectionError, redis.TimeoutError):
        code, told = client.eval(text(name), len(keys), *keys, *arguments)
    return int(code), decoded(told)
