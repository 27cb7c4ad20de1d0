"""Thresholds: what is found at which number, and what a wrong threshold says."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from dlqanalysis import health
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.health import failures as of_failures
from dlqanalysis.profile import Profile
from tests.books import read, source

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def failures(*groups, **fields):
    """(how many, how long ago) -> a frame."""
    return from_records(
        [
            {"failed_at": NOW - timedelta(**ago), "failure_id": f"{place}.{number}", **fields}
            for place, (count, ago) in enumerate(groups)
            for number in range(count)
        ]
    )


def found(frame, name, executions=None, **thresholds):
    findings = health.check(frame, Profile(thresholds=thresholds), NOW, executions)
    return next(finding for finding in findings if finding.name == name)


@pytest.mark.parametrize(
    ("name", "frame", "thresholds", "severity"),
    [
        ("depth", failures(), {}, "ok"),
        ("depth", failures((3, {"minutes": 5})), {}, "ok"),
        ("depth", failures((1, {"minutes": 5, "seconds": 1})), {}, "warning"),
        ("depth", failures((1001, {"minutes": 6})), {}, "critical"),
        ("depth", failures((1000, {"minutes": 6})), {}, "warning"),
        ("depth", failures((5, {"hours": 1})), {"depth": 5}, "ok"),
        ("depth", failures((6, {"hours": 1})), {"depth": 5}, "warning"),
        ("depth", failures((6, {"hours": 1})), {"depth": "", "depth_critical": 5}, "critical"),
        ("depth", failures((6, {"hours": 1})), {"depth_for": "2h"}, "ok"),
        ("depth", failures((1, {"hours": -3})), {}, "ok"),  # a clock that runs ahead
        ("oldest", failures((1, {"hours": 24})), {}, "ok"),
        ("oldest", failures((1, {"hours": 25})), {}, "warning"),
        ("oldest", failures((1, {"hours": 25})), {"oldest": "2d"}, "ok"),
        ("oldest", failures(), {}, "ok"),
        ("growth_per_minute", failures((500, {"minutes": 1})), {}, "ok"),
        ("growth_per_minute", failures((501, {"minutes": 1})), {}, "critical"),
        ("growth_per_minute", failures((900, {"minutes": 6})), {}, "ok"),
        ("growth_per_minute", failures((6, {"minutes": 1})), {"growth_per_minute": 1}, "critical"),
        ("per_hour", failures((50, {"minutes": 59})), {}, "ok"),
        ("per_hour", failures((51, {"minutes": 59})), {}, "warning"),
        ("per_hour", failures((51, {"minutes": 61})), {}, "ok"),
        ("unreadable", failures((1, {"hours": 1}), kwargs="{"), {}, "warning"),
        ("unreadable", failures((1, {"hours": 1}), kwargs="{", payload_state="truncated"), {}, "warning"),
        ("unreadable", failures((1, {"hours": 1}), kwargs="{}"), {}, "ok"),
        ("unreadable", failures((2, {"hours": 1}), kwargs="{"), {"unreadable": 2}, "ok"),
        ("expires_within", failures((1, {"hours": 1})), {}, "ok"),
        ("expires_within", failures((1, {}), expires_at=NOW + timedelta(hours=23)), {}, "warning"),
        ("expires_within", failures((1, {}), expires_at=NOW + timedelta(hours=25)), {}, "ok"),
        ("expires_within", failures((1, {}), expires_at=NOW - timedelta(hours=1)), {}, "warning"),
    ],
)  # fmt: skip
def test_at_which_number(name, frame, thresholds, severity):
    finding = found(frame, name, **thresholds)
    assert finding.severity == severity, finding.text
    assert not finding.text[0].islower() and finding.text.endswith(".")


def test_what_was_replayed_or_archived_waits_no_longer():
    frame = failures((5, {"hours": 30}), status="Replayed")
    assert health.worst(health.check(frame, Profile(), NOW)) == "ok"
    assert found(failures((5, {"hours": 30}), status="odd"), "depth").severity == "warning"


def test_failures_without_a_time_count_as_waiting_and_are_named():
    frame = from_records([{"failure_id": "1"}, {"failure_id": "2"}])
    finding = found(frame, "depth")
    assert finding.severity == "warning" and "2 of them without a time" in finding.text
    assert found(frame, "oldest").text == "Nothing with a time is waiting."


def test_a_cut_off_load_says_at_least():
    frame = failures((3, {"hours": 1}))
    frame.attrs["truncated"] = True
    assert found(frame, "depth").text.startswith("At least 3 failures")


def test_failures_of_a_time_are_not_all_that_wait():
    """A day's page said that nothing waits, beside hundreds of older ones."""
    day = empty()
    day.attrs["selection"] = "since 2026-11-29 08:00Z; status failed"
    said = {one.name: one.text for one in health.check(day, Profile())}
    assert said["depth"] == "0 failures (since 2026-11-29 08:00Z) waiting for more than 5 minutes."
    assert said["oldest"] == "Nothing with a time (since 2026-11-29 08:00Z) is waiting."
    day.attrs["selection"] = "from the beginning; status failed"
    assert "(" not in health.check(day, Profile())[0].text


