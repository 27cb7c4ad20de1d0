"""A failure that two systems have is one row, with both origins, and the complete copy is the one that acts."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import SCHEMA, from_arrow

START = datetime(2026, 11, 1, tzinfo=UTC)


def row(task, number=0, **fields):
    return {
        "source": "celery:failed_tasks",
        "failure_id": str(number),
        "task_id": task,
        "task_name": "api.tasks.memo",
        "queue": "memos",
        "exception_type": "ConnectionError",
        "exception_message": "refused",
        "args": [task],
        "kwargs": {},
        "failed_at": START,
        **fields,
    }


def copy(task, number=0, **fields):
    """What dead-lettering leaves: whole, but without the exception."""
    bare = {"exception_type": None, "exception_message": None, "source": "rabbitmq:memos.dlq"}
    return row(task, f"m{number}", **{**bare, "failed_at": START + timedelta(seconds=2), **fields})


def joined(table, copies, **options):
    return dlq.joined(dlq.from_records(table), dlq.from_records(copies), **options)


def origins(frame):
    return dict(zip(frame["task_id"].fillna("?"), frame["origins"], strict=True))


def test_two_places_are_one_row():
    found = joined([row("a", 1), row("b", 2)], [copy("a", 1), copy("c", 3)])
    assert origins(found) == {
        "a": "celery:failed_tasks 1, rabbitmq:memos.dlq m1",
        "b": "celery:failed_tasks 2",
        "c": "rabbitmq:memos.dlq m3",
    }
    assert {name: found[name].dtype for name in SCHEMA} == SCHEMA
    assert found.set_index("task_id").loc["a", "source"] == "celery:failed_tasks"


def test_the_complete_copy_acts_and_takes_what_it_lacks():
    cut = row("a", 1, args='["a', payload_state="truncated", worker="w1")
    found = joined([cut], [copy("a", 1)]).iloc[0]
    assert (found["source"], found["failure_id"]) == ("rabbitmq:memos.dlq", "m1")
    assert (found["payload_state"], found["args"]) == ("complete", '["a"]')
    assert (found["exception_type"], found["exception_message"]) == ("ConnectionError", "refused")
    assert found["worker"] == "w1"
    assert found["origins"] == "rabbitmq:memos.dlq m1, celery:failed_tasks 1"


def test_failing_again_later_is_another_failure():
    later = START + timedelta(hours=1)
    found = joined([row("a", 1), row("a", 2, failed_at=later)],
                   [copy("a", 1), copy("a", 2, failed_at=later)])  # fmt: skip
    assert sorted(found["origins"]) == [
        "celery:failed_tasks 1, rabbitmq:memos.dlq m1",
        "celery:failed_tasks 2, rabbitmq:memos.dlq m2",
    ]
    assert len(joined([row("a", 1)], [copy("a", 1, failed_at=later)])) == 2
    assert len(joined([row("a", 1)], [copy("a", 1, failed_at=later)], within="2h")) == 1


def test_two_failures_of_one_system_stay_two_however_close():
    found = joined([row("a", 1), row("a", 2)], [copy("a", 1)])
    assert len(found) == 2 and sorted(found["origins"].str.count(",")) == [0, 1]


def test_two_failures_and_their_two_copies_are_two():
    later = START + timedelta(seconds=1)
    found = joined([row("a", 1), row("a", 2, failed_at=later)],
                   [copy("a", 1), copy("a", 2, failed_at=START + timedelta(seconds=3))])  # fmt: skip
    assert sorted(found["origins"]) == [
        "celery:failed_tasks 1, rabbitmq:memos.dlq m1",
        "celery:failed_tasks 2, rabbitmq:memos.dlq m2",
    ]


@pytest.mark.parametrize("status", ["replaying", "archived"])
def test_what_one_place_has_settled_is_settled(status):
    cut = row("a", 1, payload_state="truncated", status=status)
    found = joined([cut, row("b", 2)], [copy("a", 1), copy("b", 2)])
    assert found.set_index("task_id").loc["a", "status"] == status
    found = found.pipe(dlq.classify).pipe(dlq.fingerprint)
    made = dlq.plan(found[found["source"] == "rabbitmq:memos.dlq"], reason="x")
    assert not len(made.chosen) and f"status is already {status}" in set(made.held_back["because"])


def test_many_rows_are_joined_by_columns():
    """Half a million rows in less time than a loop over them would take."""
    many = 250_000
    names = pa.array([f"t{n}" for n in range(many)])
    times = pa.array(np.arange(many) * 1_000_000, pa.timestamp("us", tz="UTC"))
    parts = [
        from_arrow(pa.table({"source": pa.array([place] * many), "failure_id": names,
                             "task_id": names, "failed_at": times}))
        for place in ("a", "b")
    ]  # fmt: skip
    began = time.process_time()
    apart = dlq.joined(parts[0], parts[1].assign(task_id=parts[1]["task_id"] + "x"))
    assert len(apart) == 2 * many and time.process_time() - began < 15


def test_what_has_no_id_is_never_joined():
    assert len(joined([row(None, 1), row("", 2)], [copy(None, 1), copy("", 2)])) == 4


def test_a_copy_without_a_time_is_joined_by_its_id():
    assert len(joined([row("a", 1)], [copy("a", 1, failed_at=None)])) == 1


def test_the_joined_frame_is_planned_per_source():
    cut = row("a", 1, payload_state="truncated")
    found = joined([cut, row("b", 2)], [copy("a", 1)])
    found = found.pipe(dlq.classify).pipe(dlq.fingerprint)
    made = dlq.plan(found[found["source"] == "rabbitmq:memos.dlq"], reason="x")
    assert list(made.chosen["failure_id"]) == ["m1"]  # judged by the row's exception


def test_nothing_to_join():
    with pytest.raises(SchemaError, match="nothing to join"):
        dlq.joined()
    one = dlq.from_records([row("a", 1)])
    assert list(dlq.joined(one)["origins"]) == ["celery:failed_tasks 1"]
    assert len(dlq.joined(one, one.head(0))) == 1
