"""The demo's stage: servers, database roles, the mail provider and the real worker, all in one den."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from dlqanalysis.demo import servers, world
from dlqanalysis.demo.den import Den, den
from dlqanalysis.demo.export import write_deploys
from dlqanalysis.errors import ConnectError

DATABASE = "shop"
_WORKER_READY_WITHIN = 60.0  # seconds


@dataclass(frozen=True, kw_only=True, repr=False)
class Stage:
    """Everything the demo runs on. URLs hold passwords: they go into environments, never on a screen."""

    home: Den
    database: str  #: the owner's URL
    reader: str  #: a role that can only read
    hand: str  #: a role that may mark rows of failed_tasks
    broker: str
    mail: str
    world: Path
    deploys: Path  #: what was deployed meanwhile; the profile names it, too

    def environment(self) -> dict[str, str]:
        """The DLQ_* variables with which notebooks and the command line find this stage."""
        return {
            "DLQ_CELERY_URL": self.reader,
            "DLQ_CELERY_HAND_URL": self.hand,
            "DLQ_CELERY_BROKER_URL": self.broker,
            "DLQ_CELERY_RESULTS_URL": self.broker,
            "DLQ_JOURNAL_URL": f"sqlite:///{self.home.path / 'journal.sqlite'}",
            "DLQ_HOME": str(self.home.path / "dlq-home"),
            "DLQ_PROFILE": str(self.home.path / "profile.toml"),
            "DLQ_OPERATOR": "demo",
        }

    def shop_environment(self, prefix: str = "") -> dict[str, str]:
        """The SHOP_* variables with which the shop finds this stage."""
        return {
            "SHOP_BROKER_URL": self.broker,
            "SHOP_RESULTS_URL": self.broker,
            "SHOP_DATABASE_URL": self.database,
            "SHOP_MAIL_URL": self.mail,
            "SHOP_WORLD": str(self.world),
            "SHOP_QUEUE_PREFIX": prefix,
        }

    def secrets(self) -> tuple[str, ...]:
        """Every password here, to look for where none may stand."""
        urls = (self.database, self.reader, self.hand, self.broker)
        return tuple(password for url in urls if (password := urlsplit(url).password))


@contextlib.contextmanager
def stage(shared: Den | None = None) -> Iterator[Stage]:
    """Servers up, tables and roles made, the mail provider up; no worker yet."""
    with den(shared) as home, servers.postgres(home) as url, servers.valkey(home) as broker:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        database = urlsplit(url)._replace(path=f"/{DATABASE}").geturl()
        reader, hand = prepare(database)
        state = home.path / "world.json"
        world.write(state)
        deploys = write_deploys(home.path, datetime.now(UTC))
        profile = (files("dlqanalysis.demo") / "profile.toml").read_text(encoding="utf-8")
        told = f"{profile}\n[changes]\nfile = {json.dumps(str(deploys))}\n"
        (home.path / "profile.toml").write_text(told, encoding="utf-8")
        yield Stage(
            home=home,
            deploys=deploys,
            database=database,
            reader=reader,
            hand=hand,
            broker=broker,
            mail=start_provider(home, state),
            world=state,
        )


def prepare(database: str) -> tuple[str, str]:
    """Make the shop's tables and two roles in an empty database; gives the reader's and the hand's URL."""
    roles = {name: (f"shop_{name}", secrets.token_urlsafe(18)) for name in ("reader", "hand")}
    reader, hand = (sql.Identifier(roles[name][0]) for name in ("reader", "hand"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute((files("dlqanalysis.demo") / "shop.sql").read_text())
        for role, password in roles.values():
            connection.execute(
                sql.SQL("create role {} login password {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )
        for grant in (
            "grant usage on schema public to {reader}, {hand}",
            "grant select on all tables in schema public to {reader}, {hand}",
            # what the hand needs: to mark a row as replayed, and a table for its claims
            "grant update (status, replayed_at, replayed_task_id) on failed_tasks to {hand}",
            "grant create on schema public to {hand}",
            "alter default privileges for role {hand} in schema public grant select on tables to {reader}",
        ):
            connection.execute(sql.SQL(grant).format(reader=reader, hand=hand))
    address = urlsplit(database)
    place = f"{address.hostname}:{address.port}"
    first, second = (
        address._replace(netloc=f"{role}:{password}@{place}").geturl()
        for role, password in roles.values()
    )
    return first, second


def start_provider(home: Den, state: Path) -> str:
    """A mail provider, up; gives its URL."""
    port = servers.free_port()
    process = home.start(
        [sys.executable, "-m", "dlqanalysis.demo.provider", str(port), state],
        log="provider.log",
        env=environment(home, {}),
    )
    _wait(lambda: servers.listens(port), process, home, "provider.log", "The mail provider")
    return f"http://127.0.0.1:{port}"


def start_worker(
    home: Den,
    variables: dict[str, str],
    *,
    name: str = "demo",
    threads: int = 8,
    meanwhile: Callable[[], object] = lambda: None,
) -> subprocess.Popen[bytes]:
    """A real Celery worker of the shop, ready to take tasks. Its variables are Stage.shop_environment().

    `meanwhile` is done while it starts, which takes a second.
    """
    log = f"{name}.worker.log"
    options = (
        f"--hostname {name}@shop --pool threads --concurrency {threads} --loglevel INFO".split()
    )
    # Not --without-heartbeat: on AMQP an idle worker would not wake up to see that it shall stop.
    options += ["--without-gossip", "--without-mingle"]
    process = home.start(
        [sys.executable, "-m", "celery", "-A", "dlqanalysis.demo.shop", "worker", *options],
        log=log,
        env=environment(home, variables),
    )
    meanwhile()
    _wait(lambda: " ready." in home.tail(log, 50), process, home, log, "The Celery worker")
    return process


def _wait(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], home: Den, log: str, what: str
) -> None:
    patient_until = time.monotonic() + _WORKER_READY_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > patient_until:
            raise ConnectError(f"{what} did not start. Its log ends: {home.tail(log)}")
        time.sleep(0.03)


def environment(home: Den, variables: dict[str, str]) -> dict[str, str]:
    """What a child gets: the caller's environment without its settings, and what is named here."""
    strange = ("PG", "DLQ_", "SHOP_", "CELERY_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    return kept | {"PYTHONWARNINGS": "ignore", "TMPDIR": str(home.path)} | variables
