"""Fixtures: `postgres_url`, `redis_url`, `amqp_url`, `amqp_management_url`, `queue_name`, `key_prefix`, `shop_url`,
`redis_shop`, `amqp_shop`, `journal`, `dead` and `classic` (dead-letter queues).

Environment variables DLQ_* do not reach a test (`clean_env`), so that a laptop's settings change nothing.
"""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest

from dlqanalysis.demo import servers
from dlqanalysis.demo.shop import DEAD_LETTERS, EXCHANGE, QUEUES
from dlqanalysis.journal import Journal
from tests import services as _services
from tests.rabbit import Rabbit, rabbit

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def clean_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No DLQ_* variable of the caller's but DLQ_TEST_*; journal and snapshots in the test's own folder."""
    for name in list(os.environ):
        if name.startswith("DLQ_") and not name.startswith("DLQ_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "dlq-home"))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty journal of the test's own."""
    return Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")


@pytest.fixture(scope="session")
def services() -> Iterator[_services.Services]:
    """The session's servers, each started when first asked for."""
    running = _services.Services()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def token() -> str:
    """A word that stands in the name of everything this test makes in a service."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def postgres_url(services: _services.Services, token: str) -> Iterator[str]:
    """A PostgreSQL URL with an empty schema of the test's own; a libpq and SQLAlchemy URL."""
    with _services.schema(services, token) as url:
        yield url


@pytest.fixture
def shop_url(postgres_url: str) -> str:
    """`postgres_url` with the demo shop's empty tables: failed_tasks, task_executions, communications, ..."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute((files("dlqanalysis.demo") / "shop.sql").read_text())
    return postgres_url


@pytest.fixture
def redis_url(services: _services.Services, token: str) -> Iterator[str]:
    """A Redis URL with an empty database (embedded), or a real one where keys begin with `key_prefix`."""
    with _services.redis_database(services, token, next(_numbers)) as url:
        yield url


@pytest.fixture
def key_prefix(token: str) -> str:
    """How the names of this test's Redis keys begin; they are deleted after it."""
    return f"{token}:"


@pytest.fixture
def amqp_url(services: _services.Services, token: str) -> Iterator[str]:
    """An AMQP URL with a vhost of the test's own (embedded), or a real one where names come from `queue_name`."""
    with _services.vhost(services, token) as url:
        yield url


@pytest.fixture
def amqp_management_url(services: _services.Services) -> str:
    """The management API of the private RabbitMQ node, with the password."""
    if os.environ.get("DLQ_TEST_AMQP_URL"):
        pytest.skip("the management API is tested on the private node: unset DLQ_TEST_AMQP_URL")
    return services.get("rabbitmq", servers.rabbitmq).management


@pytest.fixture
def queue_name(request: pytest.FixtureRequest, token: str) -> Iterator[Callable[[str], str]]:
    """Makes names for queues, exchanges and keys that no other test has: queue_name("memos"). What carries one
    on a shared broker goes after the test, NAME.dlq and NAME.dlq.quarantine with it."""
    made: list[str] = []

    def name(word: str) -> str:
        made.append(f"{token}.{word}")
        return made[-1]

    yield name
    if (real := os.environ.get("DLQ_TEST_AMQP_URL")) and "amqp_url" in request.fixturenames:
        _services.delete_amqp(real, [n + e for n in made for e in ("", ".dlq", ".dlq.quarantine")])


@pytest.fixture(params=["classic", "quorum"])
def dead(
    request: pytest.FixtureRequest, amqp_url: str, queue_name: Callable[[str], str]
) -> Iterator[Rabbit]:
    """A work queue with a dead-letter queue of each kind."""
    with rabbit(amqp_url, queue_name("memos"), request.param) as made:
        yield made


@pytest.fixture
def classic(amqp_url: str, queue_name: Callable[[str], str]) -> Iterator[Rabbit]:
    """A work queue with a classic dead-letter queue."""
    with rabbit(amqp_url, queue_name("memos")) as made:
        yield made


@pytest.fixture
def redis_shop(shop_url: str, redis_url: str, token: str) -> Iterator[_services.Shop]:
    """The demo shop with a real worker on Redis."""
    with _services.running_shop(redis_url, shop_url, f"{token}.") as shop:
        yield shop


@pytest.fixture
def amqp_shop(
    shop_url: str, amqp_url: str, queue_name: Callable[[str], str]
) -> Iterator[_services.Shop]:
    """The demo shop with a real worker on RabbitMQ; what it rejects goes to PREFIXqueue.dlq."""
    for name in (*QUEUES, *(f"{queue}.dlq" for queue in QUEUES), EXCHANGE, DEAD_LETTERS):
        queue_name(name)
    prefix = queue_name("x").removesuffix("x")
    with _services.running_shop(amqp_url, shop_url, prefix) as shop:
        yield shop
