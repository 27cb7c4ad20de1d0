"""The way to a table of failed tasks, on a real Postgres: who gets in, as whom, by which road, and what is said when not."""

from urllib.parse import quote

import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.errors import ConnectError, DLQError, QueryError, SchemaError, SettingsError
from dlqanalysis.model import Selection
from dlqanalysis.sources.celery import open_source
from dlqanalysis.sources.celery.address import Address
from tests.test_celery_table import INSERT, PLAIN, loaded, one, run


def changed(url, **parts):
    base, _, query = url.partition("?")
    head, _, place = base.rpartition("@")
    user = head.partition("://")[2].partition(":")[0]
    host, _, database = place.partition("/")
    host = parts.get("host", host)
    base = f"postgresql://{parts.get('user', user)}:{parts['password']}@{host}/{parts.get('database', database)}"
    return f"{base}?{query}"


#: (name, how the URL changes, error, words)
TROUBLES = (
    ("wrong password", {"password": "s3cret-word"}, ConnectError, "does not let .* in. Check user and password"),
    ("no server", {"password": "s3cret-word", "host": "127.0.0.1:1"}, ConnectError, "does not answer. Check host"),
    ("no host", {"password": "s3cret-word", "host": "no.such.host.invalid"}, ConnectError, "does not answer"),
    ("bare @", {"password": "s3cret@-word"}, SettingsError, "cannot be read.*percent-encoded"),
    ("bare /", {"password": "s3cret/-word"}, SettingsError, "cannot be read.*percent-encoded"),
    ("bare ?", {"password": "s3cret?-word"}, SettingsError, "cannot be read.*percent-encoded"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "error", "words"), [t[1:] for t in TROUBLES], ids=[t[0] for t in TROUBLES]
)
def test_troubles_on_the_way_in_one_sentence_without_the_password(services, parts, error, words):
    asks = services.get("postgres", servers.postgres)  # one that trusts takes any password
    with pytest.raises(error, match=words) as caught:
        dlq.load(changed(asks, **parts))
    text = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert "s3cret" not in text and "-word" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_other_troubles(postgres_url, token, monkeypatch):
    gone = f"{postgres_url}&table={token}_tsks"  # a name that no other table of this server has
    missing = rf"no table {token}_tsks on the search path of .*Name .* in the URL: \?table="
    with pytest.raises(SchemaError, match=missing):
        loaded(gone)
    run(postgres_url, "create table dead_letters (id int)")
    with pytest.raises(SchemaError, match=missing + r"\w*"):
        loaded(gone)
    run(postgres_url, PLAIN)
    away = postgres_url.partition("?")[0] + "?options=" + quote("-csearch_path=nowhere")
    with pytest.raises(SchemaError, match=r"There is one in schema \w+: add \?schema="):
        loaded(away)
    assert len(loaded(f"{away}&schema={token}")) == 0
    base, _, query = postgres_url.partition("?")
    with pytest.raises(ConnectError, match=r"has no such database"):
        loaded(f"{base.rpartition('/')[0]}/nothing_here?{query}")
    with pytest.raises(SettingsError, match=r"'tabel' is no option.*Did you mean 'table'"):
        loaded(postgres_url + "&tabel=x")
    with pytest.raises(SettingsError, match=r"'map=task_name' says nothing"):
        loaded(postgres_url + "&map=task_name")
    with pytest.raises(SettingsError, match=r"'soon' is not a duration"):
        loaded(postgres_url + "&statement_timeout=soon")


def test_databases_in_other_encodings(postgres_url, token, monkeypatch):
    base = postgres_url.partition("?")[0]
    make = "create database {} encoding '{}' template template0 lc_collate 'C' lc_ctype 'C'"
    latin, ascii_ = (f"{token}_{kind}" for kind in ("latin", "ascii"))
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    run(postgres_url, make.format(latin, "LATIN1"), make.format(ascii_, "SQL_ASCII"))
    try:
        text = "convert_from('\\xe9'::bytea, 'LATIN1')"
        for database, encoding in ((latin, ""), (ascii_, "&client_encoding=LATIN1")):
            url = f"{base.rpartition('/')[0]}/{database}"
            run(url, "create table failed_tasks (id int primary key, task_name text, failed_at timestamptz, error text)",
                f"insert into failed_tasks values (1, 't', now(), {text})")  # fmt: skip
            if encoding:
                for ask in (loaded, lambda u: dlq.queries(dlq.connect(u)).top_messages()):
                    with pytest.raises(
                        SchemaError, match=r"no UTF-8.*\?client_encoding=LATIN1 in the URL"
                    ):
                        ask(url)
            assert one(f"{url}?{encoding[1:]}").exception_message == "\xe9"
    finally:
        run(postgres_url, f"drop database if exists {latin}", f"drop database if exists {ascii_}")


