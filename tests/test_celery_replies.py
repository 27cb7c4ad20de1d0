"""What workers answer becomes rows: replies as Celery 5.7 gives them, and worse ones."""

from datetime import UTC, datetime

import pytest

from dlqanalysis.frame import check, from_records
from dlqanalysis.sources.celery_broker import rows

QUEUES = {
    "name": "memos",
    "exchange": {"name": "shop", "type": "direct"},
    "routing_key": "memo.key",
}


def task(name, **more):
    """An entry of `inspect active`, as measured."""
    return {
        "id": name, "name": "api.memo", "args": [102], "kwargs": {"n": 7}, "type": "api.memo",
        "hostname": "w1@vm", "time_start": 1795335229.05, "acknowledged": False, "worker_pid": 28779,
        "delivery_info": {"exchange": "", "routing_key": "memos", "priority": 0, "redelivered": False},
    } | more  # fmt: skip


def answers(**told):
    return {name: {} for name in ("active_queues", *rows.HELD)} | told


def held(said):
    records, twice = rows.running(said, "celery:x")
    return check(from_records(records)).set_index("failure_id"), twice


def test_a_task_that_moved_while_we_asked_is_told_once_and_as_far_as_it_came():
    frame, twice = held(
        answers(reserved={"w1": [task("a", time_start=None)]}, active={"w1": [task("a")]})
    )
    assert frame["status"].tolist() == ["active"] and not twice
    assert frame["failed_at"].iloc[0] == datetime.fromtimestamp(1795335229.05, UTC)


def test_a_task_that_two_workers_hold_has_two_rows_and_is_told():
    frame, twice = held(answers(active={"w1": [task("a")], "w2": [task("a"), task("b")]}))
    assert twice == ["a"] and set(frame.index) == {"a@w1", "a@w2", "b"}
    assert set(frame["task_id"]) == {"a", "b"}


def test_what_was_given_out_before_is_told():
    again = task("b", delivery_info={"redelivered": True})
    later = {"eta": "2026-11-22T08:00:00+00:00", "priority": 6, "request": again | {"id": "c"}}
    said = answers(active={"w1": [task("a"), again]}, scheduled={"w1": [later]})
    assert rows.delivered_again(said) == ["b", "c"]


def test_queues_are_found_by_exchange_and_routing_key():
    by_key = task("a", delivery_info={"exchange": "shop", "routing_key": "memo.key", "priority": 3})
    frame, _ = held(
        answers(
            active_queues={"w1": [QUEUES]},
            active={"w1": [by_key, task("b"), task("c", delivery_info={"routing_key": "else"})]},
        )
    )
    assert frame["queue"].astype("str").to_dict() == {"a": "memos", "b": "memos", "c": "else"}
    assert frame.loc["a", "priority"] == "3"
    assert rows.consumers({"w1": [QUEUES], "w2": [QUEUES]}) == {"memos": 2}
    assert rows.consumers({}) is None


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        ({"args": "(102,)", "kwargs": "{}"}, "unreadable"),
        ({"args": "('a', 'b...)", "kwargs": "{}"}, "truncated"),
        ({"args": None, "kwargs": None}, "missing"),
        ({"args": [float("nan"), "\ud800\x00"], "kwargs": {"k": [1e400]}}, "complete"),
    ],
)
def test_payloads_that_are_not_whole_are_told(payload, state):
    frame, _ = held(answers(reserved={"w1": [task("a", time_start=None, **payload)]}))
    assert frame["payload_state"].tolist() == [state] and frame["failed_at"].isna().all()


@pytest.mark.parametrize("eta", ["2026-11-22T08:00:00+00:00", "2026-11-22T08:00:00"])
def test_a_scheduled_task_has_its_eta(eta):
    later = {"eta": eta, "priority": 6, "request": task("a", time_start=None)}
    frame, _ = held(answers(scheduled={"w1": [later]}))
    assert frame["failed_at"].iloc[0] == datetime(2026, 11, 22, 8, tzinfo=UTC)


def test_odd_answers_leave_holes_and_no_error():
    odd = {"id": None, "time_start": "soon", "delivery_info": None}
    frame, _ = held(answers(active={"w1": {"error": "no"}, "w2": [odd]}, active_queues={"w1": "?"}))
    assert len(frame) == 1 and frame["task_name"].isna().all()
    said = answers(stats={"w1": {}}, registered={"w1": {"error": "no"}})
    [row] = rows.workers(said, "celery:x", datetime.now(UTC))
    assert (row["active"], row["reserved"], row["tasks"], row["queues"]) == (None, None, None, None)
