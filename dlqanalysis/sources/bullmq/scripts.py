"""The Lua scripts: each does for one item what is one step of Redis, which happens whole or not at all. Items are
given to a script many at a time: what each needs of BullMQ's lists is then read once.
"""

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dlqanalysis.sources import _redis

if TYPE_CHECKING:
    import redis

Call = tuple[str, Sequence[bytes], Sequence[Any]]  #: a script, its keys, its arguments
LEDGER_DAYS = 62
TOGETHER = 200  #: items given to a script at once: Redis is busy with them for some 10 ms
UNDO_DAYS = 7  # a job that nobody took for a week is another incident

_EACH = """local answers = {}
for n = 1, items do
  local mine, said = {}, {}
  for k = 1, keys do mine[k] = KEYS[(n - 1) * keys + k] end
  for k = 1, arguments do said[k] = ARGV[2 + (n - 1) * arguments + k] end
  local good, answer = pcall(one, mine, said)
  if not good then answer = type(answer) == 'table' and answer or {err = 'ERR ' .. tostring(answer)} end
  answers[n] = answer
end
return answers
"""


@cache
def text(name: str) -> str:
    """A script by name, with head.lua in front; replay and remove have the checks of check.lua between."""
    here = files("dlqanalysis.sources.bullmq")
    parts = ("head", "check", name) if name in ("replay", "remove") else ("head", name)
    return "".join((here / f"{part}.lua").read_text() for part in parts)


@cache
def many(name: str) -> str:
    """The same script for many items; what it answers is a list of what `text` answers."""
    around = (files("dlqanalysis.sources.bullmq") / "many.lua").read_text()
    return f"{around}{text(name)}end\n{_EACH}"


@cache
def sha(name: str) -> str:
    """What Redis calls a script for many items."""
    return hashlib.sha1(many(name).encode()).hexdigest()


def run(client: "redis.Redis", calls: Sequence[Call]) -> list[Any]:
    """Each call's answer, or its error. An answer that was lost is asked for once more: the ledger knows what
    was done, so that doing it again does nothing. Raises what redis-py raises when that is lost, too.
    """
    import redis

    asked = _together(calls)
    answers = _twice(client, asked, by_name=True)
    unknown = [
        n for n, one in enumerate(answers) if isinstance(one, redis.exceptions.NoScriptError)
    ]
    if unknown:  # a script that Redis does not know has done nothing; its text makes it known
        again = _twice(client, [asked[n] for n in unknown], by_name=False)
        for n, answer in zip(unknown, again, strict=True):
            answers[n] = answer
    found: list[Any] = []
    for (_, items), answer in zip(asked, answers, strict=True):
        found += [answer] * len(items) if isinstance(answer, Exception) else answer
    return found


def _together(calls: Sequence[Call]) -> list[tuple[str, list[Call]]]:
    """Calls of the same script one after the other, some at a time."""
    found: list[tuple[str, list[Call]]] = []
    for call in calls:
        alike = (call[0], len(call[1]), len(call[2]))
        if found and len(found[-1][1]) < TOGETHER:
            name, keys, arguments = found[-1][1][0]
            if (name, len(keys), len(arguments)) == alike:
                found[-1][1].append(call)
                continue
        found.append((call[0], [call]))
    return found


def _twice(
    client: "redis.Redis", calls: Sequence[tuple[str, list[Call]]], by_name: bool
) -> list[Any]:
    import redis

    try:
        return _asked(client, calls, by_name)
    except (redis.ConnectionError, redis.TimeoutError):
        return _asked(client, calls, by_name)


def _asked(
    client: "redis.Redis", calls: Sequence[tuple[str, list[Call]]], by_name: bool
) -> list[Any]:
    """All calls in one go, by name; else the first of each script by its text."""
    asking: list[tuple[Any, ...]] = []
    known = {name for name, _ in calls} if by_name else set()
    for name, items in calls:
        how = ("EVALSHA", sha(name)) if name in known else ("EVAL", many(name))
        known.add(name)
        keys = [key for _, some, _ in items for key in some]
        arguments = [one for _, _, some in items for one in some]
        numbers = (len(items[0][1]), len(items[0][2]))
        asking.append((*how, len(keys), *keys, *numbers, *arguments))
    return _redis.answers(client, asking)


def months(now: float | None = None) -> tuple[str, str]:
    """The month of the ledger that is written now, and the one before it."""
    return _months(int((time.time() if now is None else now) // 3600))


@cache
def _months(hour: int) -> tuple[str, str]:
    today = datetime.fromtimestamp(hour * 3600, UTC)
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return f"{today:%Y-%m}", f"{year}-{month:02}"
