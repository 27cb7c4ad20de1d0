"""A secret of its own in every input; none of them in any output: pages, notebooks, numbers, texts, logs, processes.

Ids, names of tasks, queues and workers are kept on purpose: what is planted there shows by its shape.
Snapshots hold the raw failures, since they are what is replayed, and are not looked at.
"""

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis import charts, dossier, notify, report
from dlqanalysis.archive import snapshot
from dlqanalysis.checkup.alert_rules import alert_rules
from dlqanalysis.display.extension import readable, table_html
from dlqanalysis.display.sheet import sheet
from dlqanalysis.errors import DLQError
from dlqanalysis.frame import from_records
from dlqanalysis.health import check
from dlqanalysis.journal import Journal
from dlqanalysis.profile import Profile
from tests import services as _services
from tests.books import FOLDER, NAMES
from tests.test_notify import Channel

PLACES = (
    "url", "hand", "monitor", "token", "alert", "message", "traceback", "local", "header", "kwargs", "args", "cookie",
    "rowvalue", "deploy", "reason", "contact", "rule", "note", "id", "queue", "worker", "task", "type",
)  # fmt: skip
#: What the journal has as it is, since a replay goes by it.
KEPT = {"id", "task", "queue", "worker", "type"}
SECRETS = {place: f"zQ{number:02d}{place}7kX92jdL" for number, place in enumerate(PLACES)}
S = SECRETS


def leaks(where, text):
    """The secrets that stand in a text, each with the place it was planted in."""
    raw = text if isinstance(text, bytes) else str(text).encode("utf-8", "backslashreplace")
    return [f"{place} in {where}" for place, secret in SECRETS.items() if secret.encode() in raw]


