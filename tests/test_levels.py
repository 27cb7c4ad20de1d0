"""How grave, and whom to call: conditions of profiles on findings, and the kit's own profiles."""

import tomllib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

import dlqanalysis
from dlqanalysis import health, readings
from dlqanalysis.errors import SettingsError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.profile import Profile

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OWN = Path(dlqanalysis.__file__).parent / "profiles"


def failures(count, minutes=30, **fields):
    return from_records(
        {"failed_at": NOW - timedelta(minutes=minutes), "failure_id": str(n), "task_name": "a", "queue": "q", **fields}
        for n in range(count)
    )  # fmt: skip


def levels(profile, frame, minutes=0.0, **more):
    findings = health.check(frame, profile, NOW, **more)
    return health.severity(findings, profile, minutes), health.escalation(
        findings, profile, minutes
    )


def seen(count, minutes=10):
    return health.samples([{"at": NOW - timedelta(minutes=minutes), "failures": count}])


def test_severity_by_the_table_of_response_times():
    lists = Profile.load("redis_list")
    for frame, name, respond, contact, level in (
        (failures(1), None, "", "", None),
        (failures(51), "medium", "1h", "support team", None),
        (failures(1001, minutes=90), "high", "30m", "on-call engineer", "L1"),
        (failures(600, minutes=1), "critical", "15m", "on-call engineer", "L2"),
        (failures(10001, minutes=90), "high", "30m", "on-call engineer", "L3"),
    ):
        severity, escalation = levels(lists, frame)
        assert (severity.name if severity else None) == name
        assert (escalation.name if escalation else None) == level
        if severity:
            assert (severity.respond, severity.contact) == (respond, contact)
    assert escalation.steps[0] == "Emergency procedures" and "10000" in str(escalation)


def test_growing_and_stopped_call_the_first_level():
    bull = Profile.load("bullmq")
    many = failures(51, minutes=90)
    assert levels(bull, many)[1] is None  # many, and not growing
    assert levels(bull, many, earlier=seen(50))[1].name == "L1"
    assert levels(bull, many, earlier=seen(51))[1] is None
    waits = readings.depths([{"queue": "q", "state": "waiting", "depth": 4}])
    still = [{"at": NOW - timedelta(minutes=ago), "waiting": 4} for ago in (20, 10)]
    severity, escalation = levels(bull, empty(), depths=waits, earlier=health.samples(still))
    assert (severity.name, escalation.name) == ("critical", "L1")
    assert escalation.because == "stopped_minutes > 15"


def test_a_level_counts_what_the_threshold_counts():
    """A severity stood beside '0 failures waiting for more than 5 minutes', which the runbook waits for."""
    ours = Profile.load("celery")
    severity, escalation = levels(ours, failures(101, minutes=4))
    assert (severity.because, escalation) == ("warning", None)  # many within the hour
    severity, escalation = levels(ours, failures(101, minutes=6))
    assert (severity.name, escalation.name) == ("critical", "L1")


def test_breadth_and_causes():
    bull = Profile.load("bullmq")
    frame = from_records(
        {"failed_at": NOW - timedelta(minutes=4 + n), "failure_id": str(n), "task_name": f"t{n % 2}", "queue": f"q{n % 2}"}
        for n in range(12)
    )  # fmt: skip
    assert levels(bull, frame, earlier=seen(3))[1].name == "L2"
    assert levels(bull, frame.assign(queue="one"), earlier=seen(3))[1] is None
    lost = frame.assign(queue="one", rule="db-lost")
    assert levels(bull, lost, earlier=seen(12))[1].because == "database"
    abroad = frame.assign(queue="one", rule="throttled")
    assert levels(bull, abroad, earlier=seen(3))[1].because == "external > 10 and growing"


def test_steps_by_the_clock():
    ops = Profile.load("celery_ops")
    nobody = readings.workers([])

    def down(minutes):
        past = [{"at": NOW - timedelta(minutes=minutes), "workers": 0}]
        return levels(ops, None, workers=nobody, earlier=health.samples(past))

    for minutes, level in ((10, None), (11, "L1"), (21, "L2"), (41, "L3")):
        severity, escalation = down(minutes)
        assert severity.name == "critical"
        assert (escalation.name if escalation else None) == level
    two = failures(1)
    assert levels(ops, two)[1] is None
    lost = failures(1).assign(rule="db-lost")
    assert [levels(ops, lost, minutes=m)[1].name for m in (0, 21, 41)] == ["L1", "L2", "L3"]


def test_without_levels_findings_speak_and_nobody_is_called():
    assert levels(Profile(), empty()) == (None, None)
    severity, escalation = levels(Profile(), failures(1))
    assert (severity.name, severity.because, escalation) == ("medium", "warning", None)
    assert levels(Profile(), failures(1001))[0].name == "critical"
    narrow = Profile(severity={"critical": {"when": ["depth > 1000"]}})
    assert levels(narrow, failures(1))[0].name == "low"  # never less said than was found


def test_a_contact_of_no_level_is_refused_for_nobody_would_be_told_of_it():
    with pytest.raises(SettingsError, match=r"\[contacts\]: 'oncall' is no level. .*L1"):
        health.severity([], Profile(contacts={"oncall": "jo"}))


