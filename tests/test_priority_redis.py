"""The priority queue at a real Redis: every element is a row, what goes back runs once, whoever else acts."""

import itertools
import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import redis

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, QueryError, RunError, SettingsError
from dlqanalysis.frame import content_hash
from dlqanalysis.journal import Journal
from dlqanalysis.model import Item, Outcome, State
from dlqanalysis.sources import connect, connect_hand, connect_monitor
from dlqanalysis.sources.priority_redis.entries import _expiry
from tests.bull import wait_for
from tests.priority_world import World
from tests.source_suite import check_source
from tests.test_bullmq_run import operators

__all__ = ["operators"]  # a fixture

QUICK = {"rate": None, "gate": None, "progress": lambda line: None}


@pytest.fixture
def world(redis_url, key_prefix):
    one = World(redis_url, key_prefix)
    yield one
    one.redis.close()


def loaded(world, options="", **selection):
    return dlq.load(connect(world.url + options), **{"since": None, **selection})


def items(failures):
    return [
        Item(
            failure_id=row.failure_id,
            task_id="" if pd.isna(row.task_id) else row.task_id,
            task_name=str(row.task_name),
            queue=str(row.queue),
            content_hash=content_hash(row.task_id, row.task_name, row.queue, row.args, row.kwargs),
            generation=1,
        )
        for row in failures.itertuples()
    ]


def done(world, what, action="replay", run_id="run-1", options=""):
    chosen = what if isinstance(what, list) else items(what)
    with connect_hand(world.url + options) as hand:
        return {r.failure_id: r for r in hand.send(action, chosen, run_id)}


def states(receipts):
    return [str(receipt.state) for receipt in receipts.values()]


# ---- reading -----------------------------------------------------------------------------------


def test_the_suite(world):
    for n, priority in zip(range(8), itertools.cycle(("high", "normal", "low")), strict=False):
        world.dead(f"t{n}", priority, task_type=("send_email", "charge")[n % 2])
    world.redis.lpush(world.key("dlq:low"), b"\xff not json", b'{"cut": ')
    check_source(connect(world.url), world.state)


def test_a_row_has_what_the_entry_and_its_task_say(world):
    raw = world.dead("t1", "high")
    row = loaded(world, columns=["raw"]).iloc[0]
    assert row["raw"] == raw
    assert (row["task_id"], row["task_name"], row["queue"], row["priority"], row["status"]) == (
        "t1", "send_email", "high", "high", "failed",
    )  # fmt: skip
    assert row["kwargs"] == '{"user_id": 1, "big": 9007199254740998, "list": []}'
    assert (row["retries"], row["max_retries"], row["idempotency_key"]) == (3, 3, "key-t1")
    assert abs(row["expires_at"] - row["failed_at"] - timedelta(days=7)) < timedelta(seconds=2)


@pytest.mark.parametrize("hours", [0, 2, -9.5])
def test_the_zone_of_naive_times_is_measured_by_what_expires(redis_url, key_prefix, hours):
    world = World(redis_url, key_prefix, hours)
    world.dead("t1")
    failures = loaded(world)
    assert abs(failures["failed_at"].iloc[0] - datetime.now(UTC)) < timedelta(minutes=1)
    assert "by what expires 7 days after it" in " ".join(failures.attrs["notes"])


def test_without_anything_to_measure_by_it_is_utc_or_what_the_url_says(world):
    world.dead("t1", failed_at="2026-07-01T12:00:00")
    world.redis.delete(world.key("dlq:task:t1"))
    failures = loaded(world)
    notes = " ".join(failures.attrs["notes"])
    assert failures["failed_at"].iloc[0] == pd.Timestamp("2026-07-01T12:00Z")
    assert "taken for UTC" in notes and "1 of 1 entries have no dlq:task copy" in notes
    there = loaded(world, "&tz=America/New_York")
    assert there["failed_at"].iloc[0] == pd.Timestamp("2026-07-01T16:00Z")


