"""The command line as a person uses it: help, exit codes, one sentence for what is theirs to mend."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from dlqanalysis import __version__, archive
from dlqanalysis.cli import app, main
from dlqanalysis.frame import from_records
from tests.books import play
from tests.lists import Lists, message

COMMANDS = [[], ["demo"], ["lab"], ["init"], ["report"], ["report", "weekly"], ["report", "daily"], ["report", "notebook"],
            ["snapshot"], ["check"], ["notify"], ["rules"], ["journal"], ["journal", "runs"], ["doctor"], ["journal", "verify"]]  # fmt: skip


@dataclass
class Told:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def dlq(monkeypatch, capsys):
    """Runs the command line in this process, as `dlq` would: its exit code and what it wrote."""

    def run(*arguments: str, **env: str) -> Told:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["dlq", *arguments])
            patch.setenv("COLUMNS", "100")
            for name, value in env.items():
                patch.setenv(name, value)
            code = 0
            try:
                main()
            except SystemExit as exit_:
                code = exit_.code or 0
        out, err = capsys.readouterr()
        return Told(code, out, err)

    return run


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Five failures of an hour ago, one of them hostile, in a snapshot."""
    when = datetime.now(UTC) - timedelta(hours=1)
    frame = from_records(
        [
            {
                "source": "celery:failed_tasks",
                "failure_id": str(number),
                "task_name": "api.tasks.send_email",
                "status": "failed",
                "failed_at": when,
                "exception_message": "550 jo@example.com\x1b[2J",
                "kwargs": {"password": "hunter2"},
            }
            for number in range(5)
        ]
    )
    return archive.snapshot(frame, tmp_path / "failures.parquet")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does(command):
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "Usage:" in result.output
    for line in result.output.splitlines():
        if match := re.match(r"│ (?:--|-p|\*)\S* .*?  (\S.*)│", line):
            assert match[1].strip(), f"an option without a word of help: {line}"


def test_every_command_and_option_has_help():
    def commands(typer_app):
        for info in typer_app.registered_commands:
            yield info.callback
        for group in typer_app.registered_groups:
            yield from commands(group.typer_instance)

    found = list(commands(app))
    assert {function.__name__ for function in found} == {
        "demo",
        "lab",
        "lay_out",
        "weekly",
        "daily",
        "notebook",
        "snapshot",
        "check",
        "doctor",
        "notify",
        "rules",
        "runs",
        "verify",
    }
    for function in found:
        assert function.__doc__
        for name, kind in function.__annotations__.items():
            if name != "return":
                [option] = kind.__metadata__
                assert option.help, f"{function.__name__} {name}"


def test_help_is_quick_since_it_imports_nothing_heavy():
    code = (
        "import sys; from dlqanalysis import cli; "
        "print([m for m in ('pandas', 'pyarrow', 'sqlalchemy', 'plotly', 're2', 'papermill') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_installed_command_runs():
    """The one test that starts a process: script, version, and a refusal without a traceback."""
    command = Path(sys.executable).with_name("dlq")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"dlqanalysis {__version__}\n"
    refused = subprocess.run(
        [command, "check", "celery"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 3 and refused.stderr.count("\n") == 1


def test_an_unknown_name_is_one_sentence_and_exit_code_3(dlq):
    result = dlq("check", "celery")
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "DLQ_CELERY_URL" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "/nowhere/x.parquet"], "/nowhere/x.parquet"),
        (["snapshot", "celery", "x.parquet"], "DLQ_CELERY_URL"),
        (["report", "weekly", "--source", "postgresql://a:hunter2@h/d"], "password"),
        (["report", "notebook", "10_triage", "-p", "source"], "name=value"),
        (["report", "notebook", "10_triage", "-p", "source=redis://:hunter2@h/0"], "password"),
        (["report", "notebook", "10_triage", "-p", "sorce=x"], "sorce"),
        (["report", "notebook", "99_nothing"], "99_nothing"),
    ],
)  # fmt: skip
def test_what_is_the_readers_to_mend_is_one_sentence(dlq, arguments, says, tmp_path):
    result = dlq(*arguments, *(["--out", str(tmp_path)] if arguments[0] == "report" else []))
    assert result.returncode == 3, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr and "hunter2" not in result.stderr + result.stdout


@pytest.mark.parametrize("kind", ["daily", "weekly"])
def test_a_folder_that_cannot_be_written_is_no_finding(kind, dlq, export, tmp_path):
    (tmp_path / "file").touch()
    done = dlq("report", kind, "--source", str(export), "--out", str(tmp_path / "file" / "reports"))
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "file/reports: " in done.stderr and "Check the path, its permissions" in done.stderr


