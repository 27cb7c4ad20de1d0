"""Crashes, races and hostile payloads on every hand; writes docs/reliability.md from what was counted.

make bench ONLY=reliability CAMPAIGNS='redis_list/* */killed' CAMPAIGN_SIZE=300,20 CAMPAIGN_LIMIT=600

CAMPAIGNS names some of them, with * and ?; all by default, and "missing" those that the page lacks. CAMPAIGN_SIZE is
short, long (10,000 failures, 200 kills: hours), or failures and kills; a third number is the seconds of silence after
which an HTTP peer's "it never happened" is believed, a minute by default. After CAMPAIGN_LIMIT seconds no more faults
happen in a campaign and it is brought to its end. Ctrl-C does so with those that run, and begins no more.
What each came to is kept in bench/reliability.jsonl as it ends; the page is made of it.
"""

import contextlib
import itertools
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.campaigns import faults, hostile, journal, kills, paper, stops
from bench.campaigns.account import Count
from bench.campaigns.operators import TOKEN, Operators, operators
from bench.campaigns.results import Results, Row
from bench.campaigns.worlds import NEEDS, WORLDS, Place, World
from tests import services as _services
from tests.bull import running_peer

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
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
    quiet: float = 60.0  #: seconds after which an HTTP peer's "no" is believed

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

    def __init__(
        self, size: Size, base: Path, services: _services.Services, limit: float = math.inf
    ) -> None:
        self.size, self.base, self.services, self.limit = size, base, services, limit
        self.ending = threading.Event()  #: no more faults from now on
        self._numbers, self._starting = itertools.count(), threading.Lock()

    @contextlib.contextmanager
    def place(self, needs: tuple[str, ...], **given: str) -> Iterator[Place]:
        number = next(self._numbers)
        token = f"t{secrets.token_hex(4)}"
        folder = Path(tempfile.mkdtemp(dir=self.base))
        place = Place(token, folder, **given)
        with contextlib.ExitStack() as stack:
            with self._starting:  # two campaigns may ask for a server at once
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
                until = time.monotonic() + self.limit
                world.left = lambda: 0.0 if self.ending.is_set() else until - time.monotonic()
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


def campaigns(ground: Ground, seed: int) -> dict[str, Callable[[], list[Row]]]:
    """Every campaign by its name, as a call that gives rows of the page; what matters most goes first."""
    size, found = ground.size, dict[str, Callable[[], list[Row]]]()

    def count(name: str, world: str, do: Callable[[World, Operators], Count], **more: Any) -> None:
        found[f"{world}/{name}"] = lambda: [ground.campaign(world, do, **more)]

    for name in WORLDS:
        count("killed", name, partial(kills.killed, kills=size.kills, seed=seed))
    for name in WORLDS:
        for shared in (True, False):
            told = "one-journal" if shared else "two-journals"
            count(told, name, partial(kills.opposite, shared=shared))
    for name in FULL:
        count("disk-full", name, faults.full)
    for name, kind in RESTARTS:
        again = partial(ground.restart, name, kind, seed)
        found[f"{name}/{kind}-killed"] = lambda again=again: [again()]
    for name, of in WIRES:
        cut = partial(faults.cut, seed=seed, cuts=size.faults, every=15, of=of)
        count(f"{of}-answers-lost", name, cut, works=False)
    for name in HTTP:
        count("hangs-up", name, partial(faults.dropped, seed=seed))
    for what, place in STANDS.items():
        found[what] = partial(_standing, ground, *place)
    found["journal/speed"] = partial(_speed, size)
    return found


def _standing(
    ground: Ground, needs: tuple[str, ...], do: Callable[[Place], Row | list[Row]]
) -> list[Row]:
    with ground.place(needs) as place:
        rows = do(place)
    return rows if isinstance(rows, list) else [rows]


def _table(do: Callable[[World, Place], Row | list[Row]], place: Place) -> Row | list[Row]:
    """On a Celery table with sixty failures whose tasks nobody takes unless the campaign does."""
    place.works = False
    with WORLDS["celery_redis"](place, 60) as world:
        return do(world, place)


