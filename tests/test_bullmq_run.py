"""Whole runs against BullMQ's workers: exactly the selection, once, through kills, two operators, lost answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, DLQError, RunError
from dlqanalysis.model import Outcome, State
from dlqanalysis.sources import connect, connect_hand
from dlqanalysis.sources.bullmq import raw, scripts
from tests.bull import bull, bull5, bull6, peer
from tests.test_bullmq import items, loaded, queue_item, sent, set_queue
from tests.waiting import QUICK, until

__all__ = ["bull", "bull5", "bull6", "peer"]  # fixtures


def mixed(bull, wanted, others):
    """Failed email.send jobs among failed slack.send ones; gives the ids of both."""
    jobs = [{"name": "email.send", "data": {"n": n}} for n in range(wanted)]
    jobs += [{"name": "slack.send", "data": {"text": "mentions email.send"}} for _ in range(others)]
    ids = bull.fail(*jobs)
    return ids[:wanted], ids[wanted:]


def test_a_selection_out_of_many_while_producers_and_workers_run(bull, journal):
    wanted, others = mixed(bull, 70, 40)
    bull.work(concurrency=3)
    produced = bull.ask("produce", ms=1500, wait=False)
    failures = dlq.load(connect(bull.url), since="1d", task="email.send")
    assert len(failures) == 70 and failures.attrs["narrows"]
    plan = dlq.plan(failures, journal, reason="INC-42: mail provider is back", ungraded=None)
    with connect_hand(bull.url) as hand:
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    noise = produced()
    until(lambda: len(bull.peer.ran) >= 70 + noise)
    time.sleep(0.1)
    assert run.finished and run.summary.iloc[0][["sent", "succeeded"]].tolist() == [70, 70]
    ran = bull.runs()
    assert {one: ran.get(one, 0) for one in wanted} == dict.fromkeys(wanted, 1)
    assert sum(ran.values()) == 70 + noise
    assert sorted(bull.failed()) == sorted(others)
    assert len(loaded(bull)) == 40 and not bull.peer.trouble


class Operators:
    """Starts operators, each a process; `ended` gives what one said in the end, empty while it runs or was killed."""

    def __init__(self, folder):
        self.folder, self.said = folder, {}
        self.process = subprocess.Popen([sys.executable, "-m", "tests.bull_operator"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip

    def start(self, *args):
        out = self.folder / f"said-{len(self.said)}"
        self.process.stdin.write(json.dumps([str(out), *args]) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        self.said[pid] = out
        return pid

    def ended(self, pid):
        return self.said[pid].read_text() if self.said[pid].exists() else ""

    def summary(self, pid):
        until(lambda: self.ended(pid), seconds=120)
        return json.loads(self.ended(pid))[0]


@pytest.fixture
def operators(tmp_path):
    running = Operators(tmp_path)
    yield running
    running.process.stdin.close()
    running.process.wait(60)
    running.process.stdout.close()


def test_killed_in_the_middle_and_resumed_everything_runs_once(bull5, journal, operators):
    wanted, others = mixed(bull5, 60, 10)
    bull5.work(record=bull5.record())
    args = (bull5.url, journal.place, "oldest")
    for least in (5, 20):
        pid = operators.start(*args, "20/s")
        until(lambda least=least, pid=pid: len(bull5.peer.ran) >= least or operators.ended(pid))
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
        assert not operators.ended(pid)
    assert len(bull5.peer.ran) < 60
    summary = operators.summary(operators.start(*args, "500/s"))
    until(lambda: len(bull5.peer.ran) >= 60)
    time.sleep(0.1)
    assert bull5.runs() == bull5.recorded() == Counter(wanted)
    assert summary["sent"] == summary["planned"] == 60 and summary["uncertain"] == 0
    assert sorted(bull5.failed()) == sorted(others)


def test_two_operators_in_opposite_order_with_a_journal_each(bull6, tmp_path, operators):
    wanted, others = mixed(bull6, 60, 10)
    bull6.work()
    meeting = str(tmp_path / "meeting")
    two = [
        operators.start(bull6.url, f"sqlite:///{tmp_path / order}.sqlite", order, "60/s", meeting)
        for order in ("oldest", "newest")
    ]
    rows = [operators.summary(one) for one in two]
    until(lambda: len(bull6.peer.ran) >= 60)
    time.sleep(0.1)
    assert bull6.runs() == Counter(wanted)
    assert sum(row["sent"] for row in rows) == 60
    assert all(row["planned"] == row["sent"] + row["skipped"] for row in rows)
    assert sorted(bull6.failed()) == sorted(others)


def test_the_gate_sees_what_failed_again(bull6, journal):
    habits = {3: True, 5: "same"}
    ids = bull6.fail(*({"data": {"n": n, "again": habits.get(n, False)}} for n in range(20)))
    bull6.work("again")
    plan = dlq.plan(loaded(bull6, limit=100), journal, reason="x", ungraded=None)
    with connect_hand(bull6.url) as hand:
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    assert run.stopped.startswith("gate after stage 1 of 2")
    row = run.summary.iloc[0]
    assert (row["sent"], row["succeeded"], row["failed_again"]) == (10, 8, 2)
    assert run.outcomes["came_back"].value_counts().to_dict() == {
        "": 8, "same error": 1, "another error": 1,
    }  # fmt: skip
    later = dlq.plan(loaded(bull6, limit=100), journal, reason="again", ungraded=None)
    back = later.chosen.set_index("task_id").loc[f"default:{ids[3]}"]
    assert back["generation"] == 2


def test_outcomes_tell_success_failure_and_waiting(bull):
    good, kept, bad, waits, gone = bull.fail(
        {}, {"opts": {"removeOnComplete": False}}, {"data": {"again": 1}}, {},
        {"data": {"again": 1}, "opts": {"removeOnFail": {"count": 5}}},
    )  # fmt: skip
    failures = loaded(bull)
    assert any("only the newest 5 failures are kept" in n for n in failures.attrs["notes"])
    by_id = {
        one: failures[failures["task_id"] == f"default:{one}"] for one in (good, kept, bad, gone)
    }
    waiting = failures[failures["task_id"] == f"default:{waits}"]
    since = datetime.now(UTC) - timedelta(minutes=1)
    for one in by_id.values():
        sent(bull, one)
    bull.work("again")
    until(lambda: set(bull.failed()) == {bad, waits, gone})
    until(lambda: bull.redis.zscore(bull.key("completed"), kept))
    until(lambda: not bull.redis.exists(bull.key(good)))
    bull.rest()
    bull.redis.delete(bull.key(gone))  # as removeOnFail does when five newer ones have come
    bull.redis.zrem(bull.key("failed"), gone)
    sent(bull, waiting)
    with connect_hand(bull.url) as hand:
        ids = {text: "" for text in failures["failure_id"]}
        found = {v.failure_id.partition("@")[0]: v for v in hand.outcomes(ids, since)}
    assert {one: found[f"default:{one}"].outcome for one in (good, kept, bad, waits, gone)} == {
        good: Outcome.SUCCEEDED, kept: Outcome.SUCCEEDED, bad: Outcome.FAILED_AGAIN,
        waits: Outcome.PENDING, gone: Outcome.FAILED_AGAIN,
    }  # fmt: skip


@contextmanager
def proxy(url, losing=0, swallows=None):
    """A way to Redis that breaks after a request with EVAL and an answer to it, `losing` times; and before
    every request with the word that it `swallows`."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    lost = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve(client):
        with client, socket.create_connection((host, port)) as redis_:
            pending = False

            def answers():
                nonlocal pending
                while data := redis_.recv(2**16):
                    if pending and len(lost) < losing:
                        lost.append(1)
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)

            back = threading.Thread(target=answers, daemon=True)
            back.start()
            try:
                while data := client.recv(2**16):
                    if swallows and swallows in data:
                        client.shutdown(socket.SHUT_RDWR)
                        break
                    pending = pending or b"EVAL" in data
                    redis_.sendall(data)
            except OSError:
                pass
            redis_.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def accept():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield url.replace(f"{host}:{port}", f"127.0.0.1:{server.getsockname()[1]}"), lost
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_a_lost_answer_is_asked_for_again_and_does_nothing_twice(bull6):
    ids = bull6.fail({}, {}, {})
    failures = loaded(bull6)
    with proxy(bull6.url, losing=1) as (url, lost), connect_hand(url) as hand:
        found = list(hand.send("replay", items(failures), "run-1"))
    assert lost == [1]
    assert [r.state for r in found] == [State.SENT] * 3
    assert bull6.redis.llen(bull6.key("wait")) == 3
    bull6.work()
    until(lambda: len(bull6.peer.ran) == 3)
    time.sleep(0.1)
    assert bull6.runs() == Counter(ids)


