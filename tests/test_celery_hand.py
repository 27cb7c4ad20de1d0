"""The Celery hand on a real Postgres and real brokers: claim, publish once, mark; settle after a crash."""

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pika
import psycopg
import pytest
import redis
import sqlalchemy as sa

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Item, Outcome, State
from dlqanalysis.sources._results import Results
from dlqanalysis.sources._results import connect as connect_results
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.broker import AlreadySent, RedisBroker, Unreached
from dlqanalysis.sources.celery.broker import connect as connect_broker
from dlqanalysis.sources.celery.claims import Claims
from dlqanalysis.sources.celery.hand import CeleryHand
from dlqanalysis.sources.celery.message import NotReplayable, build, new_id
from tests.consumer import Consumer
from tests.hand_suite import NEEDED, Ground, check_hand, with_secret


def add(
    url, queue, *, args="[]", kwargs="{}", task_id=None, task_name="shop.charge", status="failed"
):
    with psycopg.connect(url, autocommit=True) as db:
        row = db.execute(
            "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type, status)"
            " VALUES (coalesce(%s, gen_random_uuid()::text), %s, %s, %s, %s, 'ConnectionError', %s)"
            " RETURNING id::text, task_id, task_name, queue_name, args::text, kwargs::text",
            (task_id, task_name, queue, args, kwargs, status),
        ).fetchone()
    return Item(
        failure_id=row[0],
        task_id=row[1],
        task_name=row[2],
        queue=row[3] or "",
        content_hash=content_hash(*row[1:]),
        generation=1,
    )


def row(url, item):
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as db:
        return db.execute("SELECT * FROM failed_tasks WHERE id = %s", (item.failure_id,)).fetchone()


@pytest.fixture
def queue(queue_name, redis_url):
    name = queue_name("payments")
    client = redis.Redis.from_url(redis_url)
    client.sadd(f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}")
    yield name
    client.delete(name, f"_kombu.binding.{name}", f"dlqanalysis:celery:{name}:ledger")
    client.close()


@pytest.fixture
def hand(shop_url, redis_url):
    with CeleryHand.connect(shop_url, redis_url) as opened:
        yield opened


@pytest.fixture
def claims(hand, shop_url):
    """The claims as a colleague sees them."""
    opened = Claims(Address.parse(shop_url))
    yield opened
    opened.close()


def own_hand(database, broker, **options):
    """A hand with a result backend or a profile of the test's own."""
    return CeleryHand(Claims(Address.parse(database)), connect_broker(broker), **options)


class CeleryGround(Ground):
    """A failed_tasks table and a broker as the suite of hands sees them."""

    nowhere = "postgresql://u:s3cret@127.0.0.1:1/x"
    without = frozenset({"quarantine", "purge", "undo"})

    def __init__(self, database, broker, queue):
        self.url, self.secret = with_secret(database, "postgres")
        self.redis, self.queue = redis.Redis.from_url(broker), queue
        self.ask(
            "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type)"
            " SELECT 't-' || n, 'shop.charge', %s, jsonb_build_array(n), jsonb_build_object('order', n),"
            " 'ConnectionError' FROM generate_series(1, %s) n",
            queue, NEEDED,
        )  # fmt: skip

    def ask(self, statement, *values):
        with psycopg.connect(self.url, autocommit=True) as db:
            asked = db.execute(statement, values)
            return dict(asked.fetchall()) if asked.description else None

    def dead(self):
        return self.ask("SELECT task_id, to_jsonb(f) FROM failed_tasks f WHERE status = 'failed'")

    def went(self):
        sent = (json.loads(raw)["headers"] for raw in self.redis.lrange(self.queue, 0, -1))
        return Counter(headers["dlqanalysis_replay_of"] for headers in sent)

    def change(self, task_id):
        self.ask("UPDATE failed_tasks SET kwargs = '{\"order\": -1}' WHERE task_id = %s", task_id)

    def remove(self, task_id):
        self.ask("DELETE FROM failed_tasks WHERE task_id = %s", task_id)

    def kept(self, row, dead):
        told = {name: json.loads(row[name]) for name in ("args", "kwargs")}
        return row["task_id"] == dead["task_id"] and told.items() <= dead.items()


