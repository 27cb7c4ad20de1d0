"""What was done by hand is written down, shown in the order of things, and never done again by a plan."""

import pytest

import dlqanalysis as dlq
from dlqanalysis import dossier
from dlqanalysis.errors import JournalError, PlanError
from dlqanalysis.plan import plan, undo
from tests.test_plan import failure, frame
from tests.test_plan_care import ALL, ran


def planned(failures, journal, **more):
    return plan(failures, journal, reason="x", profile=ALL, limit=99, **more)


def test_a_note_stands_among_the_runs_and_in_the_chronicle(journal):
    failures = frame(*[failure(n) for n in range(3)]).pipe(dlq.classify).pipe(dlq.fingerprint)
    note = dlq.note("two more workers for emails", journal, source=str(failures["source"].iloc[0]))
    dlq.note("provider called", journal)
    dlq.note("of another system", journal, source="elsewhere")
    head = journal.run(note)
    assert (head["action"], head["reason"]) == ("by_hand", "two more workers for emails")
    assert not journal.verify() and len(journal.runs()) == 3
    told = dossier.chronicle(failures, journal=journal)
    texts = told.loc[told["what"] == "by hand", "text"].tolist()
    assert [text.partition(": ")[2] for text in texts] == [
        "two more workers for emails",
        "provider called",
    ]


def test_what_was_run_by_hand_is_not_sent_again(journal):
    failures = frame(*[failure(n) for n in range(5)])
    note = dlq.note("ran in a shell: customer waits", journal, failures.head(2))
    made = planned(failures, journal)
    assert list(made.chosen["failure_id"]) == ["2", "3", "4"]
    assert set(made.held_back["because"]) == {f"was already done by hand in run {note}"}
    archived = plan(failures, journal, reason="x", action="archive", profile=ALL, limit=9)
    assert len(archived.chosen) == 5, "what was done by hand is what one archives"
    with pytest.raises(PlanError, match=r"dlq\.forget"):
        undo(note, journal, reason="x")


def test_a_note_written_by_mistake_is_taken_back(journal):
    failures = frame(*[failure(n) for n in range(3)])
    note = dlq.note("ran in a shell", journal, failures)
    assert not len(planned(failures, journal).chosen)
    dlq.forget(note, journal)
    made = planned(failures, journal)
    assert len(made.chosen) == 3
    run = ran(journal, made)  # and a run can claim them
    assert set(journal.items(run)["state"]) == {"sent"}
    with pytest.raises(JournalError, match="no note"):
        dlq.forget(run, journal)


def test_only_the_failures_of_that_note_are_taken_back(journal):
    failures = frame(*[failure(n) for n in range(4)])
    wrong = dlq.note("ran in a shell", journal, failures.head(1))
    dlq.note("ran in a shell, too", journal, failures.iloc[1:2])
    dlq.forget(wrong, journal)
    assert list(planned(failures, journal).chosen["failure_id"]) == ["0", "2", "3"]


def test_what_a_run_has_is_not_done_by_hand_as_well(journal):
    failures = frame(*[failure(n) for n in range(4)])
    run = ran(journal, planned(failures.head(1), journal))
    with pytest.raises(JournalError, match=f"in run {run} already; the other 3 are written down"):
        dlq.note("ran in a shell", journal, failures)
    assert len(planned(failures, journal).chosen) == 0


def test_a_note_says_something_of_one_system(journal):
    with pytest.raises(JournalError, match="needs its text"):
        dlq.note(" ", journal)
    two = frame(failure(1), failure(2, source="other"))
    with pytest.raises(JournalError, match="2 sources"):
        dlq.note("x", journal, two)