def test_a_wrong_command_line_says_how_it_goes(dlq):
    result = dlq("check")
    assert result.returncode == 2 and "Usage:" in result.stderr


def test_check_prints_findings_and_exits_with_the_worst(dlq, export, tmp_path):
    result = dlq("check", str(export))
    assert result.returncode == 1, result.stderr
    assert re.search(r"^warning\s+depth\s+5 failures waiting", result.stdout, re.M)
    assert "\x1b" not in result.stdout  # no colours into a pipe, and none from the data
    calm = tmp_path / "calm.toml"
    calm.write_text('[thresholds]\ndepth = 5\ndepth_critical = ""\n')
    assert dlq("check", str(export), "--profile", str(calm)).returncode == 0
    grave = tmp_path / "grave.toml"
    grave.write_text("[thresholds]\ndepth_critical = 4\n")
    assert dlq("check", str(export), DLQ_PROFILE=str(grave)).returncode == 2
    typo = tmp_path / "typo.toml"
    typo.write_text("[thresholds]\ndeptf = 4\n")
    result = dlq("check", str(export), "--profile", str(typo))
    assert result.returncode == 3 and "Did you mean 'depth'?" in result.stderr


def test_check_for_machines(dlq, export):
    result = dlq("check", str(export), "--json")
    told = json.loads(result.stdout)
    assert result.returncode == 1 and told["severity"] == "warning"
    assert told["truncated"] is False
    depth = next(finding for finding in told["findings"] if finding["name"] == "depth")
    assert depth["facts"]["waiting"] == 5
    assert "hunter2" not in result.stdout and "jo@example.com" not in result.stdout


def test_check_of_several_says_whose_and_whom_to_call(dlq, export, tmp_path):
    strict = tmp_path / "strict.toml"
    strict.write_text(
        'extends = "redis_list"\n[thresholds]\ndepth = 0\n'
        '[severity.high]\nwhen = ["depth > 4"]\nrespond = "30m"\n'
        '[escalation.L1]\nwhen = ["depth > 4"]\ncontact = "jo@example.com"\nsteps = ["look"]\n'
    )
    gone = {"DLQ_GONE_URL": "list+redis://127.0.0.1:9/0?keys=a"}
    result = dlq("check", str(export), "gone", "--profile", str(strict), **gone)
    assert result.returncode == 2, result.stderr
    assert f"{export}:\n" in result.stdout and "gone:\n" in result.stdout
    assert re.search(r"^critical unreachable ", result.stdout, re.M)
    assert re.search(r"^severity +high, respond within 30m: depth > 4$", result.stdout, re.M)
    assert re.search(r"^escalation +L1 \(<email:\w+>\): depth > 4\n +- look$", result.stdout, re.M)
    result = dlq("check", str(export), "gone", "nobody", "--json", "--profile", str(strict), **gone)
    told = json.loads(result.stdout)
    assert result.returncode == 3  # one could not be checked; the others were
    assert [check["checked"] for check in told["checks"]] == [True, True, False]
    assert told["checks"][0]["level"]["respond"] == "30m"
    assert told["checks"][0]["escalation"]["steps"] == ["look"]
    assert {finding["place"] for finding in told["findings"]} == {str(export), "gone", "nobody"}


def test_rules_are_the_thresholds_in_force_or_yaml(dlq):
    shown = dlq("rules", "--profile", "bullmq")
    assert shown.returncode == 0
    assert re.search(r"^waiting +1,000  more tasks", shown.stdout, re.M)
    assert re.search(r"^failure_rate +0.05 ", shown.stdout, re.M)
    import yaml

    made = yaml.safe_load(dlq("rules", "--prometheus", DLQ_PROFILE="bullmq").stdout)
    alerts = {rule["alert"]: rule["expr"] for rule in made["groups"][0]["rules"]}
    assert alerts["HighFailureRate"].endswith("> 0.05")
    assert alerts["HighP95Latency"].endswith("> 30") and alerts["HighWaiting"].endswith("> 1000")
    lists = dlq("rules", "--prometheus", "--metrics", "lists", "--profile", "redis_list").stdout
    [low] = [
        rule
        for rule in yaml.safe_load(lists)["groups"][0]["rules"]
        if rule["alert"].startswith("Low")
    ]
    assert low["expr"].endswith("< 600") and low["for"] == "600s"
    assert dlq("rules", "--profile", "bulmq").stderr.count("Did you mean 'bullmq'") == 1