def test_the_suite_of_hands(shop_url, redis_url, queue, monkeypatch, tmp_path):
    monkeypatch.setenv("DLQ_CELERY_BROKER_URL", with_secret(redis_url, "default")[0])
    ground = CeleryGround(shop_url, redis_url, queue)
    check_hand(ground, tmp_path)
    ground.redis.close()


def test_a_row_is_sent_once_and_marked(hand, shop_url, redis_url, queue):
    item = add(shop_url, queue, args='[7, "☃"]', kwargs='{"amount": 12345678901234567890.5}')
    [receipt] = hand.send("replay", [item], "run-1")
    assert receipt.state == State.SENT, receipt.detail
    assert receipt.sent_id == new_id("failed_tasks", item.failure_id, item.task_id)
    marked = row(shop_url, item)
    assert (marked["status"], marked["replayed_task_id"]) == ("replayed", receipt.sent_id)
    assert marked["replayed_at"] is not None
    client = redis.Redis.from_url(redis_url)
    [raw] = client.lrange(queue, 0, -1)
    client.close()
    message = json.loads(raw)
    body = base64.b64decode(message["body"]).decode()
    assert body.startswith(
        '[[7, "☃"], {"amount": 12345678901234567890.5}, '
    )  # the text, not a round trip
    assert message["headers"]["id"] == message["properties"]["correlation_id"] == receipt.sent_id
    assert message["headers"]["dlqanalysis_replay_of"] == item.task_id
    assert message["headers"]["retries"] == 0
    [again] = hand.send("replay", [item], "run-2")
    assert (again.state, again.detail) == (State.SKIPPED, "its status is replayed now")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE failed_tasks SET kwargs = '{\"a\": 2}'", "its content changed"),
        ("UPDATE failed_tasks SET status = 'archived'", "its status is archived now"),
        ("UPDATE failed_tasks SET replayed_at = now()", "it was replayed meanwhile"),
        ("DELETE FROM failed_tasks", "the row is gone"),
    ],
)
def test_what_is_no_longer_as_planned_is_skipped(hand, shop_url, redis_url, queue, change, why):
    item = add(shop_url, queue, kwargs='{"a": 1}')
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(change)
    [receipt] = hand.send("replay", [item], "run-1")
    assert receipt.state == State.SKIPPED
    assert why in receipt.detail
    client = redis.Redis.from_url(redis_url)
    assert client.llen(queue) == 0
    client.close()


def test_a_row_that_somebody_holds_is_skipped(hand, shop_url, queue):
    item = add(shop_url, queue)
    with psycopg.connect(shop_url) as db:
        db.execute("SELECT 1 FROM failed_tasks WHERE id = %s FOR UPDATE", (item.failure_id,))
        [receipt] = hand.send("replay", [item], "run-1")
    assert (receipt.state, receipt.detail) == (State.SKIPPED, "somebody else is working on the row")
    [receipt] = hand.send("replay", [item], "run-1")
    assert receipt.state == State.SENT


def test_a_claim_of_another_run_holds_even_while_the_row_looks_open(hand, claims, shop_url, queue):
    item = add(shop_url, queue)
    claims.take([item], "run-of-a-colleague", {item.failure_id: "id-1"})
    [receipt] = hand.send("replay", [item], "run-2")
    assert (receipt.state, receipt.detail) == (
        State.SKIPPED,
        "run run-of-a-colleague has claimed it",
    )
    assert row(shop_url, item)["status"] == "failed"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kwargs": "[1]"}, "kwargs is a JSON list, not a dict"),
        ({"args": '"(1,)"'}, "args is a JSON str, not a list"),
        ({"task_name": ""}, "the row names no task"),
    ],
)
def test_what_would_kill_a_worker_is_refused_and_given_back(
    hand, claims, shop_url, queue, fields, why
):
    item = add(shop_url, queue, **fields)
    [receipt] = hand.send("replay", [item], "run-1")
    assert (receipt.state, receipt.detail) == (State.REFUSED, why)
    assert row(shop_url, item)["status"] == "failed"
    assert claims.state([item.failure_id]) == {}


def test_the_queue_of_the_plan_goes_before_the_rows_queue(shop_url, redis_url, queue):
    item = add(shop_url, "default", task_name="api.tasks.generate_memo")
    with own_hand(shop_url, redis_url) as hand:
        [receipt] = hand.send("replay", [replace(item, target=queue)], "run-1")
        assert receipt.state == State.SENT
    client = redis.Redis.from_url(redis_url)
    assert client.llen(queue) == 1
    client.close()


