"""Whatever a system answers, and whoever else acts: the numbers add up, and nothing is done twice."""

import threading
from itertools import count

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.model import Outcome, Receipt, State, Verdict
from dlqanalysis.plan import plan
from dlqanalysis.profile import Profile
from dlqanalysis.replay import execution
from tests.test_plan import failure, frame

ALL = Profile(safety={"*": "idempotent"})
FAST = {"rate": None, "gate": None, "wait": "1s", "poll": 0.01, "progress": lambda line: None}
ANSWERS = ("sent", "refused", "skipped", "uncertain", "not_reached", "done, then dies", "dies", "silent",
           "done, no answer")  # fmt: skip


class Dies(BaseException):
    """What a kernel's end looks like from inside: nothing after it is written."""


class Ledger:
    """A system in memory that keeps count of what really happened to each failure, and answers as it is told."""

    name = "celery:failed_tasks"
    capabilities = frozenset({"replay", "undo", "outcome", "settle", "repair", "pause"})

    def __init__(self, answers=(), name=name):
        self.answers, self.name = iter(answers), name
        self.done, self.tried, self.alone = [], [], threading.Lock()
        self.outcome, self.bodies = {}, {}

    def preflight(self, items):
        return []

    def snapshot(self, failure_ids):
        return pd.DataFrame({"failure_id": list(failure_ids)})

    def send(self, action, items, run_id):
        for item in items:
            answer = next(self.answers, "sent")
            with self.alone:
                self.tried.append(item.failure_id)
                if answer in ("sent", "done, then dies", "done, no answer"):
                    self.done.append(item.failure_id)
                    self.bodies[item.failure_id] = item.payload
            if "dies" in answer:
                raise Dies
            if answer == "silent":
                raise ConnectError("The system does not answer. Try again.")
            if answer != "done, no answer":
                yield Receipt(
                    failure_id=item.failure_id, state=State(answer), sent_id=f"n{item.failure_id}"
                )

    def settle(self, items, run_id):
        for item in items:
            state = State.SENT if item.failure_id in self.done else State.NOT_REACHED
            yield Receipt(failure_id=item.failure_id, state=state, sent_id=f"n{item.failure_id}")

    def outcomes(self, items, since):
        for failure_id in items:
            yield Verdict(
                failure_id=failure_id, outcome=self.outcome.get(failure_id, Outcome.SUCCEEDED)
            )

    def close(self):
        pass


@pytest.fixture
def journals(tmp_path, monkeypatch):
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "home"))
    number = count()
    return lambda: dlq.Journal(f"sqlite:///{tmp_path / f'j{next(number)}.sqlite'}")


def made(journal, rows, **options):
    return plan(rows, journal, **{"reason": "x", "profile": ALL, "ungraded": None, **options})


def adds_up(run):
    row = run.summary.iloc[0]
    return row["planned"] == sum(row[str(state)] for state in State)


