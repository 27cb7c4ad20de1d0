"""What failed together: the numbers are counted by hand here, and on a frame with nothing in it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis import charts, patterns
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records

START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday


def failure(hours: float, group: str = "a", **more):
    record = {
        "failed_at": START + timedelta(hours=hours),
        "task_name": "memos.generate",
        "queue": "memos",
        "exception_type": "TimeoutError",
        "exception_message": group,
    }
    return record | more


def grouped(records, **columns) -> pd.DataFrame:
    failures = from_records(records)
    return failures.assign(
        fingerprint=failures["exception_message"], template=failures["exception_message"], **columns
    )


def series(per_day: list[int], group: str) -> list[dict]:
    return [
        failure(day * 24 + place * 24 / max(count, 1), group)
        for day, count in enumerate(per_day)
        for place in range(count)
    ]


#: ten days a list; the end of the frame is the newest failure of `clock`
TRENDS = [
    ("steady", [10] * 10),
    ("rising", [10] * 9 + [60]),
    ("falling", [60] * 9 + [10]),
    ("stopped", [60] * 8 + [0, 0]),
    ("new", [0] * 9 + [5]),
    ("rare", [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("steady", [4] * 9 + [8]),  # twice as many, which chance explains
]


@pytest.mark.parametrize(("word", "per_day"), TRENDS)
def test_trend(word, per_day):
    clock = [failure(hour, "clock") for hour in (0, 239.9)]
    table = patterns.groups(grouped(series(per_day, "x") + clock)).set_index("fingerprint")
    assert table.loc["x", "trend"] == word


def test_a_frame_of_a_day_has_no_trend():
    table = patterns.groups(grouped([failure(hour) for hour in range(20)]))
    assert list(table["trend"]) == ["too short to say"]


def test_groups_counts_first_last_and_sample():
    failures = grouped(
        [
            failure(0, "a", queue="memos", failure_id="1", retries=3, max_retries=3),
            failure(5, "a", queue="mails", failure_id="2", retries=1, max_retries=3),
            failure(9, "a", queue="mails", failure_id="3", retries=3),
            failure(2, "b", failure_id="4"),
        ]
    )
    table = patterns.groups(failures)
    first = table.iloc[0]
    assert (first["fingerprint"], first["count"], first["share"]) == ("a", 3, 0.75)
    assert first["first_failed"] == START and first["last_failed"] == START + timedelta(hours=9)
    assert first["queues"] == "mails, memos"
    assert first["exhausted"] == pytest.approx(2 / 3)
    assert (first["source"], first["failure_id"]) == ("records", "3")
    assert table.attrs["as_of"] == "2026-11-02 09:00Z"


def test_groups_take_the_class_of_most_rows_and_its_reason():
    failures = grouped([failure(hour, "a") for hour in range(4)])
    failures = failures.assign(
        failure_class=pd.Categorical(["transient", "transient", "transient", "data"]),
        rule=pd.Categorical(["timeout", "timeout", "timeout", "deleted"]),
        why=["later", "later", "the newest of its class", "gone"],
    )
    row = patterns.groups(failures).iloc[0]
    assert (row["failure_class"], row["class_share"]) == ("transient", 0.75)
    assert (row["rule"], row["why"]) == ("timeout", "the newest of its class")


def test_groups_without_a_verdict_or_a_time():
    row = patterns.groups(grouped([{"exception_message": "x"}])).iloc[0]
    assert pd.isna(row["failure_class"]) and pd.isna(row["first_failed"])


def test_groups_do_not_depend_on_the_order_of_rows():
    failures = grouped(series([3, 5, 2], "a") + series([1, 1, 9], "b"))
    shuffled = failures.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(patterns.groups(failures), patterns.groups(shuffled))


def test_groups_ask_for_fingerprints():
    with pytest.raises(SchemaError, match=r"dlq\.fingerprint"):
        patterns.groups(empty())


def test_counts_by_two_columns_is_the_failure_summary():
    failures = from_records(
        [
            failure(0),
            failure(1),
            failure(3, exception_type="KeyError"),
            failure(4, exception_type=None),
        ]
    )
    table = patterns.counts(failures, ["task_name", "exception_type"])
    assert list(table["count"]) == [2, 1, 1]
    assert list(table["exception_type"].fillna("-")) == ["TimeoutError", "KeyError", "-"]
    assert table.loc[0, "last_failed"] == START + timedelta(hours=1)


def test_counts_name_a_close_column():
    with pytest.raises(SchemaError, match="Did you mean 'exception_type'"):
        patterns.counts(empty(), "exeption_type")


def test_timeline_counts_every_interval_and_fills_the_empty_ones():
    failures = from_records([failure(0), failure(0.5), failure(3.2), failure(3.3, queue="mails")])
    line = patterns.timeline(failures, "1h", by="queue")
    table = line.pivot(index="at", columns="queue", values="count")
    assert list(table["memos"]) == [2, 0, 0, 1]
    assert list(table["mails"]) == [0, 0, 0, 1]
    assert str(line["at"].dtype) == "datetime64[us, UTC]"


def test_timeline_weeks_begin_on_monday():
    line = patterns.timeline(from_records([failure(0), failure(24 * 8)]), "1w", by=None)
    assert list(line["at"].dt.day_name().unique()) == ["Monday"]
    assert list(line["count"]) == [1, 1]


def test_timeline_puts_the_rest_together_and_says_what_has_no_time():
    records = [failure(hour, queue=f"q{hour % 5}") for hour in range(10)]
    line = patterns.timeline(from_records([*records, {"queue": "q0"}]), "1d", by="queue", top=2)
    assert dict(zip(line["queue"], line["count"], strict=True)) == {"q0": 2, "q1": 2, "other": 6}
    assert line.attrs["undated"] == 1


def test_timeline_refuses_a_million_intervals_and_names_a_step_that_works():
    failures = from_records([failure(0), failure(24 * 365)])
    with pytest.raises(SettingsError, match=r"every='(\w+)'.*Write every='1d'"):
        patterns.timeline(failures, "1m", by=None)
    assert len(patterns.timeline(failures, "1d", by=None)) == 366


def test_timeline_by_class_wants_a_verdict():
    with pytest.raises(SchemaError, match=r"dlq\.classify"):
        patterns.timeline(empty())


def test_exhausted_uses_three_where_no_maximum_is_known():
    rows = [(3, 3), (2, 3), (3, None), (2, None), (None, 3), (5, 8)]
    failures = from_records(
        [failure(0, retries=r, max_retries=m, failure_id=f"{r}/{m}") for r, m in rows]
    )
    assert sorted(patterns.exhausted(failures)["failure_id"]) == ["3/3", "3/None"]


def test_an_interval_that_fits_is_found_where_none_is_named():
    """One message of last year among those of a night: the page of patterns was refused for it."""
    night = [failure(number / 10) for number in range(30)]
    assert patterns.timeline(from_records(night), "", by=None).attrs["every"] == "1m"
    mixed = from_records([failure(-24 * 400), *night])
    line = patterns.timeline(mixed, "", by=None)
    assert line.attrs["every"] == "1d" and len(line) <= 500 and line["count"].sum() == 31
    top = patterns.busiest(mixed, "", n=1)
    assert top["count"].tolist() == [30] and charts.timeline(mixed, every="").data
    assert len(patterns.timeline(empty(), "", by=None)) == 0


def test_failures_of_one_moment_leave_no_quiet_between_them():
    same = from_records([failure(0), failure(0), failure(0), failure(5)])
    assert patterns.quiet(same)["length"].tolist() == [pd.Timedelta("5h")]


def test_busiest_and_quiet():
    failures = from_records([failure(h) for h in (0, 5.1, 5.2, 5.3, 5.4, 11)])
    top = patterns.busiest(failures, n=1).iloc[0]
    assert (top["at"], top["count"], top["task_name"]) == (
        START + timedelta(hours=5), 4, "memos.generate",
    )  # fmt: skip
    gap = patterns.quiet(failures, n=1).iloc[0]
    assert gap["length"] == pd.Timedelta(hours=5.6)


def incident() -> pd.DataFrame:
    """Group `a` is one tenant's, on one worker; everything else is spread evenly."""
    rng = np.random.default_rng(7)
    records = []
    for number in range(400):
        ours = number < 100
        tenant = "acme" if ours and number % 10 else f"t{rng.integers(20)}"
        payload = {"tenant": {"id": tenant}, "n": number}
        if not ours:
            payload["region"] = "eu"
        worker = "w1" if ours else f"w{rng.integers(8)}"
        records.append(failure(number % 24, "a" if ours else "b", kwargs=payload, worker=worker))
    return grouped(records)


