"""The priority queue at a real Redis: what goes back runs once, whoever else acts."""

import itertools
import json
import os
import signal
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from dlqanalysis.errors import RunError
from dlqanalysis.model import Outcome, State
from dlqanalysis.sources import connect_hand
from tests.hand_suite import NEEDED, Ground, check_hand, with_secret
from tests.priority_world import PRIORITIES, done, items, loaded, states, world
from tests.test_bullmq_run import operators
from tests.waiting import until

__all__ = ["operators", "world"]  # fixtures


class PriorityGround(Ground):
    """The priority queue's keys as the suite of hands sees them."""

    nowhere = "priority+redis://u:s3cret@127.0.0.1:1/0"

    def __init__(self, world):
        self.world = world
        url, self.secret = with_secret(world.url.removeprefix("priority+"), "default")
        self.url = f"priority+{url}"
        for n in range(NEEDED):
            world.dead(f"t{n}", PRIORITIES[n % 3], payload={"order": n})

    def dead(self):
        """Entries by their list, and the copy that the API's retry looks for."""
        raws = [(p, raw) for p in PRIORITIES for raw in self.world.list(f"dlq:{p}")]
        ids = [json.loads(raw)["task_id"] for _, raw in raws]
        copies = self.world.redis.mget(self.world.key(f"dlq:task:{one}") for one in ids)
        return {
            one: (priority, raw, copy)
            for one, (priority, raw), copy in zip(ids, raws, copies, strict=True)
        }

    def went(self):
        return Counter(one.decode() for p in PRIORITIES for one in self.world.list(f"tasks:{p}"))

    def change(self, task_id):
        priority, raw, _ = self.dead()[task_id]
        key = self.world.key(f"dlq:{priority}")
        changed = raw.replace(b'"order": ', b'"order": 1')
        self.world.redis.lset(key, self.world.redis.lpos(key, raw), changed)

    def remove(self, task_id):
        priority, raw, _ = self.dead()[task_id]
        self.world.redis.lrem(self.world.key(f"dlq:{priority}"), 0, raw)
        self.world.redis.delete(self.world.key(f"dlq:task:{task_id}"))

    def kept(self, row, dead):
        return row["raw"] == dead[1]


def test_the_suite_of_hands(world, tmp_path):
    check_hand(PriorityGround(world), tmp_path)


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


def test_killed_in_the_middle_and_resumed_everything_runs_once(world, tmp_path, operators):
    for n in range(60):
        world.dead(f"t{n}", ("high", "low")[n % 2], task_type="email.send", payload={"n": n})
        world.dead(f"other-{n}")
    args = (world.url, f"sqlite:///{tmp_path}/journal.sqlite", "oldest")
    working = world.meanwhile(world.work)
    try:
        for least in (5, 20):
            pid = operators.start(*args, "20/s")
            until(lambda least=least, pid=pid: len(world.ran) >= least or operators.ended(pid))
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
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
    assert {r.state for r in got} == {State.NOT_REACHED} and "does not answer" in got[0].detail
    monkeypatch.undo()
    monkeypatch.setattr(hand.link.client, "eval", gone)
    got = [r.state for r in hand.send("replay", items(failures), "run-1")]
    assert got == [State.UNCERTAIN] * 3 + [State.NOT_REACHED] * 3
    monkeypatch.undo()
    other = connect_hand(world.url)
    monkeypatch.setattr(other.link.client, "lrange", gone)
    got = list(other.send("replay", items(failures), "run-1"))
    assert {r.state for r in got} == {State.NOT_REACHED} and len(world.list("dlq:normal")) == 6


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
