"""The headline: planted stories are found, where there is none it is quiet, and nothing secret is told."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from bench import stories
from bench.weeks import STORIES, rhythm
from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.patterns import tally
from dlqanalysis.profile import Profile
from dlqanalysis.report import dossier

DATA = Path(__file__).parents[1] / "notebooks" / "data"
START = pd.Timestamp("2026-11-01T00:00:00Z")
WEEK = 7 * 24.0


def rows(hours, task="a.tasks.work", kind="TimeoutError", message="timed out", queue="q", **kwargs):
    return [
        {"failed_at": (START + pd.Timedelta(hours=float(hour))).floor("us"), "task_name": task, "queue": queue,
         "exception_type": kind, "exception_message": message, "args": [], "kwargs": {"n": number, **kwargs}}
        for number, hour in enumerate(hours)
    ]  # fmt: skip


def judged(*parts):
    records = [record for part in parts for record in part]
    records = [{**record, "failure_id": str(place)} for place, record in enumerate(records)]
    return from_records(records).pipe(dlq.classify).pipe(dlq.fingerprint)


def even(count, seed=1, start=0.0, end=WEEK, **what):
    return rows(np.random.default_rng(seed).uniform(start, end, count), **what)


BACKGROUND = even(60, seed=9, task="b.tasks.other", kind="ValueError", message="invalid literal")


@pytest.fixture(scope="module")
def demo():
    failures = dlq.load(DATA / "demo_export.parquet", since=None)
    return failures.pipe(dlq.classify).pipe(dlq.fingerprint)


def test_the_demos_stories_are_found_unaided(demo):
    told = dlq.story(demo, dlq.changes(DATA / "demo_deploys.csv"))
    mail, deploy, deleted, copies, leak = told
    assert mail.startswith(
        "api.tasks.send_email and api.tasks.send_digest fail since 20 Nov 07:05 UTC"
    )
    assert "goes on" in mail and "transient" in mail and "429 Too Many Requests" in mail
    assert "render_memo_pdf fails since 14 Nov 14:06 UTC, 41 seconds after api 2026.11.3" in deploy
    assert "KeyError 'margins'" in deploy and "permanent" in deploy
    assert (
        "all with batch import-20261111-b and tenant_id kestrel" in deleted and "data:" in deleted
    )
    assert "copies of others" in copies
    assert leak.startswith("exports.tasks.build_report fails more and more")


def test_an_outage_that_goes_on(demo):
    told = dlq.story(judged(BACKGROUND, even(80, start=160, end=WEEK)))
    assert len(told) == 1 and "a.tasks.work fails since 07 Nov 16:" in told[0]
    assert "and it goes on: 80 failures, transient: TimeoutError timed out" in told[0]


def test_what_ended_hours_ago_does_not_go_on_though_nothing_failed_since():
    """The newest failure is of the outage itself: only the time tells that it is over, to the story and the dossier."""
    failures = judged(BACKGROUND, even(80, start=160, end=WEEK))
    end = failures["failed_at"].max()
    for later, open_ in (("3min", True), ("5h", False)):
        now = end + pd.Timedelta(later)
        [told] = dlq.story(failures, now=now)
        assert ("goes on" in told) is open_, told
        assert dossier.episodes(failures, now=now)["until"].isna().tolist() == [open_]
    assert f" to {end:%H:%M} UTC: 80 failures" in told, told


def test_a_day_counted_back_from_now_is_told_as_of_now():
    failures = judged(BACKGROUND, even(80, start=160, end=WEEK))
    now = pd.Timestamp.now("UTC").floor("us")
    failures["failed_at"] += now - failures["failed_at"].max() - pd.Timedelta("5h")
    assert "goes on" in dlq.story(failures)[0]
    for since, open_ in (("24h", False), (now - pd.Timedelta("24h"), True)):
        assert ("goes on" in dlq.story(failures, since=since)[0]) is open_


def test_a_pace_says_since_when_and_a_trend_against_what():
    """Of one outage both are true: no worse since it began, and more than before it."""
    failures = judged(BACKGROUND, even(20, start=0, end=120), even(80, start=140, end=WEEK))
    assert dlq.story(failures)[0].endswith("; no better and no worse since then.")
    groups = dlq.groups(failures)
    assert groups["trend"].iloc[0] == "rising"
    assert groups.attrs["notes"][0].startswith("trend: the last 24h before 2026-11-07")
    words = set(re.findall(r'"([a-z ]+)"', inspect.getsource(tally.trend)))
    row = re.search(r"^\| trend \|.*$", (DATA.parents[1] / "docs/glossary.md").read_text(), re.M)[0]
    assert {word for word in words if f"`{word}`" not in row} == set()


def test_an_outage_that_is_over_has_an_end():
    [told] = dlq.story(judged(BACKGROUND, even(80, start=50, end=52)))
    assert re.search(r"a\.tasks\.work failed from 03 Nov 02:\d\d to 03:\d\d UTC: 80 failures", told)


def test_one_database_in_many_queues_is_one_story():
    lost = [even(20, seed=n, start=50, end=50.4, task=f"t{n}", queue=f"q{n}", kind="OperationalError",
                 message="server closed the connection unexpectedly") for n in range(4)]  # fmt: skip
    [told] = dlq.story(judged(BACKGROUND, *lost))
    assert "4 kinds of task in 4 queues failed from 03 Nov 02:0" in told and "80 failures" in told


def test_a_change_is_blamed_only_if_it_came_just_before():
    broken = judged(
        BACKGROUND, rows([100 + n / 5 for n in range(200)], kind="KeyError", message="'x'")
    )
    at = START + pd.Timedelta("99h58min")
    table = pd.DataFrame(
        {"at": [at], "service": ["api"], "version": ["7"], "kind": ["deploy"], "text": [""]}
    )
    assert "2 minutes after api 7" in dlq.story(broken, table)[0]
    assert "after api" not in dlq.story(broken, table.assign(at=at - pd.Timedelta("9h")))[0]
    assert "after api" not in dlq.story(broken, table.assign(at=at + pd.Timedelta("9h")))[0]


def test_the_guilty_tenant_is_named_and_an_innocent_one_is_not():
    usual = [even(20, seed=n, kind="ValueError", message="no", tenant=f"t{n}") for n in range(5)]
    hit = even(60, start=50, end=53, kind="DeletedRecord", message="does not exist", tenant="t3")
    [told, *_] = dlq.story(judged(*usual, hit))
    assert "all with tenant t3" in told
    spread = [even(15, seed=n, start=50, end=53, kind="DeletedRecord", message="does not exist", tenant=f"t{n}")
              for n in range(4)]  # fmt: skip
    [told, *_] = dlq.story(judged(*usual, *spread), profile=Profile(affected=("tenant",)))
    assert "with tenant" not in told and "4 values of tenant hit" in told


def test_what_wears_out_is_no_outage_and_a_step_is_no_wear():
    fill = WEEK * np.sqrt(np.random.default_rng(3).random(80))
    [told] = dlq.story(judged(BACKGROUND, rows(fill)))
    assert told.startswith("a.tasks.work fails more and more, from ")
    assert "wears out" in told
    [told] = dlq.story(judged(BACKGROUND, rows(fill, kind="KeyError", message="'margins'")))
    assert "more and more" in told and "permanent: KeyError" in told and "wears out" not in told
    step = np.concatenate(
        [
            np.random.default_rng(4).uniform(0, 120, 10),
            np.random.default_rng(5).uniform(120, WEEK, 80),
        ]
    )
    [told] = dlq.story(judged(BACKGROUND, rows(step)))
    assert "fails since 06 Nov 0" in told and "more and more" not in told


def test_copies_are_told_by_payload_and_by_business_key():
    twice = [{**row, "task_id": f"i{n}"} for n, row in enumerate(even(20))]
    told = dlq.story(judged(BACKGROUND, twice, twice))
    assert "20 of the same entry or payload" in told[-1]
    keyed = judged(
        BACKGROUND,
        [{**row, "kwargs": {**row["kwargs"], "order": n % 10}} for n, row in enumerate(even(20))],
    )
    assert len(dlq.story(keyed)) == 1 and "Quiet" in dlq.story(keyed)[0]
    told = dlq.story(keyed, profile=Profile(keys={"a.tasks.work": "order_{order}"}))
    assert "10 of the same business key" in told[-1]
    both = judged(BACKGROUND, twice, twice, twice)
    told = dlq.story(both, profile=Profile(keys={"a.tasks.work": "order_{task_id}"}))
    assert told[-1].startswith(
        "40 failures are copies of others (40 of the same business key, 40 of"
    )
    assert ", some of both)" in told[-1]  # and nobody adds them up to 80


def test_errors_without_a_type_are_named_by_their_message():
    """As those of a list in Redis."""
    late = [{**row, "exception_type": None} for row in even(60, start=WEEK - 9)]
    [told, *_] = dlq.story(judged(BACKGROUND, late))
    assert ": timed out;" in told and "nan timed" not in told


def test_a_quiet_week_is_said_to_be_quiet():
    assert dlq.story(judged()) == ["Quiet: nothing failed in this time."]
    [told] = dlq.story(judged(BACKGROUND))
    assert told.startswith(
        "Quiet: 60 failures in 7 days, nothing began and nothing grew; most are permanent: ValueError"
    )
    [told] = dlq.story(judged(rows([1.0])))
    assert told == "Quiet: 1 failure, nothing began and nothing grew."
    timeless = [
        {key: value for key, value in row.items() if key != "failed_at"} for row in BACKGROUND
    ]
    assert dlq.story(judged(timeless)) == [
        "Quiet as far as can be told: 60 failures, none with a time."
    ]


def test_what_just_began_is_not_quiet_for_want_of_an_earlier_time():
    hour = 1 / 3600
    [told] = dlq.story(judged(rows([n * hour for n in range(0, 240, 2)])))
    assert told == (
        "120 failures within 4 minutes, since 01 Nov 00:00 UTC, most are transient: TimeoutError timed out; there is"
        " nothing before to compare with."
    )
    several = [
        rows([n * hour for n in range(6)], task="a", kind="AError"),
        rows([n * hour for n in range(5)], task="b", kind="BError"),
        rows([n * hour for n in range(5)], task="c", kind="CError"),
    ]
    told = dlq.story(judged(*several))[0]
    assert "UTC, most often transient: AError" in told and "and 2 more kinds; there is" in told
    now = (pd.Timestamp.now("UTC") - START) / pd.Timedelta("1h")
    [told] = dlq.story(judged(rows([now - 0.5])))
    assert told.startswith("1 failure, since ") and told.endswith("nothing before to compare with.")
    [told] = dlq.story(judged(rows([now - 30, now - 10, now - 0.2])))
    assert told.startswith("Quiet: 3 failures")


def test_chance_tells_no_story():
    """Twenty weeks of nothing but chance: no more than one may raise an alarm."""
    loud = 0
    for seed in range(20):
        parts = [even(40, seed=seed * 10 + n, task=f"t{n}", kind=f"E{n}Error") for n in range(3)]
        loud += not dlq.story(judged(*parts))[0].startswith("Quiet")
    assert loud <= 1


@pytest.mark.parametrize("what", STORIES)
def test_a_story_planted_in_a_noisy_week_is_found(what):
    """Batches, nightly jobs, weekends and harmless deploys around it; `make bench ONLY=stories` measures many such
    weeks, these two are among the clear ones."""
    for seed in range(2):
        one = stories.judge((seed, what, True))
        assert one["found"], one["told"]
        assert one["off"] is None or abs(one["off"]) <= stories.LATE, one["told"]


def test_noisy_weeks_in_which_nothing_begins_are_quiet():
    told = [stories.judge((seed, "", True)) for seed in range(8)]
    assert sum(one["loud"] for one in told) <= 1, [one["told"] for one in told if one["loud"]]
    assert not any(one["blamed"] for one in told)


def test_midnight_and_the_days_clocks_change_are_no_event():
    """An outage over midnight UTC is one story; a rhythm that moves by an hour in the middle is none."""
    [told] = dlq.story(judged(BACKGROUND, even(90, start=71, end=73.5)))
    assert re.search(r"from 03 Nov 23:0\d to 04 Nov 01:2\d UTC: 90 failures", told)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        moved = rhythm(rng, 700, 14, "clock")
        assert dlq.story(judged(rows(moved)))[0].startswith("Quiet")


def test_tiny_counts_tell_nothing():
    for count in (1, 2, 3, 4):
        [told] = dlq.story(judged(BACKGROUND, even(count, start=100, end=100.1)))
        assert told.startswith("Quiet")


def test_last_weeks_numbers_are_compared():
    quiet = judged(BACKGROUND)
    assert (
        "50 more failures than in the last report" in dlq.story(quiet, before={"failures": 10})[0]
    )
    assert "40 fewer failures" in dlq.story(quiet, before={"failures": 100})[0]
    assert "as many failures as" in dlq.story(quiet, before={"failures": 60})[0]
    assert "fewer failures" in dlq.story(judged(), before={"failures": 100})[0]
    outage = judged(BACKGROUND, even(80, start=160))
    assert "130 more failures" in dlq.story(outage, before={"failures": 10})[0]


def test_a_day_is_told_by_what_was_usual_before(demo):
    """In one day alone the deploy's failures are just failures; with two weeks before it they have a minute."""
    day = demo[demo["failed_at"] < pd.Timestamp("2026-11-16T00:00Z")]
    told = dlq.story(day, dlq.changes(DATA / "demo_deploys.csv"), since="2026-11-15")
    assert "render_memo_pdf fails since 14 Nov 14:06 UTC, 41 seconds after api 2026.11.3" in told[0]
    assert not any("import-20261111" in sentence for sentence in told)  # over before that day
    night = demo[demo["failed_at"] < pd.Timestamp("2026-11-10T06:00Z")]
    assert dlq.story(night, since="2026-11-10")[0].startswith("Quiet: ")
    assert dlq.story(night, since="2026-11-12") == ["Quiet: nothing failed in this time."]