def test_corrupt_elements_stay_rows_with_their_bytes(world):
    world.dead("t1")
    odd = [b"", b"\xff\xfe", b'{"a": ', b"[1]", b"null", b'"text"', b"[" * 5000, b'{"task_id": 5}']
    world.redis.lpush(world.key("dlq:normal"), *odd)
    failures = loaded(world, columns=["raw"])
    assert sorted(failures["raw"]) == sorted([*odd, *world.list("dlq:normal")[-1:]])
    assert failures["failure_id"].is_unique
    assert failures["payload_state"].value_counts().to_dict() == {
        "unreadable": 7, "complete": 1, "missing": 1,
    }  # fmt: skip


def test_a_list_longer_than_a_page_is_read_whole_while_others_push(world):
    raws = [b'{"task_id": "%d", "payload": {}}' % n for n in range(3500)]
    world.redis.rpush(world.key("dlq:low"), *raws)
    numbers = itertools.count()
    end = world.meanwhile(
        lambda: world.redis.lpush(world.key("dlq:low"), b'{"task_id": "new-%d"}' % next(numbers))
    )
    try:
        failures = loaded(world)
    finally:
        end()
    assert failures["failure_id"].is_unique
    assert {str(n) for n in range(3500)} <= set(failures["task_id"])


def test_equal_elements_are_failures_of_their_own_and_keep_their_names(world):
    raw = b'{"task_id": "t", "task_type": "x", "payload": {}, "failed_at": "2026-11-20T10:00:00Z"}'
    world.redis.lpush(world.key("dlq:high"), raw, raw, raw)
    failures = loaded(world)
    first, second, third = sorted(failures["failure_id"])
    assert (second, third) == (first + "#2", first + "#3")
    one = failures[failures["failure_id"] == second]
    assert states(done(world, one, "purge")) == ["sent"]
    assert sorted(loaded(world)["failure_id"]) == [first, third]
    again = done(world, one, "purge", run_id="run-2")[second]
    assert again.state == State.SKIPPED and "run run-1 did it before" in again.detail
    assert len(world.list("dlq:high")) == 2


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("priority+redis://", "cannot be read"),
        ("priority+redis://h:6379/x", "cannot be read"),
        ("priority+redis://u:s3cret@h/0?nope=1", "'nope' is no option"),
        ("priority+redis://u:s3cret@h/0?ttl=soon", "is not a duration"),
    ],
)
def test_a_wrong_url_is_told_without_its_secrets(url, told):
    with pytest.raises(SettingsError, match=told) as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)


def test_another_type_of_key_and_nobody_there_are_sentences(world):
    world.redis.set(world.key("dlq:high"), "x")
    with pytest.raises(ConnectError, match="another type of key"):
        loaded(world)
    with pytest.raises(ConnectError, match="does not answer"):
        dlq.load(connect("priority+redis://:s3cret@127.0.0.1:1/0"))
    with pytest.raises(QueryError, match="no failure of this queue"):
        connect(world.url).details(["x"], ["raw"])


# ---- acting ------------------------------------------------------------------------------------


def test_a_replayed_task_runs_once_in_its_own_priority(world):
    for n, priority in enumerate(("high", "normal", "low")):
        world.dead(f"t{n}", priority)
    failures = loaded(world)
    receipts = done(world, failures)
    assert states(receipts) == ["sent"] * 3
    assert [world.list(f"tasks:{p}") for p in ("high", "normal", "low")] == [
        [b"t0"],
        [b"t1"],
        [b"t2"],
    ]
    task = world.task("t0")
    assert (task["status"], task["attempts"], task["max_retries"]) == ("pending", "3", "3")
    assert task["payload"] == '{"user_id": 1, "big": 9007199254740998, "list": []}'
    assert task["idempotency_key"] == "key-t0"
    assert not world.redis.exists(*(world.key(f"dlq:task:t{n}") for n in range(3)))
    assert world.work() == 3 and world.ran == {"t0": 1, "t1": 1, "t2": 1}
    assert len(loaded(world)) == 0


def test_a_task_whose_hash_expired_is_made_again_from_its_entry(world):
    world.dead("t1", "low", max_retries=7, idempotency_key="k")
    world.redis.delete(world.key("task:t1"))
    assert states(done(world, loaded(world), options="&reset_attempts=yes")) == ["sent"]
    assert world.task("t1") == {
        "id": "t1", "type": "send_email", "priority": "low", "status": "pending", "attempts": "0",
        "payload": '{"user_id": 1, "big": 9007199254740998, "list": []}', "max_retries": "7",
        "idempotency_key": "k", "trace_id": "trace-t1", "created_at": "2026-11-09T08:00:00",
        "last_error": "connection timeout",
    }  # fmt: skip
    assert 86_000 < world.redis.ttl(world.key("task:t1")) <= 86_400


