"""Celery's broker and workers, real ones: depths, workers, what runs, revoking; and brokers without workers."""

import json
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pandas as pd
import pika
import psycopg
import pytest
import redis
from celery import Celery
from kombu import Exchange, Queue

import dlqanalysis as dlq
from dlqanalysis import readings
from dlqanalysis.demo.shop import QUEUES
from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.frame import SCHEMA, check
from dlqanalysis.model import Item, State
from dlqanalysis.sources.celery_broker import open_hand, open_monitor, open_source
from tests.small_server import SmallServer

SECRET = "s3cret-pass"


@pytest.fixture(params=["redis", "amqp"])
def shop(request):
    """The demo shop with a real worker, on Redis and on RabbitMQ."""
    return request.getfixturevalue(f"{request.param}_shop")


def opened(shop, options="timeout=1"):
    return open_monitor(f"celery+{shop.broker}?{options}")


def later(shop, seconds, **kwargs):
    """A task for later, which a worker takes and holds until then; gives its id."""
    app = Celery("producer", broker=shop.broker, set_as_current=False)
    queue = f"{shop.prefix}payments"
    with app.connection_for_write() as connection:
        return app.send_task(
            "billing.tasks.refund_payment",
            kwargs={"payment_id": "p1", "amount_cents": 1, "reason": "☃", **kwargs},
            countdown=seconds,
            connection=connection,
            queue=Queue(queue, Exchange(""), routing_key=queue, no_declare=True),
        ).id


def until(look, seconds=120.0):
    """What `look` gives once it gives something; a loaded machine may need a second question."""
    patient_until = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < patient_until, "it did not come"
    return found


def told(frame, column):
    """The frame, once a worker has said something of it."""
    return frame if frame[column].notna().any() else None


def mine(frame, shop):
    return frame[frame["queue"].astype("str").str.startswith(shop.prefix)]


@contextmanager
def busy(shop):
    """Tasks of the shop that look for a property do not end while this lasts."""
    with psycopg.connect(shop.database) as holder:
        holder.execute("lock table properties in access exclusive mode")
        yield


def same_dtypes(frame, empty):
    categories = [name for name, dtype in empty.dtypes.items() if dtype == "category"]
    assert list(frame.columns) == list(empty.columns)
    assert all(isinstance(frame[name].dtype, pd.CategoricalDtype) for name in categories)
    assert frame.drop(columns=categories).dtypes.equals(empty.drop(columns=categories).dtypes)


def test_depths_workers_and_what_runs(shop):
    eta = datetime.now(UTC) + timedelta(seconds=300)
    waits = later(shop, 300)
    with busy(shop):
        runs = shop.send("api.tasks.generate_memo", property_id=7, template_id=1)
        monitor = opened(shop)

        def held():
            found = mine(monitor.running(), shop).set_index("task_id")
            return found if set(found["status"].astype("str")) == {"active", "scheduled"} else None

        running = until(lambda: held())
        depths = until(lambda: told(mine(monitor.depths(), shop), "consumers"))
        workers = until(lambda: told(monitor.workers(), "worker"))
    check(monitor.running())
    assert set(running.index) == {waits, runs}
    assert abs(running.loc[waits, "failed_at"] - eta) < timedelta(seconds=10)
    assert abs(running.loc[runs, "failed_at"] - datetime.now(UTC)) < timedelta(seconds=60)
    assert json.loads(running.loc[waits, "kwargs"])["reason"] == "☃"
    assert set(running["payload_state"]) == {"complete"}
    assert running["queue"].astype("str").to_dict() == {
        waits: f"{shop.prefix}payments",
        runs: f"{shop.prefix}memos",
    }
    same_dtypes(depths, readings.depths([]))
    waiting = depths[depths["state"] == "waiting"].set_index("queue")
    assert {f"{shop.prefix}{name}" for name in QUEUES} <= set(waiting.index)
    assert set(waiting.loc[[f"{shop.prefix}{name}" for name in QUEUES], "consumers"]) == {1}
    if shop.broker.startswith("redis"):
        taken = depths[depths["state"] == "unacked"].set_index("queue")
        assert taken["depth"].to_dict() == {f"{shop.prefix}{q}": 1 for q in ("memos", "payments")}
        assert (taken["oldest_at"] > datetime.now(UTC) - timedelta(minutes=2)).all()
    same_dtypes(workers, readings.workers([]))
    [worker] = workers[workers["worker"].str.startswith(shop.prefix.strip("."))].to_dict("records")
    assert (worker["concurrency"], worker["active"], worker["reserved"]) == (4, 1, 1)
    assert "billing.tasks.refund_payment" in worker["tasks"]
    assert f"{shop.prefix}memos" in worker["queues"]
    assert datetime.now(UTC) - worker["started_at"] < timedelta(minutes=5)


