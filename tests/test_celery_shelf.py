"""Repairs of failed_tasks rows, archived rows and their way back, and depths of the table: real Postgres and Redis."""

import base64
import json
from dataclasses import replace

import psycopg
import pytest
import redis

import dlqanalysis as dlq
from dlqanalysis.errors import RunError, SettingsError
from dlqanalysis.model import Selection, State
from dlqanalysis.sources.celery import open_monitor, open_source
from dlqanalysis.sources.celery.hand import CeleryHand
from dlqanalysis.sources.celery.message import NotReplayable, build, new_id
from tests.test_celery_hand import add, row

EMBED = '{"callbacks": null, "errbacks": null, "chain": [{"task": "b"}], "chord": null}'


@pytest.fixture
def hand(shop_url, redis_url):
    with CeleryHand.connect(shop_url, redis_url) as opened:
        yield opened


def change(url, statement, *values):
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(statement, values)


def test_a_repaired_row_goes_under_its_new_id_and_stays_as_it_was(
    hand, shop_url, redis_url, queue_name
):
    queue = queue_name("payments")
    item = add(shop_url, queue, args="[7]", kwargs='{"to": "bad@@"}')
    repaired = replace(
        item, payload='{"kwargs": {"to": "☃", "n": 12345678901234567890.5}}'.encode()
    )
    [receipt] = hand.send("replay", [repaired], "run-1")
    assert receipt.state == State.SENT, receipt.detail
    assert receipt.sent_id == new_id("failed_tasks", item.failure_id, item.task_id)
    kept = row(shop_url, item)
    assert (kept["args"], kept["kwargs"]) == ([7], {"to": "bad@@"})
    assert (kept["status"], kept["replayed_task_id"]) == ("replayed", receipt.sent_id)
    with redis.Redis.from_url(redis_url) as client:
        [raw] = client.lrange(queue, 0, -1)
        client.delete(queue, f"dlqanalysis:celery:{queue}:ledger")
    message = json.loads(raw)
    sent = base64.b64decode(message["body"]).decode()
    assert sent.startswith('[[7], {"to": "☃", "n": 12345678901234567890.5}, ')  # no round trip
    assert message["headers"]["dlqanalysis_replay_of"] == item.task_id
    [again] = hand.send("replay", [item], "run-2")  # the unrepaired one has no second way
    assert again.state == State.SKIPPED


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "no JSON object"),
        (b"[1", "no JSON object"),
        (b"7", "no JSON object"),
        (b'{"args": {}}', "args is a JSON dict"),
        (b'{"kwargs": 1}', "kwargs is a JSON int"),
        (b"\xff", "no JSON object"),
    ],
)
def test_a_repair_that_no_worker_could_read_is_refused_and_given_back(
    hand, shop_url, queue_name, payload, why
):
    item = add(shop_url, queue_name("payments"))
    [receipt] = hand.send("replay", [replace(item, payload=payload)], "run-1")
    assert receipt.state == State.REFUSED and why in receipt.detail
    assert row(shop_url, item)["status"] == "failed"


def test_dlq_repair_mends_kwargs_of_rows(hand, shop_url, redis_url, queue_name, tmp_path):
    queue = queue_name("payments")
    add(shop_url, queue, args="[7]", kwargs='{"n": 1.50, "to": "bad@@"}')
    mended = dlq.repair(
        dlq.load(open_source(shop_url), since="1h"), lambda k: {**k, "to": "x"}, of="kwargs"
    )
    journal = dlq.Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    plan = dlq.plan(mended, journal, reason="the address was wrong")
    quiet = {"to": hand, "journal": journal, "gate": None, "rate": None, "progress": lambda _: None}
    with redis.Redis.from_url(redis_url) as client:
        client.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
        dlq.replay(plan, confirm=plan.confirmation, **quiet)
        [raw] = client.lrange(queue, 0, -1)
        client.delete(queue, f"dlqanalysis:celery:{queue}:ledger", f"_kombu.binding.{queue}")
    sent = json.loads(base64.b64decode(json.loads(raw)["body"]))
    assert sent[:2] == [[7], {"n": 1.5, "to": "x"}]


