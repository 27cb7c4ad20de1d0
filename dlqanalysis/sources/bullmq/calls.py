"""What goes to the scripts for each action, and what their answers mean."""

import time
from functools import lru_cache
from typing import Any

from dlqanalysis.model import Item, Receipt, State
from dlqanalysis.sources.bullmq import fate, jobs, look, pausing, scripts
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.keys import Failure, Keys, named, queue_of, shown

_STRANGE = "the key {place} is in the way, or of a type that BullMQ does not make"
_ANSWERS = {
    0: (State.SKIPPED, "it is not failed any more: somebody retried or removed it"),
    -1: (State.REFUSED, "its job is gone, only its id is left"),
    -2: (State.SKIPPED, "it failed again since it was read (at {place})"),
    -3: (State.REFUSED, _STRANGE),
    -4: (State.SKIPPED, "its content changed at this moment"),
    -5: (State.SKIPPED, "a worker holds it"),
    -6: (State.REFUSED, "{place} of its children are not done: replay those first"),
    -7: (State.REFUSED, "its parent {place} waits for it: replay it, or take the parent first"),
    -8: (State.REFUSED, "its id stands in `{place}` as well: somebody pushed it there, and it would run twice"),
    -9: (State.SKIPPED, "run {run} did something else with it ({action} at {when})"),
    -10: (State.REFUSED, f"what its replay took out of it is kept for {scripts.UNDO_DAYS} days only"),
    -11: (State.REFUSED, "there is no such queue: check its name, and ?prefix="),
}  # fmt: skip
_OF_ACTION = {
    ("restore", 0): (State.SKIPPED, "it is not in quarantine"),
    ("pause", 0): (State.SKIPPED, "it was paused already"),
    ("unpause", 0): (State.SKIPPED, "it was not paused"),
    ("undo", -1): (State.SKIPPED, "its job is gone: it has run, or somebody removed it"),
    ("undo", -2): (State.SKIPPED, "it has run and failed again (at {place})"),
    ("undo", -4): (State.SKIPPED, "its content changed since it was replayed"),
    ("undo", -5): (State.SKIPPED, "a worker has taken it"),
    ("undo", -7): (State.SKIPPED, "its parent {place} has gone on with it"),
}


def now() -> int:
    """Milliseconds."""
    return time.time_ns() // 1_000_000


def of_queue(action: str, prefix: bytes, item: Item, run_id: str) -> scripts.Call:
    """The call that pauses or unpauses the item's queue."""
    keys = Keys(prefix, named(item.queue))
    token = f"{action}|{run_id}|{now()}"
    who = f"run {run_id}|{now()}" if action == "pause" else ""
    return pausing.call(action, keys, who, token, item.failure_id.encode())


def of_job(
    action: str, address: Address, item: Item, one: Failure, have: look.Fields, run_id: str
) -> scripts.Call:
    """The call that acts on a job, given what it says now."""
    prefix = address.prefix.encode()
    keys = Keys(prefix, one.queue)
    asked, going = _of_queue(prefix, one.queue, scripts.months())
    names = [keys(one.job), *asked]
    token = f"{action}|{run_id}|{now()}"
    seal = look.seal(have) if have else ""
    arguments: list[Any] = [one.job, one.score, token, one.field, seal, scripts.LEDGER_DAYS * 86400]
    if action == "replay":
        names += [*going, keys.kept(one)]
        push = "RPUSH" if jobs.lifo(have["opts"]) else "LPUSH"
        data = item.payload
        arguments += [int(address.reset_attempts), push, *look.parent(have)]
        arguments += [scripts.UNDO_DAYS * 86400, int(data is not None), data or b""]
        return "replay", names, arguments
    if action == "undo":
        names += [*map(keys, (b"wait", b"paused", b"prioritized")), keys.kept(one)]
        return "undo", names, [*arguments, item.undoes]
    if action == "restore":
        names += [keys.quarantine, keys.set_aside(one.job)]
        return "restore", names, [*arguments, item.undoes]
    aside = keys.set_aside(one.job) if action == "quarantine" else b""
    return "remove", [*names, keys.quarantine], [*arguments, aside, have["deid"] or b""]


@lru_cache(1024)
def _of_queue(
    prefix: bytes, queue: bytes, months: tuple[str, str]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The keys of a queue that every script wants, and those that a replay wants besides: the same for all its jobs."""
    keys = Keys(prefix, queue)
    going = (b"wait", b"paused", b"active", b"marker", b"prioritized", b"pc")
    every = (keys(b"failed"), *map(keys.ledger, months), keys(b"meta"), keys(b"events"))
    return every, tuple(map(keys, going))


def judged(
    action: str, address: Address, item: Item, answer: Any, run_id: str, rested: bool = False
) -> Receipt:
    """A receipt for a script's answer. A queue that rested meanwhile is going on again."""
    import redis

    if isinstance(answer, redis.ConnectionError | redis.TimeoutError):
        return receipt(item, State.UNCERTAIN, f"asked, not answered: {type(answer).__name__}")
    if isinstance(answer, Exception):  # scripts check before they write, so nothing happened
        return receipt(item, State.REFUSED, str(address.trouble(answer)))
    code, told = int(answer[0]), answer[1]
    if code == 1:
        where = f"to {told.decode()}" if told else ""
        if len(answer) > 2 and answer[2] == b"1":
            where = "while its queue rested" if rested else f"{where}; the queue is paused"
        return receipt(item, State.SENT, where, _sent_id(item))
    if code == 2:
        return noted(item, told.decode("utf-8", "replace"), run_id)
    place = shown(told) if isinstance(told, bytes) else ""
    state, text = _OF_ACTION.get((action, code), _ANSWERS[code])
    if code == -9 and not told:
        text = "the ledger knows of no replay"
    did, run, when = fate.told(told.decode("utf-8", "replace")) if code == -9 else ("", "", "")
    return receipt(item, state, text.format(place=place, action=did, run=run, when=when))


def noted(item: Item, token: str, run_id: str) -> Receipt:
    """A receipt for what the ledger tells."""
    action, run, when = fate.told(token)
    if run == run_id:
        return receipt(item, State.SENT, f"done at {when}", _sent_id(item))
    if action in (
        "undo",
        "restore",
    ):  # of this run, or of one before it: the ledger knows only the last deed
        why = f"run {run} took it back ({action} at {when}): plan it anew if it is to go"
        return receipt(item, State.SKIPPED, why)
    return receipt(item, State.SKIPPED, f"run {run} did it before ({action} at {when})")


def receipt(item: Item, state: State, detail: str, sent_id: str = "") -> Receipt:
    """A receipt of an item."""
    return Receipt(failure_id=item.failure_id, state=state, sent_id=sent_id, detail=detail)


def _sent_id(item: Item) -> str:
    """The job's own id: it goes back under the same."""
    if queue_of(item.failure_id) is not None:
        return ""
    return item.failure_id.rpartition("@")[0]