#: what needs no operators: the servers it needs, and what it does there
STANDS: dict[str, tuple[tuple[str, ...], Callable[[Place], Row | list[Row]]]] = {
    "notebook/run-whole": (("postgres", "redis"), partial(_table, stops.notebooks)),
    "notebook/kernel": (("postgres", "redis"), partial(_table, stops.kernel)),
    "plan/twice": (("postgres", "redis"), partial(_table, stops.twice)),
    "celery_redis/fails-again": (("postgres", "redis"), partial(_table, stops.celery)),
    "redis_list/fails-again": (("redis",), stops.redis_list),
    "rabbitmq/fails-again": (("amqp",), stops.rabbitmq),
    "bullmq5/fails-again": (("redis", "peer"), partial(stops.bullmq, version=5)),
    "bullmq6/fails-again": (("redis", "peer"), partial(stops.bullmq, version=6)),
    "priority_redis/fails-again": (("redis",), stops.priority_redis),
    "admin_api/fails-again": ((), stops.admin_api),
    "priority_api/fails-again": ((), stops.priority_api),
    "redis_list/hostile": (("redis",), hostile.redis_list),
    "rabbitmq/hostile": (("amqp",), hostile.rabbitmq),
    "bullmq5/hostile": (("redis", "peer"), partial(hostile.bullmq, version=5)),
    "bullmq6/hostile": (("redis", "peer"), partial(hostile.bullmq, version=6)),
    "priority_redis/hostile": (("redis",), hostile.priority_redis),
    "celery_redis/hostile": (("postgres", "redis"), hostile.celery),
    "celery_rabbit/hostile": (("postgres", "amqp"), hostile.celery),
}


def _speed(size: Size) -> list[Row]:
    with tempfile.TemporaryDirectory() as disk:
        return [journal.measured(Path(disk), min(size.failures, 1000))]


@contextlib.contextmanager
def standing(size: Size, limit: float) -> Iterator[Ground]:
    """Ground whose servers run."""
    memory = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    os.environ |= {"DLQ_HOME": str(base / "home"), "DLQ_ADMIN_TOKEN": TOKEN, "NO_PROXY": "*"}
    ground = Ground(size, base, _services.Services(), limit)
    try:
        yield ground
    finally:
        ground.services.close()
        shutil.rmtree(base, ignore_errors=True)


def chosen(names: Iterable[str], words: str, results: Results) -> list[str]:
    """The campaigns that some words name."""
    names = list(names)
    if not words:
        return names
    if words == "missing":
        kept = results.read()
        return [name for name in names if name not in kept or not kept[name].kept]
    for word in words.split():
        if not any(fnmatch(name, word) for name in names):
            sys.exit(f"No campaign is named '{word}'. There are: {', '.join(names)}.")
    return [name for name in names if any(fnmatch(name, word) for word in words.split())]


def run() -> list[str]:
    """The lines of the section; the tables go to docs/reliability.md."""
    size, seed = Size.named(os.environ.get("CAMPAIGN_SIZE", "long")), secrets.randbelow(10**6)
    limit = float(os.environ.get("CAMPAIGN_LIMIT", "1800"))
    results, where = Results(Path(__file__).with_suffix(".jsonl")), paper.machine()
    began = time.monotonic()
    with standing(size, limit) as ground:
        every = campaigns(ground, seed)
        names = chosen(every, os.environ.get("CAMPAIGNS", ""), results)

        def do(name: str) -> bool:
            if ground.ending.is_set():
                return False
            try:
                rows = every[name]()
            except (Exception, pytest.skip.Exception) as error:  # a server did not come up
                sys.stderr.write(traceback.format_exc())
                results.put_broken(name, f"{type(error).__name__}: {error}".splitlines()[0][:200])
                rows = []
            else:
                results.put(name, rows, size._asdict(), seed, where)
            paper.write(PAGE, results, list(every))
            sys.stderr.write(f"{name}: {rows or 'broken off'}\n")
            return bool(rows)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ground.ending.set())
        with ThreadPoolExecutor(2) as pool:
            done = sum(pool.map(do, names))
    return [
        f"{done} of the {len(names)} campaigns that were asked for were counted, in"
        f" {time.monotonic() - began:,.0f} s: see docs/reliability.md."
    ]
