"""Fixtures: `postgres_url`, `redis_url`, `amqp_url`, `amqp_management_url`, `queue_name`, `key_prefix`, `shop_url`,
`redis_shop`, `amqp_shop`, `journal`, `dead` and `classic` (dead-letter queues), `fresh_export`, `shell`.

Environment variables DLQ_* do not reach a test (`clean_env`), so that a laptop's settings change nothing.
"""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from dlqanalysis.demo import export, servers
from dlqanalysis.demo.shop import DEAD_LETTERS, EXCHANGE, QUEUES
from dlqanalysis.journal import Journal
from tests import selection
from tests import services as _services
from tests.rabbit import Rabbit, rabbit

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_numbers, _homes = itertools.count(), itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--services",
        action="store_true",
        help="only tests that touch PostgreSQL, Redis or RabbitMQ",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: much of the time a test waits for another process."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first; with --services only what touches a service, directly or by another fixture."""
    items.sort(key=selection.place)
    if config.getoption("services"):
        config.hook.pytest_deselected(items=[one for one in items if not selection.touches(one)])
        items[:] = [one for one in items if selection.touches(one)]


@pytest.fixture(autouse=True)
def clean_env(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No DLQ_* variable of the caller's but DLQ_TEST_*; journal and snapshots in the test's own folder.

    A test that has no folder gets the name of one: to make thousands that nobody uses takes its time.
    """
    for name in list(os.environ):
        if name.startswith("DLQ_") and not name.startswith("DLQ_TEST_"):
            monkeypatch.delenv(name)
    if "tmp_path" in request.fixturenames:
        home = request.getfixturevalue("tmp_path") / "dlq-home"
    else:
        home = tmp_path_factory.getbasetemp() / f"home-{next(_homes)}"
    monkeypatch.setenv("DLQ_HOME", str(home))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty journal of the test's own."""
    return Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")


@pytest.fixture(scope="session")
def fresh_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's export, played so that it ends now: for what asks for the last days. The committed one grows old."""
    return export.write(tmp_path_factory.mktemp("demo"), end=datetime.now(UTC))[0]


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


@pytest.fixture
def shell() -> Iterator["InteractiveShell"]:
    """An IPython with the kit loaded, as in a notebook."""
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    import dlqanalysis

    made = InteractiveShell()
    dlqanalysis.load_ipython_extension(made)
    yield made
    made.history_manager.end_session()
    pd.reset_option("display")
