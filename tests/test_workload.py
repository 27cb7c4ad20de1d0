"""Frames in, frames out: what is stuck, loops, is unknown to workers, did not run, is taken by nobody."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dlqanalysis import readings, workload
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def held(name, status, minutes, worker="w1", **more):
    began = NOW - timedelta(minutes=minutes) if minutes is not None else None
    return {
        "source": "celery:x", "failure_id": name, "task_id": name, "task_name": f"app.{name}",
        "status": status, "failed_at": began, "worker": worker, **more,
    }  # fmt: skip


def test_stuck_names_what_is_held_too_long_and_what_waits_behind_it():
    running = from_records(
        [
            held("long", "active", 25),
            held("longer", "active", 90, worker="w2"),
            held("fresh", "active", 9, worker="w3"),
            held("behind", "reserved", None),
            held("calm", "reserved", None, worker="w3"),
            held("overdue", "scheduled", 30, worker="w3"),
            held("later", "scheduled", -30, worker="w3"),
        ]
    )
    running.attrs["notes"] = ["a note"]
    found = workload.stuck(running, now=NOW).set_index("failure_id")
    assert found.index.tolist() == ["longer", "overdue", "long", "behind"]
    assert found.loc["long", "held"] == timedelta(minutes=25) and pd.isna(
        found.loc["behind", "held"]
    )
    assert found.loc["behind", "because"].startswith("it waits behind")
    assert "10m ago" in found.loc["overdue", "because"]
    assert found.attrs["notes"] == ["a note"]
    assert list(workload.stuck(running, "1h", now=NOW)["failure_id"]) == ["longer"]
    nothing = workload.stuck(empty())
    assert len(nothing) == 0 and dict(nothing.dtypes) == dict(found.reset_index().dtypes) | {
        name: nothing[name].dtype for name in ("failure_id", "task_name", "queue", "status")
    }


def test_looping_tells_tasks_that_come_again_and_again():
    rows = [("loop", n, 5) for n in (1, 2, 3)] + [("twice", 1, 5), ("twice", 2, 5), ("over", 9, 3)]
    failures = from_records(
        {
            "failure_id": str(n), "task_id": task, "task_name": "app.work", "retries": retries,
            "max_retries": allowed, "failed_at": NOW + timedelta(minutes=n),
        }
        for n, (task, retries, allowed) in enumerate(rows)
    )  # fmt: skip
    found = workload.looping(failures).set_index("task_id")
    assert found.index.tolist() == ["loop", "over"]
    assert (found.loc["loop", "times"], found.loc["loop", "retries"]) == (3, 3)
    assert found.loc["loop", "last"] - found.loc["loop", "first"] == timedelta(minutes=2)
    assert found.loc["loop", "because"] == "the same task failed 3 times"
    assert "more often than its maximum" in found.loc["over", "because"]
    assert workload.looping(failures, least=2).set_index("task_id").index.tolist() == [
        "loop", "twice", "over",
    ]  # fmt: skip
    assert not len(workload.looping(empty()))
    with pytest.raises(SettingsError, match="at least 2"):
        workload.looping(failures, least=1)


def known(*tasks):
    return readings.workers(
        {"source": "s", "worker": f"w{n}", "tasks": t} for n, t in enumerate(tasks)
    )


def test_unregistered_tasks_come_with_what_they_may_be_called_now():
    failures = from_records(
        {"failure_id": str(n), "task_name": name, "args": []}
        for n, name in enumerate(
            ["api.memo", "api.memo", "old.memos.send_mail", "api.work", "zz", "new.mail.generate"]
        )
    )
    workers = known(("api.work", "new.mail.send_mail"), ("api.memos",), None)
    found = workload.unregistered(failures, workers).set_index("task_name")
    assert found["failures"].to_dict() == {
        "api.memo": 2, "new.mail.generate": 1, "old.memos.send_mail": 1, "zz": 1,
    }  # fmt: skip
    assert found["nearest"].to_dict() == {
        "api.memo": "api.memos",
        "new.mail.generate": "",  # of the module of another, and no other name for it
        "old.memos.send_mail": "new.mail.send_mail",
        "zz": "",
    }
    assert set(found["registered"]) == {"no"}
    assert found.attrs["notes"] == ["1 worker did not say which tasks they know."]


@pytest.mark.parametrize("workers", [known(), known(None)])
def test_where_no_worker_said_what_it_knows_nothing_is_told(workers):
    workers.attrs["notes"] = ["No worker answered."]
    failures = from_records([{"failure_id": "1", "task_name": "api.memo", "args": []}])
    found = workload.unregistered(failures, workers)
    assert (
        found["registered"].tolist() == ["cannot_tell"]
        and "No worker answered." in found.attrs["notes"]
    )
    assert not len(workload.unregistered(empty(), workers))


def test_orphaned_queues_are_those_that_nobody_takes_from():
    depths = readings.depths(
        {"source": "s", "queue": queue, "state": state, "depth": depth, "consumers": consumers}
        for queue, state, depth, consumers in [
            ("lonely", "waiting", 7, 0), ("served", "waiting", 7, 2), ("empty", "waiting", 0, 0),
            ("unknown", "waiting", 3, None), ("dead", "dead_lettered", 9, 0),
            ("odd", "waiting", None, 0),
        ]
    )  # fmt: skip
    found = workload.orphaned(depths)
    assert found[["queue", "depth"]].to_numpy().tolist() == [["lonely", 7]]
    assert any("Of 1 queue with" in note for note in found.attrs["notes"])


def history(task, every, count, until=NOW, without=()):
    return [{"task_name": task, "at": until - every * n} for n in range(count) if n not in without]


def test_a_periodic_task_that_did_not_run_is_told_with_its_period():
    minutes = timedelta(minutes=1)
    rows = history("beat.ok", 5 * minutes, 50)
    rows += history("beat.late", 5 * minutes, 50, until=NOW - 23 * minutes)
    rows += history("beat.holes", 10 * minutes, 40, without=(7, 8, 20))
    rows += history("beat.seldom", 60 * minutes, 3)
    jitter = [0, 3, 4, 11, 30, 31, 37, 80, 81, 95, 96, 140]
    rows += [{"task_name": "user.click", "at": NOW - n * minutes} for n in jitter]
    rows += history("beat.ok", 5 * minutes, 3)  # noted twice
    found = workload.beat_gaps(pd.DataFrame(rows), now=NOW).set_index("task_name")
    assert found.index.tolist() == ["beat.late", "beat.holes", "beat.ok"]
    late = found.loc["beat.late"]
    assert (late["period"], late["late"]) == (5 * minutes, 18 * minutes)
    assert late["expected"] == NOW - 18 * minutes and late["because"] == "its next run has not come"
    assert (found.loc["beat.holes", "missed"], found.loc["beat.ok", "missed"]) == (3, 0)
    assert found.loc["beat.ok", "because"] == "" and pd.isna(found.loc["beat.ok", "late"])
    assert found.attrs["notes"] == [
        "2 tasks run too seldom or too irregularly to say when they should have run."
    ]


def test_when_all_are_late_beat_itself_is_to_be_looked_at():
    hour = timedelta(hours=1)
    rows = history("a", hour, 9, NOW - 3 * hour) + history("b", 2 * hour, 9, NOW - 5 * hour)
    [note] = workload.beat_gaps(pd.DataFrame(rows), now=NOW).attrs["notes"]
    assert note.startswith("All 2 periodic tasks are late") and "2026-11-20 09:00Z" in note


def test_beat_gaps_of_nothing_and_of_the_wrong_frame():
    nothing = pd.DataFrame({"task_name": [], "at": pd.to_datetime([], utc=True)})
    full = workload.beat_gaps(pd.DataFrame(history("a", timedelta(hours=1), 9)), now=NOW)
    none = workload.beat_gaps(nothing, now=NOW)
    assert not len(none) and dict(none.dtypes) == dict(full.dtypes)
    with pytest.raises(SchemaError, match="no time zone"):
        workload.beat_gaps(pd.DataFrame({"task_name": ["a"], "at": [datetime(2026, 1, 1)]}))
    with pytest.raises(SchemaError, match="no column 'at'"):
        workload.beat_gaps(pd.DataFrame({"task_name": ["a"]}))


def test_expiring_counts_down():
    hours = [-1, 0.5, 0.9, 5, 23, 30, 100, 1000, None]
    failures = from_records(
        {
            "failure_id": str(n), "task_name": f"app.t{n % 2}", "args": [],
            "expires_at": NOW + timedelta(hours=h) if h is not None else None,
        }
        for n, h in enumerate(hours)
    )  # fmt: skip
    table = workload.expiring(failures, NOW).set_index("within")
    assert table["failures"].to_dict() == {
        "gone already": 1, "within 1 hour": 2, "within 6 hours": 1, "within 24 hours": 1,
        "within 3 days": 1, "within 7 days": 1, "later": 1, "never, or not known": 1,
    }  # fmt: skip
    assert table["so_far"].tolist()[:-1] == [1, 3, 4, 5, 6, 7, 8] and pd.isna(
        table["so_far"].iloc[-1]
    )
    assert table.loc["within 1 hour", "next"] == NOW + timedelta(minutes=30)
    assert table.loc["within 1 hour", "tasks"] == "app.t1, app.t0"
    never = workload.expiring(from_records([{"failure_id": "1", "args": []}]))
    assert dict(never.dtypes) == dict(table.reset_index().dtypes)
    assert never["within"].tolist() == ["never, or not known"]
    none = workload.expiring(empty())
    assert not len(none) and dict(none.dtypes) == dict(never.dtypes)
