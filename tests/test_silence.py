"""A server that accepts and never answers: every way in gives up with a sentence, in bounded time."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest

import dlqanalysis as dlq
from dlqanalysis.checkup import checkups
from dlqanalysis.doctor import examine
from dlqanalysis.errors import ConnectError, DLQError
from dlqanalysis.journal import Journal
from dlqanalysis.model import Finding
from dlqanalysis.notify import send
from dlqanalysis.profile import Profile
from dlqanalysis.sources import _http, _redis

PATIENCE = 400  #: seconds; each client's own limit is 2 to 30, and a check asks twice

SOURCES = {
    "postgres": "postgresql://u:x1y2z3@127.0.0.1:{port}/x",
    "bullmq": "bullmq+redis://127.0.0.1:{port}/0",
    "list": "list+redis://127.0.0.1:{port}/0?keys=l",
    "rabbitmq": "amqp://u:x1y2z3@127.0.0.1:{port}/?queue=q",
    "results_redis": "results+redis://127.0.0.1:{port}/0",
    "results_sql": "results+postgresql://u:x1y2z3@127.0.0.1:{port}/x",
    "admin": "admin+http://127.0.0.1:{port}/tasks",
    "priority": "priority+http://127.0.0.1:{port}/",
}
MONITORS = {
    "redis": "celery+redis://127.0.0.1:{port}/0",
    "amqp": "celery+amqp://127.0.0.1:{port}//",
    "prometheus": "prometheus+http://127.0.0.1:{port}",
}
JOURNAL = "postgresql+psycopg://u:x1y2z3@127.0.0.1:{port}/x"


@contextmanager
def silent():
    """The port of a server that takes connections, and says nothing."""
    held, over, server = [], threading.Event(), socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)

    def accept():
        while not over.is_set():
            try:
                held.append(server.accept()[0])
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        thread.join()
        for connection in [*held, server]:
            connection.close()


def calls(port):
    """What is asked of it: a name, and a call."""
    asked = {
        f"source {name}": lambda name=name: dlq.load(dlq.connect(name), since="1d")
        for name in SOURCES
    }
    asked |= {f"monitor {name}": lambda name=name: dlq.depths(name) for name in MONITORS}
    bad = [Finding(name="x", severity="critical", text="x")]
    return asked | {
        "journal": lambda: Journal(JOURNAL.format(port=port)),
        "doctor": lambda: {one.name: one for one in examine(["bullmq"])},
        "check": lambda: checkups(["bullmq"], Profile())[0].findings,
        "channel": lambda: send(bad, Profile(notify=("DLQ_ALERT_URL",))),
    }


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """How each call ended, by its name: what it gave, or its error. All wait at once, so that the test does not."""
    ended = {}

    def run(name, call):
        try:
            ended[name] = call()
        except Exception as error:
            ended[name] = error

    with pytest.MonkeyPatch.context() as patch, silent() as port:
        patch.setenv("DLQ_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("DLQ_ALERT_URL", f"json://u:x1y2z3@127.0.0.1:{port}/x")
        for name, url in SOURCES.items():
            patch.setenv(f"DLQ_{name.upper()}_URL", url.format(port=port))
            patch.setenv(f"DLQ_{name.upper()}_TOKEN", "x1y2z3")
        for name, url in MONITORS.items():
            patch.setenv(f"DLQ_{name.upper()}_MONITOR_URL", url.format(port=port))
        # These wait 30 s by themselves, and HTTP asks three times.
        patch.setitem(_http.Client.__init__.__kwdefaults__, "timeout", 2.0)
        patch.setattr(_redis, "_SILENCE", 2)
        threads = {
            name: threading.Thread(target=run, args=(name, call), daemon=True)
            for name, call in calls(port).items()
        }
        for thread in threads.values():
            thread.start()
        limit = time.monotonic() + PATIENCE
        for thread in threads.values():
            thread.join(max(0.0, limit - time.monotonic()))
        late = [name for name, thread in threads.items() if thread.is_alive()]
        assert late == [], f"still waiting after {PATIENCE} s"
        yield ended


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_gives_up(ends, name):
    assert isinstance(ends[f"source {name}"], DLQError), ends[f"source {name}"]
    assert "x1y2z3" not in str(ends[f"source {name}"])


@pytest.mark.parametrize("name", MONITORS)
def test_a_monitor_gives_up(ends, name):
    ended = ends[f"monitor {name}"]
    assert isinstance(ended, DLQError) or not len(ended.dropna(subset=["depth"])), ended


def test_a_journal_gives_up(ends):
    assert isinstance(ends["journal"], DLQError) and "x1y2z3" not in str(ends["journal"])


def test_the_doctor_says_who_is_silent(ends):
    assert ends["doctor"]["bullmq: reach"].severity == "critical"
    assert "x1y2z3" not in str(ends["doctor"])


def test_a_check_says_who_is_silent(ends):
    assert {one.name: one.severity for one in ends["check"]}["unreachable"] == "critical"


def test_a_channel_gives_up(ends):
    assert isinstance(ends["channel"], ConnectError) and "x1y2z3" not in str(ends["channel"])