def failures():
    now = datetime.now(UTC)
    texts = {
        "exception_message": f"401 for https://api.example.test/x?access_token={S['message']} (password={S['message']})",
        "traceback": f'  File "a.py", line 1, in f\n    connect(password="{S["traceback"]}")\n'
        f"locals: {{'api_key': '{S['local']}'}}\nAuthorization: Bearer {S['header']}",
        "args": json.dumps([{"token": S["args"]}]),
        "kwargs": json.dumps(
            {"client_secret": S["kwargs"], "tenant_id": "acme", "cookie": f"sid={S['cookie']}"}
        ),
    }
    rows = [
        {"failure_id": str(n), "task_id": f"id-{n}", "source": "shop", "task_name": f"send_{n % 3}", "queue": "emails",
         "status": "failed", "failed_at": now - timedelta(minutes=13 * n), "exception_type": "HTTPError", "retries": 3,
         **texts}
        for n in range(60)
    ]  # fmt: skip
    rows[1]["exception_message"] = (
        f"UniqueViolation [SQL: INSERT INTO t (id, password) VALUES (%s, %s)]\n[parameters: (7, '{S['rowvalue']}')]"
    )
    for row in rows[2::3]:
        row["task_id"] = f"sk_live_{S['id']}{row['failure_id']}"
        row["queue"] = f"redis://x:{S['queue']}@cache:6379/0"
        row["worker"] = f"celery@amqp://u:{S['worker']}@mq"
        row["task_name"] = f"mail:sk_live_{S['task']}"
        row["exception_type"] = f"Refused ghp_{S['type']}AbC4"
    return from_records(rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory, services):
    """The incident in a database, as an export, and all settings: the environment, and the folder of everything."""
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "data").mkdir()
    for name in NAMES:
        (folder / f"{name}.ipynb").write_text(
            (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"), encoding="utf-8"
        )
    snapshot(failures(), folder / "data" / "demo_export.parquet")
    at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    deploy = {
        "at": at,
        "kind": "deploy",
        "service": "shop",
        "version": "1.2",
        "text": f"set token={S['deploy']}",
        "by": "ci",
    }
    pd.DataFrame([deploy]).to_csv(folder / "data" / "demo_deploys.csv", index=False)
    (folder / "profile.toml").write_text(
        f'name = "shop"\naffected = ["tenant_id"]\nnotify = ["DLQ_ALERT_URL"]\n[changes]\n'
        f"command = ['/bin/sh', '-c', 'env > {folder}/told.env; cat {folder}/data/demo_deploys.csv']\n[contacts]\n"
        f'L1 = "https://ops:{S["contact"]}@pager.example/x"\n[safety]\nsend_0 = "idempotent"\n',
        encoding="utf-8",
    )
    (folder / "rules.toml").write_text(
        f'[[rule]]\nname = "own"\nclass = "transient"\nwhy = "it was password={S["rule"]} that was refused"\n'
        'message = "401 for"\nexamples = [{ exception = "HTTPError", message = "401 for x" }]\n',
        encoding="utf-8",
    )
    with _services.schema(services, f"t{os.urandom(5).hex()}") as url:
        with psycopg.connect(url, autocommit=True) as db:
            from importlib.resources import files

            db.execute((files("dlqanalysis.demo") / "shop.sql").read_text())
        env = {
            "DLQ_HOME": str(folder / "home"),
            "DLQ_PROFILE": str(folder / "profile.toml"),
            "DLQ_RULEBOOK": str(folder / "rules.toml"),
            "DLQ_JOURNAL_URL": f"sqlite:///{folder / 'journal.sqlite'}",
            "DLQ_SHOP_URL": with_password(url, S["url"]),
            "DLQ_SHOP_HAND_URL": with_password(url, S["hand"]),
            "DLQ_SHOP_MONITOR_URL": f"redis://x:{S['monitor']}@127.0.0.1:1/0",
            "DLQ_SHOP_TOKEN": S["token"],
            "DLQ_ALERT_URL": f"json://x:{S['alert']}@127.0.0.1:1/hook",
            "DLQ_REDACT_SALT": "a salt of this test",
        }
        yield folder, env


def with_password(url, password):
    parts = urlsplit(url)
    user = parts.username or "postgres"
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
def here(world, monkeypatch):
    folder, env = world
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return folder


class Watch(threading.Thread):
    """Reads the command lines of this process's children, over and over."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.over = set(), False

    def run(self):
        while not self.over:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:
                    continue
            time.sleep(0.05)


def dlq_command(here, *arguments):
    """Exit code, what one command says, and the command lines that were to be seen meanwhile."""
    watch = Watch()
    watch.start()
    done = subprocess.run(
        [sys.executable, "-c", "from dlqanalysis.cli import main; main()", *arguments],
        capture_output=True, cwd=here, timeout=300, check=False,
    )  # fmt: skip
    watch.over = True
    watch.join()
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr, b"\n".join(watch.seen)


def left(here):
    """The secrets in whatever files are there, but for inputs and snapshots."""
    inputs = {here / "profile.toml", here / "rules.toml", here / "data" / "demo_deploys.csv"}
    files = [path for path in here.rglob("*") if path.is_file() and path not in inputs]
    return [
        leak
        for path in files
        if path.suffix != ".parquet"
        for leak in leaks(path.relative_to(here), path.read_bytes())
        if not (path.name.startswith("journal.sqlite") and leak.split()[0] in KEPT)
    ]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"10_triage", "daily_report", "weekly_report"}))
def test_no_notebook_and_no_page_has_a_secret(here, name):
    book = report.run(here / f"{name}.ipynb", out=here / "out" / f"{name}.ipynb")
    page = report.html(book, code=True)
    text = book.read_text(encoding="utf-8")
    assert text.count('"output_type"') >= 4
    assert leaks(book.name, text) + leaks(page.name, page.read_text(encoding="utf-8")) == []


EXPORT = "data/demo_export.parquet"
COMMANDS = {
    ("report", "weekly", "--source", EXPORT, "--out", "cli", "--notify"): (0, 1),
    ("report", "daily", "--source", "dead", "--out", "cli", "--places", "shop", "--notify"): (0, 1),
    ("report", "notebook", "10_triage", "-p", "source=dead", "--out", "cli", "--code"): (0,),
    ("check", EXPORT, "shop", "--json", "--notify"): (2, 3),
    ("check", "dead", "--notify", "--again", "0s"): (1, 2),
    ("doctor",): (2,),
    ("doctor", "--json"): (2,),
    ("rules",): (0,),
    ("rules", "--prometheus"): (0,),
    ("notify", "--test"): (0,),
    ("snapshot", "dead", "cli/kept.parquet"): (0,),
    ("snapshot", "shop", "cli/none.parquet"): (3,),  # a wrong password: what it says of it
    ("journal", "runs"): (0,),
    ("journal", "verify"): (0,),
}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_leaks_a_secret(here, monkeypatch, arguments):
    """What it says, sends, leaves in files and temp files, shows in the process list, and gives to other programs."""
    folder = here / "tmp"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("DLQ_DEAD_URL", str(here / EXPORT))
    Journal()
    with channel(monkeypatch) as got:
        code, said, lines = dlq_command(here, *arguments)
    assert code in COMMANDS[arguments], said
    assert not [arguments for flag in arguments if flag in ("--notify", "--test") and not got]
    found = leaks("what it says", said) + leaks("the process list", lines) + left(here)
    assert found + leaks("what a webhook got", json.dumps(got)) == []
    assert list(folder.iterdir()) == []


@contextmanager
def channel(monkeypatch):
    """What a webhook that DLQ_ALERT_URL names was sent meanwhile."""
    server = Channel()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    place = f"127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("DLQ_ALERT_URL", f"json://x:{S['alert']}@{place}/hook")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    try:
        yield server.got
    finally:
        server.shutdown()
        server.server_close()


def test_no_file_that_is_left_has_a_secret(here):
    """The journal after a run and a look at what is redacted, and whatever the tests above left beside it."""
    journal = Journal()
    rows = dlq.load(str(here / "data" / "demo_export.parquet"), since=None)
    made = dlq.plan(
        rows.pipe(dlq.classify).pipe(dlq.fingerprint).assign(failure_class="transient"),
        journal, reason=f"INC-42: password={S['reason']}", limit=5,
    )  # fmt: skip
    run = journal.start(made, {})
    journal.record(run, [("", "stopped", {"because": f"redis://x:{S['note']}@h/0 refused"})])
    dlq.reveal(rows.head(2), reason=f"token={S['reason']}", journal=journal)
    assert list(here.rglob("*.sqlite"))
    assert left(here) == []


def test_no_table_text_export_or_message_has_a_secret(here, tmp_path, monkeypatch):
    rows = failures().pipe(dlq.classify).pipe(dlq.fingerprint)
    profile, journal = Profile.load(), Journal()
    made = dlq.plan(
        rows.assign(failure_class="transient"), journal, reason=f"token={S['reason']}", limit=5
    )
    groups, found = dlq.groups(rows), check(rows, profile)
    texts = {
        "a table": table_html(rows), "a card": table_html(rows[["kwargs", "exception_message"]]),
        "text": readable(rows).to_string(), "one failure": table_html(rows.iloc[1].to_frame()),
        "groups": table_html(groups), "coverage": table_html(dlq.coverage(rows)),
        "a plan": repr(made) + made._repr_html_(), "runs": table_html(journal.runs()) + repr(journal),
        "dossier": dossier.page(groups, {"rows": rows, "why": rows["exception_message"][0]}),
        "sheet": sheet(rows, tmp_path / "a.csv").read_text(encoding="utf-8-sig"),
        "story": str(dlq.story(rows)), "rules": alert_rules(profile), "preview": notify.preview(found, "shop"),
        "profile": table_html(pd.DataFrame({"contact": list(profile.contacts.values())})),
    }  # fmt: skip
    bad = [dlq.model.Finding(name="x", severity="critical", text=rows["exception_message"][0])]
    with channel(monkeypatch) as got:
        notify.send(bad, profile, place=rows["queue"][2])
        notify.send_text("title", rows["exception_message"].head(2).tolist(), profile)
    assert len(got) == 2
    texts["what a webhook got"] = json.dumps(got)
    texts |= {
        f"chart of {column}": json.dumps(charts.by(rows, column).to_plotly_json(), default=str)
        for column in ("queue", "task_name", "exception_type", "exception_message", "kwargs")
    }
    dlq.redact_frame(rows).to_parquet(tmp_path / "a.parquet", compression=None)
    texts["parquet"] = (tmp_path / "a.parquet").read_bytes()
    assert [leak for where, text in texts.items() for leak in leaks(where, text)] == []


@pytest.mark.parametrize(
    "scheme",
    [
        "postgresql",
        "bullmq+redis",
        "list+redis",
        "celery+redis",
        "celery+amqp",
        "amqp",
        "admin+http",
        "priority+http",
        "results+redis",
    ],
)
def test_no_error_has_a_secret_nor_has_what_caused_it(here, monkeypatch, scheme):
    monkeypatch.setenv("DLQ_GONE_URL", f"{scheme}://x:{S['url']}@127.0.0.1:1/x?queue=q&list=l")
    monkeypatch.setenv("DLQ_GONE_TOKEN", S["token"])
    for verb in (dlq.connect, dlq.connect_monitor, lambda name: dlq.load(name, since="1d")):
        try:
            thing = verb("gone")
            assert leaks(scheme, repr(thing)) == []
        except DLQError as error:
            shown = "".join(traceback.format_exception(error))
            assert leaks(scheme, shown) == [], shown


def test_the_eyes_of_this_test_are_open(here):
    assert [leak.split()[0] for leak in leaks("x", failures().to_csv())] == [
        "message", "traceback", "local", "header", "kwargs", "args", "cookie", "rowvalue", "id", "queue", "worker",
        "task", "type",
    ]  # fmt: skip
