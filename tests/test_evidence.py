"""Outcomes of earlier replays speak for and against the text, visibly."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError
from dlqanalysis.model import Outcome

START = datetime(2026, 11, 1, tzinfo=UTC)
BUSY = ("ConnectionError", "connection refused")  # transient by its text
BROKEN = ("KeyError", "'margins'")  # permanent by its text
DATA = ("ValueError", "invalid literal for int() with base 10: 'x'")


def frame(*kinds, start=0):
    rows = [
        {
            "source": "celery:failed_tasks",
            "failure_id": str(start + n),
            "task_id": f"t{start + n}",
            "task_name": "shop.charge",
            "args": [start + n],  # work of its own: what was replayed stands for its copies
            "kwargs": {},
            "exception_type": kind,
            "exception_message": message,
            "failed_at": START + timedelta(minutes=start + n),
        }
        for n, (kind, message) in enumerate(kinds)
    ]
    return dlq.from_records(rows).pipe(dlq.classify).pipe(dlq.fingerprint)


def replayed(journal, failures, outcomes, asked="journal", **noted):
    """As if these failures had been replayed now, with these outcomes."""
    asked = journal if asked else None
    plan = dlq.plan(
        failures, asked, reason="x", ungraded=None, classes=("transient", "permanent", "data")
    )
    run = journal.start(plan, noted)
    items = list(plan.items())
    assert len(items) == len(outcomes)
    journal.claim(run, plan.source, items)
    for item, outcome in zip(items, outcomes, strict=True):
        journal.record(run, [(item.failure_id, "sent", {"sent_id": f"n{item.failure_id}"})])
        if outcome is not None:
            journal.record(run, [(item.failure_id, "outcome", {"outcome": str(outcome)})])
    return run


def judged(journal, failures):
    evidence = dlq.history(failures, journal)
    return dict(zip(evidence["failure_id"], evidence["failure_class"], strict=True))


def test_waiting_is_given_up_after_two_runs(journal):
    replayed(journal, frame(*[BUSY] * 3), [BAD] * 3)
    fresh = frame(BUSY, BROKEN, start=100)
    assert judged(journal, fresh) == {}
    replayed(journal, frame(*[BUSY] * 3, start=10), [BAD] * 3)
    assert judged(journal, fresh) == {"100": "unknown"}
    evidence = dlq.history(fresh, journal)
    assert evidence["why"].tolist() == [
        "0 of 6 replays of this error succeeded: waiting does not mend it"
    ]


def test_a_success_from_before_proves_nothing(journal):
    """A fix was deployed and everything replayed; then it broke again: nothing is called transient."""
    replayed(journal, frame(*[BROKEN] * 9), [GOOD] * 9)
    old = frame(BROKEN, start=100)
    assert judged(journal, old) == {"100": "transient"}
    both = frame(BROKEN, BROKEN, start=100)
    both.loc[1, "failed_at"] = pd.Timestamp(datetime.now(UTC) + timedelta(hours=1))
    assert judged(journal, both.tail(1)) == {}
    assert judged(journal, both) == {}  # the older one would meet the same error
    undated = old.assign(failed_at=pd.Series(pd.NaT, old.index, dtype="datetime64[us, UTC]"))
    assert judged(journal, undated) == {}


def test_one_task_counts_once_whatever_often_it_was_replayed(journal):
    for _ in range(6):
        replayed(journal, frame(BROKEN), [GOOD], asked=None)
    assert len(journal.items()) == 6
    assert judged(journal, frame(BROKEN, start=100)) == {}


def test_a_repaired_payload_says_nothing_of_the_original(journal):
    replayed(journal, frame(*[BROKEN] * 9), [GOOD] * 9, payloads={"file": "x", "sha256": "y"})
    assert judged(journal, frame(BROKEN, start=100)) == {}


def test_another_system_proves_nothing_here(journal):
    staging = frame(*[BROKEN] * 9)
    staging = staging.assign(source=staging["source"].cat.rename_categories(["celery:staging"]))
    replayed(journal, staging, [GOOD] * 9)
    assert judged(journal, frame(BROKEN, start=100)) == {}


def test_who_failed_otherwise_says_nothing_of_this_error(journal):
    for start in (0, 10):
        run = replayed(journal, frame(*[BUSY] * 3, start=start), [None] * 3)
        back = {"outcome": str(BAD), "fingerprint": "0" * 16}
        journal.record(run, [(str(start + n), "outcome", back) for n in range(3)])
    assert judged(journal, frame(BUSY, start=100)) == {}


def test_a_record_that_is_gone_outweighs_replays(journal):
    replayed(journal, frame(*[BROKEN] * 9), [GOOD] * 9)
    fresh = frame(BROKEN, BROKEN, start=100)
    gone = pd.DataFrame({"source": "celery:failed_tasks", "failure_id": ["100"],
                         "failure_class": "data", "why": "its record is gone"}, dtype="str")  # fmt: skip
    weighed = dlq.weigh(dlq.classify(fresh, evidence=gone), journal)
    assert weighed["failure_class"].tolist() == ["data", "transient"]
    assert weighed["why"].iloc[0].startswith("its record is gone")


GOOD, BAD = Outcome.SUCCEEDED, Outcome.FAILED_AGAIN


@pytest.mark.parametrize(
    ("kind", "outcomes", "says", "why"),
    [
        (BROKEN, [GOOD] * 9 + [BAD], "transient", "9 of 10 replays of this error succeeded"),
        (DATA, [GOOD] * 9, None, ""),  # of data each record is a case of its own
        (BUSY, [GOOD] * 6, "transient", "6 of 6 replays"),
        (BROKEN, [BAD] * 6, None, ""),  # nothing that the text did not say
        (BUSY, [BAD] * 6, None, ""),  # one run, maybe in the middle of the outage
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
    replayed(journal, frame(*[BUSY] * 3), [BAD] * 3)
    replayed(journal, frame(*[BUSY] * 3, start=10), [BAD] * 3)
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
