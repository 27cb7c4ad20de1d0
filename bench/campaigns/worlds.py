"""Systems with dead letters of two tasks: one that is to be replayed, one that must stay where it is.

Each world knows how its source and hand are opened, and records by itself, apart from our code, what was executed.
Executions are told by the number that each failure has in its payload.
"""

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pika
import psycopg
import redis

import dlqanalysis as dlq
from bench.campaigns.operators import Order
from bench.campaigns.recorder import recording
from dlqanalysis.sources import connect
from tests.admin_server import AdminServer
from tests.bull import Bull, Peer
from tests.lists import Lists, message
from tests.priority_server import PriorityServer
from tests.priority_world import World as PriorityQueue
from tests.rabbit import rabbit, url_of

#: 120 jobs a batch: where a thousand go in one step, 10,000 are gone before 200 kills have met an operator
_SLOW = "60/s"


@dataclass
class Place:
    """Where a world is made: URLs of servers, a word that stands in the name of all that is made, a folder."""

    token: str
    folder: Path
    postgres: str = ""
    redis: str = ""
    amqp: str = ""
    peer: Peer | None = None
    works: bool = True  #: whether something takes what was replayed at once, or only in the end


@dataclass
class World:
    """One system. `ran` tells each number's executions, `count` how many there were, cheaply."""

    title: str
    order: Order
    others: str  #: the task that stays
    size: int
    ran: Callable[[], Counter[str]]
    count: Callable[[], int]
    number: Callable[[pd.DataFrame], pd.Series]
    atomic: bool = (
        True  #: whether the system moves and notes in one step, so that no doubt can remain
    )
    drain: Callable[[], None] = lambda: None  #: take what still waits
    facts: dict[str, Any] = field(default_factory=dict)
    left: Callable[[], float] = lambda: math.inf  #: seconds that faults may still go on
    finishing: float = 900.0  #: seconds after them within which the run must come to its end
    ended: bool = True  #: whether it did

    def load(self, task: str = "") -> pd.DataFrame:
        """The failures of a task that are there now."""
        return dlq.load(connect(self.order.source), since=None, task=task or self.order.task)


def _argument(failures: pd.DataFrame) -> pd.Series:
    return failures["args"].str.strip("[]")


@contextlib.contextmanager
def table(place: Place, size: int) -> Iterator[str]:
    """The demo shop's failed_tasks with failures of shop.charge and a tenth of shop.other; gives the queue."""
    queue = f"{place.token}.payments"
    with psycopg.connect(place.postgres, autocommit=True) as db:
        db.execute((files("dlqanalysis.demo") / "shop.sql").read_text())
        for task, first, last in (
            ("shop.charge", 1, size),
            ("shop.other", size + 1, size + size // 10 + 1),
        ):
            db.execute(
                "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
                " exception_message, traceback, failed_at) SELECT 'task-' || n, %s, %s,"
                " jsonb_build_array(n), '{}', 'ConnectionError', 'connection refused by provider', '',"
                " now() - interval '1 day' + make_interval(secs => n)"
                " FROM generate_series(%s::int, %s::int) n",
                (task, queue, first, last),
            )
    yield queue


@contextlib.contextmanager
def celery_redis(place: Place, size: int) -> Iterator[World]:
    """A Celery table, Redis as the broker."""
    client = redis.Redis.from_url(place.redis)
    with table(place, size) as queue, contextlib.closing(client):
        client.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
        taken = f"{place.token}:ran"

        def ran() -> Counter[str]:
            import base64

            bodies = [json.loads(raw)["body"] for raw in client.lrange(taken, 0, -1)]
            return Counter(str(json.loads(base64.b64decode(body))[0][0]) for body in bodies)

        world = World(
            "Celery table, Redis broker",
            Order(place.postgres, "shop.charge", "", broker=place.redis),
            "shop.other", size, ran, lambda: client.llen(taken), _argument,
            drain=lambda: _drain(client, queue, taken),
        )  # fmt: skip
        with _taking(place, "redis", place.redis, queue, taken):
            yield world


@contextlib.contextmanager
def celery_rabbit(place: Place, size: int) -> Iterator[World]:
    """A Celery table, RabbitMQ as the broker; the worker notes each execution in task_executions."""
    record = place.folder / "ran"
    record.touch()
    with table(place, size) as queue:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(place.amqp))) as link:
            link.channel().queue_declare(queue, durable=True)
        arguments = ("amqp", place.amqp, queue, str(record), place.postgres)
        world = World(
            "Celery table, RabbitMQ broker",
            Order(place.postgres, "shop.charge", "", broker=place.amqp, quiet=0),
            "shop.other", size, lambda: _lines(record), lambda: record.stat().st_size // 12, _argument,
            atomic=False, drain=lambda: _consumed(place.amqp, queue, arguments),
        )  # fmt: skip
        with _taking(place, *arguments):
            yield world