def test_lift_finds_tenant_worker_and_the_field_that_is_missing():
    table = patterns.lift(incident(), "a")
    found = set(zip(table["field"], table["value"], strict=True))
    assert found == {
        ("kwargs.tenant.id", "acme"), ("worker", "w1"), ("kwargs.region", "(absent)"),
    }  # fmt: skip
    row = table[table["field"] == "kwargs.tenant.id"].iloc[0]
    assert (row["inside"], row["outside"], row["inside_share"]) == (90, 0, 0.9)
    assert row["at_least"] > 1


def test_lift_takes_a_row_of_groups_or_a_mask():
    failures = incident()
    row = patterns.groups(failures).set_index("count", drop=False).loc[100]
    mask = failures["fingerprint"] == "a"
    for within in (row, mask):
        pd.testing.assert_frame_equal(patterns.lift(failures, within), patterns.lift(failures, "a"))


def test_lift_says_nothing_where_chance_explains_it():
    rng = np.random.default_rng(3)
    records = [
        failure(
            n % 24, "ab"[n % 2], worker=f"w{rng.integers(6)}", kwargs={"t": int(rng.integers(9))}
        )
        for n in range(600)
    ]
    assert patterns.lift(grouped(records), "a").query("field != 'hour'").empty


def test_chance_shows_a_lift_in_one_of_twenty_groups_at_most():
    """Sixty groups drawn by lot, hundreds of values looked at in each."""
    fooled = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        records = [
            failure(int(rng.integers(168)), "ab"[int(rng.random() < 0.9)], worker=f"w{rng.integers(6)}",
                    kwargs={"country": int(rng.integers(40)), "flag": int(rng.integers(2)), "n": n})
            for n in range(300)
        ]  # fmt: skip
        fooled += len(patterns.lift(grouped(records), "a")) > 0
    assert fooled <= 3