def test_a_selection_goes_back_exactly_once_among_others_and_two_operators(world, tmp_path):
    for n in range(120):
        world.dead(f"t{n}", ("high", "normal", "low")[n % 3])
    numbers = itertools.count()
    producing = world.meanwhile(lambda: world.dead(f"new-{next(numbers)}"))
    working = world.meanwhile(world.work)
    try:
        failures = loaded(world)
        chosen = failures[failures["task_id"].str.match(r"t\d*[02468]$")]
        first = items(chosen)
        with connect_hand(world.url) as one, connect_hand(world.url) as two:
            got = [
                receipt
                for pair in itertools.zip_longest(
                    one.send("replay", first, "run-1"), two.send("replay", first[::-1], "run-2")
                )
                for receipt in pair
            ]
    finally:
        producing()
        working()
    world.work()
    assert sum(r.state == State.SENT for r in got) == 60
    assert all(r.state in (State.SENT, State.SKIPPED) for r in got)
    assert world.ran == dict.fromkeys(chosen["task_id"], 1)
    assert {t for t in loaded(world)["task_id"] if t.startswith("t")} == {
        f"t{n}" for n in range(1, 120, 2)
    }


def test_a_run_by_plan_is_journalled_and_verified(world, tmp_path):
    for n in range(5):
        world.dead(f"t{n}", payload={"user_id": n})
    plan = dlq.plan(
        loaded(world), reason="mail server is back", limit=4, classes=("transient", "unknown")
    )
    hand, journal = connect_hand(world.url), Journal(f"sqlite:///{tmp_path}/j.sqlite")
    run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    assert run.items["state"].value_counts().to_dict() == {State.SENT: 4}
    assert world.work() == 4
    found = dlq.verify(run.run_id, to=hand, journal=journal)
    assert len(loaded(world)) == 1 and sum(world.ran.values()) == 4 and len(found)
    hand.close()


def test_killed_in_the_middle_and_resumed_everything_runs_once(world, tmp_path, operators):
    for n in range(60):
        world.dead(f"t{n}", ("high", "low")[n % 2], task_type="email.send", payload={"n": n})
        world.dead(f"other-{n}")
    args = (world.url, f"sqlite:///{tmp_path}/journal.sqlite", "oldest")
    working = world.meanwhile(world.work)
    try:
        for least in (5, 20):
            pid = operators.start(*args, "20/s")
            wait_for(lambda least=least, pid=pid: len(world.ran) >= least or operators.ended(pid))
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists())
            assert not operators.ended(pid)
        assert len(world.ran) < 60
        other = (args[0], f"sqlite:///{tmp_path}/other.sqlite", "newest", "100/s")
        two = operators.start(*other)
        one = operators.start(*args, "500/s")
        summaries = [operators.summary(pid) for pid in (one, two)]
    finally:
        working()
    world.work()
    assert world.ran == {f"t{n}": 1 for n in range(60)}
    assert summaries[0]["uncertain"] == summaries[1]["uncertain"] == 0
    assert len(loaded(world)) == 60


def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(world, monkeypatch):
    world.dead("t1")
    failures = loaded(world)
    hand = connect_hand(world.url)
    ask, lost = hand.link.client.eval, iter([True])

    def loses(*arguments):
        answer = ask(*arguments)
        if next(lost, False):
            raise redis.TimeoutError("lost")
        return answer

    monkeypatch.setattr(hand.link.client, "eval", loses)
    [receipt] = hand.send("replay", items(failures), "run-1")
    assert receipt.state == State.SENT and "done at" in receipt.detail
    assert world.list("tasks:normal") == [b"t1"]


