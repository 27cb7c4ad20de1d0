"""Named queries: the runbook's SQL on a real Postgres, their help, their refusals, and a user's own."""

import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import DLQError, QueryError, SettingsError
from dlqanalysis.queries import known, read

NAMES = sorted(known())


@pytest.fixture
def shop(shop_url):
    """Six failures of two tasks; properties 1 and 2, of which 3 is gone; two equal messages; four executions."""
    now = datetime.now(UTC).replace(microsecond=0)
    with psycopg.connect(shop_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, retries_attempted, failed_at, replayed_at, replayed_task_id, status)"
            " values (%s, %s, %s, '[]', %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                ("u1", "memo", "memos", '{"property_id": 1}', "KeyError", "no 1", 3, now - timedelta(hours=1), None, None, "failed"),
                ("u2", "memo", "memos", '{"property_id": 3}', "KeyError", "no 1", 4, now - timedelta(hours=2), None, None, "failed"),
                ("u3", "mail", "emails", "{}", "OSError", "down", 0, now - timedelta(days=40), None, None, "failed"),
                ("u4", "mail", "emails", "{}", "OSError", "down", 1, now - timedelta(days=50), now - timedelta(minutes=2), "r4", "replayed"),
                ("u5", "mail", "emails", "{}", "OSError", "down", 9, now - timedelta(days=3), now - timedelta(minutes=3), "r5", "replayed"),
                ("u6", "mail", "emails", "{}", "OSError", "up", 0, now - timedelta(days=1), now - timedelta(hours=3), None, "archived"),
            ],
        )  # fmt: skip
        connection.execute("insert into properties values (1, 't', 'a', 'ok'), (2, 't', 'b', 'ok')")
        connection.execute(
            "insert into communications (property_id, template_id, channel, created_at) values"
            " (1, 7, 'mail', %(now)s), (1, 7, 'mail', %(now)s), (2, 7, 'mail', %(now)s),"
            " (1, 7, 'mail', %(now)s - interval '3 days')",
            {"now": now},
        )
        connection.execute(
            "update communications set idempotency_key = 'memo_2_7' where property_id = 2"
        )
        connection.execute(
            "insert into task_executions (task_id, task_name, status, created_at) values ('r4', 'mail', 'started', %(now)s),"
            " ('r4', 'mail', 'success', %(now)s), ('x', 'mail', 'failed', %(now)s), ('y', 'memo', 'success', %(now)s),"
            " ('z', 'mail', 'failed', %(now)s - interval '3 days')",
            {"now": now},
        )
    return shop_url


@pytest.fixture
def ask(shop):
    return dlq.queries(dlq.connect(shop))


#: (query, parameters, columns to look at, their rows)
ANSWERS = (
    ("failure_summary", {}, ["task_name", "exception_type", "failures"], [("memo", "KeyError", 2), ("mail", "OSError", 1)]),
    ("failure_summary", {"since": "1d"}, ["task_name", "failures"], [("memo", 2)]),
    ("failure_summary", {"status": "replayed", "queue": "emails"}, ["failures"], [(2,)]),
    ("top_messages", {"limit": 1}, ["exception_message", "failures"], [("no 1", 2)]),
    ("top_messages", {"task_name": "mail"}, ["exception_message", "failures"], [("down", 1)]),
    ("high_retries", {}, ["task_id"], [("u1",), ("u2",), ("u5",)]),
    ("high_retries", {"at_least": 9}, ["task_id"], [("u5",)]),
    ("one_task", {"id": "u2"}, ["task_id", "kwargs"], [("u2", '{"property_id": 3}')]),
    ("one_task", {"id": "nobody"}, ["task_id"], []),
    ("failures_by_hour", {"since": "12h"}, ["task_name", "failures"], [("memo", 1), ("memo", 1)]),
    ("depth", {"queue": "emails"}, ["status", "failures"], [("replayed", 2), ("archived", 1), ("failed", 1)]),
    ("replayed_status_counts", {}, ["status", "failures"], [("replayed", 2)]),
    ("replayed_status_counts", {"since": "1d"}, ["status", "failures"], [("replayed", 2), ("archived", 1)]),
    ("replayed_outcomes", {"since": "1h"}, ["outcome", "failures"], [("no execution seen", 1), ("success", 1)]),
    ("archive_candidates", {}, ["status", "failures"], [("failed", 1), ("replayed", 1)]),
    ("archive_candidates", {"older_than": "2d"}, ["status", "failures"], [("replayed", 2), ("failed", 1)]),
    ("existing_properties", {"ids": ["1", "3"]}, ["id"], [("1",)]),
    ("existing_properties", {"ids": "2,3"}, ["id"], [("2",)]),
    ("duplicate_communications", {}, ["property_id", "template_id", "sent", "later_ids"], [(1, 7, 2, "[2]")]),
    ("communications_recent", {}, ["property_id"], [(1,), (1,), (2,)]),
    ("communications_recent", {"property_id": 2}, ["property_id"], [(2,)]),
    ("communication_keys", {}, ["key", "times"], [("memo_2_7", 1)]),
    ("communication_keys", {"since": "2099-01-01"}, ["key"], []),
    ("success_rate", {}, ["task_name", "successes", "failures", "success_percent"], [("mail", 1, 1, 50.0), ("memo", 1, 0, 100.0)]),
    ("success_rate", {"since": "7d", "task_name": "mail"}, ["success_percent"], [(33.33,)]),
    ("task_runs", {"since": "12h"}, ["task_name"], [("mail",), ("mail",), ("memo",)]),
    ("task_runs", {"task_name": "memo"}, ["task_name"], [("memo",)]),
    ("successes", {}, ["task_name"], [("mail",), ("memo",)]),
    ("successes", {"task_name": "memo", "limit": 1, "since": "12h"}, ["task_name"], [("memo",)]),
    ("later_successes", {}, ["task_id", "status"], [("u4", "success")]),
    ("later_successes", {"since": "2d"}, ["task_id"], []),
    ("waiting_locks", {}, ["pid"], []),
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "given", "columns", "rows"), ANSWERS, ids=[f"{a[0]} {a[1]}" for a in ANSWERS]
)
def test_answers(ask, query, given, columns, rows):
    answer = getattr(ask, query)(**given)
    assert list(answer[columns].itertuples(index=False, name=None)) == rows
    assert answer.attrs == {"query": query, "source": "celery:failed_tasks"}