@contextlib.contextmanager
def rabbitmq(place: Place, size: int) -> Iterator[World]:
    """A dead-letter queue on RabbitMQ, and the work queue that its messages came from."""
    record = place.folder / "ran"
    record.touch()
    with rabbit(place.amqp, f"{place.token}.memos") as made:
        numbers = [(n, "shop.charge" if n <= size else "shop.other") for n in range(1, size + size // 10 + 2)]  # fmt: skip
        for n, task in numbers:
            made.task([n], task=task)
        made.reject(len(numbers))
        made.connection.close()
        arguments = ("amqp", place.amqp, made.work, str(record))
        world = World(
            "RabbitMQ dead-letter queue",
            Order(url_of(place.amqp, made.dlq, "&delivery_limit=none"), "shop.charge", ""),
            "shop.other", size, lambda: _lines(record), lambda: record.stat().st_size // 12, _argument,
            drain=lambda: _consumed(place.amqp, made.work, arguments),
        )  # fmt: skip
        with _taking(place, *arguments):
            yield world


def bullmq(version: int) -> Callable[[Place, int], contextlib.AbstractContextManager[World]]:
    """BullMQ 5 or 6: real workers fail the jobs, and run them when they are back."""

    @contextlib.contextmanager
    def made(place: Place, size: int) -> Iterator[World]:
        assert place.peer is not None
        bull = Bull(place.peer, place.redis, place.token, version)
        jobs = [{"name": "email.send", "data": {"n": n}} for n in range(size)]
        jobs += [{"name": "slack.send", "data": {"n": n}} for n in range(size // 10 + 1)]
        for start in range(0, len(jobs), 500):
            bull.fail(*jobs[start : start + 500])
        record, wait = bull.record(), bull.key("wait")
        if place.works:
            bull.work(record=record)
        world = World(
            f"BullMQ {version}", Order(bull.url, "email.send", "", rate=_SLOW), "slack.send", size,
            bull.recorded, lambda: bull.redis.llen(record),
            lambda failures: failures["task_id"].str.removeprefix("default:"),
            drain=lambda: _drain(bull.redis, wait, record), facts={"bull": bull},
        )  # fmt: skip
        try:
            yield world
        finally:
            bull.rest()
            bull.redis.close()

    return made


@contextlib.contextmanager
def redis_list(place: Place, size: int) -> Iterator[World]:
    """A list of dead letters, and the list that consumers take from."""
    lists = Lists(place.redis, f"{place.token}:")
    lists.fill_many(message(n, "webhook") for n in range(size))
    lists.fill_many(message(size + n, "order.created") for n in range(size // 10 + 1))
    taken = f"{place.token}:ran"

    def ran() -> Counter[str]:
        return Counter(json.loads(raw)["id"] for raw in lists.redis.lrange(taken, 0, -1))

    world = World(
        "Redis list", Order(lists.url, "webhook", ""), "order.created", size, ran,
        lambda: lists.redis.llen(taken), lambda failures: failures["task_id"],
        drain=lambda: _drain(lists.redis, lists.main, taken), facts={"lists": lists},
    )  # fmt: skip
    with contextlib.closing(lists.redis), _taking(place, "redis", place.redis, lists.main, taken):
        yield world


@contextlib.contextmanager
def priority_redis(place: Place, size: int) -> Iterator[World]:
    """The priority queue's Redis; what is taken from its list of normal tasks was executed."""
    made = PriorityQueue(place.redis, f"{place.token}:")
    for n in range(size + size // 10 + 1):
        made.dead(f"t{n}", task_type="send_email" if n < size else "charge", payload={"user_id": n})
    source, taken = made.key("tasks:normal"), f"{place.token}:ran"

    def ran() -> Counter[str]:
        return Counter(raw.decode() for raw in made.redis.lrange(taken, 0, -1))

    world = World(
        "Priority queue, Redis", Order(made.url, "send_email", ""), "charge", size, ran,
        lambda: made.redis.llen(taken), lambda failures: failures["task_id"],
        drain=lambda: _drain(made.redis, source, taken), facts={"queue": made},
    )  # fmt: skip
    with contextlib.closing(made.redis), _taking(place, "redis", place.redis, source, taken):
        yield world


@contextlib.contextmanager
def admin_api(place: Place, size: int) -> Iterator[World]:
    """A server that speaks the admin API and records each replay that it performs."""
    with AdminServer(tasks=2 * size) as server:
        yield World(
            "Admin API", Order(server.url, "send_email", ""), "generate_memo", size,
            lambda: Counter(server.executed), lambda: len(server.executed),
            lambda failures: failures["failure_id"], atomic=False, facts={"habits": server.replays},
        )  # fmt: skip


@contextlib.contextmanager
def priority_api(place: Place, size: int) -> Iterator[World]:
    """A server that speaks the priority queue's API and records each retry that it performs."""
    with PriorityServer(entries=2 * size) as server:
        yield World(
            "Priority API", Order(server.url, "send_email", ""), "charge_customer", size,
            server.runs, lambda: len(server.executed), lambda failures: failures["task_id"],
            atomic=False, facts={"habits": server.retries},
        )  # fmt: skip


#: what each campaign goes through; the word after the + says which servers a world needs
WORLDS: dict[str, Callable[[Place, int], contextlib.AbstractContextManager[World]]] = {
    "redis_list": redis_list,
    "bullmq5": bullmq(5),
    "bullmq6": bullmq(6),
    "rabbitmq": rabbitmq,
    "celery_redis": celery_redis,
    "celery_rabbit": celery_rabbit,
    "priority_redis": priority_redis,
    "admin_api": admin_api,
    "priority_api": priority_api,
}
NEEDS = {
    "celery_redis": ("postgres", "redis"),
    "celery_rabbit": ("postgres", "amqp"),
    "rabbitmq": ("amqp",),
    "bullmq5": ("redis", "peer"),
    "bullmq6": ("redis", "peer"),
    "redis_list": ("redis",),
    "priority_redis": ("redis",),
    "admin_api": (),
    "priority_api": (),
}


def _taking(place: Place, *arguments: str) -> contextlib.AbstractContextManager[None]:
    return recording(*arguments) if place.works else contextlib.nullcontext()


def _drain(client: redis.Redis, source: str, target: str) -> None:
    while client.lmove(source, target, "RIGHT", "LEFT") is not None:
        pass


def _consumed(url: str, queue: str, arguments: tuple[str, ...]) -> None:
    with (
        recording(*arguments),
        contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection,
    ):
        channel, quiet = connection.channel(), 0
        while quiet < 5:
            time.sleep(0.1)
            left = channel.queue_declare(queue, passive=True).method.message_count
            quiet = quiet + 1 if not left else 0


def _lines(record: Path) -> Counter[str]:
    return Counter(line.strip() for line in record.read_text().splitlines())