def test_a_task_that_always_fails():
    runs = pd.DataFrame(
        {"task_name": ["a", "b", "c"], "successes": [0, 0, 1], "failures": [5, 4, 500]}
    )
    finding = found(empty(), "always_fails", executions=runs)
    assert finding.severity == "critical" and finding.facts["tasks"] == ["a"]
    assert found(empty(), "always_fails", executions=runs, always_fails=6).severity == "ok"
    none = found(empty(), "always_fails", executions=runs.iloc[:0])
    assert (
        none.severity == "ok" and none.text == "No task is known to have run often enough to say."
    )
    with pytest.raises(SchemaError, match="no column 'successes'"):
        found(empty(), "always_fails", executions=runs.drop(columns="successes"))


def test_a_share_of_failed_executions():
    runs = pd.DataFrame({"task_name": ["a", "b"], "successes": [80, 10], "failures": [5, 5]})
    assert found(empty(), "failure_rate", executions=runs).severity == "ok"
    told = found(empty(), "failure_rate", executions=runs, failure_rate=0.05)
    assert (
        told.severity == "warning" and told.text == "10.0% of 100 executions failed, more than 5%."
    )
    few = found(empty(), "failure_rate", executions=runs.head(0))
    assert few.severity == "ok" and "too few" in few.text


def test_growing_needs_an_earlier_check_or_a_steady_stream():
    def told(frame, earlier=None):
        checked = health.check(frame, Profile(), NOW, earlier=earlier)
        return next(f for f in checked if f.name == "growing")

    def seen(count, **ago):
        return health.samples([{"at": NOW - timedelta(**ago), "failures": count}])

    four = failures((4, {"hours": 2}))
    assert told(four, seen(3, minutes=10)).facts["growing"] is True
    assert told(four, seen(4, minutes=10)).facts["growing"] is False
    assert "1 fewer than 10 minutes ago" in told(four, seen(5, minutes=10)).text
    for unfit in (seen(3, minutes=2), seen(3, hours=3), None):  # too new, too old, none
        assert told(four, unfit).facts["growing"] is False
        assert "no earlier check" in told(four, unfit).text
    stream = failures((1, {"minutes": 1}), (1, {"minutes": 6}), (1, {"minutes": 11}))
    assert told(stream).facts["growing"] is True


def test_what_has_no_time_grows_by_two_counts():
    frame = from_records([{"failure_id": str(number)} for number in range(2000)])
    then = health.samples([{"at": NOW - timedelta(minutes=10), "failures": 0}])
    told = [f for f in health.check(frame, Profile(), NOW, earlier=then) if "growth" in f.name]
    assert told[0].severity == "critical" and "200.0 new failures a minute" in told[0].text


def test_without_executions_nothing_is_said_of_them():
    facts = of_failures.Facts(empty(), pd.Timestamp(NOW), False, health.no_samples())
    limits = health.limits_of(Profile())
    told = [one.name for judge in of_failures.JUDGES for one in judge(facts, limits)]
    assert [finding.name for finding in health.check(empty(), Profile(), NOW)] == told
    assert len(set(told)) == len(of_failures.JUDGES), "each says one thing, even of nothing"