def test_every_query_is_asked_here():
    elsewhere = {"related_records", "active_connections"}
    assert {a[0] for a in ANSWERS} | elsewhere == set(NAMES)


def test_related_records_and_connections(ask, shop):
    ids = dlq.load(shop, queue="memos", since=None).set_index("task_id").failure_id
    assert ask.related_records(id=ids["u1"]).address.tolist() == ["a"]
    assert ask.related_records(id=int(ids["u2"])).empty  # property 3 is gone
    assert ask.related_records(id=ids["u1"], field="no_such").empty
    connections = ask.active_connections()
    assert connections.connections.sum() > 0 and (connections.allowed > 0).all()


def test_dtypes_are_plain(ask):
    summary = ask.failure_summary()
    assert {name: str(kind) for name, kind in summary.dtypes.items()} == {
        "task_name": "str", "exception_type": "str", "failures": "int64",
        "first_failure": "datetime64[us, UTC]", "last_failure": "datetime64[us, UTC]",
    }  # fmt: skip
    assert ask.failure_summary(queue="none").dtypes.equals(summary.dtypes)


def test_one_set_of_queries_serves_every_table(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "create table dead (pk uuid, task text, exc_type text, happened timestamp, kwargs text, args text);"
            "insert into dead values ('c4ca4238-a0b9-2382-0dcc-509a6f75849b', 't', 'E', now() at time zone 'UTC',"
            " '{\"property_id\": 1}', '[]'), (gen_random_uuid(), 't', 'E', 'infinity', '{', '[]');"
            "create table properties (id int, address text); insert into properties values (1, 'a')"
        )
    ask = dlq.queries(dlq.connect(postgres_url + "&table=dead&map=failed_at:happened"))
    assert ask.failure_summary().failures.tolist() == [2]
    assert ask.failure_summary().last_failure.isna().all()  # infinity is no time
    assert ask.failure_summary(since="1h", until="2099-01-01").failures.tolist() == [1]
    assert ask.high_retries().empty
    assert ask.related_records(id="c4ca4238-a0b9-2382-0dcc-509a6f75849b").address.tolist() == ["a"]
    with pytest.raises(
        QueryError,
        match=r"success_rate: This query reads task_executions, which .* does not have.*DLQ_QUERIES",
    ):
        ask.success_rate()


def test_help_shows_sentence_sql_and_place(ask):
    method = ask.high_retries
    assert method.__doc__.startswith("Failures that were tried often")
    assert "WHERE retries_attempted >=" in method.__doc__
    path, line = next(text for text in method.__doc__.splitlines() if ".sql:" in text).split(":")
    text = (Path(__file__).parents[1] / "queries" / path).read_text().splitlines()
    assert text[int(line) - 1].startswith("-- name: high_retries(")
    assert str(inspect.signature(method)) == "(*, at_least=None, since=None, limit=None)"
    assert str(inspect.signature(ask.one_task)) == "(*, id)"
    assert dir(ask) == NAMES
    assert all(name in repr(ask) for name in NAMES)
    assert not hasattr(ask, "no_such_query")