def test_a_queue_that_no_worker_declared_blocks(hand, shop_url, queue):
    known, unknown = add(shop_url, queue), add(shop_url, "nobody-listens-here")
    assert not any(finding.blocks for finding in hand.preflight([known]))
    [blocking] = [finding for finding in hand.preflight([known, unknown]) if finding.blocks]
    assert "No worker ever declared queue 'nobody-listens-here'" in blocking.text


def test_a_broker_that_does_not_tell_its_queues_is_a_sentence(hand, shop_url, redis_url, queue):
    """A run then waits for it, as for one that is away."""
    item = add(shop_url, queue)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(f"_kombu.binding.{queue}")
        client.set(f"_kombu.binding.{queue}", "no set")
        with pytest.raises(ConnectError, match="does not tell its queues"):
            hand.preflight([item])


def test_a_key_of_another_type_is_refused(hand, shop_url, redis_url, queue):
    client = redis.Redis.from_url(redis_url)
    client.set(queue, "not a list")
    [receipt] = hand.send("replay", [add(shop_url, queue)], "run-1")
    client.close()
    assert receipt.state == State.REFUSED
    assert "is a string, not a list" in receipt.detail


def test_the_ledger_makes_a_second_push_of_one_id_impossible(redis_url, queue):
    broker = RedisBroker(redis_url)
    message = build(
        sent_id="id-1", task_id="t", task_name="a", queue=queue, args=None, kwargs=None, run_id="r1",
        generation=1, extra={},
    )  # fmt: skip
    broker.publish(message, "r1")
    broker.publish(message, "r1")  # as after a lost answer
    with pytest.raises(AlreadySent, match="r1"):
        broker.publish(message, "r2")
    client = redis.Redis.from_url(redis_url)
    assert client.llen(queue) == 1
    client.close()
    assert broker.was_sent(queue, "id-1") is True
    assert broker.was_sent(queue, "id-2") is False
    broker.close()


def test_a_crash_between_claim_and_mark_is_settled_by_the_ledger(
    hand, claims, shop_url, redis_url, queue
):
    sent, unsent, unclaimed = (add(shop_url, queue) for _ in range(3))
    ids = {i.failure_id: new_id("failed_tasks", i.failure_id, i.task_id) for i in (sent, unsent)}
    taken, _ = claims.take([sent, unsent], "run-1", ids)
    message = build(
        sent_id=taken[0].sent_id, task_id=sent.task_id, task_name=sent.task_name, queue=queue, args="[]",
        kwargs="{}", run_id="run-1", generation=1, extra={},
    )  # fmt: skip
    broker = RedisBroker(redis_url)
    broker.publish(message, "run-1")  # and here the process died
    broker.close()
    settled = {r.failure_id: r for r in hand.settle([sent, unsent, unclaimed], "run-1")}
    assert settled[sent.failure_id].state == State.SENT
    assert settled[unsent.failure_id].state == State.NOT_REACHED
    assert settled[unclaimed.failure_id].state == State.NOT_REACHED
    assert row(shop_url, sent)["status"] == "replayed"
    assert row(shop_url, unsent)["status"] == "failed"
    [receipt] = hand.send("replay", [unsent], "run-1")
    assert receipt.state == State.SENT


def test_a_send_that_is_cut_off_gives_untried_claims_back(hand, claims, shop_url, queue):
    items = [add(shop_url, queue) for _ in range(3)]
    sending = hand.send("replay", items, "run-1")
    assert next(sending).state == State.SENT
    sending.close()
    assert set(claims.state([i.failure_id for i in items])) == {items[0].failure_id}


def test_a_broker_that_went_away_leaves_the_rest_for_a_resume(
    hand, claims, shop_url, queue, monkeypatch
):
    items = [add(shop_url, queue) for _ in range(4)]
    publish, asked = hand._broker.publish, []

    def once(message, run_id):
        asked.append(message)
        if len(asked) > 1:
            raise Unreached("the broker is not reachable")
        publish(message, run_id)

    monkeypatch.setattr(hand._broker, "publish", once)
    receipts = list(hand.send("replay", items, "run-1"))
    assert [r.failure_id for r in receipts] == [item.failure_id for item in items]
    assert [r.state for r in receipts] == [State.SENT] + [State.NOT_REACHED] * 3
    assert len(asked) == 2 and set(claims.state([i.failure_id for i in items])) == {
        items[0].failure_id
    }
    monkeypatch.undo()
    assert {r.state for r in hand.send("replay", items[1:], "run-2")} == {State.SENT}


