"""dlq doctor: what it finds on real servers, with users that may write and users that may not."""

import json
import os
import sqlite3
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from psycopg import sql

from dlqanalysis import cli
from dlqanalysis.classify import classify
from dlqanalysis.doctor import examine
from dlqanalysis.errors import SettingsError
from dlqanalysis.fingerprint import fingerprint
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.plan import plan


def told(names=()):
    return {finding.name: finding for finding in examine(names)}


@pytest.fixture
def unconnected(monkeypatch):
    """Without the variables that name the tests' own services: they look like connected names."""
    for name in list(os.environ):
        if name.startswith("DLQ_TEST_"):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("unconnected")
def test_nothing_connected_is_said_and_looking_makes_no_journal(tmp_path):
    found = told()
    assert found["systems"].severity == "warning"
    assert {
        found[name].severity
        for name in ("DLQ_HOME", "journal", "profile", "rulebook", "groups file")
    } == {"ok"}
    assert not list(tmp_path.rglob("*.sqlite"))


def test_files_that_others_may_read_and_files_that_are_wrong(tmp_path, monkeypatch):
    Journal()
    (tmp_path / "dlq-home" / "dlq-journal.sqlite").chmod(0o644)
    (tmp_path / "dlq-home").chmod(0o755)
    for name in ("PROFILE", "RULEBOOK", "GROUPS"):
        (tmp_path / name).write_text("= no toml")
        monkeypatch.setenv(f"DLQ_{name}", str(tmp_path / name))
    found = told()
    assert "chmod 600" in found["journal file"].text and "chmod 700" in found["DLQ_HOME"].text
    assert {found[name].severity for name in ("profile", "rulebook", "groups file")} == {"critical"}


def test_a_journal_that_was_altered_is_critical(tmp_path):
    rows = [{"failure_id": "1", "source": "shop", "task_name": "t", "queue": "q", "task_id": "1",
             "status": "failed", "args": "[]", "kwargs": "{}", "failed_at": datetime.now(UTC)}]  # fmt: skip
    failures = from_records(rows).pipe(classify).pipe(fingerprint).assign(failure_class="transient")
    journal = Journal()
    journal.start(plan(failures, journal, reason="the provider is back"), {})
    assert told()["journal"].severity == "ok" and "1 runs" in told()["journal"].text
    with sqlite3.connect(tmp_path / "dlq-home" / "dlq-journal.sqlite") as db:
        db.execute("update dlq_entries set event = 'finished'")
    assert told()["journal"].severity == "critical"


def test_a_journal_that_cannot_be_opened_is_critical(tmp_path, monkeypatch):
    (tmp_path / "no.sqlite").mkdir()
    monkeypatch.setenv("DLQ_JOURNAL_URL", f"sqlite:///{tmp_path / 'no.sqlite'}")
    assert told()["journal"].severity == "critical"


def test_a_channel_for_alerts_is_no_system(tmp_path, monkeypatch):
    (tmp_path / "profile.toml").write_text('notify = ["DLQ_ALERT_URL"]')
    monkeypatch.setenv("DLQ_PROFILE", str(tmp_path / "profile.toml"))
    monkeypatch.setenv("DLQ_ALERT_URL", "json://127.0.0.1:1/x1y2z3")
    assert not [name for name in told() if name.startswith("alert")]


def test_an_unknown_name_is_told_what_to_set():
    with pytest.raises(SettingsError, match="DLQ_SHOP_URL"):
        examine(["shop"])


def test_a_postgres_user_that_may_write_and_one_that_may_not(shop_url, token, monkeypatch):
    role, schema = sql.Identifier(f"{token}_reader"), sql.Identifier(token)
    monkeypatch.setenv("DLQ_SHOP_URL", shop_url)
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(sql.SQL("create role {} login password 'x1y2z3'").format(role))
        try:
            db.execute(sql.SQL("grant usage on schema {} to {}").format(schema, role))
            db.execute(
                sql.SQL("grant select on all tables in schema {} to {}").format(schema, role)
            )
            found = told(["shop"])
            assert (
                found["shop: reach"].severity == "ok" and "PostgreSQL" in found["shop: reach"].text
            )
            assert (
                found["shop: rights"].severity == "warning"
                and "may write" in found["shop: rights"].text
            )
            assert found["shop: clock"].severity == "ok"
            db.execute(sql.SQL("set role {}").format(role))
            monkeypatch.setenv("DLQ_SHOP_URL", as_user(shop_url, f"{token}_reader", "x1y2z3"))
            monkeypatch.setenv("DLQ_SHOP_HAND_URL", shop_url)
            found = told(["shop"])
            assert found["shop: rights"].severity == "ok", found["shop: rights"].text
            assert found["shop: hand"].severity == "ok"
            db.execute("reset role")
            db.execute(sql.SQL("grant update on {}.failed_tasks to {}").format(schema, role))
            assert "UPDATE on" in told(["shop"])["shop: rights"].text
        finally:
            db.execute("reset role")
            db.execute(sql.SQL("drop owned by {0}").format(role))
            db.execute(sql.SQL("drop role {}").format(role))


