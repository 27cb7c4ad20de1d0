"""Thresholds on queues, workers and metrics: what two looks tell that one cannot."""

from datetime import UTC, datetime, timedelta

import pytest

from dlqanalysis import health, readings
from dlqanalysis.profile import Profile

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def queues(**states):
    return readings.depths(
        {"queue": "q", "state": s, "depth": d, "at": NOW} for s, d in states.items()
    )


def crew(*processed):
    rows = [{"worker": f"w{n}", "processed": count, "at": NOW} for n, count in enumerate(processed)]
    return readings.workers(rows)


def earlier(*looks):
    """(minutes ago, numbers) -> earlier checks."""
    return health.samples([{"at": NOW - timedelta(minutes=ago), **told} for ago, told in looks])


def found(name, thresholds=None, past=None, **frames):
    checked = health.check(None, Profile(thresholds=thresholds or {}), NOW, earlier=past, **frames)
    return next((finding for finding in checked if finding.name == name), None)


@pytest.mark.parametrize(
    ("name", "depths", "thresholds", "severity"),
    [
        ("waiting", {"waiting": 1000}, {}, "ok"),
        ("waiting", {"waiting": 1000, "prioritized": 1}, {}, "warning"),
        ("waiting", {"waiting": 101, "active": 5}, {"waiting": 100}, "warning"),
        ("failed", {"failed": 100}, {}, "ok"),
        ("failed", {"failed": 60, "dead_lettered": 41}, {}, "warning"),
        ("failed", {"failed": 11}, {"failed": 10}, "warning"),
    ],
)
def test_at_which_depth(name, depths, thresholds, severity):
    told = found(name, thresholds, depths=queues(**depths))
    assert told.severity == severity, told.text
    assert found(name, {name: ""}, depths=queues(**depths)) is None


def test_what_a_system_does_not_tell_is_not_judged():
    nothing = readings.depths([])
    assert found("waiting", depths=nothing) is None and found("failed", depths=nothing) is None
    unsaid = readings.depths([{"queue": "q", "state": "waiting", "depth": None}])
    assert found("waiting", depths=unsaid) is None


def test_growth_of_a_system_that_shows_no_failures():
    past = earlier((10, {"failed": 20}))
    told = found("growth_per_minute", past=past, depths=queues(failed=2000))
    assert told.severity == "critical" and told.facts["per_minute"] == 198
    assert found("growing", past=past, depths=queues(failed=21)).facts["growing"] is True
    assert found("growing", past=past, depths=queues(failed=20)).facts["growing"] is False
    assert found("growing", depths=queues(failed=20)).facts["growing"] is None


@pytest.mark.parametrize(
    ("past", "waiting", "done", "severity", "minutes"),
    [
        ([(20, 5, 7), (10, 5, 7)], 5, 7, "critical", 20),
        ([(15, 5, 7)], 5, 7, "ok", 15),  # not longer than 15 minutes
        ([(20, 5, 7), (10, 5, 8)], 5, 8, "ok", 10),  # a task was done in between
        ([(20, 0, 7), (10, 5, 7)], 5, 7, "ok", 10),  # nothing waited then
        ([(20, 5, 7)], 0, 7, "ok", 0),
        ([(20, 5, 7)], 5, 3, "ok", 0),  # the worker began anew
        ([(40, 5, None), (20, 6, None)], 6, None, "critical", 40),
        ([(40, 5, None), (20, 6, None)], 5, None, "ok", 0),  # shorter than it was
        ([], 5, 7, "ok", 0),
    ],
)
def test_when_work_stands_still(past, waiting, done, severity, minutes):
    looks = [(ago, {"waiting": wait, "processed": count}) for ago, wait, count in past]
    frames = {"depths": queues(waiting=waiting)}
    if done is not None:
        frames["workers"] = crew(done)
    told = found("stopped", past=earlier(*looks), **frames)
    assert (told.severity, told.facts["minutes"]) == (severity, minutes), told.text