def test_what_stays_unanswered_is_settled_by_the_ledger(world, monkeypatch):
    world.dead("t1")
    world.dead("t2")
    failures = loaded(world)
    hand = connect_hand(world.url)
    ask = hand.link.client.eval

    def loses(text, number, *rest):
        if b"t1" in rest:  # done, never answered
            ask(text, number, *rest)
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(hand.link.client, "eval", loses)
    assert [r.state for r in hand.send("replay", items(failures), "run-1")] == [State.UNCERTAIN] * 2
    settled = [r.state for r in hand.settle(items(failures), "run-1")]
    assert settled == [State.SENT, State.NOT_REACHED]
    assert world.list("tasks:normal") == [b"t1"]


def test_a_redis_that_went_away_is_told_and_nothing_is_called_uncertain(world, monkeypatch):
    for n in range(6):
        world.dead(f"t{n}")
    failures = loaded(world)
    hand = connect_hand(world.url)

    def gone(*_):
        raise redis.ConnectionError("gone")

    hand.snapshot(failures["failure_id"].tolist())
    monkeypatch.setattr(hand.link.client, "get", gone)
    got = list(hand.send("replay", items(failures), "run-1"))
    assert {r.state for r in got} == {State.SKIPPED} and "does not answer" in got[0].detail
    monkeypatch.undo()
    monkeypatch.setattr(hand.link.client, "eval", gone)
    got = [r.state for r in hand.send("replay", items(failures), "run-1")]
    assert got == [State.UNCERTAIN] * 3 + [State.SKIPPED] * 3
    monkeypatch.undo()
    other = connect_hand(world.url)
    monkeypatch.setattr(other.link.client, "lrange", gone)
    got = list(other.send("replay", items(failures), "run-1"))
    assert {r.state for r in got} == {State.SKIPPED} and len(world.list("dlq:normal")) == 6


def test_a_plan_takes_a_run_back(world, tmp_path):
    for n in range(4):
        world.dead(f"t{n}", payload={"user_id": n})
    before = loaded(world)
    hand, journal = connect_hand(world.url), Journal(f"sqlite:///{tmp_path}/j.sqlite")
    plan = dlq.plan(before, journal, reason="try", limit=4, classes=("transient", "unknown"))
    run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    back = dlq.undo(run.run_id, journal, reason="too early")
    dlq.replay(back, to=hand, journal=journal, confirm=back.id, **QUICK)
    assert world.work() == 0
    assert loaded(world)["failure_id"].tolist() == before["failure_id"].tolist()


def test_the_copys_expiry_is_known_of_an_older_redis_too(world):
    world.dead("t1")
    key = world.key("dlq:task:t1")
    assert abs(_expiry(world.redis, key) - world.redis.pexpiretime(key)) < 2000
    assert _expiry(world.redis, world.key("nothing")) == 0


@pytest.mark.parametrize("status", ["pending", "processing", "retrying", "completed"])
def test_a_task_under_way_or_done_is_not_sent(world, status):
    world.dead("t1")
    failures = loaded(world)
    world.redis.hset(world.key("task:t1"), "status", status)
    [receipt] = done(world, failures).values()
    assert receipt.state == State.SKIPPED and status in receipt.detail
    assert world.list("tasks:normal") == [] and len(world.list("dlq:normal")) == 1


def test_only_one_of_two_entries_of_a_task_goes_back(world):
    world.dead("t1")
    world.dead("t1")
    assert sorted(states(done(world, loaded(world)))) == ["sent", "skipped"]
    assert world.list("tasks:normal") == [b"t1"] and len(world.list("dlq:normal")) == 1


def test_what_is_no_task_is_refused_and_can_be_set_aside(world):
    odd = [b"\xff\x00", b'{"task_id": "x", "task_type": "t", "payload": 5}', b'{"payload": {}}']
    world.redis.lpush(world.key("dlq:low"), *odd)
    failures = loaded(world)
    assert states(done(world, failures)) == ["refused"] * 3
    assert states(done(world, failures, "quarantine")) == ["sent"] * 3
    assert world.list("dlq:low") == [] and len(loaded(world)) == 0
    assert sorted(world.redis.hvals(f"dlqanalysis:{world.prefix}dlq:quarantine")) == sorted(odd)