def test_a_revoked_task_does_not_run_and_one_that_has_begun_does(shop):
    """The road of a revoke: dlq.running, dlq.plan, dlq.replay; the other task shows that workers work."""
    monitor, hand = opened(shop), open_hand(f"celery+{shop.broker}?timeout=3")
    assert hand.name == monitor.name
    revoked, spared = later(shop, 20), later(shop, 20, payment_id="p2")
    with busy(shop):
        begun = shop.send("api.tasks.generate_memo", property_id=7, template_id=1)

        def all_held():
            found = mine(monitor.running(), shop)
            ready = set(found["task_id"]) == {revoked, spared, begun}
            return found if ready and "active" in set(found["status"]) else None

        running = until(lambda: all_held())
        chosen = running[running["task_id"] != spared]
        chosen.attrs = running.attrs
        plan = dlq.plan(chosen, action="revoke", reason="sent by mistake")
        assert len(plan.chosen) == 2 and "does not stop" in " ".join(plan.warnings)
        run = dlq.replay(plan, to=hand, journal=dlq.Journal(), confirm=plan.id)
        receipts = run.receipts.set_index("failure_id")
        assert receipts["state"].astype("str").to_dict() == {revoked: "sent", begun: "skipped"}
        assert "until it restarts" in receipts.loc[revoked, "detail"]
        assert "has begun it" in receipts.loc[begun, "detail"]
    shop.wait_for(f"select count(*) from task_executions where task_id = '{spared}'", 1)
    done = {task_id for (task_id,) in shop.rows("select task_id from task_executions")}
    assert spared in done and revoked not in done
    assert not set(monitor.running()["task_id"]) & {revoked, spared}
    item = Item(
        failure_id=revoked, task_id=revoked, task_name="x", queue="q", content_hash="", generation=1
    )
    never = Item(
        failure_id="n", task_id="n", task_name="x", queue="q", content_hash="", generation=1
    )
    states = until(lambda: settled(hand, item, never))
    assert states == {revoked: State.SENT, "n": State.NOT_REACHED}


def settled(hand, *items):
    """What settle says, once a worker has answered."""
    found = {receipt.failure_id: receipt.state for receipt in hand.settle(items, "run")}
    return None if State.UNCERTAIN in found.values() else found


@pytest.fixture
def bare(redis_url, key_prefix):
    """A broker without workers, under a prefix of its own: its URL and a way to put a message."""
    with redis.Redis.from_url(redis_url) as client:

        def put(queue, name="app.work", **more):
            message = {"body": "W10=", "headers": {"task": name}, "properties": {}, **more}
            client.lpush(f"{key_prefix}{queue}", json.dumps(message))

        client.put = put
        yield f"celery+{redis_url}?timeout=0.3&prefix={key_prefix}", client