def test_outcomes_come_from_executions_failures_and_results(
    hand, claims, shop_url, redis_url, queue
):
    def succeeds(task, args, kwargs):
        return args != [2]

    with Consumer(redis_url, shop_url, [queue], succeeds) as worker:
        items = [add(shop_url, queue, args=f"[{n}]") for n in (1, 2)]
        receipts = list(hand.send("replay", items, "run-1"))
        for _ in range(100):
            if len(worker.ran) == 2 and len(claims.seen([r.sent_id for r in receipts])) == 2:
                break
            worker._stop_now.wait(0.05)
    sent = {receipt.failure_id: receipt.sent_id for receipt in receipts}
    verdicts = {
        v.failure_id: v.outcome for v in hand.outcomes({**sent, "x": "nobody"}, datetime.now(UTC))
    }
    assert verdicts == {
        items[0].failure_id: Outcome.SUCCEEDED,
        items[1].failure_id: Outcome.FAILED_AGAIN,
        "x": Outcome.PENDING,
    }
    client = redis.Redis.from_url(redis_url)
    client.set("celery-task-meta-nobody", json.dumps({"status": "SUCCESS", "result": 1}))
    client.set("celery-task-meta-pickled", b"\x80\x04}\x94.")
    with own_hand(shop_url, redis_url, results=Results(client)) as other:
        asked = list(other.outcomes({"x": "nobody", "y": "pickled"}, datetime.now(UTC)))
        client.delete("celery-task-meta-nobody", "celery-task-meta-pickled")
    assert [v.outcome for v in asked] == [Outcome.SUCCEEDED, Outcome.PENDING]


def test_the_snapshot_is_the_whole_row_as_text(hand, shop_url, queue):
    item = add(shop_url, queue, kwargs='{"amount": 5}')
    kept = hand.snapshot([item.failure_id])
    assert list(kept["id"]) == [item.failure_id]
    assert kept["kwargs"].iloc[0] == '{"amount": 5}'
    assert set(row(shop_url, item)) == set(kept.columns)
    assert all(dtype == "str" for dtype in kept.dtypes)
    assert isinstance(kept, pd.DataFrame)


def test_a_table_with_other_words_and_types_is_replayed_too(postgres_url, redis_url, queue):
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("CREATE TYPE dlq_state AS ENUM ('failed', 'replaying', 'replayed', 'archived')")
        db.execute(
            "CREATE TABLE failed_tasks (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), task_id text UNIQUE,"
            " task_name text, queue_name text, args text, kwargs json, exception_type text,"
            " failed_at timestamp, replayed_at timestamp, status dlq_state DEFAULT 'failed',"
            " replay_count int)"
        )
        ids = [
            db.execute(
                "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, failed_at) VALUES"
                " (%s, 'a.b', %s, '[1]', '{\"k\":  1}', now()) RETURNING id::text",
                (f"t-{number}", queue),
            ).fetchone()[0]
            for number in range(2)
        ]
    item = Item(
        failure_id=ids[0], task_id="t-0", task_name="a.b", queue=queue, generation=1,
        content_hash=content_hash("t-0", "a.b", queue, "[1]", '{"k":  1}'),
    )  # fmt: skip
    with CeleryHand.connect(postgres_url, redis_url) as hand:
        claims = Claims(Address.parse(postgres_url))
        claims.take([item], "run-1", {item.failure_id: "x"})
        with psycopg.connect(postgres_url) as db:
            asked = "SELECT status::text FROM failed_tasks ORDER BY task_id"
            assert [s for (s,) in db.execute(asked)] == ["replaying", "failed"]
        claims.release([item.failure_id], "run-1")
        claims.close()
        [receipt] = hand.send("replay", [item], "run-1")
        assert receipt.state == State.SENT
    with psycopg.connect(postgres_url) as db:
        found = db.execute(
            "SELECT status::text, replay_count FROM failed_tasks ORDER BY task_id"
        ).fetchall()
    assert found == [("replayed", 1), ("failed", None)]


