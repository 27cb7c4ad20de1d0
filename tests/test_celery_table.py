"""The table of failed tasks in all its variants, on a real Postgres: what is understood, and what is said when not."""

import json
from urllib.parse import quote

import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.errors import ConnectError, DLQError, QueryError, SchemaError, SettingsError
from dlqanalysis.frame import check
from dlqanalysis.model import Selection
from dlqanalysis.sources.celery import open_source
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.table import CONTENT, Column, discover, match

WHEN = "2026-11-01 10:00:00+00:00"
PLAIN = """
    create table failed_tasks (
      id serial primary key, task_id text, task_name text, queue_name text, args jsonb, kwargs jsonb,
      exception_type text, exception_message text, traceback text, retries_attempted int,
      failed_at timestamptz, replayed_at timestamptz, status text)"""


def run(url, *statements):
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def loaded(url, **asked):
    return check(dlq.load(url, **{"since": None, **asked}))


def one(url, **asked):
    failures = loaded(url, **asked)
    assert len(failures) == 1
    return failures.iloc[0]


INSERT = "insert into failed_tasks ({}) values ({})"
#: (name, columns of the table, values of one row, what the frame shows)
VARIANTS = (
    (
        "jsonb, timestamptz, bigint",
        "id bigint, task_name text, failed_at timestamptz, args jsonb, kwargs jsonb, exception_message text",
        "9007199254740993, 'a.b', '2026-11-01 12:00+02', '[1]', '{\"a\": 1}', 'm'",
        {"failure_id": "9007199254740993", "args": "[1]", "payload_state": "complete"},
    ),
    (
        "json keeps its text",
        "id int, task_name text, failed_at timestamptz, args json, kwargs json, exception_message text",
        "1, 'a.b', '2026-11-01 10:00Z', ' [1.10,  2]', '{\"b\":1,\"a\":2}', 'm'",
        {"args": " [1.10,  2]", "kwargs": '{"b":1,"a":2}', "payload_state": "complete"},
    ),
    (
        "JSON in text",
        "id int, task_name varchar(50), failed_at timestamp, args text, kwargs text, exception_message text",
        "1, 'a.b', '2026-11-01 10:00', '[1, NaN]', '{}', 'm'",
        {"args": "[1, NaN]", "payload_state": "complete"},
    ),
    (
        "repr in text",
        "id int, task_name text, failed_at timestamp, args text, kwargs text, exception_message text",
        "1, 'a.b', '2026-11-01 10:00', '(102,)', '{}', 'm'",
        {"args": "(102,)", "payload_state": "unreadable"},
    ),
    (
        "cut repr in text",
        "id int, task_name text, failed_at timestamp, args text, kwargs text, exception_message text",
        "1, 'a.b', '2026-11-01 10:00', '(''long te...', '{}', 'm'",
        {"payload_state": "truncated"},
    ),
    (
        "a repr inside jsonb",
        "id int, task_name text, failed_at timestamp, args jsonb, kwargs jsonb, exception_message text",
        "1, 'a.b', '2026-11-01 10:00', '\"(102,)\"', '{}', 'm'",
        {"payload_state": "unreadable"},
    ),
    (
        "a copy that the system calls lossy",
        "id int, task_name text, failed_at timestamp, args jsonb, kwargs jsonb, exception_message text,"
        " args_lossy bool",
        "1, 'a.b', '2026-11-01 10:00', '[1]', '{}', 'm', true",
        {"payload_state": "truncated"},
    ),
    (
        "no payload",
        "id int, task_name text, failed_at timestamp, args jsonb, kwargs jsonb, exception_message text",
        "1, 'a.b', '2026-11-01 10:00', null, null, 'm'",
        {"payload_state": "missing"},
    ),
    (
        "no kwargs column",
        "id int, task_name text, failed_at timestamp, args jsonb, exception_message text",
        "1, 'a.b', '2026-11-01 10:00', '[1]', 'm'",
        {"payload_state": "truncated"},
    ),
    (
        "other names",
        "id uuid, task text, queue text, exc_type text, error text, retries smallint, created_at timestamp,"
        " state text, stack_trace text, hostname text",
        "'c4ca4238-a0b9-2382-0dcc-509a6f75849b', 'a.b', 'q', 'KeyError', 'm', 3, '2026-11-01 10:00', 'failed',"
        " 'tb', 'w1'",
        {"failure_id": "c4ca4238-a0b9-2382-0dcc-509a6f75849b", "queue": "q", "exception_type": "KeyError",
         "retries": 3, "status": "failed", "traceback": "tb", "worker": "w1"},
    ),
    (
        "columns of strangers",
        'id int, task_name text, failed_at timestamptz, exception_message text, "Weird ""Name" int[], x xml,'
        " created_at timestamptz, big numeric, span interval",
        "1, 'a.b', '2026-11-01 10:00Z', 'm', '{1}', null, now(), 1e40, '1 month'",
        {"exception_message": "m"},
    ),
    (
        "too many retries to count",
        "id int, task_name text, failed_at timestamptz, exception_message text, retries bigint",
        "1, 'a.b', '2026-11-01 10:00Z', 'm', 99999999999",
        {"retries": 2**31 - 1},
    ),
)  # fmt: skip


