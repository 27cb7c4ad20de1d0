"""What could lose, double or reorder dead letters on a real RabbitMQ: full queues, delivery limits, kills, lost
connections, users who may only read."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pika
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.model import State
from dlqanalysis.plan import plan as make_plan
from dlqanalysis.sources.rabbitmq import open_hand, open_source, source
from dlqanalysis.sources.rabbitmq.held import Hold
from dlqanalysis.sources.rabbitmq.source import _times
from tests.rabbit import body, headers, rabbit, url_of

pytestmark = pytest.mark.rabbitmq
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def nothing_refused_before(monkeypatch):
    monkeypatch.setattr(source, "_REFUSED", {})


def load(made, options="", **asked):
    return dlq.load(open_source(url_of(made.url, made.dlq, options)), **{"since": "1h", **asked})


def items(failures):
    return list(make_plan(failures, reason="test", classes=("unknown",)).items())


def numbers(taken):
    return [json.loads(content)[0][0] for _, content in taken]


def counts(made):
    """How often each message was given back: number -> count. Takes them."""
    return {json.loads(c)[0][0]: p.headers.get("x-delivery-count") for p, c in made.take(made.dlq)}


def wear(made, times, newest_first=False):
    """Take every message and give it back, as a careless look does."""
    for _ in range(times):
        tags = []
        while (got := made.channel.basic_get(made.dlq))[0] is not None:
            tags.append(got[0].delivery_tag)
        for tag in reversed(tags) if newest_first else tags:
            made.channel.basic_nack(tag, requeue=True)
        made.until(made.dlq, len(tags))


# ---- full queues -------------------------------------------------------------------------------


def full_queue(made, name, kind):
    arguments = {"x-queue-type": kind, "x-max-length": 1, "x-overflow": "reject-publish"}
    made.channel.queue_declare(name, durable=True, arguments=arguments)
    with contextlib.suppress(pika.exceptions.NackError):
        for _ in range(4):  # a quorum queue takes one more than it should
            made.channel.basic_publish("", name, b"there before")
    return name


def test_a_full_queue_that_rejects_loses_nothing(dead, queue_name):
    """The broker keeps the acknowledgement of a transaction whose message a full queue rejected."""
    target = full_queue(dead, queue_name("small"), "classic")
    dead.fill(3)
    dead.channel.queue_delete(dead.work)
    with open_hand(url_of(dead.url, dead.dlq)) as hand:
        planned = items(load(dead))
        planned = [replace(one, target=target) for one in planned]
        receipts = list(hand.send("replay", planned, "run-1"))
    assert {r.state for r in receipts} == {State.REFUSED}
    assert all(f"it is at the end of '{dead.dlq}'" in r.detail for r in receipts)
    dead.until(dead.dlq, 3)
    assert sorted(numbers(dead.take(dead.dlq))) == [0, 1, 2]
    assert {content for _, content in dead.take(target)} == {b"there before"}


def test_a_full_queue_is_seen_before_where_lengths_are_known(
    dead, queue_name, amqp_management_url, monkeypatch
):
    """A quorum queue rejects without a word: only its length tells."""
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    target = full_queue(dead, queue_name("small"), "quorum")
    dead.fill(2)
    with open_hand(url_of(dead.url, dead.dlq)) as hand:
        planned = items(load(dead))
        planned = [replace(one, target=target) for one in planned]
        assert any(f.blocks and "is full" in f.text for f in hand.preflight(planned))
        receipts = list(hand.send("replay", planned, "run-1"))
    assert {r.state for r in receipts} == {State.REFUSED}
    assert all("is full" in r.detail for r in receipts)
    dead.until(dead.dlq, 2)
    assert numbers(dead.take(dead.dlq)) == [0, 1]  # where they stood


# ---- delivery limits ---------------------------------------------------------------------------


@pytest.fixture
def limited(amqp_url, queue_name, amqp_management_url, monkeypatch):
    """A quorum queue that drops what is given back more than 5 times, and a kit that knows it."""
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    with rabbit(amqp_url, queue_name("q"), "quorum", **{"x-delivery-limit": 5}) as made:
        yield made


def test_a_refused_queue_is_not_touched_again(limited):
    limited.fill(2)
    assert [len(load(limited)) for _ in range(3)] == [2, 2, 2]
    for _ in range(10):
        with pytest.raises(ConnectError, match=r"was given back 3 times.*near_limit=republish"):
            load(limited)
    limited.until(limited.dlq, 2)
    assert counts(limited) == {0: 4, 1: 3}  # only the first refusal had to look


def test_whoever_asks_anew_again_and_again_loses_nothing_either(limited):
    """As a job that starts every five minutes: each look at the first message counts."""
    limited.fill(2)
    for _ in range(14):
        with contextlib.suppress(ConnectError):
            load(limited)
        source._REFUSED.clear()
        limited.until(limited.dlq, 2)
    assert counts(limited).keys() == {0, 1}


def test_near_the_limit_it_is_read_when_the_url_says_so(limited):
    limited.fill(3)
    for _ in range(8):  # more than the limit
        found = load(limited, "&near_limit=republish")
        assert sorted(found["args"]) == ["[0]", "[1]", "[2]"]
        assert found["failure_id"].is_unique
        limited.until(limited.dlq, 3)
    assert max(counts(limited).values()) < 5
    with pytest.raises(SettingsError, match="near_limit is"):
        load(limited, "&near_limit=ignore")


def test_a_worn_message_in_the_middle_is_met_and_saved(limited):
    """Given back alone, a message goes to the end of a quorum queue: the first one does not tell."""
    limited.fill(1)
    wear(limited, 4)
    limited.task([1])
    limited.reject(1)
    wear(limited, 1, newest_first=True)  # now at its limit, behind one that is as new
    with pytest.raises(ConnectError, match="was given back 5 times"):
        load(limited)
    limited.until(limited.dlq, 2)
    assert counts(limited) == {0: 0, 1: 2}


def test_a_run_at_the_limit_that_is_killed_loses_nothing(limited):
    """What is at its limit is published anew as soon as it is seen: nobody has to give it back."""
    limited.fill(3)
    wear(limited, 5)
    assert killed(limited, 3) == 3
    limited.until(limited.dlq, 3)
    assert set(counts(limited)) == {0, 1, 2}


KILLED = """
import os, signal, sys
from dlqanalysis.sources.rabbitmq import open_source
made = open_source(sys.argv[1])._queues
queue = made.address.queues[0]
assert made.link.lock(queue)
held = made.held(queue, made.facts(queue).limit)
def enough(held):
    if len(held.messages) >= int(sys.argv[2]):
        print(len(held.messages), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
held.pull(enough)
enough(held)
"""


def killed(made, after, options=""):
    """A reader in a process of its own that dies by SIGKILL with that many messages in its hands."""
    url = url_of(made.url, made.dlq, options)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(after)], cwd=ROOT, env={**os.environ},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("options", ["&most=100000", "&most=10000"], ids=["one window", "many"])
def test_a_reader_that_is_killed_loses_and_moves_nothing(dead, options):
    """Order is kept where one window held it all; the lock goes with the process."""
    quick = dead.connection.channel()
    for number in range(1200):
        told = pika.BasicProperties(headers=headers(), delivery_mode=2)
        quick.basic_publish("", dead.dlq, body([number]), told)
    dead.until(dead.dlq, 1200)
    held = killed(dead, 1000, options + "&delivery_limit=none")
    dead.until(dead.dlq, 1200)
    assert held >= 1000
    assert (
        len(load(dead, "&delivery_limit=none", since=None)) == 1200
    )  # at once: nobody has the lock
    dead.until(dead.dlq, 1200)
    assert numbers(dead.take(dead.dlq)) == list(range(1200))


# ---- who may only read -------------------------------------------------------------------------


@pytest.fixture
def may_only_read(amqp_management_url, dead):
    """The URL of a user who may read, and nothing else."""
    vhost = urlsplit(dead.url).path[1:]
    name, password = f"{vhost}-reader", "only-reads"
    with httpx.Client(base_url=amqp_management_url, trust_env=False) as api:
        api.put(f"/api/users/{name}", json={"password": password, "tags": ""}).raise_for_status()
        rights = {"configure": "^$", "write": "^$", "read": ".*"}
        api.put(f"/api/permissions/{vhost}/{name}", json=rights).raise_for_status()
        parts = urlsplit(dead.url)
        yield parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}").geturl()
        api.delete(f"/api/users/{name}").raise_for_status()


def test_who_may_only_read_touches_no_queue_that_may_drop(dead, may_only_read):
    dead.fill(2)
    for _ in range(3):
        with pytest.raises(ConnectError, match=r"was not touched.*write permission"):
            dlq.load(open_source(url_of(may_only_read, dead.dlq)), since=None)
    assert {p.redelivered for p, _ in deliveries(dead)} == {False}
    free = open_source(url_of(may_only_read, dead.dlq, "&delivery_limit=none"))
    assert len(dlq.load(free, since=None)) == 2


def deliveries(made):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(made.url))) as other:
        method, properties, _ = other.channel().basic_get(made.dlq)
        return [(method, properties)]


# ---- lost connections --------------------------------------------------------------------------


def test_a_connection_lost_between_looking_and_moving_moves_nothing(dead):
    """A tag of the old channel must never acknowledge a message of the new one."""
    dead.fill(3)
    with open_hand(url_of(dead.url, dead.dlq, "&delivery_limit=none")) as hand:
        failures = load(dead, "&delivery_limit=none")
        [item] = items(failures[failures["args"] == "[2]"])
        asked, link = hand._queues.link.depth, hand._queues.link

        def breaks(queue):
            link.connection.close()
            return asked(queue)

        found = hand._find([item.failure_id])[item.failure_id]
        link.depth = breaks
        with hand._busy():
            receipt = hand._act("replay", item, found, "run-1")
        link.depth = asked
        assert receipt.state == State.REFUSED and "connection was lost" in receipt.detail
        [again] = hand.send("replay", [item], "run-1")
        assert again.state == State.SENT
    assert numbers(dead.take(dead.work)) == [2]
    dead.until(dead.dlq, 2)
    assert numbers(dead.take(dead.dlq)) == [0, 1]


def test_a_queue_of_more_than_a_prefetch_count_can_say_is_read(classic, monkeypatch):
    classic.fill(3)
    monkeypatch.setattr(Hold, "ready", lambda held: 70_000)
    url = url_of(classic.url, classic.dlq, "&delivery_limit=none&most=2000000")
    assert len(dlq.load(open_source(url), since=None)) == 3
    classic.until(classic.dlq, 3)


def test_one_is_no_plural():
    """An on-call engineer read "was given back 1 times"."""
    assert (_times(1), _times(3)) == ("once", "3 times")