@pytest.mark.parametrize("value", ["1", "null"])
def test_ids_that_are_no_key_are_refused(postgres_url, value):
    run(
        postgres_url,
        PLAIN.replace("id serial primary key", "id int, row_id serial unique not null"),
        *[
            INSERT.format(
                "id, task_name, exception_type, failed_at, status",
                f"{value}, 't', 'E', now(), 'failed'",
            )
        ]
        * 2,
    )
    with pytest.raises(SchemaError, match=r"failed_tasks.id is no key.*map=failure_id:COLUMN"):
        loaded(postgres_url)
    assert loaded(postgres_url + "&map=failure_id:row_id").failure_id.tolist() == ["1", "2"]


def test_a_statement_that_takes_too_long(postgres_url):
    run(postgres_url, PLAIN, "create function pause() returns text language sql as 'select pg_sleep(5)::text'",
        "create view slow as select id, task_name, failed_at, pause() as error from failed_tasks",
        INSERT.format("task_name, failed_at", "'t', now()"))  # fmt: skip
    for road in ("adbc", "sqlalchemy"):
        source = open_source(postgres_url + "&table=slow&statement_timeout=1s")
        source.road = road
        with pytest.raises(QueryError, match=r"stopped a statement after 1s. Ask for less"):
            dlq.load(source)


def test_permission_is_asked_for_by_name(postgres_url, token):
    run(postgres_url, PLAIN, f"create role {token} login password 'x1' nosuperuser")
    try:
        base = changed(postgres_url, user=token, password="x1")
        with pytest.raises(DLQError, match=r"may not read|no table failed_tasks"):
            loaded(base)
        run(postgres_url, f"grant usage on schema {token} to {token}")
        with pytest.raises(ConnectError, match=f"GRANT SELECT ON {token}.failed_tasks TO {token}"):
            loaded(base)
        run(
            postgres_url,
            f"grant select (id, task_name, failed_at, exception_type, status) on failed_tasks to {token}",
        )
        notes = loaded(base).attrs["notes"]
        assert any(
            "No permission to read args, exception_message, kwargs" in note for note in notes
        )
        run(postgres_url, f"grant select on failed_tasks to {token}",
            "alter table failed_tasks enable row level security")  # fmt: skip
        assert any("Row-level security" in note for note in loaded(base).attrs["notes"])
    finally:
        run(postgres_url, f"drop owned by {token}", f"drop role {token}")


def test_sessions_cannot_write(postgres_url):
    run(postgres_url, PLAIN)
    source = open_source(postgres_url)
    with pytest.raises(DLQError, match=r"read-only transaction"), source.session() as connection:
        connection.exec_driver_sql("insert into failed_tasks default values")
    with source.session() as connection:
        settings = (
            "default_transaction_read_only",
            "statement_timeout",
            "application_name",
            "TimeZone",
        )
        values = [connection.exec_driver_sql(f"show {name}").scalar() for name in settings]
    assert values == ["on", "2min", "dlqanalysis", "UTC"]


def test_names_hold_no_password(postgres_url, monkeypatch):
    run(postgres_url, PLAIN)
    password = Address.parse(postgres_url).conninfo.get("password", "s3cret-word")
    postgres_url = changed(postgres_url, password=password)  # one that trusts asks for none
    monkeypatch.setenv("DLQ_SHOP_URL", postgres_url)
    source = dlq.connect("shop")
    dlq.load(source)
    for thing in (source, source.address, source.table, source.address.reader, source.name):
        assert password not in repr(thing) and password not in str(thing)
    assert source.name == "celery:failed_tasks"
    assert open_source(postgres_url + "&schema=ops").name == "celery:ops.failed_tasks"


def test_the_slow_road_is_taken_where_adbc_cannot_go(postgres_url, monkeypatch):
    import sys

    run(
        postgres_url,
        PLAIN,
        INSERT.format("task_name, exception_type, failed_at, status", "'t', 'E', now(), 'failed'"),
    )
    fast = loaded(postgres_url)
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    slow = loaded(postgres_url)
    assert fast.equals(slow)
    assert "cannot be imported" in " ".join(slow.attrs["notes"])
    assert not fast.attrs["notes"]


def test_failures_of_one_id_are_asked_for_by_index(postgres_url):
    run(
        postgres_url,
        PLAIN,
        INSERT.format("task_name, exception_type, failed_at, status", "'t', 'E', now(), 'failed'"),
    )
    source = open_source(postgres_url)
    assert source.details(["1", "2", "x", "99999999999999999999"], ["traceback"]).num_rows == 1
    assert source.details(["x"], ["traceback"]).num_rows == 0
    assert source.read(Selection(), []).table.num_rows == 1