def test_queues_of_all_priorities_count_and_hostile_keys_are_no_error(bare, key_prefix):
    url, client = bare
    client.put("work", properties={"timestamp": 1_760_000_000})
    client.put("work\x06\x169", headers={"sent_at": "2025-10-09T08:00:00+00:00"})
    client.put("work\x06\x163")
    client.lpush(f"{key_prefix}junk", b"\xff\x00 no JSON")
    client.set(f"{key_prefix}text", "no list")
    client.sadd(f"{key_prefix}_kombu.binding.app", "r\x06\x16\x06\x16bound", "\xff")
    client.sadd(f"{key_prefix}_kombu.binding.celery.pidbox", "\x06\x16\x06\x16w1.celery.pidbox")
    tagged = {"1": json.dumps([{}, "app", "r"]), "2": json.dumps([{}, "", "work"]), "3": "junk"}
    client.hset(f"{key_prefix}unacked", mapping=tagged)
    client.zadd(f"{key_prefix}unacked_index", {"1": 1_760_000_500, "2": time.time()})
    monitor = open_monitor(f"{url}&queues=work,junk,text,none")
    depths = monitor.depths()
    waiting = depths[depths["state"] == "waiting"].set_index("queue")
    assert waiting["depth"].fillna(-1).to_dict() == {
        "bound": 0, "junk": 1, "none": 0, "text": -1, "work": 3,
    }  # fmt: skip
    assert waiting.loc["work", "oldest_at"] == datetime(2025, 10, 9, 8, tzinfo=UTC)
    assert waiting["consumers"].isna().all(), "nobody answered: nobody knows"
    taken = depths[depths["state"] == "unacked"].set_index("queue")
    assert taken["depth"].sum() == 3 and taken.loc["bound", "depth"] == 1
    assert taken.loc["bound", "oldest_at"].timestamp() == 1_760_000_500
    assert "No worker answered within 0.3 s" in depths.attrs["notes"][-1]
    health = {finding.name: finding for finding in monitor.health()}
    assert health["unacked"].severity == "warning" and "1 taken task" in health["unacked"].text
    assert (
        health["workers"].severity == "critical" and "4 tasks are waiting" in health["workers"].text
    )
    assert health["broker"].severity == "ok"
    patient = {f.name: f for f in open_monitor(f"{url}&visibility_timeout=3650d").health()}
    assert patient["unacked"].severity == "ok"


def test_without_a_worker_nothing_is_told_and_a_revoke_does_not_start(bare):
    url, _ = bare
    monitor, hand = open_monitor(url), open_hand(url)
    for frame in (monitor.workers(), monitor.running()):
        assert not len(frame) and "No worker answered" in frame.attrs["notes"][0]
    assert dict(monitor.running().dtypes) == SCHEMA
    item = Item(
        failure_id="a", task_id="a", task_name="x", queue="q", content_hash="", generation=1
    )
    [finding] = hand.preflight([item])
    assert finding.blocks and "nobody would hear" in finding.text
    assert [receipt.state for receipt in hand.send("revoke", [item], "run")] == [State.REFUSED]
    assert [receipt.state for receipt in hand.settle([item], "run")] == [State.UNCERTAIN]


def test_asking_changes_nothing_and_gives_no_task_out_again(bare, key_prefix):
    """kombu, while it waits for replies, restores what was taken more than an hour ago: not here."""
    url, client = bare
    message = {"properties": {"delivery_tag": "1"}, "headers": {}, "body": "W10="}
    taken = json.dumps([message, "app", "r"])
    client.sadd(f"{key_prefix}_kombu.binding.app", "r\x06\x16\x06\x16work")
    client.hset(f"{key_prefix}unacked", "1", taken)
    client.zadd(f"{key_prefix}unacked_index", {"1": time.time() - 7200})

    def everything():
        return {key: client.dump(key) for key in client.scan_iter(f"{key_prefix}*", count=1000)}

    before = everything()
    monitor = open_monitor(url)
    for ask in (monitor.workers, monitor.depths, monitor.running, monitor.health):
        ask()
    after = everything()
    after.pop(
        f"{key_prefix}_kombu.binding_deadlines".encode(), None
    )  # kombu's note of reply queues
    assert after == before