WRONG = (
    (lambda ask: ask.failure_sumary(), QueryError, r"no query 'failure_sumary'. Did you mean 'failure_summary'"),
    (lambda ask: ask.failure_summary(sinc="7d"), QueryError, r"no parameter 'sinc'. Did you mean 'since'"),
    (lambda ask: ask.active_connections(x=1), QueryError, r"no parameter 'x'. It takes none"),
    (lambda ask: ask.one_task(), QueryError, r"one_task needs id: write one_task\(id=...\)"),
    (lambda ask: ask.high_retries(limit="many"), QueryError, r"limit is 'many'. Give a whole number"),
    (lambda ask: ask.high_retries(limit=-1), QueryError, r"high_retries: .*LIMIT must not be negative"),
    (lambda ask: ask.failure_summary(since="soon"), DLQError, r"'soon' is no time"),
)  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG)
def test_what_cannot_be_asked(ask, call, error, words):
    with pytest.raises(error, match=words):
        call(ask)


def test_parameters_are_data(ask):
    assert ask.one_task(id="u1' or true --").empty
    assert ask.failure_summary(queue="memos'; drop table failed_tasks; --").empty
    assert len(ask.failure_summary()) == 2


def test_a_source_without_sql_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"dlq.queries\(dlq.connect\('celery'\)\)"):
        dlq.queries("celery")
    export = dlq.connect(dlq.snapshot(dlq.frame.empty(), tmp_path / "x.parquet"))
    with pytest.raises(
        SettingsError, match=r"Queries need a connected SQL source, which export:x.parquet is not"
    ):
        dlq.queries(export)


#: (name, text of a file, words of the refusal)
REFUSED = (
    ("no sentence", "-- name: a()\nSELECT 1", r"a has no sentence"),
    ("delete", "-- name: a()\n-- Gone.\nDELETE FROM x", r"says DELETE"),
    ("delete in WITH", "-- name: a()\n-- Gone.\nWITH d AS (DELETE FROM x RETURNING 1) SELECT * FROM d", r"says DELETE"),
    ("for update", "-- name: a()\n-- Locks.\nSELECT * FROM x FOR UPDATE", r"says UPDATE"),
    ("into", "-- name: a()\n-- Makes.\nSELECT 1 INTO y", r"says INTO"),
    ("two", "-- name: a()\n-- Two.\nSELECT 1; SELECT 2", r"is not one SELECT"),
    ("kills", "-- name: a()\n-- Kills.\nSELECT pg_terminate_backend(1)", r"says PG_TERMINATE_BACKEND"),
    ("operator", "-- name: a()!\n-- Sets.\nSELECT 1", r"has an operator"),
    ("glued cast", "-- name: a(x)\n-- Glued.\nSELECT :x::int", r":x:: would bind nothing. Write CAST\(:x AS type\)"),
    ("no type", "-- name: a(x)\n-- Untyped.\nSELECT :x", r"say the type of :x as CAST"),
    ("undeclared", "-- name: a()\n-- Secret.\nSELECT CAST(:x AS int)", r"undeclared parameter name in query a: x"),
    ("unused", "-- name: a(x)\n-- Unused.\nSELECT 1", r"unused declared parameter"),
    ("no list", "-- name: a\n-- None.\nSELECT 1", r"missing mandatory parameter list"),
    ("empty", "-- name: a()\n", r"empty"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_files_that_are_refused_say_where(tmp_path, text, words):
    path = tmp_path / "mine.sql"
    path.write_text(f"-- Mine.\n\n{text}\n")
    with pytest.raises(SettingsError, match=words) as caught:
        read(path)
    assert "mine.sql" in str(caught.value)


def test_words_in_strings_and_names_are_no_writes(tmp_path):
    path = tmp_path / "mine.sql"
    path.write_text("""-- name: a()\n-- Harmless.\nSELECT 'delete; :x' AS "update" -- drop\n;""")
    assert read(path)[0].name == "a"


def test_a_users_own_queries_are_added(tmp_path, monkeypatch, shop):
    mine = tmp_path / "mine.sql"
    mine.write_text(
        "-- name: by_tenant(field)\n-- Failures a tenant.\n"
        "WITH f AS (SELECT CAST(kwargs AS jsonb) ->> CAST(:field AS text) AS tenant FROM failed_tasks)\n"
        "SELECT tenant, count(*) AS failures FROM f GROUP BY tenant ORDER BY tenant NULLS LAST;\n"
    )
    monkeypatch.setenv("DLQ_QUERIES", str(tmp_path))
    answer = dlq.queries(dlq.connect(shop)).by_tenant(field="property_id")
    assert answer.failures.tolist() == [1, 1, 4]
    assert set(known()) == {*NAMES, "by_tenant"}
    mine.write_text("-- name: depth()\n-- Mine.\nSELECT 1")
    with pytest.raises(
        SettingsError, match=r"mine.sql:1: the name depth is taken by failures.sql:"
    ):
        known()
    monkeypatch.setenv("DLQ_QUERIES", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"DLQ_QUERIES names .*none, which is no folder"):
        known()
