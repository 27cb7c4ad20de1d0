"""Since when: planted stories are found to the minute, and a quiet week says nothing."""

import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import export
from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import from_arrow

START = pd.Timestamp("2026-11-02T00:00:00Z")
HOUR = pd.Timedelta("1h")


def office(rng, count, days=14, nights=0.2):
    """Hours after the start, more by day than at night."""
    hours = np.arange(days * 24)
    weight = nights + np.exp(-(((hours % 24 - 13) / 4.5) ** 2))
    return rng.choice(hours, count, p=weight / weight.sum()) + rng.random(count)


def frame(**groups):
    """A frame with one row an hour value; the name of each part is its task and fingerprint."""
    rows = []
    for name, hours in groups.items():
        for number, hour in enumerate(sorted(hours)):
            rows.append(
                {
                    "failure_id": f"{name}{number}",
                    "task_name": f"shop.{name}",
                    "queue": name.split("_")[0],
                    "exception_type": "OperationalError" if "db" in name else "ValueError",
                    "failed_at": START + hour * HOUR,
                }
            )
    made = dlq.from_records(rows)
    return made.assign(fingerprint=made["task_name"].astype("str"))


def test_a_quiet_fortnight_has_no_onset():
    """Steady groups of every size, with days and nights: nothing began, however often one looks."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        quiet = frame(**{f"g{n}": office(rng, n) for n in (5, 12, 40, 150, 600, 2000)})
        assert not len(dlq.onsets(quiet)) and not len(dlq.onsets(quiet, by=None))
        assert not len(dlq.common_causes(quiet))


def test_what_cannot_be_told_is_not_said_to_be_nothing():
    """A fresh incident: three queues fail within seconds, and nothing lies before it to compare with."""
    now = pd.Timestamp("2026-11-20T12:00:00Z")
    failures = dlq.from_records(
        {"source": "x", "failure_id": str(n), "queue": ("critical", "default", "bulk")[n % 3],
         "failed_at": now + pd.Timedelta(milliseconds=100 * n)} for n in range(135)
    )  # fmt: skip
    found = dlq.common_causes(failures.pipe(dlq.classify))
    assert not len(found)
    [note] = found.attrs["notes"]
    assert "too close together" in note
    assert found.attrs["empty"].startswith("Nothing is known to have begun")


@pytest.mark.parametrize("after", [30, 150, 1000])
def test_a_group_that_began_is_found_with_its_first_failure(after):
    rng = np.random.default_rng(after)
    began = 200.25
    later = office(rng, after * 3)
    new = np.append(began + 41 / 3600, later[later > began])
    found = dlq.onsets(frame(new=new, old=office(rng, 900)))
    assert list(found["fingerprint"]) == ["shop.new"]
    late = (found["onset"].iloc[0] - (START + began * HOUR)).total_seconds()
    assert 40 <= late <= 42
    assert found["usual_per_hour"].iloc[0] == 0 and np.isnan(found["times_usual"].iloc[0])
    assert pd.isna(found["until"].iloc[0]) and found["confidence"].iloc[0] == "high"


def test_a_burst_has_a_beginning_and_an_end():
    rng = np.random.default_rng(3)
    burst = 100 + rng.random(120) * 0.4
    found = dlq.onsets(frame(mail=np.concatenate([office(rng, 300), burst])))
    (row,) = found.to_dict("records")
    assert abs((row["onset"] - (START + 100 * HOUR)).total_seconds()) < 120
    assert abs((row["until"] - (START + 100.4 * HOUR)).total_seconds()) < 3600
    assert row["count"] >= 118 and row["times_usual"] > 50 and row["at_least"] > 20


def test_a_story_over_several_nights_is_one_episode():
    rng = np.random.default_rng(5)
    since = office(rng, 1200)
    since = since[since > 220]
    assert len(dlq.onsets(frame(new=since, old=office(rng, 500)))) == 1


def test_two_bursts_days_apart_are_two():
    rng = np.random.default_rng(6)
    both = np.concatenate([50 + rng.random(60), 250 + rng.random(60)])
    found = dlq.onsets(frame(new=both, old=office(rng, 500)))
    assert len(found) == 2 and found["onset"].is_monotonic_increasing


@pytest.mark.parametrize("first", range(7))
def test_weekends_are_no_quiet_time_before_a_rise(first):
    """Wherever in the week the data begins; and a burst in the second week is found all the same."""
    rng = np.random.default_rng(first)
    hours = np.arange(14 * 24)
    weight = 0.2 + np.exp(-(((hours % 24 - 13) / 4.5) ** 2))
    weight = weight * np.where((hours // 24 + first) % 7 >= 5, 0.1, 1.0)
    begin = first * 24

    def week(count):
        return begin + rng.choice(hours, count, p=weight / weight.sum()) + rng.random(count)

    quiet = {f"g{n}": week(n) for n in (20, 100, 400, 1500)}
    assert not len(dlq.onsets(frame(**quiet)))
    found = dlq.onsets(frame(**quiet, burst=np.append(week(50), begin + 240 + rng.random(80))))
    assert list(found["fingerprint"]) == ["shop.burst"]


def clumps(rng, count, mean):
    """Batches that fail as a whole: `count` of them over a fortnight, `mean` failures in one."""
    size = rng.geometric(1 / mean, count)
    return np.repeat(rng.random(count) * 334, size) + rng.random(size.sum()) * 0.05


def test_batches_that_fail_as_a_whole_are_no_bursts_and_a_burst_among_them_is_one():
    """Forty groups in ten fortnights. A batch may lie right before the burst, and is taken for its beginning."""
    fooled, off = 0, []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        parts = {f"g{n}": clumps(rng, n, 3) for n in (10, 40, 120, 300)}
        fooled += len(dlq.onsets(frame(**parts))) > 0
        burst = np.append(parts["g120"], 200 + rng.random(150) * 2)
        found = dlq.onsets(frame(**{**parts, "g120": burst}))
        (row,) = found[found["fingerprint"] == "shop.g120"].to_dict("records")
        off.append(abs(row["onset"] - (START + 200 * HOUR)))
        assert 4 < found.attrs["clumping"]["shop.g300"] < 12
    assert fooled <= 1
    assert sum(one > HOUR for one in off) <= 2 and max(off) < 3 * HOUR


def test_what_comes_one_by_one_is_counted_one_by_one():
    rng = np.random.default_rng(2)
    found = dlq.onsets(frame(a=office(rng, 600), b=334 * np.sqrt(rng.random(300))))
    assert max(found.attrs["clumping"].values()) < 1.5


def test_what_leads_into_a_rise_belongs_to_it():
    """Among failures that come in batches, eight in the hour before prove nothing; but a rise follows them."""
    rng = np.random.default_rng(4)
    story = np.concatenate([199.1 + np.arange(8) / 10, 200 + rng.random(150) * 3])
    old = clumps(rng, 200, 3)
    (row,) = dlq.onsets(frame(new=story, old=old)).to_dict("records")
    assert row["onset"] == START + pd.Timedelta(hours=199.1)
    assert not len(dlq.onsets(frame(new=story[:8], old=old)))


def test_what_went_on_from_the_beginning_did_not_begin():
    rng = np.random.default_rng(7)
    first = rng.random(300) * 24
    assert not len(dlq.onsets(frame(old=np.append(first, 335))))


def test_one_cause_in_many_queues_is_named():
    rng = np.random.default_rng(8)
    parts = {f"q{n}_db": 120 + n / 60 + rng.random(40) * 0.5 for n in range(4)}
    calm = {f"q{n}": office(rng, 200) for n in range(6)}
    failures = frame(**parts, **calm).pipe(dlq.classify)
    failures = failures.assign(
        rule=np.where(failures["exception_type"] == "OperationalError", "db-lost", "x")
    )
    (row,) = dlq.common_causes(failures).to_dict("records")
    assert row["queues"] == "q0, q1, q2, q3" and row["of"] == 6
    assert row["rule"] == "db-lost" and row["rule_share"] > 0.9
    assert abs((row["onset"] - (START + 120 * HOUR)).total_seconds()) < 300


def test_small_and_odd_frames():
    assert not len(dlq.onsets(frame(a=[1.0, 2.0])))
    empty = frame(a=[1.0]).head(0)
    found = dlq.onsets(empty)
    assert not len(found) and str(found["onset"].dtype) == "datetime64[us, UTC]"
    close = dlq.onsets(frame(a=np.linspace(0, 0.01, 50)))
    assert "too close together" in close.attrs["notes"][0]
    undated = frame(a=np.linspace(0, 300, 50))
    undated.loc[0:4, "failed_at"] = pd.NaT
    assert "5 failures without a time" in dlq.onsets(undated).attrs["notes"][0]
    with pytest.raises(SchemaError, match="no column 'fingerprintt'"):
        dlq.onsets(empty, by="fingerprintt")


def test_the_demo_s_story_is_told_unaided():
    """The broken release to the second, the rotated key, the failover in all queues, the outage that goes on."""
    failures = dlq.load("notebooks/data/demo_export.parquet", since=None)
    failures = failures.pipe(dlq.classify).pipe(dlq.fingerprint)
    found = dlq.onsets(failures)
    first = failures.drop_duplicates("fingerprint").set_index("fingerprint")["task_name"]
    tasks = dict(
        zip(
            found["onset"].dt.strftime("%m-%d %H:%M:%S"),
            found["fingerprint"].map(first),
            strict=True,
        )
    )
    assert tasks["11-14 14:06:41"] == "api.tasks.render_memo_pdf"
    assert tasks["11-17 09:30:41"] == "api.tasks.geocode_address"
    ongoing = found[found["until"].isna()]
    assert {"api.tasks.send_email"} == set(ongoing["fingerprint"].map(first).tail(4))
    causes = dlq.common_causes(failures)
    assert "db-lost" in set(causes["rule"]) and len(causes) <= 3


@pytest.mark.parametrize("again, ended", [(8, False), (1, True)])
def test_a_quiet_night_is_no_end_of_what_fails_again_in_the_morning(again, ended):
    """Memos are made by day: at six in the morning the release is broken still, and one straggler proves nothing."""
    end = pd.Timestamp("2026-11-30 06:18:23Z")
    whole = from_arrow(export.failures(12_000, end=end.to_pydatetime()))
    made_by_day = whole["task_name"] != "api.tasks.render_memo_pdf"
    made_by_day |= whole["failed_at"] < end.normalize()
    whole = whole[(whole["status"] == "failed") & made_by_day]
    parts = [whole]
    for task, many in (("send_email", 60), ("render_memo_pdf", again)):
        part = whole[whole["task_name"] == f"api.tasks.{task}"].tail(many).copy()
        late = [end + pd.Timedelta(seconds=60 * (0.3 + 0.7 * n / many)) for n in range(many)]
        part["failed_at"] = pd.Series(late, part.index, dtype=whole["failed_at"].dtype)
        part["failure_id"] = [f"{task}{number}" for number in range(many)]
        parts.append(part)
    now = pd.concat(parts, ignore_index=True).pipe(dlq.fingerprint)
    mine = now.loc[now["task_name"] == "api.tasks.render_memo_pdf", "fingerprint"].mode().item()
    found = dlq.onsets(now)
    assert found.loc[found["fingerprint"] == mine, "until"].notna().tolist() == [ended]


def test_what_fails_until_the_newest_failure_has_not_ended_with_the_last_full_interval():
    """The last interval had only begun: two failures in its first half minute are as many as before."""
    for count in range(110, 140, 3):  # wherever the last interval begins
        busy = 20 + np.arange(count) / 180
        found = dlq.onsets(frame(db=busy, web=np.arange(300) / 20))
        assert found["until"].isna().all() and found["count"].tolist() == [count], count
    over = frame(db=20 + np.arange(120) / 180, web=np.arange(600) / 20)
    assert dlq.onsets(over)["until"].notna().all()
