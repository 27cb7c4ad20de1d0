"""dlq doctor: what it finds on real servers, with users that may write and users that may not."""

import json
import os
import sqlite3
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

import dlqanalysis as dlq
from dlqanalysis import cli
from dlqanalysis.classify import classify
from dlqanalysis.doctor import examine
from dlqanalysis.errors import SettingsError
from dlqanalysis.fingerprint import fingerprint
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.loading import load
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


def test_a_check_before_replays_that_cannot_be_read_is_told_by_daylight(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    profile = tmp_path / "profile.toml"
    monkeypatch.setenv("DLQ_PROFILE", str(profile))
    profile.write_text(f'[preflight.deploys]\ncommand = ["touch", "{ran}"]\n')
    assert told()["profile"].severity == "ok" and not ran.exists()
    profile.write_text('[preflight.health]\npage = "https://shop.example/health"\n')
    found = told()["profile"]
    assert found.severity == "critical" and "preflight.health has no option 'page'" in found.text


@pytest.mark.parametrize(
    ("text", "severity", "says"),
    [
        ('[severity.high]\nwhen = ["depth or critical"]\n', "critical", "is no condition"),
        ('[escalation.L9]\nwhen = ["depth"]\n', "critical", "is no level"),
        ('notify = ["DLQ_PAGER_URL"]\n', "warning", "DLQ_PAGER_URL, but that variable is not set"),
        ('[changes]\nfile = "/nowhere/deploys.csv"\n', "warning", "/nowhere/deploys.csv"),
    ],
)
def test_what_would_end_every_check_is_told_by_daylight(
    text, severity, says, tmp_path, monkeypatch
):
    (tmp_path / "profile.toml").write_text(text)
    monkeypatch.setenv("DLQ_PROFILE", str(tmp_path / "profile.toml"))
    found = told()["profile"]
    assert found.severity == severity and says in found.text


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
    assert told()["journal"].severity == "ok" and "1 run," in told()["journal"].text
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


def test_what_only_tells_numbers_is_not_asked_for_failures(monkeypatch):
    monkeypatch.setenv("DLQ_WATCH_URL", "prometheus+http://127.0.0.1:9?metrics=lists")
    found = told(["watch"])
    assert found["watch: reach"].severity == "ok" and "watch: hand" not in found
    monkeypatch.setenv("DLQ_WATCH_URL", "prometheus+http://127.0.0.1:9?metrics=list")
    assert "'lists'" in told(["watch"])["watch: reach"].text


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
            db.execute(sql.SQL("revoke update on {}.failed_tasks from {}").format(schema, role))
            assert told(["shop"])["shop: rights"].severity == "ok"
            grant = sql.SQL("grant insert (status) on {}.failed_tasks to {}")
            db.execute(grant.format(schema, role))
            assert "INSERT on failed_tasks" in told(["shop"])["shop: rights"].text
        finally:
            db.execute("reset role")
            db.execute(sql.SQL("drop owned by {0}").format(role))
            db.execute(sql.SQL("drop role {}").format(role))


def test_a_table_that_is_not_there_or_not_understood_is_critical(shop_url, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_URL", shop_url)
    assert told(["shop"])["shop: place"].severity == "ok", told(["shop"])["shop: place"].text
    monkeypatch.setenv("DLQ_SHOP_URL", f"{shop_url}&table=failed_task")
    dlq.Journal(shop_url).runs()  # a team's journal in the same database is no table of failures
    assert "look alike: failed_tasks" in told(["shop"])["shop: place"].text
    monkeypatch.setenv("DLQ_SHOP_URL", f"{shop_url}&table=dead")
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute("create table dead (uid uuid, job text, died timestamptz, said text)")
        found = told(["shop"])["shop: place"]
        assert found.severity == "critical" and "?map=failure_id:COLUMN,task_name" in found.text
        mapped = "&map=failure_id:uid,task_name:job,failed_at:died,exception_message:said"
        monkeypatch.setenv("DLQ_SHOP_URL", f"{shop_url}&table=dead{mapped}")
        found = told(["shop"])["shop: place"]
        assert found.severity == "warning" and "no args: payloads are incomplete" in found.text


def test_queues_that_are_not_there_are_a_warning(redis_url, key_prefix, monkeypatch):
    monkeypatch.setenv("DLQ_MEMOS_URL", f"bullmq+{redis_url}?prefix={key_prefix}&queues=defualt")
    assert "There is no queue defualt" in told(["memos"])["memos: place"].text
    with redis.Redis.from_url(redis_url) as db:
        db.hset(f"{key_prefix}:defualt:meta", "version", "bullmq:5.81.5")
        found = told(["memos"])["memos: place"]
        assert (found.severity, found.text) == ("ok", "defualt can be read")
        monkeypatch.setenv("DLQ_HOOKS_URL", f"list+{redis_url}?keys={key_prefix}:dlq:*")
        assert told(["hooks"])["hooks: place"].severity == "warning"
        db.lpush(f"{key_prefix}:dlq:hooks", "{}")
        assert told(["hooks"])["hooks: place"].severity == "ok"


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


@pytest.mark.rabbitmq
def test_the_options_of_a_broker_that_workers_use_are_its_own(amqp_url, monkeypatch):
    monkeypatch.setenv("DLQ_WORKERS_URL", f"celery+{amqp_url}?timeout=5&queues=memos")
    found = told(["workers"])
    assert "RabbitMQ" in found["workers: reach"].text, found["workers: reach"].text


@pytest.mark.rabbitmq
def test_a_broker_user_that_can_only_read_reads_and_is_said_to_be_one(
    classic, amqp_url, amqp_management_url, token, monkeypatch
):
    classic.fill(3)
    vhost = urlsplit(amqp_url).path.removeprefix("/")
    with httpx.Client(base_url=amqp_management_url, trust_env=False) as admin:
        admin.put(f"/api/users/{token}", json={"password": "x1y2z3", "tags": ""}).raise_for_status()
        try:
            rights = {"configure": "", "write": "", "read": ".*"}
            admin.put(f"/api/permissions/{vhost}/{token}", json=rights).raise_for_status()
            reader = f"{as_user(amqp_url, token, 'x1y2z3')}?queue={classic.dlq}"
            monkeypatch.setenv("DLQ_RABBIT_URL", reader)
            monkeypatch.setenv("DLQ_RABBIT_HAND_URL", f"{amqp_url}?queue={classic.dlq}")
            monkeypatch.setenv("DLQ_RABBIT_MANAGEMENT_URL", amqp_management_url)
            found = told(["rabbit"])
            assert found["rabbit: rights"].severity == "ok", found["rabbit: rights"].text
            assert found["rabbit: hand"].severity == "ok"
            assert len(load("rabbit", since=None)) == 3 == classic.depth(classic.dlq)
            mine = as_user(amqp_management_url, token, "x1y2z3")
            monkeypatch.setenv("DLQ_RABBIT_MANAGEMENT_URL", mine)
            assert "administrators only" in told(["rabbit"])["rabbit: rights"].text
            rights["write"] = f"^{token}"
            admin.put(f"/api/permissions/{vhost}/{token}", json=rights).raise_for_status()
            monkeypatch.setenv("DLQ_RABBIT_MANAGEMENT_URL", amqp_management_url)
            assert "may write (write)" in told(["rabbit"])["rabbit: rights"].text
        finally:
            admin.delete(f"/api/users/{token}").raise_for_status()


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


@pytest.mark.parametrize(
    ("settings", "severity", "says"),
    [
        ({}, "ok", "HAND_URL is not set"),
        ({"HAND_TOKEN": "writes"}, "ok", "of its own"),
        ({"HAND_TOKEN": "reads"}, "warning", "Give DLQ_SHOP_HAND_TOKEN"),
        ({"HAND_URL": "{place}"}, "ok", "cannot be told"),
        ({"HAND_URL": "{u}"}, "ok", "cannot be told"),
        ({"URL": "{u}", "HAND_URL": "{place}"}, "ok", "cannot be told"),
        ({"URL": "{u}", "HAND_URL": "{u}"}, "warning", "Give DLQ_SHOP_HAND_URL"),
        ({"URL": "{u}", "HAND_URL": "{v}"}, "ok", "of its own"),
        ({"URL": "{u}", "HAND_URL": "{u}", "HAND_TOKEN": "writes"}, "ok", "of its own"),
        (
            {"URL": "list+redis://127.0.0.1:1/0", "HAND_TOKEN": "writes"},
            "ok",
            "HAND_URL is not set",
        ),
    ],
)
def test_whether_a_hand_is_somebody_else(settings, severity, says, monkeypatch):
    at = "127.0.0.1:1/api"
    places = {name: f"admin+http://{name}:x1y2z3@{at}" for name in "uv"}
    for part, value in {"URL": "{place}", "TOKEN": "reads", **settings}.items():
        text = value.format(place=f"admin+http://{at}", **places)
        monkeypatch.setenv(f"DLQ_SHOP_{part}", text)
    found = told(["shop"])["shop: hand"]
    assert (found.severity, says in found.text) == (severity, True), found.text


@pytest.mark.parametrize("part", ["URL", "HAND_URL"])
@pytest.mark.parametrize("host", ["[::1", "h\u2028x"])
def test_a_url_that_cannot_be_taken_apart_is_a_finding(part, host, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_URL", "list+redis://127.0.0.1:1/0?keys=a")
    monkeypatch.setenv(f"DLQ_SHOP_{part}", f"list+redis://u:x1y2z3@{host}/0?keys=a")
    found = told(["shop"])["shop: reach"]
    assert found.severity == "critical" and "x1y2z3" not in found.text
    assert f"DLQ_SHOP_{part} cannot be read as a URL: a bracket" in found.text


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


def test_names_in_the_profile_that_are_names_of_nothing(shop_url, tmp_path, monkeypatch):
    """A misspelt grade protects nothing; a task that has not failed yet is none."""
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(
            "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type, failed_at)"
            " values ('1', 'api.tasks.send_email', 'q', '[]', '{}', 'E', now())"
        )
    (tmp_path / "profile.toml").write_text(
        '[safety]\nsend_emial = "never"\nrefund = "never"\n"*" = "reconcile"\n'
        '[keys]\nsend_email = "email_{to}"\n[effects]\nsend_email = "comunication_keys"\n'
    )
    monkeypatch.setenv("DLQ_PROFILE", str(tmp_path / "profile.toml"))
    monkeypatch.setenv("DLQ_SHOP_URL", shop_url)
    said = [one for one in examine(["shop"]) if one.name == "profile"]
    assert [one.severity for one in said] == ["warning", "warning"]
    effects, safety = (one.text for one in said)
    assert "'comunication_keys' for send_email" in effects and "'communication_keys'?" in effects
    assert "[safety] names the task 'send_emial'" in safety and "'send_email'?" in safety
