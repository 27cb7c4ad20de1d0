"""The how-to pages are run, block after block, as a reader would: Python as cells, `dlq` commands, TOML as files.

`export` lines keep their scheme and get the address of a service of the test's own.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
import redis
from typer.main import get_command

import dlqanalysis as dlq
from dlqanalysis.cli import app
from dlqanalysis.demo import world
from dlqanalysis.errors import NotConfirmed
from dlqanalysis.sources.prometheus.queries import SETS
from tests.admin_server import TOKEN, AdminServer
from tests.lists import Lists, consuming, message
from tests.priority_world import World
from tests.prometheus_server import Prometheus
from tests.small_server import SmallServer
from tests.test_bullmq_source import Den
from tests.test_logs import LOG
from tests.test_queue_api import KEY, Queues

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "howto"
RUN, CONFIG = {"python", "sh", "toml"}, {"cron", "ini"}
FOR_ADMINS = {"sql", "redis"}  # run by a test of their own
MAY_BE_EMPTY = {"dlq.similar(failures)"}  # the demo has nothing to merge


def blocks(page: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```$", (PAGES / page).read_text(), re.S | re.M)


class Reader:
    """Somebody who does what a page says, in one kernel and one folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, **places: str) -> None:
        self.monkeypatch, self.folder, self.places = monkeypatch, folder, places
        self.names: dict[str, Any] = {}
        self.shown: list[Any] = []
        self.named: set[str] = set()
        monkeypatch.chdir(folder)
        for name, place in places.items():
            monkeypatch.setenv(name, place)

    def follow(self, page: str, change: Callable[[str], str] = lambda text: text) -> "Reader":
        for language, text in blocks(page):
            if language in RUN:
                getattr(self, language)(change(text))
        assert set(self.places) - self.named <= {"DLQ_CELERY_URL", "DLQ_PROFILE"}
        return self

    def python(self, text: str) -> None:
        """A cell: each line that is an expression shows something."""
        for node in ast.parse(text).body:
            if not isinstance(node, ast.Expr):
                exec(compile(ast.Module([node], []), "howto", "exec"), self.names)
                continue
            shown = eval(compile(ast.Expression(node.value), "howto", "eval"), self.names)  # noqa: S307
            line = ast.unparse(node)
            if line.startswith("print(") or line.endswith(".close()"):
                continue
            assert shown is not None and repr(shown), line
            if isinstance(shown, pd.DataFrame):
                assert len(shown) or line in MAY_BE_EMPTY, f"{line} shows nothing"
            self.shown.append(shown)

    def toml(self, text: str) -> None:
        kind = {"[[rule]]": "rules", "[[merge]]": "groups"}.get(text.split("\n")[0].split(" ")[0])
        (self.folder / f"{kind or 'profile'}.toml").write_text(text)

    def sh(self, text: str) -> None:
        for line in text.splitlines():
            words = shlex.split(line.replace("$PWD", str(self.folder)), comments=True)
            if words[0] == "export":
                self.set(*words[1].split("=", 1))
            else:
                self.command(words)

    def set(self, name: str, value: str) -> None:
        """A variable as the page has it; an address is that of the test's service, of the same scheme."""
        self.named.add(name)
        if "://" in value:
            documented, ours = value.partition("://")[0], self.places[name].partition("://")[0]
            assert ours == documented.replace("https", "http"), name
        if value != "..." and "://" not in value:
            self.monkeypatch.setenv(name, value)

    def command(self, words: list[str]) -> None:
        assert words[0] == "dlq", words
        done = subprocess.run(
            [Path(sys.executable).with_name("dlq"), *words[1:]],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        loud = {"check": (1, 2), "weekly": (1,), "daily": (1,)}  # the demo's incident is not over
        kind = words[2] if words[1] == "report" else words[1]
        assert done.returncode in loud.get(kind, (0,)), done.stderr
        assert done.stdout and not done.stderr, done.stderr


@pytest.fixture
def reader(monkeypatch, tmp_path, fresh_export) -> Callable[..., Reader]:
    """Makes a reader in a folder of its own; `celery` is the demo's export until somebody says otherwise."""
    folder = tmp_path / "reader"
    folder.mkdir()
    return lambda **places: Reader(
        monkeypatch, folder, **{"DLQ_CELERY_URL": str(fresh_export), **places}
    )


def test_every_page_is_followed_by_a_test_and_every_block_is_run_or_config():
    followed = re.findall(r'\.follow\(\s*"(\w+\.md)"', Path(__file__).read_text())
    assert sorted(followed) == sorted(page.name for page in PAGES.glob("*.md"))
    for page in followed:
        assert {language for language, _ in blocks(page)} <= RUN | CONFIG | FOR_ADMINS, page


def test_rules(reader):
    done = reader().follow("rules.md")
    coverage = done.shown[-1].set_index("rule")
    assert coverage.loc["report-build-ended", "failures"] > 50


def test_groups(reader, fresh_export):
    failures = dlq.load(fresh_export, since=None).pipe(dlq.fingerprint)
    own = dlq.groups(failures)["fingerprint"]
    documented = re.findall(r"[0-9a-f]{16}", (PAGES / "groups.md").read_text())
    mine = dict(zip(documented, [own[1], own[2], own[0], own[3]], strict=True))
    change = re.compile("|".join(mine))
    done = reader().follow("groups.md", lambda text: change.sub(lambda found: mine[found[0]], text))
    after = set(done.names["failures"]["fingerprint"])
    assert own[1] in after and own[2] not in after, "merged"
    assert own[0] not in after, "split"
    lives = done.shown[-1].set_index("fingerprint")
    assert lives.loc[own[3], "ticket"] == "DOC-118"


def test_after_the_incident(reader):
    done = reader().follow("after.md")
    page = (done.folder / "incident.md").read_text()
    assert "to be filled in by a person" in page and len(page) > 2000
    assert "## Who is hit" in page


def test_schedule(reader):
    done = reader().follow("schedule.md")
    assert len(list((done.folder / "reports").glob("daily-*.html"))) == 1


@pytest.mark.parametrize("language", sorted(CONFIG))
def test_scheduled_commands_are_understood(language):
    """Options and arguments are parsed by the command line itself; nothing runs."""
    found = 0
    for _, text in (block for block in blocks("schedule.md") if block[0] == language):
        for command in re.findall(r"\bdlq ((?:check|report) .*)", text.replace("%i", "weekly")):
            words, group = shlex.split(command.split(" >")[0]), get_command(app)
            context = group.make_context("dlq", words.copy())
            while hasattr(group, "commands"):
                _, group, words = group.resolve_command(context, words)
                context = group.make_context(group.name, words.copy(), parent=context)
            found += 1
    assert found == {"cron": 3, "ini": 2}[language]


def test_repair(reader, redis_url, key_prefix):
    lists = Lists(redis_url, key_prefix)
    lists.fill(*(message(n, "webhook") for n in range(3)), message(3, "job"), b"no json")
    done = reader(DLQ_HOOKS_URL=lists.url).follow("repair.md")
    plan = done.names["plan"]
    assert len(plan.chosen) == 3
    assert all(json.loads(raw)["retryCount"] == 0 for raw in plan.payloads.values())
    assert len(lists.all()) == 5, "a plan sends nothing"
    lists.redis.close()


def test_trust(reader, redis_url, key_prefix):
    lists = Lists(redis_url, key_prefix)
    lists.fill(*(message(n, "webhook", error="connection timed out") for n in range(14)))
    (profile := reader().folder / "safe.toml").write_text('[safety]\nwebhook = "idempotent"\n')
    places = {"DLQ_HOOKS_URL": lists.url, "DLQ_HOOKS_RESULTS_URL": redis_url}
    with consuming(lists) as taken:
        done = reader(**places, DLQ_PROFILE=str(profile)).follow(
            "trust.md", lambda text: text.replace('trust="2m"', 'trust="1s", rate=None')
        )
    run = done.names["run"]
    assert run.summary["sent"].item() == 14 == len(taken)
    assert run.finished and run.summary["succeeded"].item() == 0, "trusted is not proven"
    lists.redis.close()


def test_replay(reader, redis_shop):
    world.write(redis_shop.world, mail="down", pdf_release="broken")
    for n in range(12):
        redis_shop.send(
            "api.tasks.send_email", to=f"u{n}@inbox.example", template="offer", property_id=n
        )
    redis_shop.send("api.tasks.generate_memo", property_id=9_120_001, template_id=2)
    redis_shop.wait_for("select count(*) from failed_tasks", 13)
    world.write(redis_shop.world, mail="up")
    done = reader(
        DLQ_CELERY_URL=redis_shop.database,
        DLQ_CELERY_HAND_URL=redis_shop.database,
        DLQ_CELERY_BROKER_URL=redis_shop.broker,
    )
    done.named |= {"DLQ_CELERY_HAND_URL", "DLQ_CELERY_BROKER_URL"}  # on the page that it links to
    done.follow(
        "replay.md", lambda text: text.replace("confirm=plan.id", "confirm=plan.id, rate=None")
    )
    run = done.names["run"]
    assert run.summary["sent"].item() == 12 == run.summary["succeeded"].item()
    assert redis_shop.rows("select count(*) from communications") == [(12,)]
    with pytest.raises(NotConfirmed):
        dlq.replay(done.names["plan"], to=None, journal=done.names["journal"])


def test_what_the_replay_page_says_of_refusals_is_what_the_code_says():
    """Each part of a refusal stands on the page, and in plan/ or replay/."""
    page = (PAGES / "replay.md").read_text()
    code = "".join(
        path.read_text()
        for room in ("plan", "replay")
        for path in (ROOT / "dlqanalysis" / room).glob("*.py")
    )
    for said in (
        "this plan is not confirmed",
        "this plan was run already",
        "frames were changed",
        "the plan chose nothing",
        "no hand was given",
        "this hand is for",
        "class is ",
        "payload is ",
        "an older one stands for it",
        "its side effect was already done",
        "task has no safety grade",
        "task is graded reconcile",
        "task is graded needs_key and has no idempotency key",
        "task is graded never",
        "was already ",
        "is uncertain since run ",
        "quarantine it",
        "no worker that answered knows its task",
    ):
        assert said in code and said.strip() in page, said


def test_add_a_system(reader, tmp_path):
    folder = tmp_path / "dead"
    folder.mkdir()
    for n in range(5):
        dead = {
            "queue": "emails" if n % 2 else "memos",
            "task": f"shop.send_{n % 2}",
            "payload": {"n": n},
            "error": "TimeoutError",
            "message": "timed out",
            "at": f"2026-11-2{n}T10:00:00Z",
        }
        (folder / f"{n}.json").write_text(json.dumps(dead))
    bad = [b"", b"\xff\x00", b"[1]", b'{"queue": "a"}', b"null", b"[" * 100_000]
    for at in ("yesterday", "2026-11-20T10:00:00", "0001-01-01T00:00:00+10:00", 7, None):
        bad.append(json.dumps({**dead, "at": at}).encode())
    for n, raw in enumerate(bad):
        (folder / f"bad{n}.json").write_bytes(raw)
    done = reader().follow(
        "add_system.md", lambda text: text.replace("folder:///tmp/dead", f"folder://{folder}")
    )
    whole = done.names["whole"]
    assert (len(whole), (whole["payload_state"] == "unreadable").sum()) == (5 + len(bad), len(bad))
    assert whole["raw"].isna().all(), "heavy columns stay away unless asked for"
    assert len(dlq.load(done.names["source"], since=None, limit=2).attrs["notes"]) == 1


# Every system -----------------------------------------------------------------------------------------------------


def test_connect(
    reader, fresh_export, shop_url, redis_url, key_prefix, token, classic, tmp_path, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", "*")
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(
            "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, failed_at) values ('t1', 'api.send_email', 'emails', '[]', '{}',"
            " 'TimeoutError', 'timed out', now())"
        )
    classic.fill(2)
    with redis.Redis.from_url(redis_url) as broker:
        broker.rpush(f"{key_prefix}emails", "{}")
    with redis_places(redis_url, key_prefix, token) as there, http_places() as far:
        (tmp_path / "celery.log").write_text(LOG)
        done = reader(
            **there,
            **far,
            DLQ_CELERY_URL=shop_url,
            DLQ_CELERY_HAND_URL=shop_url,
            DLQ_CELERY_BROKER_URL=f"{redis_url}?queues={key_prefix}emails",
            DLQ_CELERY_RESULTS_URL=redis_url,
            DLQ_RABBIT_URL=f"{classic.url}?queue={classic.dlq}",
            DLQ_RABBIT_HAND_URL=f"{classic.url}?queue={classic.dlq}",
            DLQ_LOGS_URL=f"log+file://{tmp_path}/celery.log?tz=Europe/Berlin",
        )
        os.link(fresh_export, done.folder / "failures.parquet")
        done.follow("connect.md")
    assert done.named == set(done.places)


@contextmanager
def redis_places(url: str, prefix: str, token: str) -> Iterator[dict[str, str]]:
    """Everything that lies in a Redis, by the variable that names it."""
    den, lists, priority = Den(url, token), Lists(url, prefix), World(url, prefix)
    den.job("1")
    den.redis.hset(den.key("meta"), mapping={"opts.maxLenEvents": "10000"})
    lists.fill(message(1), message(2))
    priority.dead("t1")
    backend = redis.Redis.from_url(url)
    dead = {
        "task_id": "r1",
        "status": "FAILURE",
        "result": {"exc_type": "TimeoutError", "exc_message": ["timed out"], "exc_module": "builtins"},
        "traceback": "Traceback",
        "date_done": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    backend.set(f"{prefix}celery-task-meta-r1", json.dumps(dead), ex=3600)
    yield {
        "DLQ_BULL_URL": den.url + "&queues=default",
        "DLQ_BULL_HAND_URL": den.url + "&queues=default",
        "DLQ_HOOKS_URL": lists.url,
        "DLQ_HOOKS_HAND_URL": lists.url,
        "DLQ_PRIORITY_URL": priority.url,
        "DLQ_PRIORITY_HAND_URL": priority.url,
        "DLQ_RESULTS_URL": f"results+{url}?prefix={prefix}celery-task-meta-",
    }
    for client in (den.redis, lists.redis, priority.redis, backend):
        client.close()


@contextmanager
def http_places() -> Iterator[dict[str, str]]:
    """Somebody else's HTTP services, on sockets, by the variable that names them."""
    queries = SETS["queues"]
    samples = {
        queries[name].promql: [({"queue": "default", "job": "pdf"}, "7")]
        for name in ("depth", "failures_per_minute")
    }
    queues = Queues()
    with (
        AdminServer() as admin,
        SmallServer(Prometheus(samples)) as watch,
        SmallServer(queues) as jobs,
    ):
        queues.server = jobs
        yield {
            "DLQ_ADMIN_URL": admin.url,
            "DLQ_ADMIN_TOKEN": TOKEN,
            "DLQ_WATCH_URL": f"prometheus+http://{watch.place}?metrics=queues",
            "DLQ_JOBS_MONITOR_URL": f"queue+http://{jobs.place}/api/v1",
            "DLQ_JOBS_HAND_URL": f"queue+http://{jobs.place}/api/v1",
            "DLQ_JOBS_TOKEN": KEY,
        }


def test_the_commands_for_a_user_that_only_reads(shop_url, token, redis_url):
    """As they stand, but for the names: such a user reads, and cannot write."""
    commands = [text for language, text in blocks("connect.md") if language == "sql"]
    [made] = [
        text.replace("dlq_reader", f"{token}_r").replace("public", token) for text in commands
    ]
    with psycopg.connect(shop_url, autocommit=True) as db:
        try:
            db.execute(made)
            theirs = shop_url.partition("://")[2].rpartition("@")[2]
            where = f"postgresql://{token}_r:a%20long%20one@{theirs}"
            assert dlq.load(where, since=None).attrs["notes"] == []
            with (
                psycopg.connect(where) as reader,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                reader.execute("delete from failed_tasks")
        finally:
            db.execute(f"drop owned by {token}_r; drop role {token}_r")
    lines = [text for language, text in blocks("connect.md") if language == "redis"]
    asked = ["bullmq+{}?queues=a", "list+{}?keys=app:dlq:*", "priority+{}"]
    place = redis_url.partition("://")[2].rpartition("@")[2]
    for line, url in zip(lines, asked, strict=True):
        admin = redis.Redis.from_url(redis_url)
        try:
            admin.execute_command(*line.replace("dlq_reader", token).split())
            theirs = f"redis://{token}:a-long-one@{place}"
            assert not len(dlq.load(url.format(theirs), since=None))
            with pytest.raises(redis.exceptions.NoPermissionError):
                redis.Redis.from_url(theirs).set("app:dlq:a", "x")
        finally:
            admin.execute_command("ACL", "DELUSER", token)
            admin.close()