@pytest.mark.parametrize("action", ["quarantine", "archive"])
def test_what_is_set_aside_comes_back_as_it_was(world, action):
    world.dead("t1", "high")
    world.dead("t2", "high")
    failures, before = loaded(world), world.state()
    one = failures[failures["task_id"] == "t1"]
    assert states(done(world, one, action)) == ["sent"]
    assert not world.redis.exists(world.key("dlq:task:t1"))  # or the API's retry would find it
    with connect_hand(world.url) as hand:
        assert hand.snapshot(one["failure_id"].tolist())["place"].tolist() == [action]
        assert hand.snapshot([failures["failure_id"].iloc[1]])["place"].tolist() == ["dlq:high"]
    back = [replace(items(one)[0], undoes="run-1")]
    assert states(done(world, back, "restore", "run-2")) == ["sent"]
    after = {k: v for k, v in world.state().items() if not k.startswith(b"dlqanalysis:")}
    assert after == before
    assert loaded(world)["failure_id"].tolist() == failures["failure_id"].tolist()
    assert states(done(world, back, "restore", "run-3")) == ["skipped"]
    assert states(done(world, one, run_id="run-4")) == ["sent"]  # and may be replayed


def test_purge_takes_the_entry_its_copy_and_nothing_else(world):
    world.dead("t1")
    world.dead("t2")
    one = loaded(world, task="send_email", limit=1)
    with connect_hand(world.url) as hand:
        kept = hand.snapshot(one["failure_id"].tolist())
    assert states(done(world, one, "purge")) == ["sent"]
    assert [json.loads(raw)["task_id"] for raw in world.list("dlq:normal")] == ["t1"]
    assert world.redis.exists(world.key("dlq:task:t1")) and world.redis.exists(world.key("task:t2"))
    assert not world.redis.exists(world.key("dlq:task:t2"))
    assert json.loads(kept["raw"].iloc[0])["task_id"] == "t2"


def test_a_purge_by_plan_keeps_what_it_takes(world, tmp_path, monkeypatch):
    monkeypatch.setenv("DLQ_HOME", str(tmp_path))
    for n in range(5):
        world.dead(f"t{n}", failed_at=f"2026-11-0{n + 1}T10:00:00")
    old = loaded(world, until=datetime(2026, 11, 4, tzinfo=UTC))
    plan = dlq.plan(old, reason="older than the refund window", action="purge", limit=10)
    with connect_hand(world.url) as hand:
        journal = Journal(f"sqlite:///{tmp_path}/j.sqlite")
        dlq.replay(plan, to=hand, journal=journal, confirm=f"{plan.id} 3", **QUICK)
    [kept] = (tmp_path / "snapshots").glob("*.parquet")
    kept = pd.read_parquet(kept).set_index("failure_id")["raw"]
    assert [json.loads(kept[one])["task_id"] for one in old["failure_id"]] == ["t0", "t1", "t2"]
    assert loaded(world)["task_id"].tolist() == ["t3", "t4"]


def test_a_replay_is_taken_back_while_no_worker_has_begun_it(world):
    world.dead("t1")
    world.dead("t2")
    failures, before = loaded(world), world.task("t2")
    copy = world.redis.get(world.key("dlq:task:t2"))
    done(world, failures, options="&reset_attempts=yes")
    assert world.redis.rpop(world.key("tasks:normal")) == b"t1"  # a worker was quicker
    back = [replace(item, undoes="run-1", sent_id=item.task_id) for item in items(failures)]
    got = done(world, back, "undo", "run-2")
    assert states(got) == ["skipped", "sent"]
    assert "taken by a worker" in got[back[0].failure_id].detail
    assert world.redis.get(world.key("dlq:task:t2")) == copy
    assert before.items() <= world.task("t2").items()
    assert world.list("tasks:normal") == [] and loaded(world)["task_id"].tolist() == ["t2"]
    with connect_hand(world.url) as hand:
        settled = [r.state for r in hand.settle(back, "run-2")]
    assert settled == [State.NOT_REACHED, State.SENT]
    assert states(done(world, failures[1:], run_id="run-3")) == ["sent"]


def test_a_repaired_entry_goes_and_an_undo_gives_the_original_back(world):
    raw = world.dead("t1")
    [item] = items(loaded(world))
    mended = raw.replace(b'"user_id": 1', b'"user_id": 2')
    receipts = done(world, [replace(item, payload=mended)])
    assert states(receipts) == ["sent"]
    assert world.task("t1")["payload"] == '{"user_id": 2, "big": 9007199254740998, "list": []}'
    done(world, [replace(item, undoes="run-1")], "undo", "run-2")
    assert world.list("dlq:normal") == [raw]
    other = raw.replace(b'"t1"', b'"t9"')
    [refused] = done(world, [replace(item, payload=other)], run_id="run-3").values()
    assert refused.state == State.REFUSED and "of another task" in refused.detail