OF_SYSTEMS = ("failed", "waiting", "stopped", "workers_down", "processed_per_minute", "p95_latency")


@pytest.mark.parametrize("name", [n for n in health.THRESHOLDS if n not in OF_SYSTEMS])
def test_each_threshold_can_be_switched_off(name):
    runs = pd.DataFrame({"task_name": ["a"], "successes": [0], "failures": [9]})
    frame = failures((2000, {"hours": 30}), expires_at=NOW)
    off = {name: ""}
    if name in ("depth", "depth_critical"):  # one finding of two bounds
        off |= {"depth": "", "depth_critical": ""}
        name = "depth"
    on = {f.name for f in health.check(frame, Profile(), NOW, runs)}
    names = {f.name for f in health.check(frame, Profile(thresholds=off), NOW, runs)}
    assert on - names == ({name} if name != "depth_for" else set())


@pytest.mark.parametrize(
    ("thresholds", "says"),
    [
        ({"deptf": 1}, "Did you mean 'depth'?"),
        ({"depth": "many"}, "Write a number, such as depth = 0"),
        ({"depth": -1}, "Write a number"),
        ({"depth": True}, "Write a number"),
        ({"depth": float("nan")}, "Write a number"),
        ({"depth": float("inf")}, '"" to switch it off'),
        ({"depth": 10**400}, "Write a number"),
        ({"oldest": 24}, 'Write a duration: oldest = "24h"'),
        ({"oldest": "1 day"}, "not a duration"),
    ],
)
def test_a_wrong_threshold_is_one_sentence(thresholds, says):
    with pytest.raises(SettingsError) as caught:
        health.check(empty(), Profile(name="shop", thresholds=thresholds), NOW)
    assert says in str(caught.value)


def test_a_naive_now_is_refused():
    with pytest.raises(SettingsError, match="time zone"):
        health.check(empty(), Profile(), datetime(2026, 11, 22))


def test_the_callers_frame_is_untouched():
    frame = failures((3, {"hours": 1}))
    before = frame.copy(deep=True)
    health.check(frame, Profile(), NOW)
    pd.testing.assert_frame_equal(frame, before)


def test_exit_codes_and_table():
    calm = health.check(empty(), Profile(), NOW)
    uneasy = health.check(failures((1, {"hours": 1})), Profile(), NOW)
    alarmed = health.check(failures((1001, {"hours": 25})), Profile(), NOW)
    assert [health.exit_code(f) for f in (calm, uneasy, alarmed, [])] == [0, 1, 2, 0]
    shown = health.table(alarmed)
    assert list(shown.columns) == ["severity", "name", "text"]
    assert list(shown["severity"]) == sorted(
        shown["severity"], key=["critical", "warning", "ok"].index
    )
    assert health.table([]).empty


def test_many_failures_lead_to_the_four_questions():
    """High volume: the finding names the notebook whose section asks whether it is one thing."""
    deep = found(failures((12, {"hours": 1})), "depth", depth=0, depth_critical=10)
    assert deep.severity == "critical" and "10_triage asks in four steps" in deep.text
    cells = [source(cell) for cell in read("10_triage")["cells"]]
    first = next(n for n, text in enumerate(cells) if "## So many" in text)
    for cell, verb in zip(
        cells[first + 1 :], ("common_causes", "suspects", "counts", "retry_advice"), strict=False
    ):
        assert f"dlq.{verb}(" in cell.splitlines()[0]


def test_who_owns_the_queues_that_are_deep_is_said():
    profile = Profile(owners={"memos": "documents team", "emails": "messaging team", "a": "nobody"})
    waiting = pd.concat(
        [
            failures((1, {"hours": 1}), queue="memos"),
            failures((2, {"hours": 1}), queue="emails"),
            failures((5, {"hours": 1}), queue="unowned"),
        ]
    )
    [depth] = [one for one in health.check(waiting, profile, NOW) if one.name == "depth"]
    assert depth.text.endswith(" Owners: messaging team (emails), documents team (memos).")
    [quiet] = [one for one in health.check(failures(), profile, NOW) if one.name == "depth"]
    assert "Owners" not in quiet.text
