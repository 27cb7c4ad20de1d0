"""Dead-letter queues on a real RabbitMQ: what is read, what is left as it was, and when reading is refused."""

import json
import struct
from urllib.parse import unquote

import pandas as pd
import pika
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.sources import _http
from dlqanalysis.sources._management import Management, setting
from dlqanalysis.sources._properties import Properties
from dlqanalysis.sources.rabbitmq import open_source
from dlqanalysis.sources.rabbitmq.address import Address
from tests.rabbit import body, headers, rabbit, url_of
from tests.small_server import SmallServer
from tests.source_suite import check_source

pytestmark = pytest.mark.rabbitmq


def load(made, options="", **asked):
    return dlq.load(open_source(url_of(made.url, made.dlq, options)), **{"since": None, **asked})


def test_a_dead_letter_is_a_row_and_stays_where_it_is(dead):
    kwargs = {"amount": 12345678901234567890.5, "name": "☃"}
    content = b'[[7, 1.50], {"b":1,  "a": 1e400}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    told = headers(
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", idempotency_key="k1"
    )
    dead.publish(content, headers=told, correlation_id=told["id"], priority=3, timestamp=1795310162)
    other = dead.task([1], kwargs)
    dead.reject(2)
    failures = load(dead)
    row = failures.set_index("task_id").loc[told["id"]]
    vhost = unquote(dead.url.rpartition("/")[2]).strip("/")
    assert row["source"] == f"rabbitmq:{f'{vhost}/' if vhost else ''}{dead.dlq}"
    assert (row["args"], row["kwargs"]) == ("[7, 1.50]", '{"b":1,  "a": 1e400}')  # no round trip
    assert (row["task_name"], row["queue"], row["status"], row["priority"], row["retries"]) == (
        "shop.charge", dead.work, "failed", "3", 3,
    )  # fmt: skip
    assert row["payload_state"] == "complete"
    assert row["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert row["idempotency_key"] == "k1"
    assert row["enqueued_at"].timestamp() == 1795310162
    assert row["failed_at"] == row["first_failed_at"]
    assert set(failures["task_id"]) == {told["id"], other}
    assert (dlq.classify(failures)["failure_class"] == "unknown").all()  # a broker does not say why
    dead.until(dead.dlq, 2)
    assert dead.take(dead.dlq)[0][1] == content


def test_the_suite_of_every_source(dead):
    """With a limit that is known not to be there, since the suite reads on and on."""
    for name, content, properties, _ in BODIES:
        dead.publish(content, headers=headers(task=name), **properties)
    dead.reject(len(BODIES))
    dead.fill(10)
    dead.channel.basic_publish("", dead.dlq, body([1]), pika.BasicProperties(headers=headers()))

    def state():
        dead.until(dead.dlq, len(BODIES) + 11)

    source = open_source(url_of(dead.url, dead.dlq, "&delivery_limit=none"))
    whole = check_source(source, state)
    assert whole["failed_at"].isna().sum() == 1
    source.reread()
    pd.testing.assert_frame_equal(dlq.load(source, since=None), whole)


def test_a_load_is_answered_from_one_read(dead):
    dead.fill(30)
    source = open_source(url_of(dead.url, dead.dlq))
    first = dlq.load(source, since=None)
    dead.until(dead.dlq, 30)
    dead.task([99])
    dead.reject(1)
    assert len(dlq.load(source, since=None)) == 30
    assert dlq.load(source, since=None, task="charge", limit=5).attrs["truncated"]
    assert len(dlq.details(source, first)["raw"].dropna()) == 30
    row = dlq.show(source, first["failure_id"].iloc[0])
    assert json.loads(row["raw"])[0] == json.loads(row["args"])
    assert "Read at" in first.attrs["notes"][0]


def test_order_and_ids_are_the_same_after_reading(dead):
    ids = dead.fill(300)
    first, second = load(dead, "&delivery_limit=none"), load(dead, "&delivery_limit=none")
    assert list(first["failure_id"]) == list(second["failure_id"])
    assert first["failure_id"].is_unique
    dead.until(dead.dlq, 300)
    assert [p.headers["id"] for p, _ in dead.take(dead.dlq)] == ids


def test_identical_copies_are_rows_of_their_own(classic):
    told = headers()
    for _ in range(3):
        classic.publish(body([1]), headers=told, correlation_id=told["id"])
    classic.reject(3)
    failures = load(classic)
    assert len(failures) == failures["failure_id"].nunique() == 3


BODIES = [
    ("a pair: a worker would die of it", b"[[1], {}]", {}, "unreadable"),
    ("no JSON", b"{'a': 1}", {}, "unreadable"),
    ("no UTF-8", b'[["\xff"], {}, {}]', {}, "unreadable"),
    ("a pickle", b"\x80\x04}\x94.", {"content_type": "application/x-python-serialize"}, "unreadable"),
    ("deep", b"[" * 100_000 + b"]" * 100_000, {}, "unreadable"),
    ("empty", b"", {}, "unreadable"),
    ("a NUL and a lone surrogate", b'[["\\u0000\\ud800"], {}, {}]', {}, "complete"),
    ("kwargs as a list", b"[[1], [2], {}]", {}, "unreadable"),
]  # fmt: skip


def test_odd_bodies_stay_rows_with_their_bytes(classic):
    for name, content, properties, _ in BODIES:
        classic.publish(content, headers=headers(task=name), **properties)
    classic.reject(len(BODIES))
    failures = load(classic, columns=["raw"])
    rows = failures.set_index("task_name")
    for name, content, _, state in BODIES:
        assert rows.loc[name, "payload_state"] == state, name
        assert bytes(rows.loc[name, "raw"]) == content, name


def test_other_kinds_of_messages(classic):
    one = {
        "task": "old.one",
        "id": "t-1",
        "args": [1],
        "kwargs": {"a": 2},
        "retries": 1,
        "eta": None,
    }
    classic.publish(json.dumps(one).encode())
    classic.publish(b'{"order": 5}', type="order.created", message_id="m-1")
    classic.publish(b"[1,2]")
    classic.publish(b"hello", content_type="text/plain")
    classic.reject(4)
    rows = {row["task_id"]: row for row in load(classic).to_dict("records")}
    old, order = rows["t-1"], rows["m-1"]
    assert (old["task_name"], old["args"], old["kwargs"], old["retries"]) == (
        "old.one",
        "[1]",
        '{"a": 2}',
        1,
    )
    assert (order["task_name"], order["kwargs"], order["payload_state"]) == (
        "order.created", '{"order": 5}', "complete",
    )  # fmt: skip
    assert len(load(classic)) == 4


def test_what_never_ran_is_no_failure(classic, queue_name):
    channel, dlq_name = classic.channel, classic.dlq
    classic.task([0])
    classic.reject(1)
    classic.publish(body([1]), headers=headers(), expiration="1")
    classic.until(dlq_name, 2)
    short = queue_name("short")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dlq_name, "x-max-length": 1}
    channel.queue_declare(short, durable=True, arguments=dead)
    for number in (2, 3):
        channel.basic_publish("", short, body([number]), pika.BasicProperties(headers=headers()))
    classic.until(dlq_name, 3)
    failures = load(classic)
    assert len(failures) == 1
    assert sum("never ran" in note for note in failures.attrs["notes"]) == 2
    every = load(classic, status=None)
    assert sorted(every["status"]) == ["expired", "failed", "maxlen"]
    assert set(every[every["status"] == "maxlen"]["queue"]) == {short}


