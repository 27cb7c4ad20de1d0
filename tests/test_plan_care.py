"""What a plan looks after beyond class and payload: grades, twins in other systems, keys, workers, undoing."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dlqanalysis import readings
from dlqanalysis.duplicates import duplicates
from dlqanalysis.errors import PlanError, SchemaError
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.model import Outcome, State
from dlqanalysis.plan import plan, undo
from dlqanalysis.profile import Profile
from tests.test_plan import because, failure, frame

ALL = Profile(safety={"*": "idempotent"})


def ran(journal, made, states=None):
    """As if a plan had been executed: everything sent but for those whose state is named."""
    run = journal.start(made, {})
    items = list(made.items())
    journal.claim(run, made.source, items)
    for item in items:
        state = (states or {}).get(item.failure_id, "sent")
        journal.record(run, [(item.failure_id, state, {"sent_id": f"n{item.failure_id}"})])
    return run


def test_of_an_ungraded_task_only_a_few_go():
    rows = [failure(n) for n in range(12)] + [failure(n, task_name="a.b") for n in range(20, 23)]
    profile = Profile(safety={"a.b": "idempotent"})
    made = plan(frame(*rows), None, reason="x", profile=profile, ungraded=4)
    assert made.chosen["task_name"].value_counts().to_dict() == {"shop.charge": 4, "a.b": 3}
    assert set(because(made).values()) == {
        "task has no safety grade: 4 of it at a time, until the profile's [safety] names it"
    }
    assert list(made.chosen["failure_id"])[:4] == ["0", "1", "2", "3"]
    rows = [failure(n) for n in range(12)]
    every = plan(frame(*rows), None, reason="x", profile=Profile(), ungraded=None)
    assert len(every.chosen) == 12 and any("without a safety grade" in w for w in every.warnings)
    quarantined = plan(frame(*[failure(n) for n in range(12)]), None, reason="x", action="quarantine",
                       profile=Profile())  # fmt: skip
    assert len(quarantined.chosen) == 12


def test_what_was_replayed_from_another_system_stays(journal):
    """The row and its dead-lettered copy are one failure: whoever goes first, the other stays."""
    dlx = [failure(n, source="rabbitmq:memos.dlq", failure_id=f"m{n}") for n in (1, 2)]
    run = ran(journal, plan(frame(*dlx), journal, reason="x", profile=ALL))
    late = datetime.now(UTC) + timedelta(hours=1)
    rows = [failure(1), failure(2, failed_at=late), failure(3)]
    made = plan(frame(*rows), journal, reason="x", profile=ALL)
    assert because(made) == {"1": f"was replayed from rabbitmq:memos.dlq in run {run}"}
    assert set(made.chosen["failure_id"]) == {"2", "3"}  # 2 failed again after that replay


def test_a_copy_stays_when_the_one_that_stood_for_it_was_replayed_and_is_gone(journal):
    """Somebody pressed the button twice: the first mail was replayed and left the queue, the second is still there."""
    keyed = Profile(safety={"*": "idempotent"}, keys={"mail": "mail_{to}"})
    late = datetime.now(UTC) + timedelta(hours=1)
    first = [failure(n, task_name="mail", kwargs=f'{{"to":{n}, "by":1}}') for n in (1, 2, 3)]
    first.append(failure(4, args="[4]"))
    later = [failure(n + 10, task_name="mail", kwargs=f'{{"to":{n}}}') for n in (1, 2)]
    later.append(failure(13, task_name="mail", kwargs='{"to":3}', failed_at=late))
    later.append(failure(14, args="[ 4]"))  # the same, written by another program
    run = ran(
        journal,
        plan(
            frame(*first, *[dict(row) for row in later]),
            journal,
            reason="x",
            profile=keyed,
            limit=4,
        ),
    )
    told = f"duplicate: the one that stands for it was replayed in run {run}"
    left = frame(*later)  # what was sent is no longer there
    made = plan(left, journal, reason="x", profile=keyed)
    assert because(made) == {"11": told, "12": told, "14": told}
    assert list(made.chosen["failure_id"]) == ["13"]  # asked for after that replay: new work
    journal.record(
        run, [("1", "outcome", {"outcome": str(Outcome.FAILED_AGAIN)})]
    )  # so nothing was done
    assert "11" not in because(plan(left, journal, reason="x", profile=keyed))
    apart = duplicates(left, key=dict(keyed.keys))  # who names the copies says what they are
    assert not because(plan(left, journal, reason="x", profile=keyed, duplicates=apart))
    back = journal.start(undo(run, journal, reason="too early"), {"undoes": run})
    journal.record(back, [("2", "sent", {})], [back, run])
    assert "12" not in because(plan(left, journal, reason="x", profile=keyed))


def test_a_twin_stays_while_the_replay_of_its_copy_is_uncertain_and_goes_once_it_is_taken_back(
    journal,
):
    dlx = frame(*[failure(n, source="rabbitmq:memos.dlq", failure_id=f"m{n}") for n in (1, 2)])
    made = plan(dlx, journal, reason="x", profile=ALL)
    run = journal.start(made, {})
    journal.claim(run, made.source, list(made.items()))  # and then the process died
    rows = frame(failure(1), failure(2))
    asks = f"is uncertain since run {run} of rabbitmq:memos.dlq: dlq.settle it"
    assert because(plan(rows, journal, reason="x", profile=ALL)) == {"1": asks, "2": asks}
    journal.record(run, [("m1", "unsent", {}), ("m2", "sent", {"sent_id": "new"})])
    told = f"was replayed from rabbitmq:memos.dlq in run {run}"
    assert because(plan(rows, journal, reason="x", profile=ALL)) == {"2": told}
    back = journal.start(undo(run, journal, reason="too early"), {"undoes": run})
    journal.record(back, [("m2", "sent", {})], [back, run])
    assert not because(plan(rows, journal, reason="x", profile=ALL))


def test_a_second_entry_of_a_replayed_task_stays(journal):
    """The same task recorded twice: whoever replays the one later, with another load, leaves the other."""
    first, second = failure(1), failure(2, task_id="task-with-one-name-1")
    assert first["task_id"] == second["task_id"]
    run = ran(journal, plan(frame(first), journal, reason="x", profile=ALL))
    made = plan(frame(second), journal, reason="x", profile=ALL)
    assert because(made) == {"2": f"was replayed from celery:failed_tasks in run {run}"}


def test_what_kept_its_id_and_failed_again_may_go_again(journal):
    """Whatever the clocks of the journal and of the system say."""
    made = plan(frame(failure(1)), journal, reason="x", profile=ALL)
    run = journal.start(made, {})
    journal.claim(run, made.source, list(made.items()))
    journal.record(run, [("1", "sent", {"sent_id": failure(1)["task_id"]})])
    came_back = frame(failure(9, task_id=failure(1)["task_id"]))
    assert because(plan(came_back, journal, reason="x", profile=ALL))
    journal.record(run, [("1", "outcome", {"outcome": str(Outcome.FAILED_AGAIN)})])
    again = plan(came_back, journal, reason="x", profile=ALL)
    assert list(again.chosen["generation"]) == [2]


def test_generations_count_across_systems(journal):
    """A task that goes round between a table and a dead-letter queue is held back like any other."""
    for turn in range(2):
        source, name = [("celery:failed_tasks", "f"), ("rabbitmq:memos.dlq", "m")][turn]
        row = failure(
            1, source=source, failure_id=f"{name}{turn}", task_id=f"id-of-the-same-task-{turn}"
        )
        made = plan(frame(row), journal, reason="x", profile=ALL)
        run = journal.start(made, {})
        journal.claim(run, made.source, list(made.items()))
        journal.record(
            run, [(f"{name}{turn}", "sent", {"sent_id": f"id-of-the-same-task-{turn + 1}"})]
        )
    row = failure(1, failure_id="f3", task_id="id-of-the-same-task-2")
    assert because(plan(frame(row), journal, reason="x", profile=ALL)) == {
        "f3": "came back after 2 replays: quarantine it"
    }


def test_parts_laid_one_under_the_other_are_planned_once():
    rows = frame(failure(1), failure(2, failure_class="data"), failure(3))
    made = plan(rows.set_axis([0, 0, 0]), None, reason="x", profile=ALL, limit=1)
    assert list(made.chosen["failure_id"]) == ["1"]
    assert because(made) == {"2": "class is data", "3": "over the limit of 1"}


def test_what_no_worker_knows_stays():
    told = readings.workers(
        [{"worker": "w1", "tasks": ("shop.charge",)}, {"worker": "w2", "tasks": None}]
    )
    rows = [failure(1), failure(2, task_name="shop.gone")]
    made = plan(frame(*rows), None, reason="x", profile=ALL, workers=told)
    assert because(made) == {"2": "no worker that answered knows its task"}
    silent = readings.workers([{"worker": "w2", "tasks": None}])
    assert not because(plan(frame(failure(1)), None, reason="x", profile=ALL, workers=silent))


def test_keys_are_hashes_and_may_be_limited():
    rows = [failure(n, args=[], kwargs={"tenant": f"t{n % 2}", "n": n}) for n in range(6)]
    rows.append(failure(9))
    made = plan(frame(*rows), None, reason="x", profile=ALL, per_key="tenant")
    keys = dict(zip(made.chosen["failure_id"], made.chosen["key"], strict=True))
    assert keys["0"] == keys["2"] == keys["4"] != keys["1"] == keys["3"] and keys["9"] == ""
    assert all("t0" not in key and "t1" not in key for key in keys.values())
    assert {item.failure_id: item.key for item in made.items()} == keys
    rows = [failure(n, args=[], kwargs={"tenant": f"t{n % 2}", "n": n}) for n in range(6)]
    few = plan(frame(*rows), None, reason="x", profile=ALL, per_key="{tenant}", per_key_limit=2)
    assert list(few.chosen["failure_id"]) == ["0", "1", "2", "3"]
    assert because(few)["5"] == "over the limit of 2 of its {tenant}"
    with pytest.raises(PlanError, match="per_key='customer'"):
        plan(frame(failure(1)), None, reason="x", profile=ALL, per_key="customer")


def test_an_error_that_still_occurs_is_said():
    now = datetime.now(UTC)
    old, fresh = failure(1), failure(2, failed_at=now - timedelta(minutes=2))
    made = plan(frame(old, fresh), None, reason="x", profile=ALL)
    assert any("ConnectionError still occurs: 1 in the last 10 minutes" in w for w in made.warnings)
    old = failure(1)
    assert not any("still occurs" in w for w in plan(frame(old), None, reason="x").warnings)


def test_repaired_payloads_go_whatever_their_class():
    rows = [failure(1, failure_class="data"), failure(2, failure_class="data"),
            failure(3, failure_class="data", payload_state="unreadable"), failure(4)]  # fmt: skip
    failures = frame(*rows)
    edited = pd.Series([b"new-1", None, b"new-3", None], dtype=object)
    made = plan(failures.assign(repaired=edited), None, reason="x", profile=ALL)
    assert set(made.chosen["failure_id"]) == {"1", "3", "4"}
    assert because(made) == {"2": "class is data"}
    assert {i.failure_id: i.payload for i in made.items()} == {
        "1": b"new-1",
        "3": b"new-3",
        "4": None,
    }
    assert any("2 failures go with a repaired payload" in text for text in made.warnings)
    other = plan(failures.assign(repaired=pd.Series([b"new-1", None, b"NEW-3", None])), None, reason="x",
                 profile=ALL)  # fmt: skip
    assert made.id != other.id and "new-1" not in repr(made) + made._repr_html_()
    kept = plan(failures.assign(repaired=edited), None, reason="x", action="quarantine")
    assert not kept.payloads


def test_a_replay_is_taken_back_by_a_plan(journal):
    made = plan(frame(failure(1), failure(2), failure(3)), journal, reason="x", profile=ALL)
    run = ran(journal, made, {"3": "refused"})
    journal.record(run, [("2", "outcome", {"outcome": str(Outcome.SUCCEEDED)})])
    back = undo(run, journal, reason="too early")
    assert (back.action, back.options["undoes"]) == ("undo", run)
    assert because(back) == {"2": "has run already: succeeded"}
    item = next(iter(back.items()))
    assert (item.failure_id, item.undoes, item.sent_id) == ("1", run, "n1")
    second = journal.start(back, {"undoes": run})
    assert journal.claim(second, back.source, [item], fleeting=True) == {}
    journal.record(second, [("1", "sent", {})], [second, run])
    assert because(undo(run, journal, reason="again"))["1"] == "was taken back already"
    # and it may go again, as if it had never gone; nobody holds it any more
    again = plan(frame(failure(1), failure(2)), journal, reason="y", profile=ALL)
    assert list(again.chosen["failure_id"]) == ["1"] and list(again.chosen["generation"]) == [1]
    third = journal.start(again, {})
    assert journal.claim(third, again.source, list(again.items())) == {}


def test_a_quarantine_is_restored_by_a_plan(journal):
    made = plan(frame(failure(1)), journal, reason="x", action="quarantine", profile=ALL)
    run = ran(journal, made)
    assert because(plan(frame(failure(1)), journal, reason="y", profile=ALL)) == {
        "1": f"was already quarantined in run {run}"
    }
    back = undo(run, journal, reason="it was fine")
    assert back.action == "restore" and len(back.chosen) == 1
    second = journal.start(back, {"undoes": run})
    journal.claim(second, back.source, list(back.items()), fleeting=True)
    journal.record(second, [("1", "sent", {})], [second, run])
    assert len(plan(frame(failure(1)), journal, reason="y", profile=ALL).chosen) == 1


def test_what_cannot_be_taken_back(journal):
    purged = ran(journal, plan(frame(failure(1)), journal, reason="x", action="purge", profile=ALL))
    with pytest.raises(PlanError, match="snapshot in DLQ_HOME"):
        undo(purged, journal, reason="x")
    nothing = ran(
        journal, plan(frame(failure(2)), journal, reason="x", profile=ALL), {"2": "refused"}
    )
    with pytest.raises(PlanError, match="nothing to take back"):
        undo(nothing, journal, reason="x")
    sent = ran(journal, plan(frame(failure(3)), journal, reason="x", profile=ALL))
    with pytest.raises(PlanError, match="needs a reason"):
        undo(sent, journal, reason=" ")
    with pytest.raises(PlanError, match=r"dlq\.undo"):
        plan(frame(failure(4)), journal, reason="x", action="undo")


def queues(*names, at="2026-11-22T03:00:00Z"):
    """Queues as a monitor gives them, to be paused."""
    return from_records(
        {"source": "queue:api", "failure_id": f"{name}@{at}", "queue": name, "status": "running"}
        for name in names
    )


def test_a_queue_is_paused_as_often_as_needed(journal):
    first = plan(queues("mail"), journal, reason="storm", action="pause", profile=Profile())
    assert len(first.chosen) == 1 and [item.queue for item in first.items()] == ["mail"]
    run = ran(journal, first)
    again = plan(queues("mail", at="2026-11-22T04:00:00Z"), journal, reason="storm", action="pause")
    assert len(again.chosen) == 1 and not len(again.held_back)
    with pytest.raises(PlanError, match="plan the opposite"):
        undo(run, journal, reason="x")


def test_a_journal_of_an_older_version_gets_what_it_lacks(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    old = Journal(url)
    with old._engine.begin() as db:
        db.exec_driver_sql("ALTER TABLE dlq_items DROP COLUMN key")
    new = Journal(url)
    run = ran(new, plan(frame(failure(1)), new, reason="x", profile=ALL))
    assert (new.items(run)["state"] == State.SENT).all()


def test_a_short_id_names_a_task_in_its_own_queue_only(journal):
    """The 17 of one list is not the 17 of another: neither a plan nor a claim takes them for one."""
    mine = failure(1, source="redis_list:a", failure_id="a", task_id="17")
    other = failure(1, source="redis_list:b", failure_id="b", task_id="17")
    ran(journal, plan(frame(mine), journal, reason="x", profile=ALL))
    made = plan(frame(other), journal, reason="x", profile=ALL)
    assert list(made.chosen["failure_id"]) == ["b"]
    run = journal.start(made, {})
    assert journal.claim(run, made.source, list(made.items())) == {}


def test_a_summary_is_no_plan():
    counted = frame(failure(1))
    counted.attrs["summary_of"] = 1_000
    with pytest.raises(PlanError, match="stands for many failures"):
        plan(counted, None, reason="x", profile=ALL)
    with pytest.raises(SchemaError, match="copies cannot be told"):
        duplicates(counted)


def test_a_service_that_asked_for_patience_gets_it():
    """A rule with retry_after: a replay before its time is warned of, with the time to wait for."""
    now = datetime.now(UTC)

    def warned(age):
        rows = [
            {**failure(n), "exception_type": "RateLimitError", "failed_at": now - timedelta(seconds=age + n),
             "exception_message": "Rate limit reached for requests per min"} for n in range(3)
        ]  # fmt: skip
        for row in rows:
            row.pop("failure_class")
        made = plan(from_records(rows), None, reason="x", limit=9, profile=ALL)
        return [text for text in made.warnings if "asked to wait" in text]

    [text] = warned(30)
    assert (
        text.startswith("3 failures of rule rate-quota: the service asked to wait 2m")
        and "wait until" in text
    )
    assert not warned(300)


@pytest.mark.parametrize(
    ("message", "wait"),
    [
        ("Request failed with status code 429, Retry-After: 3600", "3600 s"),
        ("HTTP 429 {'retry_after': 1800.0}", "1800 s"),
        ("429 Too Many Requests: retry after 900 seconds", "900 s"),
        ("429 Too Many Requests: retry after 5 minutes", "1m"),
        ("429 Too Many Requests (retryAfter=7)", "1m"),
    ],
)
def test_the_time_that_a_service_names_goes_before_that_of_the_rule(message, wait):
    row = {**failure(1), "exception_type": "AxiosError", "exception_message": message}
    row |= {"failed_at": datetime.now(UTC) - timedelta(seconds=5)}
    row.pop("failure_class")
    made = plan(from_records([row]), None, reason="x", limit=9, profile=ALL)
    [text] = [text for text in made.warnings if "asked to wait" in text]
    assert f"asked to wait {wait}, " in text


def test_what_was_stopped_half_way_and_a_test_run_are_said_to_be_real():
    def warned(*rows):
        for row in rows:
            row.pop("failure_class")
        return plan(from_records(rows), None, reason="x", limit=9, profile=ALL).warnings

    lost = failure(
        1, exception_type="SoftTimeLimitExceeded", exception_message="SoftTimeLimitExceeded()"
    )
    texts = warned(lost, failure(2))
    assert any(
        "1 chosen failure was stopped half-way" in text and "acks_late" in text for text in texts
    )
    assert not any("test run" in text or "waited too long" in text for text in texts)
    late = failure(
        3, exception_type="requests.exceptions.ReadTimeout", exception_message="Read timed out."
    )
    texts = warned(late, failure(2))
    assert any(
        "1 chosen failure waited too long for an answer" in text and "done all the same" in text
        for text in texts
    )
    assert not any("half-way" in text for text in texts)
    [real] = [text for text in warned(failure(1)) if "test run" in text]
    assert "a real one" in real
