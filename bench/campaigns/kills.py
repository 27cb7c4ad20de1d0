"""Operators that are killed at random moments and followed by the next, and operators that work against each other."""

import contextlib
import random
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import dlqanalysis as dlq
from bench.campaigns.account import Count, account
from bench.campaigns.operators import Operators, Order
from bench.campaigns.worlds import World

_BATCH = 60  #: items that go together at least, roughly
_STARTS = 0.6  #: seconds within which an operator looks, settles and plans, roughly


def opened(world: World, journal: Path) -> tuple[Order, dlq.Journal]:
    """The world's order with a journal of its own; notes what must stay."""
    world.facts["others"] = len(world.load(world.others))
    url = f"sqlite:///{journal}"
    return replace(world.order, journal=url), dlq.Journal(url)


def run_of(order: Order) -> str:
    """The run that an order's reason has in its journal, empty when there is none yet."""
    file = order.journal.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as db:
        found = db.execute("SELECT run_id FROM dlq_runs WHERE reason = ?", (order.reason,))
        return next((row[0] for row in found), "")


def judged(order: Order) -> int:
    """Of how many items the journal knows what became of them: how far the operators have come."""
    file = order.journal.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as db:
        told = "SELECT count(*) FROM dlq_entries WHERE event IN ('sent', 'skipped', 'refused')"
        return int(db.execute(told).fetchone()[0])


def killed(world: World, crew: Operators, kills: int, seed: int) -> Count:
    """SIGKILL after so many items as a seed draws, some at once after the start, until so many kills met
    a running operator; then to the end.

    The journal tells how far an operator is: where workers are slower than replays, all is sent long before it is
    executed, and a kill by what was executed comes too late.
    """
    draw, began = random.Random(seed), time.monotonic()
    order, journal = opened(world, crew.folder / "journal.sqlite")
    before = world.load()
    met = made = 0
    while met < kills and world.left() > 0 and (left := world.size - (start := judged(order))) > 0:
        each = left / (kills - met)
        most = max(1, round(1.6 * each))
        pid = crew.start(replace(order, run_id=run_of(order)))
        if draw.random() < (
            0.25 if each > _BATCH else 0.75
        ):  # or what is left goes in too few batches
            time.sleep(draw.uniform(0, _STARTS))
        else:
            wanted = start + draw.randint(1, most)
            while judged(order) < wanted and crew.runs(pid) and world.left() > 0:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.01))
        met += crew.kill(pid)
        made += 1
    note = (
        ""
        if met == kills
        else f"of {made} kills {met} met a running operator; then nothing was left"
    )
    if world.left() <= 0:
        note = f"there was no time for {kills - met} more kills"
    troubles = finish(world, crew, order)
    counted = account(world, "killed", before, [journal], met, time.monotonic() - began, note)
    counted.troubles += troubles
    return counted


def finish(world: World, crew: Operators, order: Order) -> list[str]:
    """Let operators come to the end and everything run; gives what the last one said when none comes to it."""
    troubles = _to_the_end(world, crew, order)
    world.drain()
    if not world.atomic:  # now that everything has run, traces may tell more
        troubles = _to_the_end(world, crew, order) or troubles
    settle_down(world)
    return troubles


def _to_the_end(world: World, crew: Operators, order: Order, tries: int = 30) -> list[str]:
    until = time.monotonic() + world.finishing
    for _ in range(tries):
        pid = crew.start(replace(order, run_id=run_of(order), ends=True))
        answer = crew.answer(pid, until - time.monotonic())
        if _done(answer):
            return []
        if not answer.get("error") and not world.atomic and "uncertain" in answer["stopped"]:
            return []
        if time.monotonic() > until:
            world.ended = False
            return []
        time.sleep(0.3)
    return [str(answer.get("error") or answer.get("says"))]


def _done(answer: dict[str, str]) -> bool:
    if "error" in answer:
        return False
    return "nothing" in answer or not answer.get("stopped", "x")


def settle_down(world: World, seconds: float = 20) -> None:
    """Wait until nothing more is executed."""
    until, last = time.monotonic() + seconds, -1
    while time.monotonic() < until and (now := world.count()) != last:
        last = now
        time.sleep(0.3)


def opposite(world: World, crew: Operators, shared: bool) -> Count:
    """Two operators at once, from both ends, with one journal or one each."""
    began = time.monotonic()
    names = ["oldest", "newest"]
    files = [crew.folder / f"{'both' if shared else name}.sqlite" for name in names]
    first, journal = opened(world, files[0])
    journals = [journal] if shared else [journal, dlq.Journal(f"sqlite:///{files[1]}")]
    orders = [
        replace(first, reason=name, newest=name == "newest", journal=f"sqlite:///{file}")
        for name, file in zip(names, files, strict=True)
    ]
    before = world.load()
    for order in orders:
        pids = {order.reason: crew.start(order) for order in orders}
    troubles: list[str] = []
    again = dict.fromkeys(names, 0)
    while pids and world.left() > 0:
        for order in orders:
            if (pid := pids.get(order.reason)) is None or crew.runs(pid):
                continue
            answer = crew.answer(pid)
            done = _done(answer)
            if done or again[order.reason] == 60:
                troubles += [] if done else [str(answer)]
                del pids[order.reason]
            else:  # somebody else holds the queue, or a doubt stopped it
                again[order.reason] += 1
                time.sleep(0.2)
                pids[order.reason] = crew.start(replace(order, run_id=run_of(order)))
        time.sleep(0.01)
    world.ended = not pids
    for pid in pids.values():
        crew.kill(pid)
    world.drain()
    settle_down(world)
    name = "two operators, " + ("one journal" if shared else "a journal each")
    counted = account(world, name, before, journals, 0, time.monotonic() - began)
    counted.troubles += troubles
    return counted
