"""Advice on retries: planted habits are found, good ones are left in peace."""

from datetime import timedelta

import numpy as np
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError
from dlqanalysis.profile import Profile
from tests.test_onsets import HOUR, START


def frame(parts):
    """(task, hours, minutes of patience, exception, fields) -> a classified frame."""
    rows = []
    for task, hours, minutes, (kind, message), fields in parts:
        for n, hour in enumerate(hours):
            at = START + hour * HOUR
            rows.append(
                {
                    "failure_id": f"{task}{n}",
                    "task_name": task,
                    "exception_type": kind,
                    "exception_message": message,
                    "failed_at": at,
                    "retries": 3,
                    "max_retries": 3,
                    "first_failed_at": at - timedelta(minutes=minutes),
                    **fields,
                }
            )
    return dlq.from_records(rows).pipe(dlq.classify)


BUSY = ("ConnectionError", "connection refused")
BROKEN = ("KeyError", "'margins'")
RNG = np.random.default_rng(1)
OUTAGE = 100 + RNG.random(80) * 2  # two hours
REST = np.array([1.0, 300.0])  # so that the outage is a burst in two weeks


def advice(parts, **profile):
    table = dlq.retry_advice(frame(parts), Profile(**profile))
    assert list(table.columns[:3]) == ["task_name", "advice", "says"]  # a narrow page shows them
    return {(row.task_name, row.advice): row for row in table.itertuples()}


def test_retries_that_end_before_the_outage():
    hours = np.concatenate([REST, OUTAGE])
    told = advice([("mail", hours, 4, BUSY, {})])
    row = told["mail", "longer"]
    assert abs(row.patience.total_seconds() - 240) < 1
    assert 1.5 < row.outage.total_seconds() / 3600 < 2.5
    assert row.says.startswith("its retries give up after 4 minutes, its outages last ")
    assert not advice([("mail", hours, 240, BUSY, {})])  # four hours are enough


def test_retries_that_cannot_help():
    told = advice([("memo", np.arange(10.0), 5, BROKEN, {})])
    row = told["memo", "do not retry"]
    assert (row.failures, row.wasted_retries) == (10, 30)
    assert row.wasted_time == 10 * timedelta(minutes=5)
    assert (
        row.says
        == "30 retries over 50 minutes of waiting could not help, most often KeyError: fail these at once"
    )
    assert not advice([("memo", np.arange(10.0), 5, BROKEN, {"retries": 0})])
    assert not advice([("memo", np.arange(4.0), 5, BROKEN, {})])


@pytest.mark.parametrize(
    ("safety", "fields", "found"),
    [
        ({"pay": "never"}, {}, True),
        ({"pay": "reconcile"}, {}, True),
        ({"pay": "needs_key"}, {}, True),
        ({"pay": "needs_key"}, {"idempotency_key": "k"}, False),
        ({"pay": "never"}, {"max_retries": 0}, False),
        ({"pay": "idempotent"}, {}, False),
        ({}, {}, False),
    ],
)
def test_tasks_that_may_not_run_twice(safety, fields, found):
    told = advice([("pay", np.arange(6.0), 1, BUSY, {"retries": 0, **fields})], safety=safety)
    assert (("pay", "fewer") in told) is found


def test_what_cannot_be_told_is_said():
    table = dlq.retry_advice(
        frame([("mail", np.arange(9.0), 0, BUSY, {"first_failed_at": None})]), Profile()
    )
    assert "nobody can say how long" in table.attrs["notes"][0]
    empty = dlq.retry_advice(frame([("mail", [1.0], 1, BUSY, {})]).head(0), Profile())
    assert not len(empty) and str(empty["outage"].dtype) == "timedelta64[us]"
    with pytest.raises(SchemaError, match=r"Run failures\.pipe\(dlq\.classify\) first"):
        dlq.retry_advice(dlq.from_records([{"failure_id": "1"}]))


def test_the_demo_s_habits():
    failures = dlq.load("notebooks/data/demo_export.parquet", since=None).pipe(dlq.classify)
    table = dlq.retry_advice(failures, Profile.load("dlqanalysis/demo/profile.toml"))
    kinds = table.groupby("advice")["task_name"].agg(set).to_dict()
    assert "api.tasks.send_email" in kinds.get("longer", set())
    assert kinds["do not retry"] and (table["failures"] >= 5).all()


def test_where_nobody_tells_when_it_began_the_doomed_are_still_told():
    """Redis lists keep no first time: every patience is missing, and no advice may fail for that."""
    nothing = {"first_failed_at": None, "enqueued_at": None}
    parts = [
        ("bad", np.arange(8.0), 0, ("ValidationError", "Schema validation failed: $.shop"), nothing)
    ]
    found = dlq.retry_advice(frame(parts))
    assert found[["advice", "wasted_retries"]].values.tolist() == [["do not retry", 24]]
    assert (
        found[["patience", "wasted_time"]].isna().all().all()
        and "Neither first_failed_at" in found.attrs["notes"][0]
    )
