"""How fast the work goes and whether there is room for more: on real workers, real tables, a real Redis."""

import json
import time

import pandas as pd
import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis import operations, readings
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.sources.prometheus.queries import SETS
from tests.bull import bull6, peer
from tests.lists import Lists, churning, message
from tests.waiting import until

__all__ = ["bull6", "peer"]  # fixtures


def test_a_watch_ends_by_itself_and_tells_what_grows(redis_url, key_prefix, capsys):
    lists = Lists(redis_url, key_prefix)
    lists.fill(*(message(n) for n in range(5)))
    with churning(lists):
        seen = dlq.watch(lists.url, every="1s", looks=3)
    assert seen["at"].nunique() == 3 and not seen.attrs["notes"]
    assert "look 3 of 3" in capsys.readouterr().out
    grown = seen[seen["state"] == "dead_lettered"].sort_values("at")["depth"]
    assert grown.is_monotonic_increasing and grown.iloc[-1] > grown.iloc[0]
    rates = dlq.rates(seen)
    assert (rates["seconds"] >= 2).all()
    assert rates.set_index("queue").loc[lists.dlq, "dead"] == grown.iloc[-1] - grown.iloc[0]
    lists.redis.close()


def test_a_look_without_an_answer_is_a_note_and_no_end():
    seen = dlq.watch("redis://127.0.0.1:9/0", every="1s", looks=2)
    assert len(seen) == 0 and len(seen.attrs["notes"]) == 1
    for wrong in ({"looks": 0}, {"looks": operations.MOST_LOOKS + 1}, {"every": "0s"}):
        with pytest.raises(SettingsError, match="looks"):
            dlq.watch("redis://127.0.0.1:9/0", **wrong)


def test_counts_of_bullmq_between_looks_are_rates(bull6):
    bull6.fail({"name": "a", "opts": {"attempts": 1}})
    first = dlq.depths(bull6.url)
    time.sleep(1.1)  # readings are stamped with whole seconds
    bull6.add(*({"name": "work", "opts": {"removeOnComplete": False}} for _ in range(4)))
    bull6.work()
    until(lambda: len(bull6.peer.ran) >= 4)

    def counted():
        told = dlq.depths(bull6.url)
        done = told.loc[told["state"] == "completed", "depth"]
        return told if done.sum() == 4 else None

    until(lambda: counted() is not None)
    rates = dlq.rates(first, counted()).set_index("queue")
    assert rates.loc["default", ["completed", "failed"]].tolist() == [4, 0]
    assert rates.loc["default", "success_rate"] == 1.0
    assert rates.loc["default", "per_minute"] == pytest.approx(
        240 / rates.loc["default", "seconds"]
    )


def test_jobs_that_leave_no_trace_are_not_counted_as_none(bull6):
    """removeOnComplete, as most have it: four are done, and no count of BullMQ says so."""
    bull6.fail({"name": "a", "opts": {"attempts": 1}})
    first = dlq.depths(bull6.url)
    time.sleep(1.1)
    bull6.add(*({"name": "work"} for _ in range(4)))
    bull6.work()
    until(lambda: len(bull6.peer.ran) >= 4)
    found = dlq.rates(first, dlq.depths(bull6.url))
    [row] = found.to_dict("records")
    assert row["failed"] == row["dead"] == 0
    assert found[["completed", "per_minute", "success_rate"]].isna().all(axis=None)
    assert "nobody knows how many were done" in found.attrs["notes"][0]


def test_a_drain_is_seen_as_fewer_dead_letters(redis_url, key_prefix):
    lists = Lists(redis_url, key_prefix)
    lists.fill(*(message(n) for n in range(5)))
    first = dlq.depths(lists.url)
    lists.redis.lpop(lists.dlq, 3)
    rates = dlq.rates(first, dlq.depths(lists.url)).set_index("queue")
    assert rates.loc[lists.dlq, "dead"] == -3
    lists.redis.close()