def test_answers_that_stay_lost_are_uncertain_and_the_ledger_settles_them(bull6):
    bull6.fail({}, {})
    failures = loaded(bull6)
    first = items(failures)[:1]
    bull6.redis.script_load(scripts.many("replay"))  # else it is the question for it that is lost
    with proxy(bull6.url, losing=2) as (url, lost), connect_hand(url) as hand:
        [receipt] = hand.send("replay", first, "run-1")
    assert receipt.state == State.UNCERTAIN and lost == [1, 1]
    with connect_hand(bull6.url) as hand:
        settled = list(hand.settle(items(failures), "run-1"))
        other = list(hand.settle(items(failures), "run-2"))
        again = list(hand.send("replay", items(failures), "run-1"))
    assert [r.state for r in settled] == [State.SENT, State.NOT_REACHED]
    assert [r.state for r in other] == [State.SKIPPED, State.NOT_REACHED]
    assert [r.state for r in again] == [State.SENT, State.SENT]
    assert bull6.redis.llen(bull6.key("wait")) == 2


def test_a_queue_rests_while_jobs_go_back(bull):
    ids = bull.fail({}, {}, {"opts": {"priority": 2}})
    waiting = bull.add({}, {})
    found = sent(bull, options="&pause=yes")
    assert {r.state for r in found.values()} == {State.SENT}
    assert all(r.detail == "while its queue rested" for r in found.values())
    events = [e[1][b"event"] for e in bull.redis.xrange(bull.key("events"))]
    assert events.index(b"paused") < len(events) - 1 - events[::-1].index(b"waiting")
    assert events[-1] == b"resumed"
    assert not bull.redis.hexists(bull.key("meta"), "paused")
    assert not bull.redis.exists(bull.key("paused"))
    bull.work()
    until(lambda: len(bull.peer.ran) == 5)
    time.sleep(0.1)
    assert bull.runs() == Counter([*ids, *waiting])


