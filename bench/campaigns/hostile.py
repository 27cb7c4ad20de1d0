"""Payloads that nobody should write: what goes back is the same bytes, what cannot be read stays where it is."""

import base64
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import psycopg
import redis

import dlqanalysis as dlq
from bench.campaigns.operators import EVERY
from bench.campaigns.worlds import Place
from dlqanalysis.sources import connect, connect_hand
from dlqanalysis.sources.celery.hand import CeleryHand
from tests.bull import Bull
from tests.lists import Lists
from tests.priority_world import World as PriorityQueue
from tests.rabbit import headers, rabbit, url_of

#: JSON texts and what is none
HOSTILE = {
    "NUL": b'{"s":"a\\u0000b"}',
    "lone surrogate": b'{"s":"\\ud800"}',
    "5 MB": b'{"s":"' + b"x" * 5_000_000 + b'"}',
    "depth 2000": b'{"d":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "duplicate keys": b'{"a":1,"a":2}',
    "NaN": b'{"v":NaN}',
    "1e400": b'{"v":1e400}',
    "more digits than a float has": b'{"v":12345678901234567890.10, "w":1.50}',
    "pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
    "raw NUL byte": b'{"s":"a\x00b"}',
    "not UTF-8": b'{"s":"caf\xe9"}',
    "cut off": b'{"a":',
}


@dataclass
class Bytes:
    """How many went back as they were, how many stayed as they were, and which did neither."""

    world: str
    given: int
    same: int
    held: list[str]
    changed: list[str]

    @property
    def kept(self) -> bool:
        """Whether nothing was changed or lost, and something went at all."""
        return not self.changed and self.same > 0


def _sent(source: str, hand: object, place: Place) -> None:
    with contextlib.closing(hand):
        failures = dlq.load(connect(source), since=None, limit=1000)
        journal = dlq.Journal(f"sqlite:///{place.folder / 'hostile.sqlite'}")
        none = dlq.duplicates(failures.head(0))
        plan = dlq.plan(failures, journal, reason="campaign", classes=EVERY, duplicates=none, ungraded=None)  # fmt: skip
        dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id, gate=None, rate=None, progress=lambda _: None
        )  # fmt: skip


def _told(world: str, given: dict[str, bytes], back: Callable[[str, bytes], bool], there: Callable[[str, bytes], bool]) -> Bytes:  # fmt: skip
    same = [name for name, raw in given.items() if back(name, raw)]
    held = [name for name, raw in given.items() if name not in same and there(name, raw)]
    changed = [name for name in given if name not in (*same, *held)]
    return Bytes(world, len(given), len(same), held, changed)


def redis_list(place: Place) -> Bytes:
    """Whole elements of a list."""
    lists = Lists(place.redis, f"{place.token}:")
    given = {
        name: raw.replace(b"{", b'{"id":"%d","type":"webhook",' % n, 1)
        for n, (name, raw) in enumerate(HOSTILE.items())
    }
    with contextlib.closing(lists.redis):
        lists.fill(*given.values())
        _sent(lists.url, connect_hand(lists.url), place)
        went, stayed = lists.all(lists.main), lists.all()
    return _told("Redis list", given, lambda _, r: r in went, lambda _, r: r in stayed)


def rabbitmq(place: Place) -> Bytes:
    """Bodies of messages."""
    given = {
        name: b"[[" + raw + b'],{},{"callbacks":null}]' if raw[:1] == b"{" else raw
        for name, raw in HOSTILE.items()
    }
    with rabbit(place.amqp, f"{place.token}.odd") as made:
        for raw in given.values():
            made.publish(raw, headers=headers())
        made.reject(len(given))
        url = url_of(place.amqp, made.dlq, "&delivery_limit=none")
        _sent(url, connect_hand(url), place)
        made.until(made.dlq, len(given) - made.depth(made.work))
        went = [raw for _, raw in made.take(made.work)]
        stayed = [raw for _, raw in made.take(made.dlq)]
    return _told("RabbitMQ", given, lambda _, r: r in went, lambda _, r: r in stayed)