def test_passing_a_queue_for_delays_is_no_death(classic):
    entry = {"count": 1, "exchange": "", "routing-keys": ["x"]}
    deaths = [
        {**entry, "queue": "work", "reason": "rejected"},
        {**entry, "queue": "celery_delayed_3", "reason": "expired"},
    ]
    told = headers(**{"x-death": deaths, "x-first-death-queue": "celery_delayed_3"})
    classic.channel.basic_publish("", classic.dlq, body([1]), pika.BasicProperties(headers=told))
    [row] = load(classic).to_dict("records")
    assert (row["queue"], row["status"]) == ("work", "failed")


def test_a_time_to_live_says_when_it_goes(amqp_url, queue_name, amqp_management_url, monkeypatch):
    monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    with rabbit(amqp_url, queue_name("ttl"), **{"x-message-ttl": 3_600_000}) as made:
        made.fill(1)
        row = load(made).iloc[0]
    assert (row["expires_at"] - row["failed_at"]).total_seconds() == 3600


def test_a_management_api_without_an_end_is_left(monkeypatch):
    monkeypatch.setattr(_http, "_MOST_BYTES", 10_000)
    answers = {"/api/nodes": [{"name": "a" * 20_000}], "/api/queues/%2F": [{"name": "a"}]}
    with SmallServer(lambda verb, path, query, body: (200, answers[path])) as server:
        told = Management(f"http://{server.place}", "amqp://127.0.0.1/", "DLQ_X_MANAGEMENT_URL")
        with pytest.raises(
            ConnectError, match=r"does not answer \(ReadError\).*DLQ_X_MANAGEMENT_URL"
        ):
            told.nodes()
        assert told.queues() == [{"name": "a"}]