def test_a_pause_that_cannot_be_ended_is_told(bull6):
    ids = bull6.fail({}, {})
    failures = loaded(bull6)
    found = []
    with (
        proxy(f"{bull6.url}&pause=yes", swallows=b"unpause") as (url, _),
        connect_hand(url) as hand,
        pytest.raises(RunError, match=r"Queue default is STILL PAUSED.*Unpause it"),
    ):
        found.extend(hand.send("replay", items(failures), "run-1"))
    assert [r.state for r in found] == [State.SENT] * 2
    assert bull6.redis.hexists(bull6.key("meta"), "paused")
    with connect_hand(bull6.url) as hand:
        assert "is paused by run run-1. Unpause it" in told(hand, bull6, failures)
        assert [r.state for r in hand.settle(items(failures), "run-1")] == [State.SENT] * 2
        assert set_queue(hand, "unpause", "run-2").state == State.SENT
    bull6.work()
    until(lambda: bull6.runs() == Counter(ids))


@pytest.mark.parametrize("ends", [True, False])
def test_a_pause_whose_answer_never_came_is_ended_or_told(bull6, ends):
    bull6.fail({}, {})
    failures = loaded(bull6)
    swallows = None if ends else b"unpause"
    bull6.redis.script_load(scripts.many("pause"))
    with (
        proxy(f"{bull6.url}&pause=yes", losing=2, swallows=swallows) as (url, lost),
        connect_hand(url) as hand,
        pytest.raises(DLQError) as caught,
    ):
        list(hand.send("replay", items(failures), "run-1"))
    assert lost == [1, 1]
    assert ("Queue default is STILL PAUSED" in str(caught.value)) is not ends
    assert bull6.redis.hexists(bull6.key("meta"), "paused") is not ends
    with connect_hand(bull6.url) as hand:
        settled = list(hand.settle(items(failures), "run-1"))
    assert [r.state for r in settled] == [State.NOT_REACHED] * 2


def test_a_pause_of_somebody_else_stays_and_ours_is_told_when_it_stays(bull):
    ids = bull.fail({}, {})
    waiting = bull.add({}, {})
    with connect_hand(bull.url) as hand:
        bull.ask("pause")
        was = set_queue(hand, "pause", "r-1")
        assert (was.state, was.detail) == (State.SKIPPED, "it was paused already")
        sent(bull, loaded(bull).head(1), options="&pause=yes")
        assert bull.redis.hexists(bull.key("meta"), "paused")
        assert "is paused: what goes back waits" in told(hand, bull)
        assert set_queue(hand, "unpause", "r-2").state == State.SENT
        assert set_queue(hand, "unpause", "r-3").detail == "it was not paused"
        assert set_queue(hand, "pause", "r-7").state == State.SENT
        assert "is paused by run r-7. Unpause it" in told(hand, bull)
        more = bull.add({})  # a producer goes on meanwhile
        sent(bull, run_id="run-2")
    bull.ask("resume")  # by the library itself
    bull.work()
    until(lambda: len(bull.peer.ran) == 5)
    time.sleep(0.1)
    assert bull.runs() == Counter([*ids, *waiting, *more])


