"""Results of Celery tasks as failures: written by Celery's own backends, read without loading anything."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest
import redis
from celery import Celery

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.errors import ConnectError, SchemaError, SettingsError
from dlqanalysis.sources import connect_hand
from dlqanalysis.sources.celery_results import open_source
from tests.source_suite import check_source


class Request:
    """What a backend asks of a running task."""

    def __init__(self, args, kwargs, retries=2):
        self.args, self.kwargs, self.retries = args, kwargs, retries
        self.task, self.hostname, self.delivery_info = (
            "shop.charge",
            "w1@host",
            {"routing_key": "payments"},
        )
        self.argsrepr = self.kwargsrepr = self.group = self.root_id = self.parent_id = None
        self.correlation_id = self.stamped_headers = self.stamps = self.meta = self.properties = (
            None
        )
        self.children = []
        self.chord = self.errbacks = None
        self.ignore_result = False


def fail(backend, task_id, args, kwargs, state="FAILURE"):
    try:
        raise ConnectionError("the other side does not answer")
    except ConnectionError as error:
        backend.store_result(
            task_id,
            error,
            state,
            traceback="Traceback ...\nConnectionError",
            request=Request(args, kwargs),
        )


def url(redis_url, key_prefix):
    return f"results+{redis_url}?prefix={key_prefix}celery-task-meta-"


@pytest.fixture
def backend(redis_url, key_prefix):
    with Celery("app", backend=redis_url) as app:
        app.conf.update(
            result_extended=True, result_expires=3600, redis_backend_health_check_interval=None
        )
        app.conf.result_backend_transport_options = {"global_keyprefix": key_prefix}
        yield app.backend
        app.backend.client.connection_pool.disconnect()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery's backend
def test_what_celery_wrote_to_redis(backend, redis_url, key_prefix):
    fail(backend, "t-1", [7, "☃"], {"amount": 1.5})
    fail(backend, "t-2", [], {}, "RETRY")
    backend.store_result("t-3", 5, "SUCCESS", request=Request([], {}))
    source = open_source(url(redis_url, key_prefix))
    failures = dlq.load(source, since="1h", columns=["raw"])
    [row] = failures.to_dict("records")
    assert (row["task_id"], row["task_name"], row["queue"], row["worker"], row["status"]) == (
        "t-1", "shop.charge", "payments", "w1@host", "failed",
    )  # fmt: skip
    assert json.loads(row["args"]) == [7, "☃"]
    assert row["kwargs"] == '{"amount": 1.5}'
    assert (row["payload_state"], row["retries"]) == ("complete", 2)
    assert row["exception_type"] == "ConnectionError"
    assert row["exception_message"] == "the other side does not answer"
    assert row["traceback"].endswith("ConnectionError")
    left = row["expires_at"] - pd.Timestamp(datetime.now(UTC))
    assert timedelta(minutes=58) < left <= timedelta(hours=1)
    # Celery dates a result only when it is final
    assert set(dlq.load(source, since=None, status=None)["status"]) == {"failed", "retry"}
    assert len(dlq.load(source, since="1h", status="FAILURE")) == 1
    assert dlq.load(source, since=None, queue="other").empty
    assert json.loads(dlq.show(source, row["failure_id"])["raw"])["task_id"] == "t-1"
    client = redis.Redis.from_url(redis_url)
    assert client.type(f"{key_prefix}celery-task-meta-t-1") == b"string"
    client.close()


ODD = [
    ("pickle", b"\x80\x04}\x94.", "unreadable"),
    ("cut", b'{"status": "FAILURE", "res', "unreadable"),
    ("latin", b'{"status": "FAILURE\xff"}', "unreadable"),
    ("bare", b'{"status": "FAILURE", "result": {"exc_type": "KeyError", "exc_message": ["a", 1]}}', "missing"),
    ("repr", b'{"status": "FAILURE", "result": null, "args": "(1, 2)", "kwargs": {}}', "unreadable"),
    ("long", b'{"status": "FAILURE", "args": "(1, \'aaa...\')", "kwargs": "{}"}', "unreadable"),
    ("dots", b'{"status": "FAILURE", "args": "(1, ...)", "kwargs": {}}', "truncated"),
    ("exact", b'{"status":"FAILURE","args":[1e400, 1.50],"kwargs":{"b":1, "a":2},"date_done":"2026-11-01T10:00:00"}', "complete"),
]  # fmt: skip


def test_odd_results_stay_rows(redis_url, key_prefix):
    client = redis.Redis.from_url(redis_url)
    for name, raw, _ in ODD:
        client.set(f"{key_prefix}celery-task-meta-{name}", raw)
    client.lpush(f"{key_prefix}celery-task-meta-list", "x")
    failures = dlq.load(open_source(url(redis_url, key_prefix)), since=None, columns=["raw"])
    rows = failures.set_index("task_id")
    assert set(rows.index) == {name for name, _, _ in ODD}
    for name, raw, state in ODD:
        assert rows.loc[name, "payload_state"] == state, name
        assert bytes(rows.loc[name, "raw"]) == raw
    assert (rows.loc["exact", "args"], rows.loc["exact", "kwargs"]) == (
        "[1e400, 1.50]",
        '{"b":1, "a":2}',
    )
    assert rows.loc["exact", "failed_at"] == pd.Timestamp("2026-11-01T10:00:00Z")  # naive is UTC
    assert rows.loc["bare", "exception_message"] == "a, 1"
    assert "pickle" in rows.loc["pickle", "exception_message"]
    assert any("do not hold their arguments whole" in note for note in failures.attrs["notes"])
    client.close()


def test_the_suite_of_every_source(redis_url, key_prefix, backend):
    client = redis.Redis.from_url(redis_url)
    for name, raw, _ in ODD:
        client.set(f"{key_prefix}celery-task-meta-{name}", raw)
    meta = '{"status":"FAILURE","name":"a.b","queue":"%s","args":[1],"kwargs":{},"date_done":"2026-11-01T10:00:0%d"}'
    for number in range(6):
        key = f"{key_prefix}celery-task-meta-{number}"
        client.set(key, meta % ("ab"[number % 2], number))

    def state():
        return sorted(client.keys(f"{key_prefix}*"))

    check_source(open_source(url(redis_url, key_prefix)), state)
    client.close()


def test_many_keys_are_read_in_steps(key_prefix):
    raw = '{"status":"%s","args":[],"kwargs":{},"date_done":"2026-11-01T10:00:%02d+00:00"}'
    with servers.valkey() as server, redis.Redis.from_url(server) as client:  # it counts commands
        client.mset(
            {
                f"{key_prefix}celery-task-meta-{n}": raw
                % ("SUCCESS" if n % 3 else "FAILURE", n % 60)
                for n in range(3000)
            }
        )
        client.config_resetstat()
        failures = dlq.load(open_source(url(server, key_prefix)), since=None)
        assert len(failures) == failures["failure_id"].nunique() == 1000
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert "scan" in used and not used & {"keys", "set", "del", "expire", "eval"}
        assert len(dlq.load(open_source(url(server, key_prefix)), since=None, limit=7)) == 7


def test_what_celery_wrote_to_postgres(postgres_url):
    with Celery(
        "app", backend=f"db+{postgres_url.replace('postgresql://', 'postgresql+psycopg://')}"
    ) as app:
        app.conf.update(result_extended=True)
        fail(app.backend, "t-1", [1, "x"], {"a": 1})
        fail(app.backend, "t-2", [], {}, "REVOKED")
        app.backend.store_result("t-3", 5, "SUCCESS", request=Request([], {}))
        for number in range(3):
            fail(app.backend, f"more-{number}", [number], {})
        app.backend.ResultSession().bind.dispose()
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute(
            "INSERT INTO celery_taskmeta (id, task_id, status, result, date_done, args) VALUES"
            " (99, 'old', 'FAILURE', '\\x80047d942e', now() at time zone 'utc', '\\x80045d942e')"
        )
    source = open_source(f"results+{postgres_url}&expires=1d")
    failures = dlq.load(source, since="1h", columns=["raw"])
    rows = failures.set_index("task_id")
    assert set(rows.index) == {"t-1", "old", "more-0", "more-1", "more-2"}
    row = rows.loc["t-1"]
    assert (json.loads(row["args"]), json.loads(row["kwargs"])) == ([1, "x"], {"a": 1})
    assert (row["payload_state"], row["exception_type"], row["queue"]) == (
        "complete", "ConnectionError", "payments",
    )  # fmt: skip
    assert row["expires_at"] - row["failed_at"] == timedelta(days=1)
    assert rows.loc["old", "payload_state"] == "unreadable"
    assert bytes(rows.loc["old", "raw"])[:1] == b"\x80"
    assert list(dlq.load(source, since="1h", status="revoked")["task_id"]) == ["t-2"]
    assert dlq.load(source, since=None, until="2020-01-01").empty
    assert len(dlq.details(source, failures)["traceback"].dropna()) == 4
    check_source(source)


def test_django_keeps_a_repr_which_is_not_evaluated(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute(
            "CREATE TABLE django_celery_results_taskresult (id serial, task_id text, status text, result text,"
            " date_done timestamptz, traceback text, task_name text, task_args text, task_kwargs text, worker text)"
        )
        db.execute(
            "INSERT INTO django_celery_results_taskresult (task_id, status, result, date_done, task_name, task_args,"
            " task_kwargs) VALUES ('d-1', 'FAILURE', %s, now(), 'mail.send', %s, %s)",
            (
                '{"exc_type": "KeyError", "exc_message": ["x"], "exc_module": "builtins"}',
                "\"('bad@@',)\"",
                '"{}"',
            ),
        )
    [row] = dlq.load(open_source(f"results+{postgres_url}"), since=None).to_dict("records")
    assert (row["task_name"], row["exception_type"], row["args"]) == (
        "mail.send",
        "KeyError",
        "('bad@@',)",
    )
    assert row["payload_state"] == "unreadable"


def test_nothing_can_be_replayed_from_it():
    with pytest.raises(SettingsError, match="does not hold the message"):
        connect_hand("results+redis://h/0")


def test_what_is_wrong_is_said_without_the_password(postgres_url):
    with pytest.raises(ConnectError) as caught:
        dlq.load(open_source("results+redis://:s3cret@127.0.0.1:1/0"), since=None)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConnectError) as caught:
        dlq.load(open_source("results+postgresql://u:s3cret@127.0.0.1:1/x"), since=None)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SchemaError, match="There is no celery_taskmeta"):
        dlq.load(open_source(f"results+{postgres_url}"), since=None)
    with pytest.raises(SettingsError, match="'prefx' is no option"):
        open_source("results+redis://h/0?prefx=a")