def as_user(url, user, password):
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))


def test_a_redis_user_that_may_write_and_one_that_may_not(redis_url, token, monkeypatch):
    with redis.Redis.from_url(redis_url) as admin:
        rights = ["~*", "+@read", "+@connection", "+info", "+time", "+acl|whoami"]
        try:
            admin.execute_command("ACL", "SETUSER", token, "on", ">x1y2z3", *rights, "+acl|dryrun")
            monkeypatch.setenv("DLQ_MEMOS_URL", f"bullmq+{redis_url}")
            assert "may write (SET" in told(["memos"])["memos: rights"].text
            monkeypatch.setenv("DLQ_MEMOS_URL", f"bullmq+{as_user(redis_url, token, 'x1y2z3')}")
            found = told(["memos"])
            assert found["memos: rights"].severity == "ok", found["memos: rights"].text
            assert token in found["memos: reach"].text and found["memos: clock"].severity == "ok"
            admin.execute_command("ACL", "SETUSER", token, "-acl|dryrun")
            assert "ACL DRYRUN" in told(["memos"])["memos: rights"].text
        finally:
            admin.execute_command("ACL", "DELUSER", token)


@pytest.mark.rabbitmq
def test_a_broker_tells_rights_by_its_management_api(amqp_url, amqp_management_url, monkeypatch):
    monkeypatch.setenv("DLQ_RABBIT_URL", amqp_url)
    assert "MANAGEMENT_URL is not set" in told(["rabbit"])["rabbit: rights"].text
    monkeypatch.setenv("DLQ_RABBIT_MANAGEMENT_URL", amqp_management_url)
    found = told(["rabbit"])
    assert "RabbitMQ" in found["rabbit: reach"].text
    assert "may write (write, configure)" in found["rabbit: rights"].text


@pytest.mark.parametrize(
    ("url", "severity"),
    [
        ("redis://cache.internal:1/0", "warning"),
        ("rediss://cache.internal:1/0", "ok"),
        ("postgresql://u@db.internal/x?sslmode=require", "warning"),
        ("postgresql://u@db.internal/x?sslmode=verify-full", "ok"),
        ("postgresql://u@localhost/x", "ok"),
    ],
)
def test_tls(url, severity):
    from dlqanalysis.doctor import _tls

    assert _tls("shop", url).severity == severity


def test_the_same_user_for_reader_and_hand_is_a_warning(monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_URL", "bullmq+redis://u:x1y2z3@127.0.0.1:1/0")
    monkeypatch.setenv("DLQ_SHOP_HAND_URL", "bullmq+redis://u:x1y2z3@127.0.0.1:1/0")
    found = told(["shop"])
    assert found["shop: hand"].severity == "warning"
    assert found["shop: reach"].severity == "critical"
    assert not [finding for finding in found.values() if "x1y2z3" in finding.text]


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize(("url", "code"), [("", 1), ("bullmq+redis://u:x1y2z3@127.0.0.1:1/0", 2)])
def test_the_command_line_has_exit_codes_and_json(url, code, monkeypatch, capsys):
    if url:
        monkeypatch.setenv("DLQ_SHOP_URL", url)
    for flags in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["dlq", "doctor", *flags])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == code
        out = capsys.readouterr().out
        assert "x1y2z3" not in out
        if flags:
            facts = json.loads(out)
            assert facts["severity"] == ("critical" if url else "warning")
            assert {"name", "severity", "text"} <= set(facts["findings"][0])
    monkeypatch.setattr(sys, "argv", ["dlq", "doctor", "nobody"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