def test_a_newer_copy_of_the_task_stays(world):
    world.dead("t1", failed_at="2026-11-20T10:00:00")
    newer = world.dead("t1", failed_at="2026-11-21T10:00:00")
    failures = loaded(world)
    assert failures["expires_at"].isna().tolist() == [True, False]
    done(world, failures[:1], "purge")
    assert world.redis.get(world.key("dlq:task:t1")) == newer


def test_outcomes(world):
    for n in range(4):
        world.dead(f"t{n}")
    failures = loaded(world)
    sent = dict(zip(failures["failure_id"], failures["task_id"], strict=True))
    done(world, failures[:3])
    world.redis.lrem(world.key("tasks:normal"), 0, "t1")
    world.redis.lrem(world.key("tasks:normal"), 0, "t2")
    world.work()
    world.redis.rpush(world.key("tasks:normal"), "t1")
    world.work(fails=True)
    with connect_hand(world.url) as hand:
        found = {sent[v.failure_id]: v for v in hand.outcomes(sent, datetime.now(UTC))}
        world.redis.delete(world.key("task:t2"))
        [gone] = hand.outcomes({failures["failure_id"].iloc[2]: "t2"}, datetime.now(UTC))
    assert {task: v.outcome for task, v in found.items()} == {
        "t0": Outcome.SUCCEEDED, "t1": Outcome.FAILED_AGAIN, "t2": Outcome.PENDING, "t3": Outcome.PENDING,
    }  # fmt: skip
    assert found["t1"].detail == "its task is dead_lettered again"
    assert found["t1"].exception_message == "connection timeout"
    assert gone.outcome == Outcome.UNKNOWN


def test_a_key_of_another_type_is_refused_before_anything_is_written(world):
    world.dead("t1")
    failures = loaded(world)
    world.redis.set(world.key("tasks:normal"), "x")
    before = world.state()
    [receipt] = done(world, failures).values()
    assert receipt.state == State.REFUSED and "tasks:normal" in receipt.detail
    assert world.state() == before
    with connect_hand(world.url) as hand:
        assert [f.name for f in hand.preflight(items(failures)) if f.blocks] == ["tasks normal"]
        with pytest.raises(RunError, match="not pause"):
            list(hand.send("pause", [], "run-1"))


def test_the_systems_own_monitor_is_watched(world):
    def watched(options=""):
        return next(f for f in connect_monitor(world.url + options).health() if f.name == "watcher")

    assert "left no figures" in watched().text
    world.redis.hset(world.key("metrics:dlq"), "last_check", world.now())
    assert watched("&tz=UTC").severity == "ok" and world.now()[:13] in watched().text
    world.redis.hset(world.key("metrics:dlq"), "last_check", "2026-01-01T00:00:00")
    assert watched("&tz=UTC").severity == "warning" and watched().severity == "ok"


def test_preflight_and_monitor(world):
    world.dead("t1", "high")
    world.dead("t1", "high")
    world.redis.lpush(world.key("tasks:high"), "other")
    failures = loaded(world)
    with connect_hand(world.url) as hand:
        found = {f.name: f for f in hand.preflight(items(failures))}
    assert found["tasks high"].facts == {"waiting": 1, "dead": 2, "planned": 2}
    assert "same task" in found and not any(f.blocks for f in found.values())
    monitor = connect_monitor(world.url + "&tz=UTC")
    depths = monitor.depths().set_index(["queue", "state"])
    assert depths.loc[("high", "dead_lettered"), "depth"] == 2
    assert depths.loc[("high", "waiting"), "depth"] == 1 and depths["depth"].sum() == 3
    oldest = depths.loc[("high", "dead_lettered"), "oldest_at"]
    assert oldest == failures["failed_at"].min()
    assert monitor.health()[0].severity == "ok"
    for nothing in (monitor.workers(), monitor.running()):
        assert len(nothing) == 0 and nothing.attrs["notes"]
    monitor.close()