def test_contacts_of_the_profile_stand_in():
    profile = Profile(escalation={"L1": {"when": ["depth"]}}, contacts={"L1": "jo"})
    assert levels(profile, failures(1))[1].contact == "jo"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"L4": {"when": ["depth"]}}, "is no level"),
        ({"L1": {"when": "depth"}}, "as a list"),
        ({"L1": {}}, "as a list"),
        ({"L1": {"when": ["dept > 5"]}}, "Did you mean 'depth'"),
        ({"L1": {"when": ["depth >"]}}, "is no condition"),
        ({"L1": {"when": ["depth > 5 or growing"]}}, "is no condition"),
        ({"L1": {"when": ["__import__('os')"]}}, "is no condition"),
        ({"L1": {"when": ["depth > 1.2.3"]}}, "is no condition"),
        ({"L1": {"when": ["depth"], "respnd": "15m"}}, "Did you mean 'respond'"),
        ({"L1": {"when": ["depth"], "respond": 15}}, "respond and contact are texts"),
        ({"L1": {"when": ["depth"], "steps": "Look"}}, "steps as a list"),
    ],
)
def test_a_condition_that_cannot_be_is_one_sentence(table, says):
    with pytest.raises(SettingsError) as caught:
        health.escalation([], Profile(name="shop", escalation=table))
    assert says in str(caught.value) and "shop" in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in OWN.glob("*.toml")))
def test_the_kits_own_profiles_hold_and_say_whose_words_they_are(name, monkeypatch):
    monkeypatch.setenv("DLQ_PROFILE", name)
    profile = Profile.load()
    assert health.check(empty(), profile, NOW)
    assert health.severity([], profile) is None and health.escalation([], profile) is None
    text = (OWN / f"{name}.toml").read_text(encoding="utf-8")
    lines = text.split("[thresholds]")[1].split("\n[")[0].splitlines()
    known = ("depth_for", "failed", "growth_per_minute")  # may share the words above
    for before, line in pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert (
                before.startswith('# "')
                or "for:" in before
                or line.split()[0] in (*known, "expires_within")
            )
    assert tomllib.loads(text)["thresholds"] == dict(profile.thresholds)


def test_the_runbooks_conflict_and_each_has_its_own():
    limits = {
        name: health.limits_of(Profile.load(name))
        for name in ("celery", "bullmq", "redis_list", "priority", "celery_ops")
    }
    assert [limits[n]["depth"] for n in ("celery", "bullmq", "redis_list", "priority")] == [
        0,
        100,
        1000,
        10,
    ]
    assert [limits[n]["waiting"] for n in ("bullmq", "celery_ops")] == [1000, 100]
    assert [limits[n]["failure_rate"] for n in ("celery", "bullmq")] == [0.10, 0.05]


def test_a_profile_extends_another(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'extends = "bullmq"\nname = "shop"\n[thresholds]\nwaiting = 50\n[contacts]\nL2 = "jo"\n'
    )
    profile = Profile.load(mine)
    assert profile.name == "shop" and profile.contacts == {"L2": "jo"}
    assert (profile.thresholds["waiting"], profile.thresholds["failed"]) == (50, 100)
    assert profile.escalation["L1"]["contact"] == "on-call engineer"
    (tmp_path / "far.toml").write_text('extends = "mine.toml"\n[thresholds]\nfailed = 7\n')
    far = Profile.load(tmp_path / "far.toml")
    assert (far.thresholds["waiting"], far.thresholds["failed"], far.name) == (50, 7, "shop")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('extends = "bulmq"', "Did you mean 'bullmq'"),
        ("extends = 5", "extends must name one profile"),
        ('extends = "mine.toml"', "does not extend this one"),
        ('extends = "none.toml"', "There is no profile at"),
        ('extends = "celery operations"', "none of ours has that name. Did you mean 'celery_ops'"),
        ("extend = 5", "Did you mean 'extends'"),
        ("severity = 5", "must be a table"),
    ],
)
def test_what_cannot_be_extended_is_one_sentence(text, says, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        Profile.load(tmp_path / "mine.toml")


def test_thresholds_out_of_history():
    calm = from_records(
        {"failed_at": NOW - timedelta(hours=hour), "failure_id": f"{hour}.{n}"}
        for hour in range(24 * 10)
        for n in range(4 if hour % 50 else 20)
    )
    told = health.suggest_thresholds(calm, Profile()).set_index("threshold")
    assert told.loc["per_hour", "suggested"] == 30 and told.loc["per_hour", "usual"] == 4
    assert "a lower limit would see more" in told.loc["per_hour", "says"]
    strict = health.suggest_thresholds(calm, Profile(thresholds={"per_hour": 10}))
    assert "is passed in 2.1% of all spans" in strict["says"].iloc[0]
    short = health.suggest_thresholds(calm.head(100), Profile())
    assert short["suggested"].isna().all() and short["says"].str.startswith("too little").all()
    week = health.suggest_thresholds(calm[calm["failed_at"] > NOW - timedelta(days=7)], Profile())
    assert week["suggested"].notna().all()  # what a weekly report reads is a week
    assert len(health.suggest_thresholds(empty(), Profile())) == 2
    past = health.samples(
        [{"at": NOW - timedelta(hours=h), "failures": h % 7, "failed": 3} for h in range(240)]
    )
    depth = health.suggest_thresholds(past, Profile(thresholds={"depth": 0})).set_index("threshold")
    assert depth.loc["depth", "suggested"] == 9 and depth.loc["waiting", "says"].startswith(
        "too little"
    )


def test_a_condition_of_one_name_is_said_by_its_meaning():
    severity, _ = levels(Profile(), failures(2000))
    assert (severity.because, str(severity)) == ("critical", "critical")
    severity, _ = levels(Profile.load("redis_list"), failures(51))
    assert str(severity).endswith(f": {severity.because}") and " > 50" in severity.because