@pytest.mark.rabbitmq
def test_rabbitmq_confirms_refuses_and_reports(shop_url, amqp_url, queue_name):
    name = queue_name("memos")
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.queue_declare(
        name, durable=True, arguments={"x-dead-letter-exchange": "dlx", "x-max-priority": 5}
    )
    item, lost = add(shop_url, name, args="[1]"), add(shop_url, queue_name("nowhere"))
    broker, claims = connect_broker(amqp_url), Claims(Address.parse(shop_url))
    with CeleryHand(claims, broker) as hand:
        findings = {finding.name: finding for finding in hand.preflight([item, lost])}
        assert findings[f"queue {name}"].severity == "warning"  # nobody consumes it yet
        assert findings[f"queue {lost.queue}"].blocks
        receipts = {r.failure_id: r for r in hand.send("replay", [item, lost], "run-1")}
        assert receipts[item.failure_id].state == State.SENT
        assert receipts[lost.failure_id].state == State.REFUSED
        assert row(shop_url, lost)["status"] == "failed"
        method, properties, body = channel.basic_get(name, auto_ack=True)
        assert method is not None
        assert json.loads(body)[:2] == [[1], {}]
        assert (
            properties.headers["id"]
            == properties.correlation_id
            == receipts[item.failure_id].sent_id
        )
        assert properties.delivery_mode == 2
        broker.close()  # as after an idle hour
        another = add(shop_url, name)
        assert [r.state for r in hand.send("replay", [another], "run-1")] == [State.SENT]
        doubtful = add(shop_url, name)
        claims.take([doubtful], "run-1", {doubtful.failure_id: "id-9"})
        assert claims.publishing(doubtful.failure_id, "run-1")
        [settled] = hand.settle([doubtful], "run-1")
        assert settled.state == State.UNCERTAIN  # a queue cannot be asked
        # claimed with it and not come to: nothing was published, whatever the broker forgets
        waiting = add(shop_url, name)
        claims.take([waiting], "run-1", {waiting.failure_id: "id-10"})
        [settled] = hand.settle([waiting], "run-1")
        assert settled.state == State.NOT_REACHED and row(shop_url, waiting)["status"] == "failed"
        assert not claims.publishing(waiting.failure_id, "run-1")  # who still held it stops here
        with psycopg.connect(shop_url, autocommit=True) as db:
            db.execute(
                "INSERT INTO task_executions (task_id, task_name, status) VALUES ('id-9', 'a', 'success')"
            )
        [settled] = hand.settle([doubtful], "run-1")
        assert settled.state == State.SENT
    channel.queue_delete(name)
    connection.close()


def test_what_rabbitmq_cannot_carry_is_refused_and_what_it_can_is_not(
    shop_url, amqp_url, queue_name
):
    name = queue_name("memos")
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute("ALTER TABLE failed_tasks ADD IF NOT EXISTS headers jsonb")
        good, bad = add(shop_url, name), add(shop_url, name)
        for item, headers in ((good, {"timelimit": [1.5, None]}), (bad, {"group_index": 2**70})):
            db.execute(
                "UPDATE failed_tasks SET headers = %s, priority = 300 WHERE id = %s",
                (json.dumps(headers), item.failure_id),
            )
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.queue_declare(name)
    with own_hand(shop_url, amqp_url) as hand:
        assert "guest" not in repr(hand._broker) and "://" not in repr(hand._broker)
        receipts = {r.failure_id: r for r in hand.send("replay", [bad, good], "run-1")}
    assert receipts[bad.failure_id].state == State.REFUSED
    assert "what no message can carry" in receipts[bad.failure_id].detail
    assert receipts[good.failure_id].state == State.SENT
    _, properties, _ = channel.basic_get(name, auto_ack=True)
    assert properties.priority == 255 and properties.headers["ignore_result"] is False
    assert properties.headers["timelimit"] == [1, None]  # 1.5: pika rounds down what it reads
    assert channel.basic_get(name)[0] is None
    channel.queue_delete(name)
    connection.close()