@pytest.mark.parametrize("road", ["adbc", "sqlalchemy"])
@pytest.mark.parametrize(
    ("columns", "values", "shown"), [v[1:] for v in VARIANTS], ids=[v[0] for v in VARIANTS]
)
def test_variants_of_the_table(postgres_url, columns, values, shown, road):
    run(
        postgres_url,
        f"create table failed_tasks ({columns})",
        f"insert into failed_tasks values ({values})",
    )
    source = open_source(postgres_url)
    source.road = road
    row = one(source)
    assert str(row.failed_at) == WHEN
    assert row.exception_message == "m"
    assert row.task_name == "a.b"
    assert {name: row[name] for name in shown} == shown


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_times_out_of_any_calendar_become_unknown(postgres_url, kind):
    run(
        postgres_url,
        PLAIN.replace("failed_at timestamptz", f"failed_at {kind}"),
        *(INSERT.format("task_name, exception_type, status, failed_at", f"'t', 'E', 'failed', '{when}'")
          for when in ("infinity", "-infinity", "0044-03-15 BC", "20000-01-01", "2026-11-01 10:00")),
    )  # fmt: skip
    failures = loaded(postgres_url)
    assert len(failures) == 5
    assert failures.failed_at.notna().sum() == 1
    assert str(failures.failed_at.iloc[0]) == WHEN


def test_a_date_and_a_session_elsewhere_do_not_move_times(postgres_url):
    run(
        postgres_url,
        PLAIN.replace("failed_at timestamptz", "failed_at timestamp").replace("replayed_at timestamptz", "replayed_at date"),
        INSERT.format("task_name, exception_type, failed_at, replayed_at, status",
                      "'t', 'E', '2026-11-01 10:00', '2026-11-02', 'failed'"),
    )  # fmt: skip
    elsewhere = postgres_url.replace("options=", "options=" + quote("-c TimeZone=Asia/Tokyo "))
    for url in (postgres_url, elsewhere):
        row = one(url, since="2026-11-01T10:00:00Z", until="2026-11-01T10:00:01Z")
        assert str(row.failed_at) == WHEN
        assert str(row.replayed_at) == "2026-11-02 00:00:00+00:00"
        assert not len(loaded(url, since="2026-11-01T10:00:01Z"))
        assert not len(loaded(url, until="2026-11-01T10:00:00Z"))


