"""A look at a system by its name: real queues, a Prometheus, what is away; and what one look leaves for the next."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import redis
from typer.testing import CliRunner

import dlqanalysis as dlq
from dlqanalysis import health
from dlqanalysis.checkup import all_findings, checkup, checkups, facts_of, samples
from dlqanalysis.cli import app
from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import Profile, home
from dlqanalysis.sources.prometheus.queries import SETS
from tests.prometheus_server import Prometheus
from tests.small_server import SmallServer

NOW = datetime.now(UTC)


def named(look, name):
    return next((one for one in look.findings if one.name == name), None)


@pytest.fixture
def lists(redis_url, key_prefix, monkeypatch):
    """A dead-letter queue that is a list, under the name `jobs`; gives a function that adds to it."""
    client = redis.Redis.from_url(redis_url)
    key = f"{key_prefix}:dlq"
    monkeypatch.setenv("DLQ_JOBS_URL", f"list+{redis_url}?keys={key}")

    def add(count):
        client.lpush(key, *(json.dumps({"type": "a", "payload": {"n": n}}) for n in range(count)))

    yield add
    client.delete(key)
    client.close()


def test_two_looks_know_what_grows(lists):
    """Elements of a list have no time: only a second look can tell."""
    lists(3)
    first = checkup("jobs", Profile(), NOW - timedelta(minutes=10))
    assert first.kept and named(first, "growing").facts["growing"] is False
    assert "no earlier check" in named(first, "growing").text
    lists(2)
    second = checkup("jobs", Profile(), NOW)
    assert named(second, "growing").facts == {"growing": True, "more": 2}
    assert named(second, "growth_per_minute").facts["per_minute"] == pytest.approx(0.2)
    third = checkup("jobs", Profile(), NOW + timedelta(minutes=6))
    assert named(third, "growing").facts["growing"] is False


def test_growing_calls_somebody(lists):
    profile = Profile.load("bullmq")
    lists(51)
    assert checkup("jobs", profile, NOW - timedelta(minutes=10)).escalation is None
    lists(1)
    look = checkup("jobs", profile, NOW)
    assert (look.escalation.name, look.escalation.because) == ("L1", "depth > 50 and growing")
    assert checkup("jobs", profile, NOW + timedelta(minutes=6)).escalation is None


def test_a_level_that_holds_alone_is_a_finding(lists):
    """Otherwise it would be shown to who looks, with exit code 0, and told to nobody."""
    profile = Profile(
        thresholds={"depth": 100}, escalation={"L2": {"when": ["depth > 2"], "contact": "team"}}
    )
    lists(2)
    assert named(checkup("jobs", profile), "level") is None
    lists(1)
    look = checkup("jobs", profile)
    assert look.escalation.name == "L2" and named(look, "level").severity == "warning"
    assert (
        named(look, "level").text
        == "No threshold is passed, but L2 of the profile holds: depth > 2."
    )
    assert facts_of([look])["severity"] == "warning"
    grave = Profile(thresholds={"depth": 100}, severity={"critical": {"when": ["depth > 2"]}})
    assert named(checkup("jobs", grave), "level").severity == "critical"


def test_what_is_away_is_a_finding_and_the_others_are_looked_at(lists, monkeypatch):
    lists(1)
    monkeypatch.setenv("DLQ_GONE_URL", "list+redis://:hunter2@127.0.0.1:9/0?keys=a")
    done = checkups(["gone", "jobs", "no-such-name"], Profile())
    gone, jobs, unset = done
    assert gone.checked and [one.name for one in gone.findings] == ["unreachable"]
    assert gone.findings[0].severity == "critical" and "hunter2" not in str(done)
    assert named(jobs, "depth").facts["waiting"] == 1
    assert not unset.checked and "DLQ_NO_SUCH_NAME_URL" in unset.findings[0].text
    assert {one.name.partition(":")[0] for one in all_findings(done)} == {
        "gone",
        "jobs",
        "no-such-name",
    }
    with pytest.raises(SettingsError, match="DLQ_NO_SUCH_NAME_URL"):
        checkups(["no-such-name"])


def test_a_wrong_threshold_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.setenv("DLQ_GONE_URL", "list+redis://127.0.0.1:9/0?keys=a")
    with pytest.raises(SettingsError, match="Did you mean 'depth'"):
        checkup("gone", Profile(thresholds={"deptf": 1}))


def test_workers_that_do_not_answer_and_tasks_that_wait(redis_url, key_prefix, monkeypatch):
    """A broker without any worker: known from the first look, critical once it lasts, called in steps."""
    queue = f"{key_prefix}work"
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(queue, b"{}")
        monkeypatch.setenv("DLQ_SHOP_BROKER_URL", f"{redis_url}?queues={queue}&timeout=0.3")
        ops = Profile.load("celery_ops")
        looks = [checkup("shop", ops, NOW + timedelta(minutes=ago)) for ago in (0, 11, 31, 45)]
        client.delete(queue)
    assert [named(one, "workers_down").severity for one in looks] == ["warning"] + ["critical"] * 3
    assert [named(one, "stopped").severity for one in looks] == ["ok", "ok", "critical", "critical"]
    assert [one.severity.name for one in looks] == ["critical"] * 4
    assert [one.escalation.name if one.escalation else None for one in looks] == [
        None,
        "L1",
        "L2",
        "L3",
    ]
    assert named(looks[0], "waiting").facts["count"] == 1
    assert (
        named(looks[0], "depth") is None
    )  # a broker has no failures, and nobody says there are none


def test_a_worker_that_works_is_seen(redis_shop, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_BROKER_URL", f"{redis_shop.broker}?timeout=2")
    for _ in range(5):  # a loaded machine may need a second question
        look = checkup("shop", Profile.load("celery_ops"))
        if named(look, "workers_down").severity == "ok":
            break
    assert "answered" in named(look, "workers_down").text
    assert look.escalation is None


def test_a_prometheus_is_judged_by_its_metrics(monkeypatch):
    asked = SETS["queues"]
    prometheus = Prometheus({
        asked["depth"].promql: [({"queue": "a"}, "101")],
        asked["failure_rate"].promql: [({}, "0.06")],
        asked["p95_latency"].promql: [({"job": "pdf"}, "31"), ({"job": "mail"}, "2")],
        asked["growth_per_minute"].promql: [({"queue": "a"}, "120")],
        asked["processed_per_minute"].promql: [({}, "5")],
    })  # fmt: skip
    with SmallServer(prometheus) as server:
        monkeypatch.setenv("DLQ_METRICS_URL", f"prometheus+http://{server.place}")
        look = checkup("metrics", Profile.load("bullmq"))
    told = {one.name: one.severity for one in look.findings}
    assert told["failed"] == told["failure_rate"] == told["p95_latency"] == "warning"
    assert told["growth_per_minute"] == "critical" and told["processed_per_minute"] == "ok"
    assert look.severity.name == "high" and look.severity.because == "depth > 100"


def test_a_number_that_json_has_not_got_is_no_number_of_a_check(monkeypatch):
    """A quantile that lies in the last bucket is infinite."""
    prometheus = Prometheus({SETS["queues"]["p95_latency"].promql: [({}, "+Inf")]})
    with SmallServer(prometheus) as server:
        monkeypatch.setenv("DLQ_METRICS_URL", f"prometheus+http://{server.place}")
        facts = facts_of([checkup("metrics", Profile())])
    [slow] = [one for one in facts["findings"] if one["name"] == "p95_latency"]
    assert slow["severity"] == "warning" and slow["facts"] == {"seconds": None}
    json.dumps(facts, allow_nan=False)


# What is kept -----------------------------------------------------------------------------------------------------


def kept_file():
    [path] = (home() / "checks").iterdir()
    return path


def test_samples_are_few_numbers_private_and_bounded(monkeypatch):
    monkeypatch.setattr(samples, "MOST", 10)
    monkeypatch.setattr(samples, "_SLACK", 5)
    for minute in range(40):
        assert samples.keep("a/b:c", {"failures": minute}, "ok", NOW + timedelta(minutes=minute))
    path = kept_file()
    assert path.stat().st_mode & 0o077 == 0
    past = samples.earlier("a/b:c")
    assert len(path.read_text().splitlines()) <= 15 and len(past) == 10
    assert past["failures"].tolist() == list(range(30, 40)) and past["waiting"].isna().all()
    assert len(samples.earlier("a/b_c")) == 0  # another place has another file


def test_a_spoilt_line_costs_itself_only():
    samples.keep("x", {"failures": 1}, "ok", NOW)
    path = kept_file()
    bad = ["{", "[]", "null", '{"at": "x", "severity": "ok"}', '{"at": "2026-11-22T10:00:00", "severity": "ok"}',
           '{"at": "2026-11-22T10:00:00Z", "severity": "odd"}',
           '{"at": "2026-11-22T10:00:00Z", "severity": "ok", "failures": "many"}',
           f'{{"at": "2026-11-22T10:00:00Z", "severity": "ok", "failures": {10**400}}}',
           f'{{"at": "2026-11-22T10:00:00Z", "severity": "ok", "failures": {2**63}}}', "[" * 9999]  # fmt: skip
    path.write_bytes(b"\xff\n" + "\n".join(bad).encode() + b"\n" + path.read_bytes())
    assert samples.earlier("x")["failures"].tolist() == [1]


def test_no_file_is_named_by_a_password():
    samples.keep("postgresql://me:hunter22@h/db", {"failures": 1}, "ok", NOW)
    assert "hunter22" not in kept_file().name


def test_where_nothing_can_be_kept_a_check_goes_on(monkeypatch, lists):
    monkeypatch.setenv("DLQ_HOME", "/dev/null/home")
    lists(1)
    look = checkup("jobs", Profile())
    assert not look.kept and named(look, "depth").severity == "warning"


def test_for_how_long_something_is_found():
    def past(*severities):
        rows = [{"at": NOW - timedelta(minutes=10 * (len(severities) - n)), "severity": word}
                for n, word in enumerate(severities)]  # fmt: skip
        return health.samples(rows)

    assert samples.unresolved(past(), NOW) == 0
    assert samples.unresolved(past("warning", "critical"), NOW) == 20
    assert samples.unresolved(past("warning", "ok", "critical"), NOW) == 10
    assert samples.unresolved(past("warning", "ok"), NOW) == 0


def test_a_profile_that_nobody_looked_at_for_long_is_told(tmp_path):
    path = tmp_path / "ours.toml"
    path.write_text('name = "ours"\nreview_by = 2026-06-01\n[contacts]\nL1 = "Ann"\n')
    export = tmp_path / "x.parquet"
    dlq.from_records([]).to_parquet(export)
    late, early = (
        checkup(
            str(export), Profile.load(path), datetime(2026, month, 2, tzinfo=UTC), remember=False
        )
        for month in (6, 5)
    )
    told = {one.name: one for one in late.findings}
    assert "by 2026-06-01" in told["profile review"].text
    assert "profile review" not in {one.name for one in early.findings}
    path.write_text('review_by = "soon"\n')
    with pytest.raises(SettingsError, match="date without quotes"):
        Profile.load(path)


def test_a_queue_that_is_not_there_could_not_be_checked(redis_url, key_prefix, monkeypatch):
    """Every threshold of a misspelt queue is ok."""
    client = redis.Redis.from_url(redis_url)
    monkeypatch.setenv("DLQ_BULL_URL", f"bullmq+{redis_url}?prefix={key_prefix}&queues=walk,walkqq")
    client.hset(f"{key_prefix}:walk:meta", "opts.maxLenEvents", "1")
    look = checkup("bull", Profile())
    client.delete(f"{key_prefix}:walk:meta")
    client.close()
    assert not look.checked
    [told] = [one for one in look.findings if one.name == "not checked"]
    assert told.severity == "critical" and told.text.startswith("There is no queue walkqq under")
    assert CliRunner().invoke(app, ["check", "bull"]).exit_code == health.COULD_NOT_CHECK
