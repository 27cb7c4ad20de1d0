"""Every notebook that reads takes every system by its name: played on real services, and on small HTTP servers."""

from importlib import import_module

import pandas as pd
import psycopg
import pytest

from dlqanalysis.display.extension import table_html
from dlqanalysis.sources import SYSTEMS
from tests.books import FOLDER, play
from tests.priority_server import PriorityServer
from tests.test_howto import http_places, redis_places
from tests.test_logs import LOG

BOOKS = ["00_start_here", "10_triage", "20_patterns", "30_duplicates", "50_post_incident"]
NAMES = ["celery", "admin", "bull", "hooks", "priority", "http", "rabbit", "results", "logs"]
LOOKED_AT = [
    "admin",
    "bull",
    "hooks",
    "priority",
    "http",
    "rabbit",
    "celery",
    "workers",
    "jobs",
    "watch",
]
HOLD_NO_FAILURES = ("workers", "jobs", "watch")


@pytest.fixture
def places(shop_url, redis_url, key_prefix, token, classic, tmp_path, monkeypatch):
    """One or a few failures in each system, under the names that the README gives them."""
    monkeypatch.setenv("NO_PROXY", "*")
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(
            "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, failed_at) values ('t1', 'api.send_email', 'emails', '[]', '{}',"
            " 'TimeoutError', 'timed out', now())"
        )
    classic.fill(2)
    (tmp_path / "celery.log").write_text(LOG)
    with (
        redis_places(redis_url, key_prefix, token) as there,
        http_places() as far,
        PriorityServer(entries=2) as priority,
    ):
        found = {
            **there,
            **far,
            "DLQ_HTTP_URL": priority.url,
            "DLQ_WORKERS_URL": f"celery+{redis_url}?queues={key_prefix}emails&timeout=0.2",
            "DLQ_CELERY_URL": shop_url,
            "DLQ_RABBIT_URL": f"{classic.url}?queue={classic.dlq}",
            "DLQ_LOGS_URL": f"log+file://{tmp_path}/celery.log?tz=Europe/Berlin",
        }
        for name, place in found.items():
            monkeypatch.setenv(name, place)
        yield found


def test_every_system_is_played(places):
    told = {module: import_module(f"dlqanalysis.sources.{module}") for module in SYSTEMS.values()}
    of = {
        variable.split("_")[1].lower(): SYSTEMS[place.partition("://")[0]]
        for variable, place in places.items()
        if "://" in place and "_HAND_" not in variable
    }
    assert {of[name] for name in NAMES} == {name for name in told if "read" in told[name].CAN}
    looked_at = {name for name in told if "monitor" in told[name].CAN}
    assert {of[name] for name in LOOKED_AT} == looked_at


def test_notebooks_take_every_system(places, monkeypatch):
    monkeypatch.chdir(FOLDER)
    for system in NAMES:
        for book in BOOKS:
            shown, names = play(book, source=system)
            assert len(names["failures"]) > 0, (system, book)
            frames = [one for one in shown if isinstance(one, pd.DataFrame)]
            assert frames, (system, book)
            for frame in frames:
                table_html(frame)


def test_operations_looks_at_every_system_that_tells_how_it_is(places, monkeypatch):
    monkeypatch.chdir(FOLDER)
    for system in LOOKED_AT:
        source = system if system not in HOLD_NO_FAILURES else "celery"
        shown, names = play("60_operations", source=source, places=system)
        assert any(isinstance(one, pd.DataFrame) for one in shown), system
        assert len(names["findings"]) > 0, system
        assert any(str(one).startswith(f"Dead letters of {system}: ") for one in shown), system
