"""What a resume, a settle and a stage owe: an undo stays an undo, limits are exact, and what is left is told."""

import re
import sys
import time

import pytest

import dlqanalysis as dlq
from dlqanalysis.display.progress import Progress
from dlqanalysis.errors import NotConfirmed, RunError
from dlqanalysis.model import Outcome, Receipt, State
from dlqanalysis.profile import Profile
from dlqanalysis.replay import execution
from tests.test_accounting import FAST, Ledger, made
from tests.test_plan import failure, frame
from tests.test_preflight import one

ALL = Profile(safety={"*": "idempotent"})


class Remembers(Ledger):
    """A ledger that keeps the items it was handed, and can lose the answer of an undo."""

    def __init__(self, *given):
        super().__init__(*given)
        self.sent, self.settled = [], []

    def send(self, action, items, run_id):
        self.sent += [(action, item) for item in items]
        yield from super().send(action, items, run_id)

    def settle(self, items, run_id):
        self.settled += items
        for item in items:
            yield Receipt(failure_id=item.failure_id, state=State.SENT, sent_id=item.sent_id)


@pytest.fixture
def failures():
    return frame(*[failure(n) for n in range(4)])


def run(plan, hand, journal, **more):
    options = {**FAST, "stages": (None,), "profile": Profile(), **more}
    return dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **options)


def resumed(which, plan, hand, journal, **more):
    options = {"progress": FAST["progress"], "profile": Profile(), **more}
    return dlq.resume(which.run_id, to=hand, journal=journal, confirm=plan.id, **options)


def test_an_undo_that_is_resumed_or_settled_is_still_one(failures, journal, monkeypatch):
    hand = Remembers()
    first = run(made(journal, failures), hand, journal)
    back = dlq.undo(first.run_id, journal, reason="too early")
    monkeypatch.setattr(execution, "BATCH", 1)
    hand.sent, hand.answers = [], iter(["sent", "uncertain", "not_reached"])
    stopped = run(back, hand, journal)
    assert not stopped.finished
    assert resumed(stopped, back, hand, journal).goes_on  # the third could not be tried
    done = resumed(stopped, back, hand, journal)
    assert done.finished and {action for action, _ in hand.sent} == {"undo"}
    every = [item for _, item in hand.sent] + hand.settled
    assert len(hand.settled) == 1
    assert done.items["outcome"].isna().all()  # nothing comes of an undo: nobody is asked
    assert {(item.undoes, item.sent_id) for item in every} == {
        (first.run_id, f"n{n}") for n in range(4)
    }
    # what is taken back, settled or sent, may be replayed again
    again = made(journal, failures, reason="once more")
    assert len(again.chosen) == 4
    assert run(again, Remembers(), journal).summary.iloc[0]["sent"] == 4


def test_a_resume_looks_at_the_target_first_and_again(failures, journal, monkeypatch, tmp_path):
    monkeypatch.setattr(execution, "_LOOK_AGAIN", 0.0)
    plan, hand, well = made(journal, failures), Remembers(), tmp_path / "well"
    well.touch()
    code = f"import pathlib, sys; sys.exit(not pathlib.Path({str(well)!r}).exists())"
    checked = Profile(preflight={"shop": {"command": [sys.executable, "-c", code]}})
    stopped = run(plan, hand, journal, stages=(1,))
    send = hand.send
    hand.send = lambda *given: (well.unlink(), send(*given))[1]
    done = resumed(stopped, plan, hand, journal, stages=(1, None), wait="1s", profile=checked)
    assert (
        done.stopped.startswith("the target is not well: shop: ") and "exits with 1" in done.stopped
    )
    assert done.summary.iloc[0]["sent"] == 2
    with pytest.raises(RunError, match="Nothing was sent: shop"):
        resumed(stopped, plan, hand, journal, profile=checked)


def test_what_is_done_or_empty_asks_for_no_id(failures, journal):
    """After a run that sent everything the page said of it that nothing was sent, and to type an id."""
    plan, hand = made(journal, failures), Remembers()
    done = run(plan, hand, journal)
    with pytest.raises(
        NotConfirmed, match=f"Nothing is left to go on with: run {done.run_id} is fini"
    ):
        dlq.resume(done.run_id, to=hand, journal=journal)
    other = made(journal, frame(*[failure(n) for n in range(4, 8)]), reason="others")
    stopped = run(other, Remembers(["sent", "sent", "not_reached", "not_reached"]), journal)
    assert stopped.goes_on
    with pytest.raises(NotConfirmed, match="type the id of the run's plan"):
        dlq.resume(stopped.run_id, to=hand, journal=journal)
    empty = made(journal, failures, reason="once more")
    assert not len(empty.chosen)
    with pytest.raises(NotConfirmed, match="the plan chose nothing"):
        dlq.replay(empty, to=hand, journal=journal)


def test_a_hand_that_cannot_says_what_it_can(failures, journal):
    archive = made(journal, failures, action="archive")
    with pytest.raises(RunError, match=r"cannot archive\. It can: outcome, pause, repair, replay"):
        run(archive, Remembers(), journal)


@pytest.mark.parametrize(("failed", "stops"), [(2, False), (3, True)])
def test_the_breaker_is_for_more_than_its_share(failures, journal, failed, stops):
    hand = Remembers()
    hand.outcome = {str(n): Outcome.FAILED_AGAIN for n in range(failed)}
    done = run(
        made(journal, failures), hand, journal, gate=0.0, breaker=0.5, min_sample=4, same=None
    )
    assert done.stopped.startswith("breaker") == stops


def test_a_gate_may_want_all_and_a_breaker_none(failures, journal):
    done = run(made(journal, failures), Remembers(), journal, gate=1.0, breaker=1.0)
    assert done.finished and done.summary.iloc[0]["succeeded"] == 4


def test_silence_is_trusted_after_its_time(failures, journal):
    hand = Remembers()
    hand.outcome = dict.fromkeys("0123", Outcome.UNKNOWN)
    begun = time.monotonic()
    done = run(made(journal, failures), hand, journal, gate=0.9, trust="1s", wait="20s", poll=0.05)
    assert done.finished and 1 <= time.monotonic() - begun < 15
    assert done.summary.iloc[0]["succeeded"] == 0 and set(done.outcomes["outcome"]) == {"pending"}


def test_what_is_left_of_a_stage_is_told_and_obeys_the_rate(failures, journal, monkeypatch):
    monkeypatch.setattr(execution, "BATCH", 1)
    told = []

    class View(Progress):
        def stage(self, name, counts, left=""):
            told.append((counts["sent"], left))

    run(made(journal, failures), Remembers(), journal, rate="2/s", progress=View(lambda line: None))
    by_sent = dict(told)
    assert by_sent[4] == "" and re.fullmatch(r"about \d+ s", by_sent[1])
    assert int(by_sent[1].split()[1]) >= 2  # three at two a second


def test_a_run_in_a_notebook_is_escaped(failures, journal):
    hand = Remembers(["sent"])
    done = run(made(journal, failures), hand, journal)
    page = done._repr_html_()
    assert page.startswith(f"<p>Run {done.run_id}: 4 planned") and "<table" in page


def test_a_command_gets_nothing_to_read():
    assert one(
        command=[sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"]
    ).text.endswith("''")