def test_a_repair_takes_the_chain_of_a_kept_body_along():
    given = {
        "sent_id": "i", "task_id": "t", "task_name": "a", "queue": "q", "args": None, "kwargs": None,
        "run_id": "r", "generation": 1, "payload": b'{"args": [2]}',
    }  # fmt: skip
    kept = {"body": f"[[1], {{}}, {EMBED}]".encode(), "content_type": "application/json"}
    assert build(**given, extra=kept).body.decode() == f"[[2], {{}}, {EMBED}]"
    with pytest.raises(NotReplayable, match="own body is none"):
        build(**given, extra={**kept, "body": b"[[1]"})


def test_an_archived_row_gets_the_status_back_that_it_had(hand, shop_url):
    failed, replayed, gone = (
        add(shop_url, "q"),
        add(shop_url, "q", status="replayed"),
        add(shop_url, "q"),
    )
    items = [failed, replayed, gone]
    assert {r.state for r in hand.send("archive", items, "run-1")} == {State.SENT}
    assert {r.state for r in hand.settle(items, "run-1")} == {State.SENT}
    change(shop_url, "UPDATE failed_tasks SET status = 'failed' WHERE id = %s", gone.failure_id)
    back = [replace(item, undoes="run-1") for item in items]
    assert [r.state for r in hand.settle(back, "run-2")] == [State.NOT_REACHED] * 3
    receipts = {r.failure_id: r for r in hand.send("restore", back, "run-2")}
    assert [receipts[i.failure_id].state for i in items] == [State.SENT, State.SENT, State.SKIPPED]
    assert receipts[gone.failure_id].detail == "its status is failed now"
    assert [row(shop_url, i)["status"] for i in items] == ["failed", "replayed", "failed"]
    settled = {r.failure_id: r.state for r in hand.settle(back, "run-2")}
    assert settled[failed.failure_id] == settled[replayed.failure_id] == State.SENT
    again = list(hand.send("restore", back[:1], "run-3"))
    assert [r.detail for r in again] == ["its status is failed now"]
    assert {r.state for r in hand.send("archive", items[:1], "run-4")} == {State.SENT}  # once more


def test_an_archive_that_crashed_before_it_began_is_not_reached(
    hand, shop_url, redis_url, queue_name
):
    queue = queue_name("payments")
    replayed, failed = add(shop_url, queue), add(shop_url, queue)
    assert [r.state for r in hand.send("replay", [replayed], "run-1")] == [State.SENT]
    items = [replace(item, action="archive") for item in (replayed, failed)]
    assert [r.state for r in hand.settle(items, "run-2")] == [State.NOT_REACHED] * 2
    assert [r.state for r in hand.send("archive", items, "run-2")] == [State.SENT] * 2
    assert [r.state for r in hand.settle(items, "run-2")] == [State.SENT] * 2
    with redis.Redis.from_url(redis_url) as client:
        client.delete(queue, f"dlqanalysis:celery:{queue}:ledger")


def test_only_what_this_run_archived_comes_back(hand, shop_url):
    ours, theirs = add(shop_url, "q"), add(shop_url, "q")
    change(shop_url, "UPDATE failed_tasks SET status = 'archived' WHERE id = %s", theirs.failure_id)
    list(hand.send("archive", [ours], "run-1"))
    asked = [replace(item, undoes="run-0") for item in (ours, theirs)]
    details = {r.failure_id: r.detail for r in hand.send("restore", asked, "run-2")}
    assert details[ours.failure_id] == "run run-1 archived it, not run-0"
    assert "no run archived it" in details[theirs.failure_id]
    assert {row(shop_url, i)["status"] for i in (ours, theirs)} == {"archived"}


