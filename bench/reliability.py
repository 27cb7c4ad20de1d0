"""Crashes, races and hostile payloads on every hand; writes docs/reliability.md from what was counted.

DLQ_CAMPAIGN is short, long (10,000 failures, 200 kills: hours), or failures and kills, such as 300,20; a third number
is the seconds of silence after which an HTTP peer's "it never happened" is believed, a minute by default. Ctrl-C ends
it early: the page says how many campaigns were not run.
"""

import contextlib
import itertools
import os
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.campaigns import faults, hostile, journal, kills, paper, stops
from bench.campaigns.account import Count
from bench.campaigns.operators import TOKEN, operators
from bench.campaigns.worlds import NEEDS, WORLDS, Place, World
from dlqanalysis.demo import servers
from tests import services as _services
from tests.bull import running_peer

HTTP = ("admin_api", "priority_api")
FULL = ("redis_list", "celery_redis", "rabbitmq")  #: the journal is the same for all
#: which server of which world is killed and started again
RESTARTS = [
    ("redis_list", "redis"), ("priority_redis", "redis"), ("bullmq5", "redis"), ("bullmq6", "redis"),
    ("celery_redis", "redis"), ("celery_redis", "postgres"), ("celery_rabbit", "amqp"), ("rabbitmq", "amqp"),
]  # fmt: skip
#: which of a world's connections loses answers
WIRES = [
    ("redis_list", "source"), ("priority_redis", "source"), ("bullmq6", "source"), ("celery_redis", "broker"),
    ("celery_redis", "source"), ("celery_rabbit", "broker"), ("rabbitmq", "source"), *((n, "source") for n in HTTP),
]  # fmt: skip


