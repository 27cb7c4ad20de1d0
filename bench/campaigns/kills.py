"""Operators that are killed at random moments and followed by the next, and operators that work against each other."""

import random
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import dlqanalysis as dlq
from bench.campaigns.account import Count, account
from bench.campaigns.operators import Operators, Order
from bench.campaigns.worlds import World

_STARTS = 0.6  #: seconds within which an operator looks, settles and plans, roughly
_ENOUGH = 900.0


def opened(world: World, journal: Path) -> tuple[Order, dlq.Journal]:
    """The world's order with a journal of its own; notes what must stay."""
    world.facts["others"] = len(world.load(world.others))
    url = f"sqlite:///{journal}"
    return replace(world.order, journal=url), dlq.Journal(url)


def run_of(order: Order) -> str:
    """The run that an order's reason has in its journal, empty when there is none yet."""
    with sqlite3.connect(order.journal.removeprefix("sqlite:///"), timeout=30) as db:
        found = db.execute("SELECT run_id FROM dlq_runs WHERE reason = ?", (order.reason,))
        return next((row[0] for row in found), "")


def killed(world: World, crew: Operators, kills: int, seed: int, seconds: float = 600) -> Count:
    """SIGKILL after so many executions as a seed draws, a fourth of them at once after the start; then to the end."""
    draw, began = random.Random(seed), time.monotonic()
    order, journal = opened(world, crew.folder / "journal.sqlite")
    before = world.load()
    most = max(1, round(1.6 * world.size / max(kills, 1)))
    met = 0
    for _ in range(kills):
        if time.monotonic() - began > seconds:
            break
        start, pid = world.count(), crew.start(replace(order, run_id=run_of(order)))
        if draw.random() < 0.25:
            time.sleep(draw.uniform(0, _STARTS))
        else:
            wanted = start + draw.randint(1, most)
            while world.count() < wanted and crew.runs(pid):
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.01))
        met += crew.kill(pid)
    note = "" if met == kills else f"of {kills} kills {met} met a running operator"
    troubles = finish(world, crew, order)
    world.drain()
    if not world.atomic:
        troubles += finish(world, crew, order)  # now that everything has run, traces may tell more
    settle_down(world)
    counted = account(world, "killed", before, [journal], met, time.monotonic() - began, note)
    counted.troubles += troubles
    return counted


def finish(world: World, crew: Operators, order: Order, tries: int = 30) -> list[str]:
    """Operators until one comes to the end; gives what the last one said when none does."""
    for _ in range(tries):
        answer = crew.answer(crew.start(replace(order, run_id=run_of(order), ends=True)))
        if _done(answer):
            return []
        if not answer.get("error") and not world.atomic and "uncertain" in answer["stopped"]:
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
    while pids and time.monotonic() - began < _ENOUGH:
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
    world.drain()
    settle_down(world)
    name = "two operators, " + ("one journal" if shared else "a journal each")
    counted = account(world, name, before, journals, 0, time.monotonic() - began)
    counted.troubles += troubles
    return counted