def test_what_is_new_since_the_last_report_is_not_quiet():
    last = {"failures": 60, "fingerprints": {}}
    week = judged(BACKGROUND)
    last["fingerprints"] = {name: {} for name in week["fingerprint"]}
    assert dlq.story(week, before=last)[0].startswith("Quiet")
    both = judged(BACKGROUND, even(30))
    [told] = dlq.story(both, before=last)
    assert told.startswith("New since the last report: a.tasks.work, 30 failures since 01 Nov")
    assert dlq.story(judged(BACKGROUND, even(4)), before=last)[0].startswith("Quiet")


def test_never_more_than_five_sentences_and_the_rest_is_counted():
    many = [even(60, seed=n, start=20 * n + 5, end=20 * n + 7, task=f"t{n}", kind=f"E{n}Error", message=f"m {'x' * n}")
            for n in range(8)]  # fmt: skip
    told = dlq.story(judged(BACKGROUND, *many))
    assert len(told) == 5
    assert "besides, " in told[-1] and told[-1].endswith("and 2 more.")


def test_secrets_and_addresses_are_not_told():
    hostile = even(80, start=160, kind="ValueError", message="for jo@example.com password=hunter2-s3cr3t",
                   customer="jo@example.com")  # fmt: skip
    text = " ".join(dlq.story(judged(BACKGROUND, even(60, customer="x@example.org"), hostile)))
    assert "hunter2" not in text and "@example" not in text


def test_the_frame_must_be_judged_and_stays_as_it_is(demo):
    with pytest.raises(SchemaError, match="has no fingerprint"):
        dlq.story(empty())
    before = demo.copy(deep=True)
    dlq.story(demo)
    pd.testing.assert_frame_equal(demo, before)
