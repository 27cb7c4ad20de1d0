"""Whole runs on Redis lists: what consumers get is the selection, each element once, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

import dlqanalysis as dlq
from dlqanalysis.sources import connect_hand
from tests.lists import CORRUPT, KINDS, Lists, churning, consuming, message
from tests.waiting import UNGATED

EVERY = ("transient", "permanent", "data", "unknown")


@pytest.fixture
def lists(redis_url, key_prefix):
    one = Lists(redis_url, key_prefix)
    yield one
    one.redis.close()


def mixed(lists, count=600):
    """Messages of three kinds with corrupt ones and identical ones among them; gives those of one kind."""
    odd = list(CORRUPT.values())
    raws = []
    for n in range(count):
        raws.append(message(n, KINDS[n % 3]))
        if n in (9, 12, 13):
            raws += [raws[-1]] * 2
        if n % 20 == 2 and odd:
            raws.append(odd.pop())
    lists.fill(*raws)
    failures = lists.load(task="webhook", columns=["raw"])
    assert (
        len(failures) == count // 3 + 4 + 2
    )  # identical ones, and the two corrupt ones that can be read
    return failures


def planned(lists, journal, failures, **options):
    none = dlq.duplicates(failures.head(0))  # identical messages go, too
    options = {"classes": EVERY, "duplicates": none, "reason": "INC-7", "ungraded": None, **options}
    return dlq.plan(failures, journal, **options)


def test_exactly_a_selection_goes_while_others_push_and_take(lists, journal):
    wanted = mixed(lists)
    rest = Counter(lists.all()) - Counter(wanted["raw"])
    with churning(lists) as pushed, consuming(lists) as taken:
        failures = lists.load(task="webhook")
        plan = planned(lists, journal, failures)
        assert set(plan.chosen["failure_id"]) == set(wanted["failure_id"])
        with connect_hand(lists.url) as hand:
            run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **UNGATED)
    assert run.finished and run.summary.iloc[0]["sent"] == len(wanted)
    assert Counter(taken) == Counter(wanted["raw"])
    assert Counter(lists.all()) == rest + Counter(pushed)


def operator(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.list_operator", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )  # fmt: skip


def test_two_operators_in_opposite_order_with_a_journal_each(lists, tmp_path):
    wanted, meeting = mixed(lists, 300), str(tmp_path / "meeting")
    rest = Counter(lists.all()) - Counter(wanted["raw"])
    with churning(lists, every=0.02) as pushed, consuming(lists) as taken:
        operators = [
            operator(lists.url, f"sqlite:///{tmp_path / order}.sqlite", order, "200/s", meeting)
            for order in ("oldest", "newest")
        ]
        done = [process.communicate(timeout=300) for process in operators]
    assert [process.returncode for process in operators] == [0, 0], done
    assert Counter(taken) == Counter(wanted["raw"])
    assert Counter(lists.all()) == rest + Counter(pushed)
    rows = [json.loads(out.splitlines()[-1])[0] for out, _ in done]
    assert sum(row["sent"] for row in rows) == len(wanted)
    assert all(row["planned"] == row["sent"] + row["skipped"] for row in rows)


def test_killed_in_the_middle_and_resumed_everything_goes_once(lists, journal):
    wanted = mixed(lists, 150)
    rest = Counter(lists.all()) - Counter(wanted["raw"])
    args = (lists.url, journal.place, "oldest")
    with consuming(lists) as taken:
        for least in (3, 12):
            process = operator(*args, "20/s")
            until = time.monotonic() + 120
            while len(taken) < least and time.monotonic() < until and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=300)
        assert 12 <= len(taken) < len(wanted)
        last = operator(*args, "1000/s")
        out, err = last.communicate(timeout=300)
        assert last.returncode == 0, err
    assert Counter(taken) == Counter(wanted["raw"]) and Counter(lists.all()) == rest
    summary = json.loads(out.splitlines()[-1])[0]
    assert summary["sent"] == summary["planned"] == len(wanted) and summary["uncertain"] == 0


def test_what_comes_back_is_seen_and_stops_the_run(lists, journal):
    lists.fill(*(message(n) for n in range(30)))
    plan = planned(lists, journal, lists.load(limit=100))
    done = []

    def fails():  # a consumer that fails, and writes a higher count
        while raw := lists.redis.rpop(lists.main):
            said = json.loads(raw)
            lists.fill(message(int(said["id"][2:]), retryCount=said["retryCount"] + 1))
            done.append(raw)

    with connect_hand(lists.url) as hand:
        outcomes = hand.outcomes
        hand.outcomes = lambda items, since: (fails(), outcomes(items, since))[1]
        options = {**UNGATED, "gate": 0.95, "wait": "5s", "poll": 0.05, "stages": (10, None)}
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **options)
    assert not run.finished and run.summary.iloc[0]["failed_again"] == 10 == len(done)
    later = planned(lists, journal, lists.load(limit=100))
    assert later.chosen["generation"].value_counts().to_dict() == {1: 20, 2: 10}


def test_without_a_result_backend_a_gate_waits_and_says_why(lists, journal):
    lists.fill(message(1), message(2))
    plan = planned(lists, journal, lists.load(limit=100))
    with connect_hand(lists.url) as hand, consuming(lists):
        options = {**UNGATED, "gate": 0.95, "wait": "1s", "poll": 0.05}
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **options)
        assert "2 have no outcome after 1s (2 unknown: a consumer took it, " in run.stopped
        assert "result backend, DLQ_<NAME>_RESULTS_URL; trust= lets silence count" in run.stopped
        outcomes = dlq.verify(run.run_id, to=hand, journal=journal)
    assert set(outcomes["outcome"]) == {"unknown"}


def test_with_trust_what_was_taken_and_stays_silent_opens_the_gate(lists, journal):
    lists.fill(*(message(n) for n in range(30)))
    plan = planned(lists, journal, lists.load(limit=100))
    lines = []
    with consuming(lists) as taken, connect_hand(lists.url) as hand:
        options = {**UNGATED, "gate": 0.95, "wait": "20s", "poll": 0.05, "stages": (5, None)}
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id, trust="1s",
            **{**options, "progress": lines.append},
        )  # fmt: skip
    assert run.finished and len(taken) == 30
    assert "5 were taken and stayed silent for 1s (trusted, not proven)" in " ".join(lines)
    assert run.summary["succeeded"].item() == 0  # trust is no proof, and is not written down as one


def test_a_run_is_taken_back_by_a_plan_but_for_what_a_consumer_took(lists, journal):
    lists.fill(*(message(n) for n in range(8)))
    plan = planned(lists, journal, lists.load(limit=100))
    with connect_hand(lists.url) as hand:
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **UNGATED)
        lists.redis.lpush(lists.main, message(99))
        assert lists.redis.rpop(lists.main) == message(0)
        undo = dlq.undo(run.run_id, journal, reason="too early")
        back = dlq.replay(undo, to=hand, journal=journal, confirm=undo.id, **UNGATED)
    row = back.summary.iloc[0]
    assert (row["sent"], row["skipped"]) == (7, 1) and back.finished
    assert Counter(lists.all()) == Counter(message(n) for n in range(1, 8))
    assert lists.all(lists.main) == [message(99)]
    assert len(planned(lists, journal, lists.load(limit=100)).chosen) == 7


def test_repaired_messages_go_as_they_were_mended(lists, journal):
    nan = b'{"id":"c14","type":"webhook","big":9007199254740993,"v":NaN,"retryCount":3}'
    lists.fill(message(1), nan, message(2))
    failures = lists.load(limit=100, columns=["raw"])
    bad = failures[failures["payload_state"] == "unreadable"]
    mended = dlq.repair(bad, lambda said: {**said, "v": None, "retryCount": 0})
    assert mended["difference"].tolist() == ["v: NaN -> null; retryCount: 3 -> 0"]
    plan = planned(lists, journal, mended, classes=("transient",))
    assert len(plan.chosen) == 1
    with connect_hand(lists.url) as hand:
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **UNGATED)
    assert run.receipts["detail"].tolist() == [f"to {lists.main}, repaired"]
    assert lists.all(lists.main) == [nan.replace(b"NaN", b"null").replace(b":3}", b":0}")]
    assert lists.all() == [message(1), message(2)]