def test_an_argument_of_a_queue_counts_only_as_what_it_is():
    told = {"arguments": {"x-message-ttl": "soon", "x-expires": 5, "x-dead-letter-exchange": {}},
            "effective_policy_definition": {"message-ttl": 7}}  # fmt: skip
    wanted = {"message-ttl": 7, "expires": 5, "dead-letter-exchange": None, "overflow": None}
    assert {name: setting(told, name) for name in wanted} == wanted


@pytest.mark.parametrize("known", [True, False])
def test_reading_again_and_again_never_loses(
    amqp_url, queue_name, amqp_management_url, monkeypatch, known
):
    """A quorum queue with x-delivery-limit 3, asked again and again: refused, and all is still there."""
    if known:
        monkeypatch.setenv("DLQ_RABBITMQ_MANAGEMENT_URL", amqp_management_url)
    with rabbit(amqp_url, queue_name("q"), "quorum", **{"x-delivery-limit": 3}) as made:
        ids = set(made.fill(2))
        answers = []
        for _ in range(14):  # more than the limit for each
            try:
                answers.append(len(load(made)))
            except ConnectError as error:
                assert "was not read" in str(error)
                answers.append("refused")
            made.until(made.dlq, 2)
        # what reached the limit was published anew, and counts from zero again
        assert answers[:3] == [2, "refused", "refused"]
        assert set(answers) == {2, "refused"}
        assert {p.headers["id"] for p, _ in made.take(made.dlq)} == ids


def test_a_run_that_acts_keeps_readers_out(classic, monkeypatch):
    from dlqanalysis.sources.rabbitmq import source

    classic.fill(2)
    other = pika.BlockingConnection(pika.URLParameters(classic.url))
    other.channel().queue_declare(f"dlqanalysis.lock.{classic.dlq}", exclusive=True)
    with monkeypatch.context() as patch, pytest.raises(ConnectError, match="is acting on"):
        patch.setattr(source, "_PATIENCE", 0.3)
        load(classic)
    other.close()
    assert len(load(classic)) == 2


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda u: u, SettingsError, "names no dead-letter queue"),
        (lambda u: f"{u}?queue=a&prefetch=3", SettingsError, "'prefetch' is no option"),
        (lambda u: f"{u}?queue=a&most=-1", SettingsError, "whole number"),
        (lambda u: f"{u}?queue=nobody", ConnectError, "There is no queue 'nobody'"),
        (lambda u: "amqp://u:s3cret@127.0.0.1:1/x?queue=a", ConnectError, "does not let us in"),
        (lambda u: "amqp://u:s3c@ret@127.0.0.1:x/x?queue=a", SettingsError, "percent-encoded"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(amqp_url, change, kind, says):
    with pytest.raises(kind, match=says) as caught:
        dlq.load(open_source(change(amqp_url)), since=None)
    assert "s3c" not in str(caught.value)
    assert "s3cret" not in repr(Address.parse("amqp://u:s3cret@h/v?queue=a", "http://s3cret@x"))


def test_properties_keep_every_byte():
    pieces = [
        b"\x01t" + b"t\x01", b"\x01f" + b"d" + struct.pack(">d", 2.5), b"\x01n" + b"d" + struct.pack(">d", float("nan")),
        b"\x01s" + b"s" + struct.pack(">h", -3), b"\x02\xff\xfe" + b"S" + struct.pack(">I", 2) + b"\xc3\x28",
        b"\x01T" + b"T" + struct.pack(">Q", 2**63), b"\x01a" + b"A" + struct.pack(">I", 2) + b"VV",
        b"\x02id" + b"S" + struct.pack(">I", 3) + b"abc",
    ]  # fmt: skip
    table = b"".join(pieces)
    raw = (
        struct.pack(">H", 1 << 15 | 1 << 13 | 1 << 11)
        + b"\x04text"
        + struct.pack(">I", len(table))
        + table
        + b"\x05"
    )
    read = Properties.parse(raw)
    assert b"".join(read.encode()) == raw
    assert (read.field("content_type"), read.field("priority"), read.header("f")) == (
        "text",
        5,
        2.5,
    )
    changed = b"".join(read.changed(headers={"id": "xyz1"}).encode())
    assert changed == raw.replace(b"S\x00\x00\x00\x03abc", b"S\x00\x00\x00\x04xyz1").replace(
        struct.pack(">I", len(table)) + b"\x01t", struct.pack(">I", len(table) + 1) + b"\x01t"
    )
    broken = raw.replace(b"d" + struct.pack(">d", 2.5), b"?" + struct.pack(">d", 2.5))
    assert Properties.parse(broken).headers is None
    assert b"".join(Properties.parse(broken).encode()) == broken