class Size(NamedTuple):
    """How much of everything."""

    failures: int
    kills: int
    faults: int  #: lost answers, restarts of a server at most
    quiet: float | None = (
        None  #: seconds after which an HTTP peer's "no" is believed; None: its minute
    )

    @classmethod
    def named(cls, word: str) -> "Size":
        if word == "short":
            return cls(30, 2, 2, 1.0)
        failures, times, *quiet = (
            (10_000, 200) if word == "long" else [int(n) for n in word.split(",")]
        )
        return cls(failures, times, max(3, times // 10), *map(float, quiet))


class Ground:
    """Servers and folders for campaigns. Journals are kept in memory where there is a /dev/shm: processes are
    killed here, not machines, so that nothing but time depends on a disk."""

    def __init__(self, size: Size, base: Path, services: _services.Services) -> None:
        self.size, self.base, self.services = size, base, services
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def place(self, needs: tuple[str, ...], **given: str) -> Iterator[Place]:
        number = next(self._numbers)
        token = f"t{secrets.token_hex(4)}"
        folder = Path(tempfile.mkdtemp(dir=self.base))
        place = Place(token, folder, **given)
        with contextlib.ExitStack() as stack:
            if "postgres" in needs and not place.postgres:
                place.postgres = stack.enter_context(_services.schema(self.services, token))
            if "redis" in needs and not place.redis:
                database = _services.redis_database(self.services, token, number)
                place.redis = stack.enter_context(database)
            if "amqp" in needs and not place.amqp:
                place.amqp = stack.enter_context(_services.vhost(self.services, token))
            if "peer" in needs:  # one each: its workers end together
                place.peer = stack.enter_context(running_peer())
            yield place

    def campaign(
        self, name: str, do: Callable[[World, object], Count], works: bool = True, **given: str
    ) -> Count:
        """One campaign on a fresh world."""
        with self.place(NEEDS[name], **given) as place:
            place.works = works
            with operators(place.folder) as crew, WORLDS[name](place, self.size.failures) as world:
                if name in HTTP:
                    world.order = replace(world.order, quiet=self.size.quiet)
                return do(world, crew)

    def restart(self, name: str, kind: str, seed: int) -> Count:
        """One campaign on servers of its own, of which one is killed."""
        told = {"postgres": "Postgres", "redis": "Valkey", "amqp": "RabbitMQ"}[kind]
        with faults.doomed(kind) as (den, url):
            do = partial(
                faults.restarted, den=den, url=url, seed=seed, times=self.size.faults, name=told
            )
            return self.campaign(name, do, works=False, **{kind: url})


def campaigns(ground: Ground, seed: int) -> Iterator[Callable[[], Count]]:
    """Every campaign that counts executions, as calls."""
    size = ground.size
    for name in WORLDS:
        yield partial(ground.campaign, name, partial(kills.killed, kills=size.kills, seed=seed))
    for name in WORLDS:
        for shared in (True, False):
            yield partial(ground.campaign, name, partial(kills.opposite, shared=shared))
    for name in FULL:
        yield partial(ground.campaign, name, faults.full)
    for name in HTTP:
        yield partial(ground.campaign, name, partial(faults.dropped, seed=seed))
    for name, of in WIRES:
        cut = partial(faults.cut, seed=seed, cuts=size.faults, every=15, of=of)
        yield partial(ground.campaign, name, cut, works=False)
    for name, kind in RESTARTS:
        yield partial(ground.restart, name, kind, seed)


def stopped(ground: Ground, ways: tuple[str, ...]) -> Iterator[stops.Stop]:
    """What must send nothing, or stop soon."""
    with ground.place(("postgres", "redis")) as place:
        place.works = False
        with WORLDS["celery_redis"](place, 60) as world:
            yield from stops.notebooks(world, place, ways)
            yield stops.twice(world, place)
    with ground.place(("postgres", "redis")) as place:
        place.works = False
        with WORLDS["celery_redis"](place, 60) as world:
            yield stops.celery(world, place)
    for version in (5, 6):
        with ground.place(("redis", "peer")) as place:
            yield stops.bullmq(place, version, 60)


def payloads(ground: Ground) -> Iterator[hostile.Bytes]:
    """Hostile payloads through each hand that moves them."""
    with ground.place(("redis",)) as place:
        yield hostile.redis_list(place)
    with ground.place(("amqp",)) as place:
        yield hostile.rabbitmq(place)
    for version in (5, 6):
        with ground.place(("redis", "peer")) as place:
            yield hostile.bullmq(place, version)
    with ground.place(("postgres", "redis")) as place:
        yield hostile.celery(place)


def _tried(call: Callable[[], Count]) -> "Count | str":
    try:
        found = call()
        sys.stderr.write(f"{found}\n")
        return found
    except Exception:
        sys.stderr.write(traceback.format_exc())
        return traceback.format_exc()


@contextlib.contextmanager
def standing(size: Size) -> Iterator[Ground]:
    """Ground whose servers run."""
    memory = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    os.environ |= {"DLQ_HOME": str(base / "home"), "DLQ_ADMIN_TOKEN": TOKEN, "NO_PROXY": "*"}
    ground = Ground(size, base, _services.Services())
    try:
        yield ground
    finally:
        ground.services.close()
        shutil.rmtree(base)


def run() -> list[str]:
    """The lines of the section; the tables go to docs/reliability.md."""
    size, seed = Size.named(os.environ.get("DLQ_CAMPAIGN", "long")), secrets.randbelow(10**6)
    began, broken = time.monotonic(), list[str]()
    with standing(size) as ground:
        for start in ("postgres", "valkey", "rabbitmq"):
            ground.services.get(start, getattr(servers, start))
        ways = (
            "nbconvert --execute",
            "Run All (nbconvert --allow-errors)",
            "papermill",
        )
        ends, odd = list(stopped(ground, ways)), list(payloads(ground))
        with tempfile.TemporaryDirectory() as disk:
            speed = journal.measured(Path(disk), min(size.failures, 1000))
        counts: list[Count] = []
        calls = list(campaigns(ground, seed))
        pool = ThreadPoolExecutor(3)
        futures = [pool.submit(_tried, call) for call in calls]
        with contextlib.suppress(KeyboardInterrupt):  # what has ended is counted
            wait(futures)
        pool.shutdown(wait=False, cancel_futures=True)
        for found in [one.result() for one in futures if one.done() and not one.cancelled()]:
            if isinstance(found, str):
                broken.append(found)
            else:
                counts.append(found)
    seconds = time.monotonic() - began
    page = Path(__file__).parents[1] / "docs" / "reliability.md"
    text = paper.page(size, seed, counts, ends, odd, speed, seconds, len(calls) - len(counts))
    page.write_text(text, encoding="utf-8")
    kept = sum(one.kept for one in counts)
    lines = [
        f"{kept} of {len(counts)} campaigns kept the promise, in {seconds:,.0f} s: see docs/reliability.md."
    ]
    return [*lines, *(f"Broken off: {text.strip().splitlines()[-1]}" for text in broken)]