def test_the_management_api_tells_of_every_queue(
    amqp_url, amqp_management_url, queue_name, monkeypatch
):
    work, dead, silent = queue_name("work"), queue_name("dead"), queue_name("silent")
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        channel = connection.channel()
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        channel.queue_declare(work, arguments=arguments)
        for name in (dead, silent):
            channel.queue_declare(name)
        for name, count in ((work, 2), (dead, 1), (silent, 3)):
            for _ in range(count):
                channel.basic_publish("", name, b"x")
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(work, lambda *_: None)
        connection.process_data_events(0.2)
        monkeypatch.setenv("DLQ_CELERY_BROKER_URL", f"{amqp_url}?timeout=0.3")
        monkeypatch.setenv("DLQ_CELERY_MANAGEMENT_URL", amqp_management_url)
        monitor = dlq.connect_monitor("celery")
        wanted = {(work, "waiting"): 1, (work, "unacked"): 1, (dead, "dead_lettered"): 1,
                  (silent, "waiting"): 3}  # fmt: skip

        def all_there():
            depths = monitor.depths()
            found = depths[depths["queue"].isin([work, dead, silent])]
            told = found.set_index(["queue", "state"])["depth"].to_dict()
            # who takes from a queue is told apart from its depth, and may come later
            return depths if told == wanted and found["consumers"].notna().all() else None

        depths = until(lambda: all_there())  # its numbers are a few seconds old
        orphans = dlq.orphaned(depths).set_index("queue")
        assert silent in orphans.index and work not in orphans.index and dead not in orphans.index
        named = {finding.name: finding for finding in monitor.health()}
        assert (
            named[f"queue {silent}"].severity == "critical"
            and "-Q" in named[f"queue {silent}"].text
        )
        assert f"queue {work}" not in named and named["broker"].severity == "ok"


def test_tasks_that_celery_keeps_for_later_are_no_dead_letters(
    amqp_url, amqp_management_url, monkeypatch
):
    """Countdowns with quorum queues wait in queues that dead-letter into one another, and nobody takes from them."""
    later = "celery_delayed_3"
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        channel = connection.channel()
        channel.exchange_declare("celery_delayed_2", "topic")
        for name in ("celery_delayed_2", later):
            channel.queue_declare(name, arguments={"x-dead-letter-exchange": "celery_delayed_2"})
            channel.queue_bind(name, "celery_delayed_2", "#")
        try:
            channel.basic_publish("", later, b"x")
            monkeypatch.setenv("DLQ_CELERY_BROKER_URL", f"{amqp_url}?timeout=0.3")
            monkeypatch.setenv("DLQ_CELERY_MANAGEMENT_URL", amqp_management_url)
            monkeypatch.setenv("DLQ_DEAD_URL", f"{amqp_url}?queue=celery_dead")
            monkeypatch.setenv("DLQ_DEAD_MANAGEMENT_URL", amqp_management_url)

            def told(place):
                depths = dlq.depths(place)
                found = depths[depths["queue"].astype("str").str.startswith("celery_delayed_")]
                return found.set_index(["queue", "state"])["depth"].to_dict() or None

            for place in ("celery", "dead"):
                assert until(lambda place=place: told(place)) == {(later, "delayed"): 1}
            assert later not in set(dlq.orphaned(dlq.depths("celery"))["queue"])
            named = {finding.name for finding in dlq.findings("celery")}
            assert f"queue {later}" not in named
        finally:
            for name in ("celery_delayed_2", later):
                channel.queue_delete(name)
            channel.exchange_delete("celery_delayed_2")


@pytest.mark.parametrize("odd", [10**400, "many", {"a": 1}, [1], True, 1.5])
def test_what_the_management_api_cannot_mean_is_not_known(amqp_url, queue_name, odd, monkeypatch):
    numbers = dict.fromkeys(
        ("messages_ready", "messages_unacknowledged", "consumers", "head_message_timestamp"), odd
    )
    told = {"name": queue_name("odd"), **numbers, "arguments": odd}
    answers = {"overview": {"object_totals": {"connections": odd}}, "nodes": [{"mem_used": odd}],
               "bindings": [{"source": odd, "destination": "x"}]}  # fmt: skip

    def reply(verb, path, query, body):
        return 200, answers.get(path.split("/")[2], [told])

    with SmallServer(reply) as server:
        monkeypatch.setenv("DLQ_CELERY_BROKER_URL", f"{amqp_url}?timeout=0.3")
        monkeypatch.setenv("DLQ_CELERY_MANAGEMENT_URL", f"http://{server.place}")
        monitor = dlq.connect_monitor("celery")
        mine = monitor.depths().set_index("queue").loc[[told["name"]]]
        assert mine["depth"].isna().all() and monitor.health()


