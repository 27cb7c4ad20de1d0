"""Groups with a life: each state, and who is hit; what a team knows stands in one file."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.patterns.known import parse
from dlqanalysis.profile import Profile
from dlqanalysis.report import numbers

START = datetime(2026, 11, 10, tzinfo=UTC)
NOW = "2026-11-20T00:00:00Z"
KINDS = {
    "mail": ("ConnectionError", "connection refused"),
    "memo": ("KeyError", "'margins'"),
    "gone": ("ValueError", "no such currency"),
}


def frame(**counts):
    rows = [
        {
            "failure_id": f"{name}{n}",
            "task_id": f"task-{name}{n}",
            "task_name": f"shop.{name}",
            "args": [],
            "kwargs": {"tenant": f"t{n % 2}", "n": n},
            "exception_type": KINDS[name][0],
            "exception_message": KINDS[name][1],
            "failed_at": START + timedelta(hours=n),
        }
        for name, count in counts.items()
        for n in range(count)
    ]
    return dlq.from_records(rows).pipe(dlq.classify).pipe(dlq.fingerprint)


def print_of(name):
    return str(frame(**{name: 1})["fingerprint"].iloc[0])


def replayed(journal, failures):
    plan = dlq.plan(
        failures, journal, reason="x", classes=("transient", "permanent", "data", "unknown")
    )
    run = journal.start(plan, {})
    items = list(plan.items())
    journal.claim(run, plan.source, items)
    journal.record(run, [(item.failure_id, "sent", {}) for item in items])


def states(table):
    return dict(zip(table["fingerprint"], table["state"], strict=True))


def test_new_recurring_and_gone():
    last_week = numbers.headline(frame(mail=4, gone=2))
    table = dlq.lives(frame(mail=3, memo=5), last_week, now=NOW)
    assert states(table) == {
        print_of("memo"): "new", print_of("mail"): "recurring", print_of("gone"): "gone",
    }  # fmt: skip
    assert table["state"].tolist() == ["new", "recurring", "gone"]
    assert table["before"].tolist() == [0, 4, 2] and table["count"].tolist() == [5, 3, 0]
    told = dict(zip(table["task_name"], table["error"], strict=True))
    assert told == {f"shop.{one}": f"{kind}: {text}" for one, (kind, text) in KINDS.items()}
    first = dlq.lives(frame(mail=3), now=NOW)
    assert first["state"].tolist() == ["first report"] and first["before"].isna().all()


def test_what_fails_after_a_replay_has_returned(journal):
    replayed(journal, frame(mail=3))
    old = dlq.lives(frame(mail=3), journal=journal, now=NOW)
    assert old["state"].tolist() == ["first report"] and old["replayed"].tolist() == [3]
    later = frame(mail=3).assign(
        failed_at=pd.Timestamp(datetime.now(UTC) + timedelta(hours=1)).as_unit("us")
    )
    (row,) = dlq.lives(later, journal=journal).to_dict("records")
    assert row["state"] == "returned" and row["because"].startswith(
        "it failed again after a replay"
    )


GROUPS = """
[[known]]
fingerprint = "{one}"
owner = "documents team"
note = "<b>margins</b>"
ticket = "DOC-118"
{more}
"""


def noted(more, name="memo"):
    return parse(GROUPS.format(one=print_of(name), more=more), "groups.toml")


def test_what_fails_after_a_fix_has_returned_and_is_never_quiet():
    notes = noted("fixed_at = 2026-11-10T02:30:00Z\nhold_until = 2026-12-01")
    (row,) = dlq.lives(frame(memo=5), notes=notes, now=NOW).to_dict("records")
    assert row["state"] == "returned" and not row["held"]
    assert (row["owner"], row["ticket"]) == ("documents team", "DOC-118")
    notes = noted("fixed_at = 2026-11-11")
    assert (
        states(dlq.lives(frame(memo=5), notes=notes, now=NOW))[print_of("memo")] == "first report"
    )


@pytest.mark.parametrize(
    ("more", "held"),
    [
        ("hold_until = 2026-12-01", True),
        ("hold_until = 2026-11-19", False),
        ("hold_until = 2026-12-01\nloud_above = 4", False),
        ("hold_until = 2026-12-01\nloud_above = 5", True),
        ("", False),
    ],
)
def test_a_hold_ends_with_its_time_and_with_growth(more, held):
    table = dlq.lives(frame(memo=5, mail=1), notes=noted(more), now=NOW)
    row = table.set_index("fingerprint").loc[print_of("memo")]
    assert row["held"] == held and ("held until 2026-12-01" in row["because"]) == held
    assert table["fingerprint"].iloc[-1 if held else 0] == print_of("memo")  # quiet ones last


def test_what_succeeded_since_is_superseded():
    ran = pd.DataFrame(
        {
            "task_id": [f"task-memo{n}" for n in range(3)],
            "status": "SUCCESS",
            "at": pd.Timestamp("2026-11-12T00:00:00Z"),
        }
    )
    assert (
        states(dlq.lives(frame(memo=3), executions=ran, now=NOW))[print_of("memo")] == "superseded"
    )
    assert (
        states(dlq.lives(frame(memo=4), executions=ran, now=NOW))[print_of("memo")]
        == "first report"
    )
    early = ran.assign(at=pd.Timestamp("2026-11-09T00:00:00Z"))
    assert (
        states(dlq.lives(frame(memo=3), executions=early, now=NOW))[print_of("memo")]
        == "first report"
    )
    with pytest.raises(SchemaError, match="no column 'at'"):
        dlq.lives(frame(memo=3), executions=ran.drop(columns="at"))


def test_the_groups_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / "groups.toml"
    path.write_text(GROUPS.format(one=print_of("memo"), more="") + dlq.known_stub(print_of("mail")))
    monkeypatch.setenv("DLQ_GROUPS", str(path))
    table = dlq.lives(frame(memo=2)).set_index("fingerprint")
    assert table.loc[print_of("memo"), "owner"] == "documents team"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[known]]\nowner = "x"', "needs a fingerprint"),
        ('[[known]]\nfingerprint = "x"\nowners = "x"', "'owners' is unknown"),
        ('[[known]]\nfingerprint = "x"\nhold_until = "soon"', "Write a date"),
        ('[[known]]\nfingerprint = "x"\nfixed_at = 2026-11-15T09:00:00', "no time zone"),
        ('[[known]]\nfingerprint = "x"\nloud_above = -1', "whole number"),
        ('[[known]]\nfingerprint = "x"\nnote = 3', "must be text"),
        ('[[known]]\nfingerprint = "x"\n[[known]]\nfingerprint = "x"', "known already"),
        ("[[known", "no valid TOML"),
        ("known = 5", "no list of tables"),
    ],
)
def test_what_is_wrong_in_the_file(text, words):
    with pytest.raises(SettingsError, match=words):
        parse(text, "groups.toml")


def test_who_is_hit():
    profile = Profile(affected=("tenant", "customer"))
    table = dlq.affected(frame(mail=5, memo=2), profile)
    assert table[["field", "value", "failures", "groups"]].values.tolist() == [
        ["tenant", "t0", 4, 2], ["tenant", "t1", 3, 2],
    ]  # fmt: skip
    assert table["tasks"].tolist() == ["shop.mail, shop.memo"] * 2
    assert not len(dlq.affected(frame(mail=5), Profile()))