@pytest.mark.parametrize(
    "url", ["redis://:s3cret@127.0.0.1:1/0", "amqp://user:s3cret@127.0.0.1:1//", "sqs://k:s3cret@x"]
)
def test_a_broker_that_cannot_be_reached_says_so_without_the_password(url):
    with pytest.raises((ConnectError, SettingsError)) as caught:
        connect_broker(url)
    assert "s3cret" not in str(caught.value)
    assert "broker" in str(caught.value).lower()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret/more@127.0.0.1/0",
        "redis://:s3cret#more@127.0.0.1/0",
        "amqp://user:s3cret/more@127.0.0.1//",
        "amqp://user:more?s3cret@127.0.0.1//",
        "amqp://user:s3cret@127.0.0.1:99999//",
        "redis://:s3cret@127.0.0.1/none",
        "redis://:s3cret@127.0.0.1/0?unheard_of=1",
        "redis://:s3cret@127.0.0.1/0?socket_timeout=long",
    ],
)
def test_a_url_that_cannot_be_read_is_a_sentence_without_the_password(url, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_RESULTS_URL", url)
    tries = [lambda: connect_broker(url), lambda: dlq.connect(f"results+{url}")]
    if url.startswith("redis"):
        tries.append(lambda: connect_results("shop"))
    else:
        tries[1:] = [lambda: dlq.connect(f"results+{url.replace('amqp', 'postgresql')}")]
    for one in tries:
        with pytest.raises(SettingsError) as caught:
            one()
        assert "s3cret" not in str(caught.value) and "more" not in str(caught.value)


def test_no_broker_no_hand(shop_url):
    with pytest.raises(SettingsError, match="DLQ_CELERY_BROKER_URL"):
        CeleryHand.connect(shop_url)


def test_a_hand_by_name_takes_its_own_url_else_the_readers(shop_url, redis_url, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_URL", shop_url)
    monkeypatch.setenv("DLQ_SHOP_BROKER_URL", redis_url)
    with dlq.connect_hand("shop") as hand:
        assert hand.name == dlq.connect("shop").name
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute("CREATE TABLE other_tasks (LIKE failed_tasks INCLUDING ALL)")
    monkeypatch.setenv("DLQ_SHOP_HAND_URL", shop_url + "&table=other_tasks")
    with dlq.connect_hand("shop") as hand:
        assert hand.name == "celery:other_tasks"


def test_a_role_that_may_not_create_the_claims_is_told_what_to_run(shop_url, redis_url, token):
    with psycopg.connect(shop_url, autocommit=True) as db:
        schema = db.execute("SELECT current_schema()").fetchone()[0]
        db.execute(f"CREATE ROLE {token} LOGIN PASSWORD 'pw'")
        db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {token}")
        db.execute(f"GRANT SELECT, UPDATE ON failed_tasks TO {token}")
        try:
            limited = psycopg.conninfo.conninfo_to_dict(shop_url)
            place = f"{limited['host']}:{limited['port']}/{limited['dbname']}"
            options = limited["options"].replace(" ", "%20").replace("=", "%3D")
            with pytest.raises(ConnectError, match=r"CREATE TABLE .*dlqanalysis_claims"):
                CeleryHand.connect(f"postgresql://{token}:pw@{place}?options={options}", redis_url)
        finally:
            db.execute(f"DROP OWNED BY {token}")
            db.execute(f"DROP ROLE {token}")


def test_a_role_that_others_left_no_rights_on_the_claims_sends_nothing(
    claims, shop_url, redis_url, token
):
    """The first operator made the table of claims; the second is told what to run, and nothing is in doubt."""
    with psycopg.connect(shop_url, autocommit=True) as db:
        schema = db.execute("SELECT current_schema()").fetchone()[0]
        db.execute(f"CREATE ROLE {token} LOGIN PASSWORD 'pw'")
        db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {token}")
        db.execute(f"GRANT SELECT ON failed_tasks TO {token}")
        try:
            limited = psycopg.conninfo.conninfo_to_dict(shop_url)
            place = f"{limited['host']}:{limited['port']}/{limited['dbname']}"
            options = limited["options"].replace(" ", "%20").replace("=", "%3D")
            url = f"postgresql://{token}:pw@{place}?options={options}"
            with CeleryHand.connect(url, redis_url) as hand:
                [told] = [one for one in hand.preflight([]) if one.name == "rights"]
                assert (
                    told.blocks and f"GRANT UPDATE ON {schema}.failed_tasks TO {token}" in told.text
                )
                assert "GRANT SELECT, INSERT, UPDATE, DELETE ON" in told.text
                db.execute(f"GRANT UPDATE (status) ON failed_tasks TO {token}")
                db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON dlqanalysis_claims TO {token}")
                assert not [one for one in hand.preflight([]) if one.name == "rights"]
        finally:
            db.execute(f"DROP OWNED BY {token}")
            db.execute(f"DROP ROLE {token}")


def test_the_end_of_a_task_is_read_in_the_runbooks_words_and_in_celerys(claims, shop_url):
    said = {
        "a": "success", "b": "SUCCESS", "c": "failed", "d": "FAILURE", "e": "STARTED", "f": "retry",
    }  # fmt: skip
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute("ALTER TABLE task_executions DROP CONSTRAINT task_executions_status_check")
        for task_id, status in said.items():
            db.execute(
                "INSERT INTO task_executions (task_id, task_name, status) VALUES (%s, 'a', %s)",
                (task_id, status),
            )
    assert claims.seen([*said, "never"]) == {
        "a": "success", "b": "success", "c": "failed", "d": "failed", "e": "started", "f": "started",
    }  # fmt: skip


@pytest.mark.parametrize(
    "ours, state",
    [
        ("CREATE TABLE dlqanalysis_claims (a int)", "42P07"),
        ("CREATE TYPE dlqanalysis_claims AS (a int)", "42710"),
        ("INSERT INTO dlqanalysis_claims SELECT * FROM dlqanalysis_claims_twice", "23505"),
    ],
)
def test_who_creates_the_claims_in_the_same_moment_as_a_colleague_goes_on(shop_url, ours, state):
    """Between our look and our CREATE a colleague's is committed; the server then refuses ours in one of three ways."""

    def colleague(_table, connection, **_):
        with psycopg.connect(shop_url, autocommit=True) as db:
            db.execute(
                "CREATE TABLE dlqanalysis_claims (source_table text, failure_id text UNIQUE)"
            )
            db.execute("CREATE TABLE dlqanalysis_claims_twice (source_table text, failure_id text)")
            db.execute("INSERT INTO dlqanalysis_claims_twice VALUES ('t', '1'), ('t', '1')")
        try:
            connection.exec_driver_sql(ours)
        except sa.exc.DBAPIError as error:
            refused.append(error.orig.sqlstate)
            raise

    refused = []
    sa.event.listen(sa.Table, "before_create", colleague)
    try:
        opened = Claims(Address.parse(shop_url))
    finally:
        sa.event.remove(sa.Table, "before_create", colleague)
    assert refused == [state]
    with opened.transaction() as db:
        assert sa.inspect(db).has_table("dlqanalysis_claims", schema=opened.table.schema)


def test_what_cannot_become_a_message_is_named():
    good = {
        "sent_id": "i", "task_id": "t", "task_name": "a", "queue": "q", "args": "[]", "kwargs": "{}",
        "run_id": "r", "generation": 1, "extra": {},
    }  # fmt: skip
    assert (
        build(**good).body
        == b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    )
    deep = "[" * 100_000 + "]" * 100_000
    for change, why in [
        ({"args": deep}, "args is no JSON"),
        ({"kwargs": "{'a': 1}"}, "kwargs is no JSON"),
        ({"queue": ""}, r"\[routes\]"),
        ({"extra": {"headers": "no JSON"}}, "headers are no JSON"),
        ({"extra": {"headers": "[1]"}}, "headers are a JSON list"),
        ({"extra": {"headers": 3}}, "headers are a JSON int"),
        *(
            ({"extra": {"body": body, "content_type": "application/json"}}, "own body is none")
            for body in (b"[[1], {}]", b"\xff", b"{}", "no JSON", b"[{}, [], {}]", deep)
        ),
    ]:
        with pytest.raises(NotReplayable, match=why):
            build(**{**good, **change})
    whole = build(**{**good, "extra": {"body": b"[[1],{},{}]", "content_type": "application/json"}})
    assert whole.body == b"[[1],{},{}]"
    text = build(**{**good, "extra": {"body": "[[1],{},{}]", "content_type": "application/json"}})
    assert text.body == whole.body
    urgent = [build(**{**good, "extra": {"priority": n}}).priority for n in (-1, 7, 300, None)]
    assert urgent == [0, 7, 255, 0]