def batches(seed, guilty=""):
    """Two weeks of a queue that is fed in batches, each of one tenant and done within a minute: one batch in five
    fails with error a, the others with b, by lot or by tenant; some failures come one by one."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(60):
        hour, tenant = rng.random() * 336, f"t{rng.integers(8)}"
        error = "a" if (tenant == guilty if guilty else rng.random() < 0.2) else "b"
        size = int(rng.integers(5, 60))
        records += [
            failure(hour + n / 3600, error, worker=f"w{rng.integers(4)}", kwargs={"tenant": tenant, "n": n, "batch": number})
            for n in range(size)
        ]  # fmt: skip
    records += [
        failure(rng.random() * 336, "ab"[int(rng.random() < 0.8)], worker=f"w{rng.integers(4)}",
                kwargs={"tenant": f"t{rng.integers(8)}", "n": n, "batch": 1000 + n})
        for n in range(200)
    ]  # fmt: skip
    return grouped(records)


def test_a_batch_is_one_draw_and_accuses_no_tenant():
    fooled = [seed for seed in range(6) if len(patterns.lift(batches(seed), "a"))]
    assert len(fooled) <= 1, fooled  # one by one, all six do


def test_a_tenant_whose_batches_all_fail_is_found_all_the_same():
    for seed in (0, 1, 3):
        found = patterns.lift(batches(seed, "t3"), "a")
        assert ("kwargs.tenant", "t3") in set(zip(found["field"], found["value"], strict=True)), (
            seed
        )


def test_a_group_that_is_one_batch_is_named_as_that():
    usual = batches(1)
    usual = usual[usual["fingerprint"] == "b"]
    batch = grouped([failure(40 + n / 9000, "a", worker=f"w{n % 4}", kwargs={"tenant": "t9", "n": n, "batch": 7})
                     for n in range(150)])  # fmt: skip
    table = patterns.lift(pd.concat([usual, batch], ignore_index=True), "a")
    row = table.set_index("field").loc["kwargs.tenant"]
    assert (row["value"], row["inside_share"]) == ("t9", 1.0) and row["chance"] > 0.05
    assert "may be one batch" in table.attrs["notes"][-1]


def test_one_bad_hour_is_no_habit_of_the_hour():
    usual = [failure(n * 0.9, "b", kwargs={"n": n}) for n in range(370)]
    once = [failure(33 + n / 300, "a", kwargs={"n": n}) for n in range(250)]
    daily = [
        failure(24 * day + 9 + n / 30, "a", kwargs={"n": n}) for day in range(14) for n in range(20)
    ]
    assert "hour" not in set(patterns.lift(grouped(usual + once), "a")["field"])
    table = patterns.lift(grouped(usual + daily), "a")
    assert ("hour", "09:00 UTC") in set(zip(table["field"], table["value"], strict=True))


def test_few_of_them_prove_nothing_and_the_chance_is_told():
    records = [failure(n, "a", worker="w1") for n in range(4)]
    records += [failure(n, "b", worker=f"w{n % 5}") for n in range(50)]
    assert patterns.lift(grouped(records), "a").empty
    row = patterns.lift(incident(), "a").iloc[0]
    assert 0 <= row["chance"] < 1e-6


def test_lift_against_successes_acquits_whoever_does_most_of_the_work():
    """w1 takes most of all memos and fails as all do; w3 takes few and fails."""
    work = ["w1"] * 60 + ["w2"] * 10 + ["w3"] * 30
    failures = grouped([failure(n % 24, "a", worker=name) for n, name in enumerate(work)]
                       + [failure(n, "b", worker="w2", task_name="x.y") for n in range(50)])  # fmt: skip
    fine = pd.DataFrame(
        {"task_name": "memos.generate", "worker": ["w1", "w2", "w3"], "count": [6000, 3000, 100],
         "at": pd.Timestamp("2026-11-02T10:00Z"), "queue": "memos"}
    )  # fmt: skip
    table = patterns.lift(failures, "a", successes=fine).query("field == 'worker'")
    [row] = table.to_dict("records")
    assert (row["value"], row["inside"], row["outside"]) == ("w3", 30, 100)
    assert row["outside_share"] == pytest.approx(100 / 9100) and row["lift"] > 20
    assert row["compared_with"] == "successes of these tasks"
    nothing = patterns.lift(failures, "a", successes=fine.assign(task_name="other"))
    assert "worker" not in set(nothing["field"])
    with pytest.raises(SchemaError, match="The query successes gives"):
        patterns.lift(failures, "a", successes=fine.drop(columns="task_name"))


def test_lift_against_successes_takes_a_batch_that_came_at_once_for_one():
    """Six batches of ten, three of them on w1 by chance: it has half of the failures and did no wrong."""
    workers = ("w1", "w2", "w1", "w3", "w1", "w4")
    at = [pd.Timestamp("2026-11-01T00:00Z") + pd.Timedelta(hours=4 * n) for n in range(6)]
    failures = grouped([
        failure(10 * n + m, "a", worker=name, failed_at=at[n] + pd.Timedelta(seconds=m))
        for n, name in enumerate(workers) for m in range(10)
    ])  # fmt: skip
    fine = pd.DataFrame(
        {"task_name": "memos.generate", "worker": ["w1", "w2", "w3", "w4"], "count": [5_000] * 4}
    )
    assert patterns.lift(failures, "a", successes=fine).empty
    alone = failures.assign(failed_at=[at[0] + pd.Timedelta(hours=n) for n in range(60)])
    assert patterns.lift(alone, "a", successes=fine)["value"].tolist() == ["w1"]


def test_lift_needs_a_group_and_something_beside_it():
    failures = incident()
    with pytest.raises(SchemaError, match="No failure has the fingerprint"):
        patterns.lift(failures, "zzz")
    alone = failures[failures["fingerprint"] == "a"]
    table = patterns.lift(alone, "a")
    assert table.empty and "every row" in table.attrs["notes"][0]


@pytest.mark.parametrize("verb", ["groups", "counts", "timeline", "exhausted", "busiest", "quiet"])
def test_a_frame_without_rows_gives_a_table_without_rows(verb):
    failures = grouped([failure(0)], failure_class=pd.Categorical(["data"]))
    nothing = getattr(patterns, verb)(failures.iloc[:0])
    something = getattr(patterns, verb)(failures)
    assert len(nothing) == 0
    assert list(nothing.columns) == list(something.columns)
    assert dict(nothing.dtypes.astype(str)) == dict(something.dtypes.astype(str))


def test_nothing_is_changed_in_the_frame_that_came_in():
    failures = incident()
    before = failures.copy(deep=True)
    patterns.groups(failures), patterns.lift(failures, "a"), patterns.timeline(failures, by="queue")
    pd.testing.assert_frame_equal(failures, before)


def test_the_face_has_them():
    for name in ("groups", "counts", "timeline", "exhausted", "lift"):
        assert getattr(dlq, name) is getattr(patterns, name)


def test_a_moment_given_as_now_is_taken_for_now():
    failures = incident()
    newest = failures["failed_at"].max()
    for now in (newest.to_pydatetime(), newest.isoformat()):
        table = patterns.groups(failures, now=now)
        pd.testing.assert_frame_equal(table, patterns.groups(failures))
        assert table.attrs["as_of"] == f"{newest:%Y-%m-%d %H:%M}Z"
    later = patterns.groups(failures, now=(newest + pd.Timedelta(days=30)).isoformat())
    assert (later["recent"] == 0).all()