def bullmq(place: Place, version: int) -> Bytes:
    """The data of jobs."""
    assert place.peer is not None
    bull = Bull(place.peer, place.redis, place.token, version)
    with contextlib.closing(bull.redis):
        ids = dict(zip(HOSTILE, bull.fail(*({} for _ in HOSTILE)), strict=True))
        for name, raw in HOSTILE.items():
            bull.redis.hset(bull.key(ids[name]), "data", raw)
        _sent(bull.url, connect_hand(bull.url), place)
        waiting = [one.decode() for one in bull.redis.lrange(bull.key("wait"), 0, -1)]
        failed = bull.failed()
        now = {name: bull.redis.hget(bull.key(ids[name]), "data") for name in HOSTILE}
    return _told(
        f"BullMQ {version}", HOSTILE,
        lambda name, raw: ids[name] in waiting and now[name] == raw,
        lambda name, raw: ids[name] in failed and now[name] == raw,
    )  # fmt: skip


def priority_redis(place: Place) -> Bytes:
    """The payload of an entry, and of its task."""
    made = PriorityQueue(place.redis, f"{place.token}:")
    entries = {}
    with contextlib.closing(made.redis):
        for n, (name, raw) in enumerate(HOSTILE.items()):
            whole = made.dead(f"t{n}", payload="HERE").replace(b'"HERE"', raw)
            entries[name] = (f"t{n}", whole)
            made.redis.lset(made.key("dlq:normal"), 0, whole)
            made.redis.set(made.key(f"dlq:task:t{n}"), whole)
            made.redis.hset(made.key(f"task:t{n}"), "payload", raw)
        _sent(made.url, connect_hand(made.url), place)
        waiting = [one.decode() for one in made.list("tasks:normal")]
        stayed = made.list("dlq:normal")
        now = {
            name: made.redis.hget(made.key(f"task:{one}"), "payload")
            for name, (one, _) in entries.items()
        }
    return _told(
        "Priority queue, Redis", HOSTILE,
        lambda name, raw: entries[name][0] in waiting and now[name] == raw,
        lambda name, raw: entries[name][1] in stayed and now[name] == raw,
    )  # fmt: skip


def _over_redis(place: Place, queue: str) -> list[bytes]:
    """Send, and give the bodies of the messages that came."""
    client = redis.Redis.from_url(place.redis)
    with contextlib.closing(client):
        client.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
        _sent(place.postgres, CeleryHand.connect(place.postgres, place.redis), place)
        messages = [json.loads(raw) for raw in client.lrange(queue, 0, -1)]
    return [base64.b64decode(message["body"]) for message in messages]


def _over_rabbitmq(place: Place, queue: str) -> list[bytes]:
    """The same on the other broker."""
    with rabbit(place.amqp, queue) as made:
        _sent(place.postgres, CeleryHand.connect(place.postgres, place.amqp), place)
        return [raw for _, raw in made.take(queue)]


def celery(place: Place) -> Bytes:
    """Arguments in a column of text; bytes that no text of Postgres can hold are not given."""
    queue = f"{place.token}.payments"
    given = {}
    with psycopg.connect(place.postgres, autocommit=True) as db:
        db.execute((files("dlqanalysis.demo") / "shop.sql").read_text())
        db.execute("ALTER TABLE failed_tasks ALTER args TYPE text, ALTER kwargs TYPE text")
        for name, raw in HOSTILE.items():
            with contextlib.suppress(UnicodeDecodeError, psycopg.DataError, psycopg.errors.UntranslatableCharacter):  # fmt: skip
                db.execute(
                    "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
                    " exception_message) VALUES (%s, 'shop.charge', %s, '[]', %s, 'ConnectionError', 'refused')",
                    (name, queue, raw.decode()),
                )
                given[name] = raw
    bodies = (_over_rabbitmq if place.amqp else _over_redis)(place, queue)
    with psycopg.connect(place.postgres) as db:
        asked = "SELECT task_id, kwargs FROM failed_tasks WHERE status = 'failed'"
        stayed = {name: text.encode() for name, text in db.execute(asked)}
    return _told(
        f"Celery table, {'RabbitMQ' if place.amqp else 'Redis'} broker", given,
        lambda _, raw: sum(raw in body for body in bodies) == 1,
        lambda name, raw: stayed.get(name) == raw,
    )  # fmt: skip