def test_room_of_real_workers_before_a_replay(redis_shop, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_BROKER_URL", redis_shop.broker)
    workers = dlq.workers("shop")
    queue = workers["queues"].iloc[0].split(",")[0].strip()
    room = dlq.capacity(dlq.depths("shop"), workers).set_index("queue")
    if queue in room.index:  # an empty list of Redis is no key, and so no queue with a depth
        assert room.loc[queue, "because"].startswith("there is room")
    waiting = readings.depths(
        [{"source": "shop", "queue": queue, "state": "waiting", "depth": 7, "consumers": 1}]
    )
    [row] = dlq.capacity(waiting, workers).to_dict("records")
    assert row["slots"] == int(workers["concurrency"].sum()) and row["waiting"] == 7
    assert row["because"].startswith("slots are free")


def test_what_more_workers_would_change_is_said():
    depths = readings.depths(
        {"source": "s", "queue": q, "state": "waiting", "depth": d, "consumers": c}
        for q, d, c in (("full", 9, 2), ("free", 9, 1), ("nobody", 9, 0), ("dark", 9, None), ("calm", 0, 1), ("mute", 1, 3))
    )  # fmt: skip
    workers = readings.workers(
        [
            {"source": "s", "worker": "a", "queues": "full", "concurrency": 2, "active": 2},
            {"source": "s", "worker": "b", "queues": "full, free,calm", "concurrency": 4, "active": 4},
            {"source": "s", "worker": "c", "queues": "free", "concurrency": 2, "active": 0},
        ]
    )  # fmt: skip
    told = dlq.capacity(depths, workers).set_index("queue")
    assert told.loc["full", ["workers", "slots", "busy"]].tolist() == [2, 6, 6]
    words = {"full": "all slots are busy", "free": "slots are free", "nobody": "nobody who answered",
             "dark": "nobody can tell", "calm": "there is room", "mute": "do not say how many"}  # fmt: skip
    for queue, begin in words.items():
        assert begin in told.loc[queue, "because"], queue
    assert len(dlq.capacity(readings.depths([]), readings.workers([]))) == 0


def test_failures_that_never_came_are_counted_by_task(shop_url, monkeypatch):
    """Executions say that it failed, no dead letter does: a permanent error that was returned, not raised."""
    monkeypatch.setenv("DLQ_SHOP_URL", shop_url)
    with psycopg.connect(shop_url, autocommit=True) as connection:
        for task, count in (("shop.returned", 4), ("shop.raised", 3), ("shop.retried", 5)):
            for n in range(count):
                connection.execute(
                    "insert into task_executions (task_id, task_name, status) values (%s, %s, 'failed')",
                    (f"{task}-{n}", task),
                )
        for task, count in (("shop.raised", 3), ("shop.retried", 1)):
            for n in range(count):
                connection.execute(
                    "insert into failed_tasks (task_id, task_name, queue_name, exception_type, exception_message,"
                    " status) values (%s, %s, 'q', 'E', 'm', 'failed')",
                    (f"{task}-{n}", task),
                )  # fmt: skip
    failures = dlq.load("shop", since="24h", status="")
    found = dlq.unseen(failures, dlq.queries(dlq.connect("shop")).success_rate()).set_index(
        "task_name"
    )
    assert found["missing"].to_dict() == {"shop.returned": 4, "shop.retried": 4}
    assert "without raising it" in found.loc["shop.returned", "because"]
    assert "retried" in found.loc["shop.retried", "because"]


def test_samples_of_a_prometheus_are_counted_as_well():
    now = pd.Timestamp(time.time(), unit="s", tz="UTC")
    rows = [{"source": "p", "metric": "failures", "labels": json.dumps({"task": task}), "at": now,
             "value": value, "unit": "per_hour"} for task, value in (("charge", 5.01), ("mail", 2.0))]  # fmt: skip
    failures = dlq.from_records(
        {"source": "x", "failure_id": str(n), "task_name": "shop.mail"} for n in range(2)
    )
    found = dlq.unseen(failures, readings.metrics(rows))
    assert found[["task_name", "expected", "seen", "missing"]].values.tolist() == [
        ["charge", 5, 0, 5]
    ]
    rows[0]["labels"] = "{}"
    with pytest.raises(SchemaError, match="sum by"):
        dlq.unseen(failures, readings.metrics(rows))


def test_figures_of_the_frames_have_the_names_and_units_of_a_prometheus(journal):
    now = pd.Timestamp("2026-11-20T12:00:00Z")
    failures = dlq.from_records(
        {"source": "x", "failure_id": str(n), "task_id": f"t{n}", "task_name": "a", "queue": "q",
         "priority": ("high", "low")[n % 2], "status": "archived" if n == 9 else "failed", "args": [n],
         "failed_at": now - pd.Timedelta(minutes=20 * n), "exception_message": "timed out", "payload_state": "complete"}
        for n in range(10)
    )  # fmt: skip
    plan = dlq.plan(failures.pipe(dlq.classify), journal, reason="x", limit=4)
    run = journal.start(plan, {})
    for n, item in enumerate(plan.items()):
        journal.record(run, [(item.failure_id, "sent", {})])
        outcome = "succeeded" if n else "failed_again"
        journal.record(run, [(item.failure_id, "outcome", {"outcome": outcome})])
    told = dlq.figures(failures, journal)
    assert dict(told.dtypes)["value"] == "float64"
    share = told.set_index("metric").loc["retry_success_rate"]
    assert (share["value"], share["unit"]) == (0.75, "ratio")
    then = dlq.figures(failures, now="2026-11-20T12:00:00Z").set_index(["metric", "labels"])[
        "value"
    ]
    assert then["depth", '{"priority": "high", "queue": "q"}'] == 5
    assert then["depth", '{"priority": "low", "queue": "q"}'] == 4
    assert then["failures_per_hour", '{"task_name": "a"}'] == 3
    known = {name for queries in SETS.values() for name in queries}
    assert set(told["metric"]) <= known and "alerts_per_hour" in told.attrs["notes"][0]
    # the replays of another system in the same journal are another system's
    other = failures.assign(source="y").astype({"source": "category"})
    told = dlq.figures(other, journal).set_index("metric")
    assert told.isna().loc["retry_success_rate", "value"]
    assert not len(dlq.figures(failures.head(0)))
