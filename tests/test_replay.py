"""A replay on a real Postgres and a real broker: confirmed, staged, gated, exactly once, whatever dies."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.display import progress
from dlqanalysis.errors import NotConfirmed, RunError
from dlqanalysis.model import Outcome, State
from dlqanalysis.profile import Profile
from dlqanalysis.replay.run import Run
from dlqanalysis.sources.celery.hand import CeleryHand
from tests.consumer import Consumer
from tests.waiting import QUICK, until


def fill(url, queue, count, task="shop.charge"):
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(
            "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, traceback, failed_at) SELECT 'task-' || n, %s, %s, jsonb_build_array(n),"
            " '{}', 'ConnectionError', 'connection refused by provider', '',"
            " now() - make_interval(secs => %s - n) FROM generate_series(1, %s) n",
            (task, queue, count, count),
        )


def statuses(url):
    with psycopg.connect(url) as db:
        rows = db.execute("SELECT status, count(*) FROM failed_tasks GROUP BY status").fetchall()
    return dict(rows)


@pytest.fixture
def queue(queue_name):
    return queue_name("payments")


@pytest.fixture
def hand(shop_url, redis_url):
    with CeleryHand.connect(shop_url, redis_url) as opened:
        yield opened


def planned(url, journal, **options):
    failures = dlq.load(dlq.connect(url), since=None, limit=10_000)
    return dlq.plan(
        failures, journal, **{"reason": "INC-42: provider is back", "ungraded": None, **options}
    )


def adds_up(run):
    row = run.summary.iloc[0]
    return row["planned"] == sum(row[str(state)] for state in State)


def test_the_whole_road(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 80)
    plan = planned(shop_url, journal)
    lines = []
    with Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id, **{**QUICK, "progress": lines.append}
        )
    assert run.finished and adds_up(run)
    assert Counter(task_id for task_id, *_ in worker.ran) == Counter(run.receipts["sent_id"])
    assert sorted(args[0] for _, _, args, _ in worker.ran) == list(range(1, 81))
    assert [args[0] for _, _, args, _ in worker.ran][:10] == list(
        range(1, 11)
    )  # the oldest go first
    row = run.summary.iloc[0]
    assert (row["sent"], row["succeeded"]) == (80, 80)
    assert statuses(shop_url) == {"replayed": 80}
    assert {headers["dlqanalysis_run"] for headers in worker.headers} == {run.run_id}
    stages = dict.fromkeys(line.partition(":")[0] for line in lines if line.startswith("stage"))
    assert list(stages) == [f"stage {n} of 3" for n in (1, 2, 3)]
    assert len(planned_again := dlq.load(dlq.connect(shop_url), since=None)) == 0, planned_again
    with pytest.raises(
        RunError, match=r"was run already.*It is over: load what fails now.*a reason of its own"
    ):
        dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    assert journal.verify() == []
    kept = journal.events(run.run_id).set_index("event").loc["snapshot", "detail"]
    assert len(kept["sha256"]) == 64


def test_a_route_is_the_plans_and_a_resume_keeps_it(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, "default", 30)
    plan = planned(shop_url, journal, profile=Profile(routes={"charge": queue}))

    class Stops:
        """The hand, whose run somebody cancels after the first stage."""

        def __getattr__(self, name):
            return getattr(hand, name)

        def send(self, action, items, run_id):
            dlq.cancel(run_id, journal=journal)
            return hand.send(action, items, run_id)

    with Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(plan, to=Stops(), journal=journal, confirm=plan.id, **QUICK)
        assert not run.finished and 0 < run.summary.iloc[0]["sent"] < 30
        run = dlq.resume(run.run_id, to=hand, journal=journal, confirm=plan.id)
        until(lambda: len(worker.ran) >= 30)
    assert run.finished and sorted(args[0] for _, _, args, _ in worker.ran) == list(range(1, 31))
    hand.capabilities = hand.capabilities - {"reroute"}
    fill(shop_url, "default", 1)
    other = planned(shop_url, journal, profile=Profile(routes={"charge": queue}))
    with pytest.raises(RunError, match=r"shop\.charge where the profile's \[routes\] says"):
        dlq.replay(other, to=hand, journal=journal, confirm=other.id, **QUICK)
    assert len(journal.runs()) == 1


@pytest.mark.parametrize("typed", ["", "yes", "y", "00000000", "UPPER", "prefix", "digest"])
def test_without_the_typed_id_nothing_is_sent(shop_url, redis_url, queue, journal, hand, typed):
    fill(shop_url, queue, 3)
    plan = planned(shop_url, journal)
    typed = {"UPPER": plan.id.upper() + " ", "prefix": plan.id[:7], "digest": plan.digest}.get(
        typed, typed
    )
    with Consumer(redis_url, shop_url, [queue]) as worker:
        with pytest.raises(NotConfirmed) as caught:
            dlq.replay(plan, to=hand, journal=journal, confirm=typed, **QUICK)
        time.sleep(0.2)
    assert worker.ran == [] and statuses(shop_url) == {"failed": 3}
    assert plan.id not in str(caught.value)
    assert ("no id was given" if not typed else "not its id") in str(caught.value)
    assert "how many go" not in str(caught.value)  # a purge alone wants the number, too
    assert len(journal.runs()) == 0


def test_arming_from_outside_is_for_one_plan(
    shop_url, redis_url, queue, journal, hand, monkeypatch
):
    fill(shop_url, queue, 3)
    plan = planned(shop_url, journal)
    monkeypatch.setenv("DLQ_ARM", "0badc0de")
    with pytest.raises(NotConfirmed):
        dlq.replay(plan, to=hand, journal=journal, **QUICK)
    monkeypatch.setenv("DLQ_ARM", plan.id)
    with Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(plan, to=hand, journal=journal, **QUICK)
    assert run.finished and len(worker.ran) == 3


def test_a_changed_plan_and_a_wrong_target_send_nothing(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 3)
    plan = planned(shop_url, journal)
    plan.chosen.loc[0, "failure_id"] = "999"
    with pytest.raises(RunError, match="changed after it was made"):
        dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    failures = dlq.load(dlq.connect(shop_url), since=None, limit=10)
    other = failures.assign(source=failures["source"].cat.rename_categories(["bullmq:default"]))
    plan = dlq.plan(other, journal, reason="x", ungraded=None)
    with pytest.raises(
        RunError,
        match=r"plan is for bullmq:default, this hand is for celery:failed_tasks. Open .*connect_hand",
    ):
        dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    assert statuses(shop_url) == {"failed": 3}


def test_a_plan_of_nothing_and_odd_settings_are_refused(shop_url, queue, journal, hand):
    fill(shop_url, queue, 3)
    plan = planned(shop_url, journal, classes=("data",))
    with pytest.raises(RunError, match="chose nothing"):
        dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    plan = planned(shop_url, journal)
    for odd, words in [
        ({"stages": ()}, "sends nothing"),
        ({"stages": (0,)}, "sends nothing"),
        ({"stages": 10}, "sends nothing"),
        ({"stages": "10"}, "sends nothing"),
        ({"stages": (10, 2.5, None)}, "sends nothing"),
        ({"stages": (float("inf"),)}, "sends nothing"),
        ({"rate": 5}, 'rate="5/s"'),
        ({"wait": 300}, 'wait="5m"'),
        ({"wait": None}, 'wait="5m"'),
        ({"trust": 2}, 'trust="2m"'),
        ({"gate": 95}, "no share"),
    ]:
        with pytest.raises(RunError, match=words):
            dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **{**QUICK, **odd})
    assert len(journal.runs()) == 0


def test_a_blocking_preflight_sends_nothing(shop_url, queue, journal, hand):
    fill(shop_url, queue, 3)  # and no worker ever declared that queue
    plan = planned(shop_url, journal)
    with pytest.raises(RunError, match="No worker ever declared queue"):
        dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    assert statuses(shop_url) == {"failed": 3}
    assert len(journal.runs()) == 0


def test_the_breaker_stops_within_the_first_stage(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 60)
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue], lambda *_: False) as worker:
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id, **{**QUICK, "rate": "200/s"}
        )
    assert not run.finished and run.stopped.startswith("breaker in stage 1 of 2")
    assert adds_up(run) and len(worker.ran) == 10
    row = run.summary.iloc[0]
    assert (row["sent"], row["not_reached"]) == (10, 50)
    assert row["failed_again"] >= 5


def test_the_gate_holds_when_too_many_fail(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 60)
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue], lambda task, args, kwargs: args[0] != 4) as worker:
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
        assert run.stopped.startswith("gate after stage 1 of 2") and len(worker.ran) == 10
        assert run.outcomes.set_index("failure_id")["outcome"].value_counts().to_dict() == {
            "succeeded": 9,
            "failed_again": 1,
        }
        resumed = dlq.resume(
            run.run_id,
            to=hand,
            journal=journal,
            confirm=plan.id,
            stages=(1, None),
            progress=QUICK["progress"],
        )
    assert resumed.finished and adds_up(resumed)
    assert len(worker.ran) == 60 == len({args[0] for _, _, args, _ in worker.ran})


def test_the_gate_holds_when_nobody_works(shop_url, redis_url, queue, journal, hand, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    fill(shop_url, queue, 30)
    plan = planned(shop_url, journal)
    idle = Consumer(redis_url, shop_url, [queue])  # has declared the queue, and is not running
    lines = []
    run = dlq.replay(
        plan, to=hand, journal=journal, confirm=plan.id,
        **{**QUICK, "wait": "1s", "progress": lines.append},
    )  # fmt: skip
    assert "stage 1 of 2: 10 planned, 10 sent, 10 waiting; at most 1 s left" in lines
    assert (
        "10 have no outcome after 1s; it opens at 95%" in run.stopped
    )  # they wait: nothing is unknown
    assert "0 of 0" not in run.stopped
    assert (
        f"dlq.resume('{run.run_id}', to=..., journal=..., confirm=<the plan's id>) goes on."
        in repr(run)
    )
    assert run.summary.iloc[0]["sent"] == 10
    assert (run.outcomes["outcome"] == Outcome.PENDING).all()
    with idle:
        until(lambda: len(idle.ran) == 10)
        time.sleep(0.2)
        once = {**QUICK, "wait": "20s", "confirm": plan.id, "to": hand, "journal": journal}
        run = dlq.resume(run.run_id, **{name: once[name] for name in once if name != "rate"})
        assert run.summary.iloc[0]["succeeded"] == 30  # those of the first process, too
    later = dlq.verify(run.run_id, to=hand, journal=journal)
    assert (later["outcome"] == Outcome.SUCCEEDED).all() and len(later) == 30


def test_a_resume_needs_the_id_and_goes_on_with_what_is_left(
    shop_url, redis_url, queue, journal, hand
):
    fill(shop_url, queue, 30)
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id, **{**QUICK, "stages": (5,)}
        )
        assert run.finished and run.summary.iloc[0]["not_reached"] == 25  # only five were asked for
        with pytest.raises(NotConfirmed):
            dlq.resume(run.run_id, to=hand, journal=journal)
        assert len(worker.ran) == 5
        run = dlq.resume(
            run.run_id, to=hand, journal=journal, confirm=plan.id, progress=QUICK["progress"]
        )
        assert run.finished and run.summary.iloc[0]["succeeded"] == 30
        again = dlq.resume(run.run_id, to=hand, journal=journal, confirm=plan.id)
    assert again.finished and len(worker.ran) == 30


def test_a_run_is_cancelled_from_elsewhere(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 60)
    plan = planned(shop_url, journal)

    def cancel_after_the_first_stage(line):
        dlq.cancel(journal.runs()["run_id"].iloc[0], journal=dlq.Journal(journal.place))

    options = {**QUICK, "progress": cancel_after_the_first_stage}
    with Consumer(redis_url, shop_url, [queue]) as worker:
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **options)
    assert run.stopped == "cancelled" and len(worker.ran) == 10 and adds_up(run)


def test_an_archive_goes_through_the_same_door(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 30)
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(
            "UPDATE failed_tasks SET status = 'replayed', replayed_at = now() WHERE id <= 10"
        )
        db.execute("UPDATE failed_tasks SET status = 'pending_replay' WHERE id > 25")
    failures = dlq.load(dlq.connect(shop_url), since=None, status=None, limit=1000)
    plan = dlq.plan(failures, journal, reason="older than 30 days", action="archive")
    assert len(plan.chosen) == 25
    with pytest.raises(NotConfirmed):
        dlq.replay(plan, to=hand, journal=journal, **QUICK)
    with psycopg.connect(shop_url, autocommit=True) as db:  # meanwhile somebody takes one up
        db.execute("UPDATE failed_tasks SET status = 'pending_replay' WHERE id = 20")
    run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
    assert run.finished and adds_up(run)
    assert run.summary.iloc[0][["sent", "skipped"]].tolist() == [24, 1]
    assert statuses(shop_url) == {"archived": 24, "pending_replay": 6}
    [settled] = hand.settle([item for item in plan.items() if item.failure_id == "1"], run.run_id)
    assert settled.state == State.SENT


def operator(*args):
    env = {**os.environ, "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.replayer", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip


def test_killed_at_random_moments_everything_runs_exactly_once(shop_url, redis_url, queue, journal):
    """SIGKILL three times, at moments drawn by a seed, then a resume to the end."""
    fill(shop_url, queue, 150)
    draw = random.Random(7)
    args = (shop_url, redis_url, journal.place, "oldest", "100/s")
    with Consumer(redis_url, shop_url, [queue]) as worker:
        for _ in range(3):
            before = len(worker.ran)
            process = operator(*args, *journal.runs()["run_id"])
            more = before + draw.randrange(1, 30)
            until(lambda more=more, p=process: len(worker.ran) >= more or p.poll() is not None)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=300)
        last = operator(*args, *journal.runs()["run_id"])
        out, err = last.communicate(timeout=300)
        assert last.returncode == 0, err
        until(lambda: len(worker.ran) >= 150)
        time.sleep(0.3)
    ran = Counter(args[0] for _, _, args, _ in worker.ran)
    assert ran == Counter(range(1, 151))
    summary = json.loads(out.splitlines()[-1])[0]
    assert summary["planned"] == 150 == summary["sent"] and summary["uncertain"] == 0
    assert statuses(shop_url) == {"replayed": 150}
    assert journal.verify() == []


@pytest.mark.parametrize("shared", [True, False], ids=["one journal", "a journal each"])
def test_two_operators_in_opposite_order_never_send_twice(
    shop_url, redis_url, queue, tmp_path, shared
):
    fill(shop_url, queue, 100)
    journals = [f"sqlite:///{tmp_path / f'j{0 if shared else n}.sqlite'}" for n in range(2)]
    with Consumer(redis_url, shop_url, [queue]) as worker:
        operators = [
            operator(shop_url, redis_url, journal, order, "200/s", "", str(tmp_path / "meeting"))
            for journal, order in zip(journals, ("oldest", "newest"), strict=True)
        ]
        done = [process.communicate(timeout=300) for process in operators]
        assert [process.returncode for process in operators] == [0, 0], done
        until(lambda: len(worker.ran) >= 100)
        time.sleep(0.3)
    assert Counter(args[0] for _, _, args, _ in worker.ran) == Counter(range(1, 101))
    rows = [json.loads(out.splitlines()[-1])[0] for out, _ in done]
    assert sum(row["sent"] for row in rows) == 100
    assert all(row["planned"] == row["sent"] + row["skipped"] for row in rows)


def test_a_run_that_is_going_on_is_not_taken_up_by_a_second_process(
    shop_url, redis_url, queue, journal, hand
):
    fill(shop_url, queue, 60)
    args = (shop_url, redis_url, journal.place, "oldest", "5/s")
    with Consumer(redis_url, shop_url, [queue]) as worker:
        process = operator(*args)
        until(lambda: len(worker.ran) >= 4 or process.poll() is not None)
        run_id = journal.runs()["run_id"].iloc[0]
        before = len(journal.events(run_id))
        with pytest.raises(RunError, match=f"is going on in process {process.pid}"):
            dlq.resume(run_id, to=hand, journal=journal, confirm=journal.run(run_id)["plan_id"])
        assert len(journal.events(run_id)) == before
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        run = dlq.resume(
            run_id, to=hand, journal=journal, confirm=journal.run(run_id)["plan_id"], rate=None,
            progress=QUICK["progress"],
        )  # fmt: skip
        assert run.finished and adds_up(run)
    assert Counter(args[0] for _, _, args, _ in worker.ran) == Counter(range(1, 61))


def test_ctrl_c_stops_between_items(shop_url, redis_url, queue, journal):
    fill(shop_url, queue, 100)
    args = (shop_url, redis_url, journal.place, "oldest", "20/s")
    with Consumer(redis_url, shop_url, [queue]) as worker:
        process = operator(*args)
        until(lambda: len(worker.ran) >= 4 or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        time.sleep(0.3)
    run = Run.read(journal.runs()["run_id"].iloc[0], journal)
    assert "interrupted by Ctrl-C" in out and run.stopped == "interrupted by Ctrl-C"
    row = run.summary.iloc[0]
    assert adds_up(run) and row["uncertain"] == 0 and 0 < row["sent"] < 100
    assert len(worker.ran) == row["sent"]


def test_a_run_reads_well(shop_url, redis_url, queue, journal, hand):
    fill(shop_url, queue, 12)
    plan = planned(shop_url, journal)
    with Consumer(redis_url, shop_url, [queue], lambda task, args, kwargs: args[0] != 2):
        run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **{**QUICK, "gate": 0.5})
    assert repr(run) == (
        f"Run {run.run_id}: 12 planned = 12 sent. Of the sent: 11 succeeded, 1 failed again."
    )
    runs = journal.runs()
    assert runs[["plan_id", "reason", "sent"]].iloc[0].tolist() == [
        plan.id,
        "INC-42: provider is back",
        12,
    ]
    assert set(run.outcomes["fingerprint"]) == set(plan.chosen["fingerprint"])