def test_tasks_of_queues_that_nobody_named_are_not_said_to_be_none(amqp_url):
    found = {f.name: f for f in open_monitor(f"celery+{amqp_url}?timeout=0.3").health()}
    assert "0 tasks are waiting" not in found["workers"].text
    assert "No worker named its queues" in found["workers"].text


def test_without_the_management_api_a_queue_is_asked_by_name(amqp_url, queue_name):
    there, not_there = queue_name("there"), queue_name("not-there")
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        connection.channel().queue_declare(there)
        connection.channel().basic_publish("", there, b"x")
        depths = open_monitor(f"celery+{amqp_url}?timeout=0.3&queues={there},{not_there}").depths()
    row = depths[depths["queue"] == there].iloc[0]
    assert (row["depth"], row["consumers"]) == (1, 0)
    notes = " ".join(depths.attrs["notes"])
    assert f"There is no queue '{not_there}'" in notes and "DLQ_CELERY_MANAGEMENT_URL" in notes


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_cannot_be_reached_says_so_without_the_password(scheme):
    url = f"celery+{scheme}://user:{SECRET}@127.0.0.1:1/0?timeout=0.3"
    monitor, hand = open_monitor(url), open_hand(url)
    item = Item(
        failure_id="a", task_id="a", task_name="x", queue="q", content_hash="", generation=1
    )
    for ask in (monitor.depths, monitor.workers, monitor.running, lambda: hand.preflight([item])):
        with pytest.raises(ConnectError, match="does not answer") as told:
            ask()
        assert SECRET not in str(told.value) and told.value.__suppress_context__
    [finding] = monitor.health()
    assert finding.severity == "critical" and SECRET not in finding.text
    assert [receipt.state for receipt in hand.send("revoke", [item], "run")] == [State.REFUSED]
    assert SECRET not in f"{monitor!r} {hand!r} {monitor.name} {monitor.address!r}"
    note = " ".join(dlq.running(url).attrs["notes"])
    assert "does not answer" in note and SECRET not in note


def test_a_wrong_password_is_not_shown(redis_url):
    place = redis_url.removeprefix("redis://").rpartition("@")[2]
    wrong = f"celery+redis://nobody:{SECRET}@{place}?timeout=0.3"
    for ask in (open_monitor(wrong).depths, open_monitor(wrong).workers):
        with pytest.raises(ConnectError) as told:
            ask()
        assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("celery+redis://h/0?queue=a", "Did you mean 'queues'"),
        ("celery+redis://:a/b@h/0", "percent-encoded"),
        ("celery+redis://h/0?timeout=soon", "number of seconds"),
        ("celery+redis://h/0?timeout=0", "number of seconds"),
        ("celery+redis://h/0?visibility_timeout=1", "not a duration"),
        ("celery+redis://h:6379/x", "cannot be read"),
        ("celery+amqp://h:port/v", "cannot be read"),
        ("celery+amqp:///v", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url, says):
    with pytest.raises(SettingsError, match=says):
        open_monitor(url)


def test_places_are_told_apart_and_workers_own_options_are_taken():
    names = [
        open_monitor(f"celery+{url}").name
        for url in (
            "redis://:p@h/1", "rediss://h/1?ssl_cert_reqs=CERT_NONE", "amqp://u:p@h//", "amqps://u:p@h/v",
            "amqp://[::1]/v",
        )
    ]  # fmt: skip
    assert names == [
        "celery:redis:h:6379/1", "celery:redis:h:6379/1", "celery:amqp:h:5672/", "celery:amqp:h:5671/v",
        "celery:amqp:[::1]:5672/v",
    ]  # fmt: skip


def test_failures_are_not_looked_for_in_a_broker():
    with pytest.raises(SettingsError, match="keeps no failures") as told:
        open_source("celery+redis://h/0", "jobs")
    assert "DLQ_JOBS_URL" in str(told.value)
    with pytest.raises(SettingsError, match="keeps no failures"):
        dlq.connect("celery+redis://h/0")
    table = dlq.capabilities("celery+redis://h/0").set_index("capability")
    assert table.loc["revoke", "can"] and not table.loc["purge", "can"]
    assert "never ran" in table.loc["purge", "how"]
