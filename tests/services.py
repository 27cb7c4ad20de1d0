"""The services that tests run against: embedded ones, or real ones where DLQ_TEST_*_URL say so; never found by port.

What a test makes is its own and goes with it: a schema, a database number, a vhost, or names that carry its token.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx
import pika
import psycopg
import pytest
import redis
from psycopg import sql

from dlqanalysis.demo import servers, shop, stage, world
from dlqanalysis.demo.den import den
from dlqanalysis.errors import DLQError


def missing(reason: str) -> None:
    """Skip the test with its reason; in CI nothing may be missing, so there it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


class Services:
    """One server of a kind for the whole session, started when the first test asks for it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._running: dict[str, object] = {}

    def get(self, name: str, start: Callable[[], contextlib.AbstractContextManager[Any]]) -> Any:
        if name not in self._running:
            try:
                self._running[name] = self._stack.enter_context(start())
            except DLQError as error:
                self._running[name] = error
        found = self._running[name]
        if isinstance(found, DLQError):
            missing(str(found))
        return found

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def schema(services: Services, token: str) -> Iterator[str]:
    """A PostgreSQL URL whose search_path is an empty schema of the test's own."""
    url = os.environ.get("DLQ_TEST_POSTGRES_URL") or services.get("postgres", servers.postgres)
    name = sql.Identifier(token)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("create schema {}").format(name))
    try:
        yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={token}')}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("set lock_timeout = '10s'")
            connection.execute(sql.SQL("drop schema {} cascade").format(name))


@contextlib.contextmanager
def redis_database(services: Services, token: str, number: int) -> Iterator[str]:
    """A Redis URL: a database of the test's own in Valkey; a real server is shared by names with the token."""
    if real := os.environ.get("DLQ_TEST_REDIS_URL"):
        try:
            yield real
        finally:
            with redis.Redis.from_url(real) as client:
                for key in client.scan_iter(match=f"*{token}*", count=1000):
                    client.delete(key)
        return
    url = services.get("valkey", servers.valkey)
    url = urlsplit(url)._replace(path=f"/{1 + number % 63}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        try:
            yield url
        finally:
            client.flushdb()


@contextlib.contextmanager
def vhost(services: Services, token: str) -> Iterator[str]:
    """An AMQP URL: a vhost of the test's own on a private node; a real broker is shared by names with the token."""
    if real := os.environ.get("DLQ_TEST_AMQP_URL"):
        yield real
        return
    broker = services.get("rabbitmq", servers.rabbitmq)
    with httpx.Client(base_url=broker.management, trust_env=False) as client:
        client.put(f"/api/vhosts/{token}").raise_for_status()
        client.put(
            f"/api/permissions/{token}/dlq", json={"configure": ".*", "write": ".*", "read": ".*"}
        ).raise_for_status()
        try:
            yield urlsplit(broker.url)._replace(path=f"/{token}").geturl()
        finally:
            client.delete(f"/api/vhosts/{token}").raise_for_status()


def delete_amqp(url: str, names: list[str]) -> None:
    """Delete queues and exchanges of these names, where they exist."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    with contextlib.closing(connection):
        for name in names:
            for delete in ("queue_delete", "exchange_delete"):
                channel = connection.channel()
                with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
                    getattr(channel, delete)(name)
                    channel.close()


class Shop(NamedTuple):
    """The demo shop with a real worker, on a broker and a schema of the test's own."""

    broker: str
    database: str
    prefix: str  #: goes before the shop's queue names
    world: Path

    def send(self, task: str, **kwargs: Any) -> str:
        """Enqueue a task as the shop would; gives its id."""
        return shop.submit(self.broker, [(task, kwargs)], self.prefix)[0]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(statement).fetchall()

    def wait_for(self, statement: str, value: Any, seconds: float = 120) -> None:
        """Wait until a statement answers with this value."""
        patient_until = time.monotonic() + seconds
        while (now := self.rows(statement)[0][0]) != value:
            assert time.monotonic() < patient_until, f"{statement}: {now!r}, not {value!r}"
            time.sleep(0.05)


@contextlib.contextmanager
def running_shop(broker: str, database: str, prefix: str) -> Iterator[Shop]:
    """A worker, a mail provider and a world for the shop's tables in `database`."""
    with den() as home:
        state = home.path / "world.json"
        world.write(state)
        variables = {
            "SHOP_BROKER_URL": broker,
            "SHOP_DATABASE_URL": database,
            "SHOP_MAIL_URL": stage.start_provider(home, state),
            "SHOP_WORLD": str(state),
            "SHOP_QUEUE_PREFIX": prefix,
        }
        running = Shop(broker, database, prefix, state)
        if broker.startswith("amqp"):
            shop.declare_dead_letters(broker, prefix)
        # a name of its own: on a shared broker the workers of all tests answer to one question
        stage.start_worker(home, variables, name=prefix.strip(".") or "demo", threads=4)
        yield running