STATUSES = (
    ("check", "status text check (status in ('failed', 'archived', 'it''s'))", ("failed", "archived", "it's"), True),
    ("not a list of words", "status text check (status <> 'x')", ("failed",), False),
    ("seen", "status text", ("failed",), False),
    ("varchar check", "status varchar(9) check (status in ('failed', 'done'))", ("failed", "done"), True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("column", "words", "closed"), [s[1:] for s in STATUSES], ids=[s[0] for s in STATUSES]
)
def test_status_words_are_known(postgres_url, column, words, closed):
    run(
        postgres_url,
        PLAIN.replace("status text", column),
        INSERT.format("task_name, exception_type, failed_at, status", "'t', 'E', now(), 'failed'"),
    )
    table = open_source(postgres_url).table
    assert (table.statuses, table.closed) == (words, closed)
    if closed:
        with pytest.raises(SettingsError, match=r"no status of failed_tasks, which knows failed"):
            loaded(postgres_url, status="fialed")
    else:
        assert "No row has status fialed" in loaded(postgres_url, status="fialed").attrs["notes"][0]


def test_an_enum_in_other_letters_and_words_from_the_url(postgres_url):
    run(
        postgres_url,
        "create type mood as enum ('FAILED', 'dead', 'requeued')",
        PLAIN.replace("status text", "status mood"),
        *(INSERT.format("task_name, exception_type, failed_at, status", f"'t', 'E', now(), '{word}'")
          for word in ("FAILED", "dead", "requeued")),
    )  # fmt: skip
    assert one(postgres_url).status == "FAILED"
    assert one(postgres_url + "&status=failed:dead").status == "dead"
    assert set(loaded(postgres_url, status=["dead", "requeued"]).status) == {"dead", "requeued"}
    assert len(loaded(postgres_url, status=None)) == 3


def test_hostile_and_huge_texts_arrive_as_they_are(postgres_url):
    huge = json.dumps({"blob": "x" * 5_000_000})
    run(postgres_url, PLAIN.replace("args jsonb, kwargs jsonb", "args json, kwargs json"))
    message = (
        "<script>alert(1)</script> \u202e 'quote\" ; drop table x; -- %s :a \\ud800 \U0001f480"
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "insert into failed_tasks (task_name, exception_type, exception_message, kwargs, args, failed_at, status)"
            " values ('t', 'E', %s, %s, %s, now(), 'failed')",
            (message, huge, r'["\u0000 \ud800"]'),
        )
    for road in ("adbc", "sqlalchemy"):
        source = open_source(postgres_url)
        source.road = road
        row = one(source)
        assert row.exception_message == message
        assert row.kwargs == huge
        assert (row.args, row.payload_state) == (r'["\u0000 \ud800"]', "complete")


def test_names_that_need_quotes(postgres_url):
    run(
        postgres_url,
        'create schema if not exists "odd ""s%"',
        'create table "odd ""s%"."fail:ed; --%s" ("I d" int, "Task Name" text, "when" timestamptz, "select" text)',
        """insert into "odd ""s%"."fail:ed; --%s" values (1, 't', now(), 'boom')""",
    )
    names = "failure_id:I d,task_name:Task Name,failed_at:when,exception_message:select"
    said = {"schema": 'odd "s%', "table": "fail:ed; --%s", "map": names}
    url = postgres_url + "".join(f"&{name}={quote(value)}" for name, value in said.items())
    try:
        for road in ("adbc", "sqlalchemy"):
            source = open_source(url)
            source.road = road
            assert one(source, queue=None).exception_message == "boom"
        assert dlq.show(url, 1)["exception_message"] == "boom"
        assert dlq.queries(open_source(url)).failure_summary().failures.tolist() == [1]
    finally:
        run(postgres_url, 'drop schema "odd ""s%" cascade')


def test_views_and_partitions_are_tables_too(postgres_url):
    run(
        postgres_url,
        "create table parts (id int, task_name text, failed_at timestamptz, error text) partition by range (failed_at)",
        "create table part1 partition of parts default",
        "insert into parts values (1, 't', '2026-11-01 10:00Z', 'm')",
        "create view failed_tasks as select id, task_name, failed_at, error from parts",
    )
    assert one(postgres_url).exception_message == "m"
    assert one(postgres_url + "&table=parts").exception_message == "m"


def test_source_and_hand_read_the_same_content(postgres_url):
    run(
        postgres_url,
        PLAIN,
        INSERT.format(
            "task_id, task_name, queue_name, args, kwargs, failed_at, status, exception_type",
            """'u', 't', null, '[1.50, "é", 1e3]', '{"b": 1, "a": [true, null]}', now(), 'failed', 'E'""",
        ),
    )
    failures = loaded(postgres_url)
    address = Address.parse(postgres_url)
    with address.engine(read_only=False).connect() as connection:
        table = discover(connection, address)
        row = connection.execute(table.select_rows(CONTENT)).one()._asdict()
    assert row == {
        name: None if failures[name].isna()[0] else failures[name][0] for name in CONTENT
    }


def test_notes_say_what_is_missing(postgres_url):
    run(
        postgres_url,
        "create table failed_tasks (id int, task_name text, created_at timestamptz, error text)",
    )
    notes = " ".join(dlq.load(postgres_url).attrs["notes"])
    for part in ("failed_at is read from failed_tasks.created_at", "no status", "no args", "no traceback",
                 "exception_message is read from failed_tasks.error"):  # fmt: skip
        assert part in notes
    assert "?map=args:COLUMN" in notes


#: (name, columns there, what the URL says, error, words of it)
UNMATCHED = (
    ("nothing fits", ["a", "b"], {}, SchemaError, "no column for failure_id .*It has a, b.*map=failure_id:COLUMN"),
    ("two fit", ["id", "task_name", "created_at", "occurred_at", "error"], {}, SchemaError,
     "several columns that may be failed_at: created_at, occurred_at.*map=failed_at:created_at"),
    ("no exception", ["id", "task_name", "failed_at"], {}, SchemaError, "neither exception_type nor"),
    ("mapped to nothing", ["id", "task_name", "failed_at", "error"], {"queue": "lane"}, SchemaError,
     "has no column 'lane'"),
    ("mapped from nothing", ["id", "task_name", "failed_at", "error"], {"qeue": "error"}, SettingsError,
     "Did you mean 'queue'"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("there", "said", "error", "words"), [u[1:] for u in UNMATCHED], ids=[u[0] for u in UNMATCHED]
)
def test_a_table_that_is_not_understood_says_how_to_say_it(there, said, error, words):
    kinds = {"failed_at": "timestamptz", "created_at": "timestamptz", "occurred_at": "timestamptz"}
    columns = {name: Column(name=name, type=kinds.get(name, "text")) for name in there}
    with pytest.raises(error, match=words):
        match(columns, said, "failed_tasks")


def test_a_time_that_is_text_is_refused_with_a_way_out(postgres_url):
    run(postgres_url, PLAIN.replace("failed_at timestamptz", "failed_at text"))
    with pytest.raises(
        SchemaError, match=r"failed_at is text, and failed_at wants a timestamp.*VIEW"
    ):
        loaded(postgres_url)


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