def test_a_replay_in_doubt_is_not_settled_by_somebody_elses_archive(hand, shop_url):
    item = add(shop_url, "q")
    change(shop_url, "UPDATE failed_tasks SET status = 'archived' WHERE id = %s", item.failure_id)
    [settled] = hand.settle([item], "run-1")
    assert settled.state == State.NOT_REACHED  # it was never claimed, so never published


def test_other_words_for_archived_are_used(postgres_url, redis_url):
    change(postgres_url, "CREATE TYPE state AS ENUM ('dead', 'old')")
    change(
        postgres_url,
        "CREATE TABLE failed_tasks (id int PRIMARY KEY, task_id text, task_name text, queue_name text, args"
        " text, kwargs text, exception_type text, failed_at timestamptz, status state DEFAULT 'dead')",
    )
    change(
        postgres_url, "INSERT INTO failed_tasks VALUES (1, 't', 'a', 'q', '[]', '{}', 'E', now())"
    )
    url = f"{postgres_url}&status=failed:dead,archived:old"
    failures = dlq.load(open_source(url), since="1h")
    [item] = dlq.plan(failures, reason="x", action="archive").items()
    with CeleryHand.connect(url, redis_url) as hand:
        for action, status in (("archive", "old"), ("restore", "dead")):
            [receipt] = hand.send(
                action, [replace(item, undoes="run-1" if action == "restore" else "")], "run-1"
            )
            assert receipt.state == State.SENT, receipt.detail
            with psycopg.connect(postgres_url) as db:
                assert db.execute("SELECT status::text FROM failed_tasks").fetchone() == (status,)
        with pytest.raises(RunError, match="can replay, archive and restore, not purge"):
            list(hand.send("purge", [item], "run-2"))


def test_depths_of_a_table_come_from_one_query(shop_url):
    for queue, status in (
        ("a", "failed"),
        ("a", "failed"),
        ("b", "failed"),
        ("b", "archived"),
        ("", "failed"),
    ):
        add(shop_url, queue, status=status)
    change(shop_url, "UPDATE failed_tasks SET failed_at = '2026-01-01Z' WHERE queue_name = 'b'")
    monitor = open_monitor(shop_url)
    found = monitor.depths().set_index("queue")
    assert found["depth"].to_dict() == {"a": 2, "b": 1, "(none)": 1}
    assert set(found["state"]) == {"dead_lettered"} and found["consumers"].isna().all()
    assert str(found.loc["b", "oldest_at"]) == "2026-01-01 00:00:00+00:00"
    whole = open_source(shop_url).read(Selection(), ())
    assert found["depth"].sum() == whole.table.num_rows
    assert [f.severity for f in monitor.health()] == ["ok"]
    assert "BROKER_URL" in monitor.workers().attrs["notes"][0] + monitor.running().attrs["notes"][0]
    with pytest.raises(SettingsError):
        open_monitor("mysql://x")
    [down] = open_monitor("postgresql://u:s3cret@127.0.0.1:1/x").health()
    assert down.severity == "critical" and "s3cret" not in down.text


def test_the_table_has_a_monitor_by_name(shop_url, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_URL", shop_url)
    add(shop_url, "a")
    assert dlq.depths("shop")["depth"].tolist() == [1]


def test_an_archive_is_taken_back_by_plan(hand, shop_url, tmp_path):
    items = [add(shop_url, "q"), add(shop_url, "q", status="replayed")]
    journal = dlq.Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    quiet = {"to": hand, "journal": journal, "gate": None, "rate": None, "progress": lambda _: None}
    failures = dlq.load(open_source(shop_url), since="1h", status=None)
    plan = dlq.plan(failures, journal, reason="older than 30 days", action="archive")
    run = dlq.replay(plan, confirm=plan.confirmation, **quiet)
    assert [row(shop_url, item)["status"] for item in items] == ["archived"] * 2
    back = dlq.undo(run.run_id, journal, reason="too early")
    assert dlq.replay(back, confirm=back.confirmation, **quiet).summary["sent"].item() == 2
    assert [row(shop_url, item)["status"] for item in items] == ["failed", "replayed"]