def test_notify_sends_a_test_and_nothing_unasked(dlq, monkeypatch, tmp_path):
    from tests.test_notify import channels

    with channels(monkeypatch) as channel:
        profile = tmp_path / "p.toml"
        profile.write_text('name = "shop"\nnotify = ["DLQ_ALERT_URL"]\n')
        shown = dlq("notify", "--profile", str(profile))
        assert "DLQ_ALERT_URL is set" in shown.stdout and channel.got == []
        assert "s3cretpass" not in shown.stdout
        done = dlq("notify", "--test", "--profile", str(profile))
        assert done.stdout == "1 channel took the test message.\n"
        assert channel.got[0]["title"] == "Test of shop"
    assert "names no channel" in dlq("notify").stdout
    refused = dlq("notify", "--test")
    assert refused.returncode == 3 and "names no channel, so nothing was sent" in refused.stderr


def test_check_notify_tells_once(dlq, export, monkeypatch, tmp_path):
    from tests.test_notify import channels

    profile = tmp_path / "p.toml"
    profile.write_text('name = "shop"\nnotify = ["DLQ_ALERT_URL"]\n')
    with channels(monkeypatch) as channel:
        arguments = ("check", str(export), "--notify", "--profile", str(profile))
        assert dlq(*arguments).stderr.endswith(": sent\n")
        assert dlq(*arguments).stderr.endswith(": already told\n")
        assert dlq(*arguments, "--again", "0s").stderr.endswith(": sent\n")
        assert [message["title"].partition(": ")[2] for message in channel.got] == [
            "1 warning, 7 ok"
        ] * 2
        assert "Severity: medium: findings that are warnings" in channel.got[0]["message"]
        assert channel.got[0]["title"].startswith(f"Dead letters of {export}: ")
        # a file of the same name, or another part of the same server: what one was told is not told for the other
        said = []
        for place, text in (
            (
                "bad",
                '{"id": 1, "task_name": "t", "exception_type": "E", "failed_at": "2026-01-01T00:00Z"}\n',
            ),
            ("calm", ""),
        ):
            (tmp_path / place).mkdir()
            (tmp_path / place / "failures.jsonl").write_text(text)
        for place in ("bad", "calm", "bad"):
            file = tmp_path / place / "failures.jsonl"
            said.append(dlq("check", str(file), *arguments[2:]).stderr.rpartition(": ")[2])
        assert said == ["sent\n", "nothing to tell\n", "already told\n"]


def test_a_channel_that_is_away_keeps_none_from_hearing_of_the_other_systems(
    dlq, export, monkeypatch, tmp_path
):
    from tests.test_notify import channels

    profile = tmp_path / "p.toml"
    profile.write_text('notify = ["DLQ_AWAY_URL", "DLQ_ALERT_URL"]\n')
    monkeypatch.setenv("DLQ_AWAY_URL", "json://127.0.0.1:9/hook?cto=1&rto=1")
    other = tmp_path / "other" / export.name  # two databases with failed_tasks have one name, too
    other.parent.mkdir()
    other.write_bytes(export.read_bytes())
    with channels(monkeypatch) as channel:
        done = dlq("check", str(export), str(other), "--notify", "--profile", str(profile))
        assert done.returncode == 3 and "1 of 2 channels took the message" in done.stderr
        assert len(channel.got) == 2


def test_a_report_that_nobody_can_be_told_of_is_made_all_the_same(dlq, export, tmp_path):
    """Its own exit code stays; the mistake is one sentence on stderr, which cron mails."""
    asked = ("report", "daily", "--source", str(export), "--out", str(tmp_path), "--notify")
    result = dlq(
        *asked, "--usual", "10m"
    )  # of an hour ago they are, and no report says that nothing failed
    told = json.loads(Path(result.stdout.splitlines()[1]).read_text())["story"]
    assert "nothing failed" not in told[0]
    assert result.returncode in (0, 1) and Path(result.stdout.splitlines()[0]).exists()
    assert result.stderr.startswith(
        "The report is written, and nobody was told. Profile 'default' names no channel"
    )
    assert result.stderr.count("\n") == 1


def test_check_notify_without_a_channel_is_a_sentence(dlq, export):
    result = dlq("check", str(export), "--notify")
    assert result.returncode == 3 and "names no channel" in result.stderr