def go(call, **options):
    """One process; whether it came to its end."""
    try:
        return call(**options)
    except Dies:
        return None


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    answers=st.lists(st.sampled_from(ANSWERS), max_size=20),
    size=st.integers(1, 12),
    stages=st.sampled_from([(None,), (1, 3, None), (2,)]),
    batch=st.integers(1, 5),
)
def test_every_end_adds_up_and_nothing_is_done_twice(journals, answers, size, stages, batch):
    journal, hand = journals(), Ledger(answers)
    chosen = made(journal, frame(*[failure(n) for n in range(size)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "BATCH", batch)
        go(dlq.replay, plan=chosen, to=hand, journal=journal, confirm=chosen.id, stages=stages,
           profile=Profile(), **FAST)  # fmt: skip
        (run_id,) = journal.runs()["run_id"]
        for _ in range(40):
            run = dlq.Run.read(run_id, journal)
            assert adds_up(run) and len(run.items) == size
            settled = dlq.settle(run_id, to=hand, journal=journal)
            assert adds_up(settled)
            states = settled.items.set_index("failure_id")["state"]
            assert set(states.index[states == State.SENT]) == set(hand.done)
            assert not (states == State.UNCERTAIN).any()
            if not (states == State.NOT_REACHED).any():
                break
            go(dlq.resume, run_id=run_id, to=hand, journal=journal, confirm=chosen.id, stages=(None,),
               progress=FAST["progress"], profile=Profile())  # fmt: skip
    assert len(hand.done) == len(set(hand.done))
    assert not (states == State.NOT_REACHED).any() and journal.verify() == []


def test_what_could_not_be_tried_stops_the_run_and_goes_with_the_next(journals):
    journal, hand = journals(), Ledger(["sent", "not_reached", "sent"])
    chosen = made(journal, frame(*[failure(n) for n in range(5)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "BATCH", 3)
        run = dlq.replay(chosen, to=hand, journal=journal, confirm=chosen.id, stages=(None,),
                         profile=Profile(), **FAST)  # fmt: skip
    assert "1 item could not be sent now; dlq.resume" in run.stopped and len(hand.done) == 2
    assert run.summary.iloc[0]["not_reached"] == 3 and adds_up(run)
    run = dlq.resume(run.run_id, to=hand, journal=journal, confirm=chosen.id,
                     progress=FAST["progress"], profile=Profile())  # fmt: skip
    assert run.finished and len(hand.done) == 5 == len(set(hand.done))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=st.lists(st.sampled_from(ANSWERS[:5]), max_size=10),
    twins=st.booleans(),
    size=st.integers(1, 8),
)
def test_two_runs_at_once_do_each_task_once(journals, first, twins, size):
    """Two operators, one journal: the same rows, or the rows and their dead-lettered copies."""
    journal = journals()
    hands = [Ledger(first), Ledger(name="rabbitmq:memos.dlq" if twins else Ledger.name)]
    plans = []
    for number, hand in enumerate(hands):
        rows = [failure(n, source=hand.name, failure_id=f"{'m' if twins and number else ''}{n}")
                for n in range(size)]  # fmt: skip
        plans.append(made(journal, frame(*rows), reason=f"operator {number}"))
    runs = [None, None]

    def operate(n):
        mine = plans[n]
        runs[n] = dlq.replay(mine, to=hands[n], journal=journal, confirm=mine.id, stages=(None,),
                             profile=Profile(), **FAST)  # fmt: skip

    threads = [threading.Thread(target=operate, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [name.removeprefix("m") for hand in hands for name in hand.done]
    assert len(done) == len(set(done))
    assert all(adds_up(run) for run in runs) and journal.verify() == []


def replayed(journal, hand, rows, **options):
    chosen = options.pop("chosen", None) or made(journal, rows)
    return chosen, dlq.replay(chosen, to=hand, journal=journal, confirm=chosen.id, profile=Profile(),
                              **{**FAST, "stages": (None,), **options})  # fmt: skip


def test_a_repaired_payload_is_what_a_resume_sends(journals):
    """Also when the process died right after the run was opened."""
    journal, hand = journals(), Ledger(["sent", "dies"])
    rows = frame(*[failure(n) for n in range(3)])
    rows = rows.assign(repaired=pd.Series([b"a", b"b", b"c"], dtype=object))
    chosen = made(journal, rows)
    with pytest.raises(Dies):
        replayed(journal, hand, rows, chosen=chosen)
    (run_id,) = journal.runs()["run_id"]
    with journal._begin() as db:  # all that was noted after the run was opened is lost
        db.exec_driver_sql(
            "DELETE FROM dlq_entries WHERE event IN ('preflight', 'snapshot', 'stopped')"
        )
    dlq.resume(run_id, to=hand, journal=journal, confirm=chosen.id, stages=(None,), profile=Profile(),
               progress=FAST["progress"])  # fmt: skip
    assert hand.bodies == {"0": b"a", "1": b"b", "2": b"c"}


@pytest.mark.parametrize(
    "odd", [{"rat": "1/s"}, {"breaker": None}, {"poll": 0}, {"min_sample": "5"}]
)
def test_odd_settings_of_a_resume_are_refused(journals, odd):
    journal, hand = journals(), Ledger()
    chosen, run = replayed(journal, hand, frame(failure(1), failure(2)), stages=(1,))
    with pytest.raises(RunError, match=r"cannot be changed|is no share|too little"):
        dlq.resume(run.run_id, to=hand, journal=journal, confirm=chosen.id, **odd)
    assert hand.done == ["1"]


def test_who_is_stopped_while_waiting_leaves_nothing_uncertain(journals):
    """A slow rate waits a minute between two items: a cancel is heard at once, and nothing was claimed."""
    journal, hand = journals(), Ledger()

    def cancel():
        while not hand.done:
            pass
        dlq.cancel(journal.runs()["run_id"].iloc[0], journal=journal)

    other = threading.Thread(target=cancel)
    other.start()
    _, run = replayed(journal, hand, frame(failure(1), failure(2)), rate="1/m")
    other.join()
    assert run.stopped == "cancelled" and run.summary["not_reached"].item() == 1


def test_what_does_not_answer_is_waited_for(journals, monkeypatch):
    monkeypatch.setattr(execution, "_LOOK_AGAIN", 0.0)
    journal, hand = journals(), Ledger()
    chosen = made(journal, frame(failure(1)))
    looks = iter([None, ConnectError("The broker does not answer.")])

    def preflight(items):
        if isinstance(told := next(looks, None), Exception):
            raise told
        return []

    monkeypatch.setattr(hand, "preflight", preflight)
    _, run = replayed(journal, hand, None, chosen=chosen, wait="5s")
    assert run.finished and hand.done == ["1"] and journal.has(run.run_id, "paused")


def keyed(*numbers):
    return frame(*[failure(n, args=[], kwargs={"tenant": "t", "n": n}) for n in numbers])


def test_the_order_of_a_key_holds_over_stages_and_resumes(journals):
    journal, hand = journals(), Ledger()
    hand.outcome = {"1": Outcome.PENDING}
    chosen = made(journal, keyed(1, 2), per_key="tenant")
    _, run = replayed(journal, hand, None, chosen=chosen, stages=(1, None))
    assert hand.done == ["1"] and "others wait for them" in run.stopped
    again = {"to": hand, "journal": journal, "confirm": chosen.id, "progress": FAST["progress"],
             "profile": Profile()}  # fmt: skip
    run = dlq.resume(run.run_id, **again)
    assert hand.done == ["1"] and "others wait for them" in run.stopped
    hand.outcome.clear()
    assert dlq.resume(run.run_id, **again).finished and hand.done == ["1", "2"]


def test_behind_an_uncertain_item_its_key_waits(journals, monkeypatch):
    journal, hand = journals(), Ledger(["silent"])
    chosen = made(journal, keyed(1, 2), per_key="tenant")
    _, run = replayed(journal, hand, None, chosen=chosen)
    monkeypatch.setattr(hand, "settle", lambda items, run_id: [
        Receipt(failure_id=item.failure_id, state=State.UNCERTAIN) for item in items])  # fmt: skip
    run = dlq.resume(run.run_id, to=hand, journal=journal, confirm=chosen.id, profile=Profile(),
                     progress=FAST["progress"])  # fmt: skip
    assert not hand.done and run.summary[["uncertain", "not_reached"]].iloc[0].tolist() == [1, 1]


def test_a_pause_that_settles_as_done_may_be_done_again(journals):
    journal, hand = journals(), Ledger(["done, no answer"])
    for _ in range(2):
        chosen = made(journal, frame(failure(1)), action="pause", reason=f"storm {len(hand.done)}")
        _, run = replayed(journal, hand, None, chosen=chosen)
        dlq.settle(run.run_id, to=hand, journal=journal)
    assert hand.done == ["1", "1"]


def test_a_run_that_another_process_settles_is_not_taken_up(journals):
    journal, hand = journals(), Ledger()
    chosen, run = replayed(journal, hand, frame(failure(1), failure(2)), stages=(1,))
    journal.record(run.run_id, [("", "settling", {"host": "elsewhere", "pid": 7})])
    with pytest.raises(RunError, match="going on in process 7 on elsewhere"):
        dlq.resume(run.run_id, to=hand, journal=journal, confirm=chosen.id)
    assert hand.done == ["1"]


def test_a_stage_that_is_refused_as_a_whole_opens_no_gate(journals):
    """What every item of the canary met, the rest would meet too; what others did before is no reason to stop."""
    rows = frame(*(failure(n) for n in range(20)))
    for answer, tried in (("refused", 5), ("skipped", 20)):
        journal, system = journals(), Ledger([answer] * 20)
        plan_ = made(journal, rows)
        run = dlq.replay(
            plan_, to=system, journal=journal, confirm=plan_.id, stages=(5, None), profile=ALL,
            **{**FAST, "gate": 0.95},
        )  # fmt: skip
        assert len(system.tried) == tried and adds_up(run), answer
        assert run.finished is (answer == "skipped")
