"""The Celery hand on a real Postgres and real brokers: claim, publish once, mark; settle after a crash."""

import base64
import json
from datetime import UTC, datetime

import pandas as pd
import pika
import psycopg
import pytest
import redis

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Item, Outcome, State
from dlqanalysis.profile import Profile
from dlqanalysis.sources._results import Results
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.broker import AlreadySent, RedisBroker
from dlqanalysis.sources.celery.broker import connect as connect_broker
from dlqanalysis.sources.celery.claims import Claims
from dlqanalysis.sources.celery.hand import CeleryHand
from dlqanalysis.sources.celery.message import NotReplayable, build, new_id
from tests.consumer import Consumer


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


def test_a_route_of_the_profile_goes_before_the_rows_queue(shop_url, redis_url, queue):
    item = add(shop_url, "default", task_name="api.tasks.generate_memo")
    with own_hand(shop_url, redis_url, profile=Profile(routes={"generate_memo": queue})) as hand:
        [receipt] = hand.send("replay", [item], "run-1")
        assert receipt.state == State.SENT
    client = redis.Redis.from_url(redis_url)
    assert client.llen(queue) == 1
    client.close()


def test_a_queue_that_no_worker_declared_blocks(hand, shop_url, queue):
    known, unknown = add(shop_url, queue), add(shop_url, "nobody-listens-here")
    assert not any(finding.blocks for finding in hand.preflight([known]))
    [blocking] = [finding for finding in hand.preflight([known, unknown]) if finding.blocks]
    assert "No worker ever declared queue 'nobody-listens-here'" in blocking.text


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


@pytest.mark.parametrize(
    "url", ["redis://:s3cret@127.0.0.1:1/0", "amqp://user:s3cret@127.0.0.1:1//", "sqs://k:s3cret@x"]
)
def test_a_broker_that_cannot_be_reached_says_so_without_the_password(url):
    with pytest.raises((ConnectError, SettingsError)) as caught:
        connect_broker(url)
    assert "s3cret" not in str(caught.value)
    assert "broker" in str(caught.value).lower()


def test_no_broker_no_hand(shop_url):
    with pytest.raises(SettingsError, match="DLQ_CELERY_BROKER_URL"):
        CeleryHand.connect(shop_url)


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
    ]:
        with pytest.raises(NotReplayable, match=why):
            build(**{**good, **change})
    whole = build(**{**good, "extra": {"body": b"[[1],{},{}]", "content_type": "application/json"}})
    assert whole.body == b"[[1],{},{}]"