def test_check_and_snapshot_of_a_database(dlq, shop_url, tmp_path):
    import psycopg

    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO failed_tasks (task_id, task_name, queue_name, exception_type, exception_message,"
            " args, kwargs, status, failed_at) VALUES"
            " ('t1', 'api.tasks.send_email', 'emails', 'TimeoutError', 'timed out', '[]', '{}', 'failed',"
            " now() - interval '10 minutes')"
        )
    result = dlq("check", "celery", DLQ_CELERY_URL=shop_url)
    assert result.returncode == 1, result.stderr
    assert "1 failure waiting" in result.stdout
    kept = tmp_path / "kept.parquet"
    result = dlq("snapshot", "celery", str(kept), DLQ_CELERY_URL=shop_url)
    assert result.returncode == 0 and result.stdout.strip() == str(kept), result.stderr
    assert list(archive.read(kept)["task_id"]) == ["t1"]
    assert "hunter" not in str(pd.read_parquet(kept).to_dict())


def test_what_a_notebook_wrote_besides_is_named_beside_its_page(dlq, export, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = ("report", "notebook", "50_post_incident", "-p", f"source={export}", "-p", "changes=")
    done = dlq(*asked, "-p", "out=incident.md", "--out", "pages")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["pages/50_post_incident.html", "incident.md"]
    assert (tmp_path / "incident.md").read_text().startswith("# Incident")


@pytest.mark.parametrize("armed", [False, True], ids=["confirm", "DLQ_ARM"])
def test_a_notebook_that_sent_is_a_page_and_its_run_is_told(
    dlq, redis_url, key_prefix, monkeypatch, tmp_path, armed
):
    """The undo below the replay refuses as it should, which is no failure of the run that was confirmed."""
    lists = Lists(redis_url, key_prefix)
    lists.fill(*(message(number) for number in range(6)))
    monkeypatch.setenv("DLQ_HOOKS_URL", lists.url)
    monkeypatch.setenv("DLQ_HOOKS_HAND_URL", lists.url)
    chosen = {"source": "hooks", "hand": "hooks", "action": "quarantine", "reason": "INC-7"}
    _, names = play("40_replay", without="raises-exception", **chosen)
    asked = [part for pair in chosen.items() for part in ("-p", "=".join(pair))]
    command = ("report", "notebook", "40_replay", *asked, "--out", str(tmp_path))
    page, plan = tmp_path / "40_replay.html", names["plan"].id

    def confirmed(ident):
        return dlq(*command, DLQ_ARM=ident) if armed else dlq(*command, "-p", f"confirm={ident}")

    wrong = confirmed("00000000")
    assert (wrong.returncode, wrong.stdout) == (3, f"{page}\n")
    assert "this plan is not confirmed" in wrong.stderr and "Nothing was sent" in page.read_text()
    assert lists.redis.llen(lists.dlq) == 6
    page.unlink()
    done = confirmed(plan)
    assert (done.returncode, done.stderr) == (0, "") and page.exists()
    first, last = done.stdout.splitlines()
    assert first == str(page) and last.endswith(": 6 planned = 6 sent.") and plan in last
    lists.redis.close()


def test_the_journal_is_shown_and_proven(dlq, tmp_path):
    from sqlalchemy import create_engine, text

    from dlqanalysis.journal import Journal
    from dlqanalysis.plan import plan

    assert dlq("journal", "verify").returncode == 3  # there is none yet
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    journal = Journal(url)
    rows = [{"failure_id": "1", "task_name": "a", "args": [], "failed_at": "2026-11-01T00:00:00Z"}]
    made = plan(from_records(rows), journal, reason="INC-9 \x1b[31m", action="archive")
    run = journal.start(made, {})
    journal.claim(run, made.source, list(made.items()))
    shown = dlq("journal", "runs", DLQ_JOURNAL_URL=url)
    assert run in shown.stdout and "INC-9" in shown.stdout and "\x1b" not in shown.stdout
    good = dlq("journal", "verify", DLQ_JOURNAL_URL=url)
    first, newest = good.stdout.splitlines()
    assert (good.returncode, first) == (0, "Every entry of 1 run is what was written.")
    known = newest.rpartition(" ")[2]
    assert dlq("journal", "verify", "--known", known, DLQ_JOURNAL_URL=url).returncode == 0
    gone = dlq("journal", "verify", "--known", known[::-1], DLQ_JOURNAL_URL=url)
    assert gone.returncode == 2 and "entries are gone" in gone.stderr
    with create_engine(url).begin() as db:
        db.execute(text("UPDATE dlq_entries SET detail = '{}' WHERE event = 'started'"))
    bad = dlq("journal", "verify", DLQ_JOURNAL_URL=url)
    assert bad.returncode == 2 and run in bad.stderr