def test_a_pause_is_noted_and_done_once(bull6):
    """A lost answer is asked for again: the ledger has it, so it is `sent`, not `it was paused already`."""
    bull6.fail({})
    with proxy(bull6.url, losing=1) as (url, lost), connect_hand(url) as hand:
        assert set_queue(hand, "pause", "r-1").state == State.SENT and lost == [1]
    with connect_hand(bull6.url) as hand:
        assert [r.state for r in hand.settle([queue_item()], "r-1")] == [State.SENT]
        assert [r.state for r in hand.settle([queue_item()], "r-2")] == [State.SKIPPED]
        assert [r.state for r in hand.settle([queue_item(at="2026-11-22T08:00:00Z")], "r-1")] == [
            State.NOT_REACHED
        ]
        kept = hand.snapshot([queue_item().failure_id])
        assert kept.loc[0, ["queue", "job", "kind"]].tolist() == ["default", "meta", "hash"]
        assert raw.decode(kept.loc[0, "raw"])[b"paused"] == b"1"
        nowhere = set_queue(hand, "pause", "r-3", queue="nowhere")
        assert (nowhere.state, "no such queue" in nowhere.detail) == (State.REFUSED, True)
        assert not bull6.redis.exists(bull6.key("meta", "nowhere"))
        assert set_queue(hand, "unpause", "r-4").state == State.SENT
    assert not bull6.redis.hexists(bull6.key("meta"), "paused")


@pytest.mark.parametrize(("paused", "late"), [(12_001, 3), (3, 12_001)])
def test_many_waiting_jobs_survive_a_pause(bull6, paused, late):
    """Both lists become one in one step, whichever is longer: 5's own resume in between would drop one."""
    bull6.fail({})
    key, ids = bull6.key, [f"p{n}" for n in range(paused)]
    bull6.redis.lpush(key("wait"), *ids)
    with connect_hand(bull6.url) as hand:
        assert set_queue(hand, "pause", "r-1").state == State.SENT
        assert bull6.redis.llen(key("wait")) == 0
        assert bull6.redis.llen(key("paused")) == paused
        more = [f"w{n}" for n in range(late)]
        bull6.redis.lpush(key("wait"), *more)  # what a client of 6 does
        assert set_queue(hand, "unpause", "r-2").state == State.SENT
    assert not bull6.redis.exists(key("paused"))
    line = [one.decode() for one in bull6.redis.lrange(key("wait"), 0, -1)]
    assert line[::-1] == [*ids, *more]  # the oldest is at the right end, where workers take


def told(hand, bull, failures=None):
    failures = loaded(bull) if failures is None else failures
    return " ".join(f.text for f in hand.preflight(items(failures)))


def test_preflight_tells_of_queues_workers_and_deduplication(bull):
    bull.fail({}, {"opts": {"deduplication": {"id": "d-1"}}})
    bull.add({"data": {}, "opts": {"deduplication": {"id": "d-1"}}})
    with connect_hand(bull.url) as hand:
        assert "Nobody works on queue default" in told(hand, bull)
        bull.work("hold", concurrency=1)
        text = told(hand, bull)
        assert f"Queue default (bullmq:{bull.version}." in text and "2 failed" in text
        assert "Queue default has workers." in text
        assert "In default 1 job has a deduplication id" in text and "(1 are there now)" in text
        other = [item for item in items(loaded(bull).assign(failure_id="nowhere:1@2"))]
        [blocks] = [f for f in hand.preflight(other) if f.blocks]
        assert "There is no queue nowhere" in blocks.text


def test_a_hand_that_may_not_run_scripts_is_told_before(bull6, token):
    bull6.fail({})
    admin = bull6.redis
    admin.execute_command(
        "ACL", "SETUSER", token, "on", ">secret-word", "~*", "+@all", "-@scripting"
    )
    try:
        url = f"bullmq+redis://{token}:secret-word@{bull6.url.rpartition('@')[2].removeprefix('bullmq+redis://')}"
        with connect_hand(url) as hand:
            blocking = [f for f in hand.preflight(items(loaded(bull6))) if f.blocks]
            assert "runs no scripts for this user" in blocking[0].text
            [receipt] = hand.send("replay", items(loaded(bull6)), "run-1")
        assert receipt.state == State.REFUSED and "may not do that" in receipt.detail
        assert "secret-word" not in f"{blocking} {receipt} {hand!r} {hand.address!r}"
        with pytest.raises(ConnectError, match="does not let us in") as caught:
            connect_hand(url.replace("secret-word", "wrong-word")).preflight([])
        assert "wrong-word" not in str(caught.value)
    finally:
        admin.execute_command("ACL", "DELUSER", token)
    assert len(bull6.failed()) == 1


def test_a_queue_that_nobody_works_on_is_said_before_anything_goes(bull6, journal):
    bull6.fail({})
    plan = dlq.plan(loaded(bull6, limit=10), journal, reason="x", ungraded=None)
    said = []
    with connect_hand(bull6.url) as hand:
        options = {**QUICK, "wait": "1s", "progress": said.append}
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **options)
    assert said[0].startswith("mind: Nobody works on queue") and not run.finished
