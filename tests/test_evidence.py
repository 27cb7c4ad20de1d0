"""Outcomes of earlier replays speak for and against the text, visibly."""

from datetime import UTC, datetime, timedelta

import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError
from dlqanalysis.model import Outcome

START = datetime(2026, 11, 1, tzinfo=UTC)
BUSY = ("ConnectionError", "connection refused")  # transient by its text
BROKEN = ("ValueError", "invalid literal for int() with base 10: 'x'")  # not transient by its text


def frame(*kinds, start=0):
    rows = [
        {
            "source": "celery:failed_tasks",
            "failure_id": str(start + n),
            "task_id": f"t{start + n}",
            "task_name": "shop.charge",
            "args": [n],
            "kwargs": {},
            "exception_type": kind,
            "exception_message": message,
            "failed_at": START + timedelta(minutes=start + n),
        }
        for n, (kind, message) in enumerate(kinds)
    ]
    return dlq.from_records(rows).pipe(dlq.classify).pipe(dlq.fingerprint)


@pytest.fixture
def journal(tmp_path):
    return dlq.Journal(f"sqlite:///{tmp_path / 'j.sqlite'}")


def replayed(journal, failures, outcomes):
    """As if these failures had been replayed, with these outcomes."""
    plan = dlq.plan(
        failures, journal, reason="x", ungraded=None, classes=("transient", "permanent", "data")
    )
    run = journal.start(plan, {})
    items = list(plan.items())
    assert len(items) == len(outcomes)
    journal.claim(run, plan.source, items)
    for item, outcome in zip(items, outcomes, strict=True):
        journal.record(run, [(item.failure_id, "sent", {"sent_id": f"n{item.failure_id}"})])
        if outcome is not None:
            journal.record(run, [(item.failure_id, "outcome", {"outcome": str(outcome)})])


GOOD, BAD = Outcome.SUCCEEDED, Outcome.FAILED_AGAIN


@pytest.mark.parametrize(
    ("kind", "outcomes", "says", "why"),
    [
        (BROKEN, [GOOD] * 9 + [BAD], "transient", "9 of 10 replays of this error succeeded"),
        (BUSY, [BAD] * 6, "unknown", "0 of 6 replays of this error succeeded: waiting does not"),
        (BUSY, [GOOD] * 6, "transient", "6 of 6 replays"),
        (BROKEN, [BAD] * 6, None, ""),  # nothing that the text did not say
        (BUSY, [BAD] * 4, None, ""),  # too few
        (BUSY, [BAD] * 3 + [GOOD] * 3, None, ""),  # undecided
        (BUSY, [BAD] * 4 + [None] * 9, None, ""),  # pending is no outcome
    ],
)
def test_what_replays_have_shown(journal, kind, outcomes, says, why):
    replayed(journal, frame(*[kind] * len(outcomes)), outcomes)
    fresh = frame(kind, kind, start=100)
    evidence = dlq.history(fresh, journal)
    assert len(evidence) == (2 if says else 0)
    judged = dlq.classify(fresh, evidence=evidence)
    if says:
        assert set(judged["failure_class"]) == {says} and set(judged["rule"]) == {"evidence"}
        assert judged["why"].iloc[0].startswith(why)
        if says != str(fresh["failure_class"].iloc[0]):
            assert f"the text said {fresh['failure_class'].iloc[0]}" in judged["why"].iloc[0]
    else:
        assert list(judged["failure_class"]) == list(fresh["failure_class"])


def test_evidence_decides_what_a_plan_takes(journal):
    replayed(journal, frame(*[BUSY] * 6), [BAD] * 6)
    fresh = frame(BUSY, start=50)
    judged = dlq.classify(fresh, evidence=dlq.history(fresh, journal))
    made = dlq.plan(judged, journal, reason="x")
    assert not len(made.chosen) and made.held_back["because"].tolist() == ["class is unknown"]


def test_a_rule_that_outcomes_contradict_is_named(journal):
    replayed(journal, frame(*[BUSY] * 8), [BAD] * 5 + [GOOD] * 3)
    replayed(journal, frame(*[BROKEN] * 6, start=20), [GOOD] * 6)
    now = frame(BUSY, BROKEN, start=50)
    table = dlq.contradicted(now, journal).set_index("failure_class")
    assert len(table) == 2
    transient = table.loc["transient"]
    assert (transient["replayed"], transient["succeeded"]) == (8, 3)
    assert transient["says"] == "too many replays fail again"
    assert table.drop("transient")["says"].iloc[0] == "replays succeed"
    assert not len(dlq.contradicted(now, journal, least=9))


def test_other_groups_are_not_concerned(journal):
    replayed(journal, frame(*[BROKEN] * 6), [GOOD] * 6)
    assert not len(dlq.history(frame(BUSY, start=50), journal))
    assert not len(dlq.contradicted(frame(BUSY, start=50), journal))


def test_a_frame_without_groups_is_refused(journal):
    bare = dlq.from_records([{"failure_id": "1", "failed_at": START}])
    with pytest.raises(SchemaError, match="fingerprint"):
        dlq.history(bare, journal)
    with pytest.raises(SchemaError, match="rule"):
        dlq.contradicted(bare, journal)


def test_without_a_journal_nothing_changes_and_no_file_is_made(tmp_path, monkeypatch, journal):
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "home"))
    assert dlq.Journal.if_any() is None
    assert not list((tmp_path / "home").glob("*"))
    plain = frame(BUSY)
    assert dlq.weigh(plain, None) is plain
    assert not len(dlq.contradicted(plain, None))
    dlq.Journal()
    assert dlq.Journal.if_any() is not None


def test_weighing_is_classifying_with_history(journal):
    replayed(journal, frame(*[BROKEN] * 6), [GOOD] * 6)
    assert set(dlq.weigh(frame(BROKEN, start=50), journal)["failure_class"]) == {"transient"}