@pytest.mark.parametrize(
    ("past", "severity"),
    [
        ([], "warning"),
        ([(5, 0)], "warning"),
        ([(11, 0), (5, 0)], "critical"),
        ([(11, 0), (5, 1)], "warning"),
        ([(11, 0), (5, None)], "critical"),  # a look at which nobody was asked breaks nothing
    ],
)
def test_for_how_long_no_worker_answered(past, severity):
    looks = earlier(*((ago, {"workers": count}) for ago, count in past))
    assert found("workers_down", past=looks, workers=readings.workers([])).severity == severity
    assert found("workers_down", past=looks, workers=crew(1)).severity == "ok"
    assert found("workers_down", {"workers_down": ""}, looks, workers=crew(1)) is None


def test_advice_stands_where_the_decision_is_made():
    """More workers, a restart, a task run by hand: what to mind is said with the finding that leads to it."""
    piled = found("waiting", {"waiting": 100}, depths=queues(waiting=101)).text
    assert "dlq.capacity" in piled
    assert "dlq.capacity" not in found("waiting", {"waiting": 100}, depths=queues(waiting=9)).text
    away = earlier(
        (50, {"workers": 0, "waiting": 3, "processed": 7}), (20, {"workers": 0, "waiting": 3})
    )
    gone = found("workers_down", past=away, workers=readings.workers([])).text
    assert "dlq.note" in gone and "the real thing" in gone
    still = found("stopped", {"stopped": "15m"}, earlier((40, {"waiting": 3}), (20, {"waiting": 3})),
                  depths=queues(waiting=3)).text  # fmt: skip
    assert "acks_late" in still and "without persistence" in still


def test_how_much_is_done_a_minute():
    past, low = earlier((20, {"processed": 1000})), {"processed_per_minute": 600}
    assert found("processed_per_minute", low, past, workers=crew(6000, 2000)).severity == "critical"
    assert found("processed_per_minute", low, past, workers=crew(9000, 4000)).severity == "ok"
    assert found("processed_per_minute", low, past, workers=crew(10)) is None  # began anew
    assert found("processed_per_minute", low, workers=crew(10)) is None
    assert found("processed_per_minute", {}, past, workers=crew(6000)) is None


def samples_of(metric, *values, unit="1"):
    rows = [
        {
            "metric": metric,
            "labels": "{}",
            "at": NOW - timedelta(minutes=ago),
            "value": value,
            "unit": unit,
        }
        for ago, value in values
    ]
    return readings.metrics(rows)


@pytest.mark.parametrize(
    ("name", "metric", "values", "thresholds", "severity"),
    [
        ("p95_latency", "p95_latency", [(0, 31)], {}, "warning"),
        ("p95_latency", "p95_latency", [(5, 99), (0, 30)], {}, "ok"),
        ("p95_latency", "p95_latency", [(0, float("nan"))], {}, None),
        ("failure_rate", "failure_rate", [(0, 0.06)], {"failure_rate": 0.05}, "warning"),
        ("failure_rate", "failure_rate", [(0, 0.05)], {"failure_rate": 0.05}, "ok"),
        ("processed_per_minute", "processed_per_minute", [(9, 599), (0, 9)], {"processed_per_minute": 600}, "critical"),
        ("processed_per_minute", "processed_per_minute", [(9, 601), (0, 9)], {"processed_per_minute": 600}, "ok"),
        ("growth_per_minute", "growth_per_minute", [(0, 101)], {}, "critical"),
        ("per_hour", "failures_per_hour", [(0, 51)], {}, "warning"),
    ],
)  # fmt: skip
def test_what_a_prometheus_tells(name, metric, values, thresholds, severity):
    told = found(name, thresholds, metrics=samples_of(metric, *values))
    assert (told.severity if told else None) == severity
    assert found(name, {name: ""}, metrics=samples_of(metric, *values)) is None
