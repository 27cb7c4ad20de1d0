"""The table of failed tasks in all its variants, on a real Postgres: what is understood, and what is said when not."""

import json
from urllib.parse import quote

import pandas as pd
import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import check
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
    (
        "retries that nobody counted",
        "id int, task_name text, failed_at timestamptz, exception_message text, retries smallint",
        "1, 'a.b', '2026-11-01 10:00Z', 'm', null",
        {"retries": None},
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
    assert {name: None if pd.isna(row[name]) else row[name] for name in shown} == shown


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
        note = loaded(postgres_url, status="fialed").attrs["notes"][0]
        assert "No row has status fialed" in note and "?status=fialed:WORD" in note


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
    ("nothing fits", ["a", "b"], {}, SchemaError,
     "for failure_id, task_name, failed_at, exception_message. It has a, b. Say.*"
     "map=failure_id:COLUMN,task_name:COLUMN,failed_at:COLUMN,exception_message:COLUMN$"),
    ("two fit", ["id", "task_name", "created_at", "occurred_at", "error"], {}, SchemaError,
     "several columns that may be failed_at: created_at, occurred_at.*map=failed_at:created_at"),
    ("no exception", ["id", "task_name", "failed_at"], {}, SchemaError,
     r"for exception_message. It has . Say.*\?map=exception_message:COLUMN$"),
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
