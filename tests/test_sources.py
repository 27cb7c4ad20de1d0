"""connect, load, details, show: names and URLs, filters in SQL, representatives, what a load says of itself."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis import loading
from dlqanalysis.errors import QueryError, SchemaError, SettingsError
from dlqanalysis.frame import SCHEMA, check, content_hash
from dlqanalysis.sources import SYSTEMS
from dlqanalysis.sources._payload_state import payload_state
from dlqanalysis.sources.celery import open_source

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def url(shop_url):
    """A shop with 120 failures: an hour apart, two queues, three tasks, some replayed; the oldest came last."""
    rows = [
        (
            f"uuid-{n}",
            ["api.tasks.send_email", "api.tasks.generate_memo", "reports.generate_memo"][n % 3],
            ["emails", "memos"][n % 2],
            ["smtplib.SMTPException", "ValueError"][n % 2],
            f"order {n} was refused with {[429, 503][n % 2]}",
            "Traceback:\n" + "x" * (100 + n % 2),
            ["failed", "replayed"][n % 10 == 9],
            NOW - timedelta(hours=n),
        )
        for n in range(120)
    ]
    with psycopg.connect(shop_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into failed_tasks (task_id, task_name, queue_name, exception_type, exception_message, traceback,"
            " status, failed_at, args, kwargs) values (%s, %s, %s, %s, %s, %s, %s, %s, '[1]', '{}')",
            rows,
        )
    return shop_url


def load(url, **asked):
    return check(dlq.load(url, **{"since": None, **asked}))


FILTERS = (
    ("all that failed", {}, 108),
    ("every status", {"status": None}, 120),
    ("one status", {"status": "replayed"}, 12),
    ("two statuses", {"status": "failed, replayed"}, 120),
    ("since is included", {"since": "2026-11-20T10:00:00Z"}, 3),
    ("until is not", {"since": "2026-11-20T10:00:00Z", "until": "2026-11-20T12:00:00Z"}, 2),
    ("another zone", {"since": "2026-11-20T12:00:00+02:00"}, 3),
    ("a date", {"since": "2026-11-20"}, 12),
    ("queue", {"queue": "emails", "status": None}, 60),
    ("queues", {"queue": ["emails", "memos"], "status": None}, 120),
    ("no such queue", {"queue": "email"}, 0),
    ("a whole task name", {"task": "api.tasks.generate_memo", "status": None}, 40),
    ("its last part", {"task": "generate_memo", "status": None}, 80),
    ("a part that is not the last", {"task": "tasks", "status": None}, 0),
    ("a pattern is no pattern", {"task": "%memo", "status": None}, 0),
    ("exception", {"exception": "SMTPException,ValueError", "status": None}, 120),
    ("all at once", {"queue": "memos", "task": "send_email", "since": "2026-11-20", "exception": "ValueError"}, 1),
    ("quotes are text", {"queue": "x' or 'a'='a"}, 0),
)  # fmt: skip


@pytest.mark.parametrize("road", ["adbc", "sqlalchemy"])
def test_filters(url, road):
    source = open_source(url)
    source.road = road
    found = {name: len(load(source, **asked)) for name, asked, _ in FILTERS}
    assert found == {name: rows for name, _, rows in FILTERS}


NOTHING = (
    ({"task": "send_emial"}, ["No failure has the task 'send_emial' (108 of other tasks in this time). Did you mean 'send_email'?"]),
    ({"task": "api.tasks.send_emial"}, ["No failure has the task 'api.tasks.send_emial' (108 of other tasks in this time)."
                                        " Did you mean 'api.tasks.send_email'?"]),
    ({"queue": "email"}, ["No failure has the queue 'email' (108 of other queues in this time). Did you mean 'emails'?"]),
    ({"exception": "zzz"}, ["No failure has the exception 'zzz' (108 of other exceptions in this time). There are"
                            " smtplib.SMTPException, ValueError."]),
    ({"status": "replayed", "task": "nap"}, ["No failure has the task 'nap' (120 of other tasks in this time). There are"
                                             " api.tasks.send_email, api.tasks.generate_memo, reports.generate_memo."]),
    ({"status": "archived"}, ["No failure has the status 'archived' (120 of other statuses in this time). There are"
                             " failed, replayed."]),
    ({"task": "send_emial", "queue": "emails"}, ["No failure has the task 'send_emial' (108 of other tasks in this time)."
                                                 " Did you mean 'send_email'?"]),
    ({"queue": "memos", "exception": "SMTPException"}, ["No failure has the queue 'memos' and the exception 'SMTPException'"
                                                        " (108 others in this time)."]),
    ({"task": "send_emial", "since": "2026-12-01"}, ["Nothing failed since 01 Dec 2026 00:00 UTC."]),
    ({"since": "2026-12-01", "until": "2026-12-02"}, ["Nothing failed since 01 Dec 2026 00:00 UTC and until 02 Dec 2026 00:00 UTC."]),
)  # fmt: skip


@pytest.mark.parametrize(("asked", "notes"), NOTHING)
def test_a_name_that_no_failure_has_is_no_all_clear(url, asked, notes):
    found = load(url, **asked)
    assert not len(found) and found.attrs["notes"] == notes
    [told] = dlq.story(found.pipe(dlq.classify).pipe(dlq.fingerprint))
    quiet = notes[0].startswith("Nothing failed")
    assert (
        told.startswith("Quiet: nothing failed in this time (since ")
        if quiet
        else told == f"Nothing matches. {notes[0]}"
    )
    if not quiet:
        assert dlq.summary(url, **{"since": None, **asked}).attrs["notes"] == notes


def test_where_everything_was_settled_nobody_says_that_nothing_failed(url):
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("UPDATE failed_tasks SET status = 'replayed' WHERE status = 'failed'")
        db.execute("UPDATE failed_tasks SET status = 'archived' WHERE id <= 10")
    said = "o failure is left as failed: of 120 there are 110 replayed and 10 archived"
    found = load(url, since=None)
    assert found.attrs["notes"][0] == f"N{said}."
    judged = found.pipe(dlq.classify).pipe(dlq.fingerprint)
    [told] = dlq.story(judged)
    assert told.startswith(f"Quiet: n{said} (") and not dlq.report.must_look({"story": [told]})
    counted = dlq.summary(url, since=None).pipe(dlq.classify).pipe(dlq.fingerprint)
    assert f"n{said}" in dlq.story(counted)[0]
    assert load(url, since="2026-12-01").attrs["notes"] == [
        "Nothing failed since 01 Dec 2026 00:00 UTC."
    ]


def test_a_source_that_answers_no_wider_question_says_what_it_can(url, monkeypatch):
    source = open_source(url)
    read = source.read

    def narrow(selection, columns):
        if not selection.task:
            raise QueryError("It took too long.")
        return read(selection, columns)

    monkeypatch.setattr(source, "read", narrow)
    found = load(source, task="send_emial, nap")
    assert found.attrs["notes"] == ["No failure has the task 'send_emial' or 'nap'."]


def test_both_roads_give_the_same_frame(url):
    fast, slow = open_source(url), open_source(url)
    slow.road = "sqlalchemy"
    for asked in ({}, {"columns": ["traceback", "raw"]}, {"limit": 7}, {"queue": "none"}):
        one, other = load(fast, **asked), load(slow, **asked)
        pd.testing.assert_frame_equal(one, other)
        assert one.attrs == other.attrs
        assert {name: one[name].dtype for name in SCHEMA} == SCHEMA


def test_a_limit_keeps_the_newest_and_says_so(url):
    cut = load(url, limit=10)
    assert len(cut) == 10
    assert cut.failed_at.min() == pd.Timestamp(
        NOW - timedelta(hours=10)
    )  # one of the ten was replayed
    assert cut.attrs["truncated"] and "Cut at 10 rows" in cut.attrs["notes"][0]
    whole = load(url, limit=108)
    assert len(whole) == 108 and not whole.attrs["truncated"] and not whole.attrs["notes"]


def test_a_load_says_what_was_asked(url):
    attrs = load(url, queue="emails", since="2026-11-01").attrs
    assert attrs == {
        "selection": "since 2026-11-01 00:00Z; queue emails; status failed",
        "asked": {
            "celery:failed_tasks": {
                "since": "2026-11-01T00:00:00+00:00",
                "until": None,
                "queue": ["emails"],
                "task": [],
                "exception": [],
                "status": ["failed"],
                "limit": None,
            }
        },
        "narrows": True,
        "loaded": 60,
        "truncated": False,
        "notes": [],
        "source": "celery:failed_tasks",
        "tracebacks": "representatives",
        "unmatched": [],
        "settled": "",
        "absent": [],
    }
    assert not load(url).attrs["narrows"]


def test_rows_are_sorted_and_their_content_hash_is_stable(url):
    failures = load(url)
    assert failures.failed_at.is_monotonic_increasing
    again = load(url, columns=["traceback"])
    parts = ["task_id", "task_name", "queue", "args", "kwargs"]
    assert [content_hash(*row) for row in failures[parts].itertuples(index=False)] == [
        content_hash(*row) for row in again[parts].itertuples(index=False)
    ]


def test_one_traceback_for_each_kind_of_failure(url):
    failures = load(url, status=None)
    kinds = failures.assign(code=failures.exception_message.str[-3:], length=0)
    with_trace = failures[failures.traceback.notna()]
    # three tasks x two exceptions (each with its own status code and stack length)
    assert len(with_trace) == len(kinds.groupby(["task_name", "exception_type", "code"])) == 6
    first = kinds.groupby(["task_name", "exception_type", "code"]).failed_at.min()
    assert set(with_trace.failed_at) == set(first)
    every = load(url, status=None, columns=["traceback"])
    assert every.traceback.notna().all() and every.attrs["tracebacks"] == "all"
    pd.testing.assert_series_equal(every.traceback[with_trace.index], with_trace.traceback)


def test_a_stack_of_another_length_is_another_kind(url):
    with psycopg.connect(url) as connection:
        connection.execute("update failed_tasks set traceback = repeat('y', id::int + 500)")
    assert load(url).traceback.notna().all()
    with psycopg.connect(url) as connection:
        connection.execute("update failed_tasks set traceback = null")
    assert load(url).traceback.isna().all()


def test_representatives_have_a_limit_and_say_so(url, monkeypatch):
    from dlqanalysis.sources import _representatives

    monkeypatch.setattr(_representatives, "MOST", 2)
    failures = load(url, status=None)
    assert failures.traceback.notna().sum() == 2
    assert (
        "6 kinds of failures: tracebacks were fetched for the 2 most frequent"
        in failures.attrs["notes"][0]
    )


def test_details_fill_these_rows_and_say_what_is_gone(url, monkeypatch):
    monkeypatch.setattr(loading, "_AT_ONCE", 3)
    source = dlq.connect(url)
    failures = load(source)
    some = failures[failures.traceback.isna()].head(7)
    with psycopg.connect(url) as connection:
        connection.execute("delete from failed_tasks where id = %s", (some.failure_id.iloc[2],))
    filled = dlq.details(source, some)
    assert filled.traceback.isna().tolist() == [False, False, True, False, False, False, False]
    assert filled.attrs["tracebacks"] == "all" and some.attrs["tracebacks"] == "representatives"
    assert "1 of these rows are no longer" in filled.attrs["notes"][-1]
    pd.testing.assert_frame_equal(filled.drop(columns="traceback"), some.drop(columns="traceback"))
    assert dlq.details(source, some.head(0)).empty
    odd = some.assign(source=pd.Series("bullmq:default", some.index, dtype="category"))
    with pytest.raises(SettingsError, match=r"from bullmq:default, not from celery:failed_tasks"):
        dlq.details(source, odd)


def test_show_gives_all_there_is_of_one(url):
    failures = load(url)
    field = dlq.show(url, failures.failure_id.iloc[0])
    assert field["traceback"].startswith("Traceback:")
    assert field["task_name"] == failures.task_name.iloc[0]
    with pytest.raises(QueryError, match=r"has no failure 'uuid-1'. Take a failure_id"):
        dlq.show(url, "uuid-1")


def test_nothing_is_written_or_locked(url):
    with psycopg.connect(url) as connection:
        connection.execute("lock table failed_tasks in exclusive mode")
        assert len(load(url)) == 108  # a writer at work does not stop a reader
    before = "select xmin::text, count(*) from failed_tasks group by 1"
    with psycopg.connect(url) as connection:
        rows = connection.execute(before).fetchall()
        dlq.details(url, load(url, columns=["traceback", "raw"]))
        assert connection.execute(before).fetchall() == rows


WRONG = (
    ({"since": "yesterday"}, SettingsError, "'yesterday' is no time"),
    ({"since": "2026-11-02", "until": "2026-11-01"}, SettingsError, "is not before until"),
    ({"limit": 0}, SettingsError, "limit is 0"),
    ({"limit": True}, SettingsError, "limit is True"),
    ({"limit": "10"}, SettingsError, "limit is '10'"),
    ({"columns": ["tracebak"]}, SchemaError, "Did you mean 'traceback'"),
    ({"queue": "a\x00b"}, SettingsError, "holds characters that no name has"),
    ({"queue": "a\ud800b"}, SettingsError, "holds characters that no name has"),
    ({"status": "fialed"}, SettingsError, "which knows failed, pending_replay"),
)


def test_what_cannot_be_asked(url):
    for asked, error, words in WRONG:
        with pytest.raises(error, match=words):
            dlq.load(url, **asked)


def test_where_alerts_go_is_no_system_to_read(monkeypatch, tmp_path):
    (tmp_path / "profile.toml").write_text('notify = ["DLQ_ALERT_URL"]\n')
    monkeypatch.setenv("DLQ_PROFILE", str(tmp_path / "profile.toml"))
    monkeypatch.setenv("DLQ_ALERT_URL", "json://127.0.0.1:9/alerts")
    monkeypatch.setenv("DLQ_SHOP_URL", "postgresql://127.0.0.1/shop")
    with pytest.raises(SettingsError, match=r"'shoq' is not connected.*Did you mean 'shop'\?$"):
        dlq.connect("shoq")
    with pytest.raises(SettingsError, match=r"'alerts' is not connected.*Known: shop") as caught:
        dlq.connect("alerts")
    assert "alert" not in str(caught.value).partition("Known:")[2]


def test_names_urls_and_paths(url, monkeypatch, tmp_path):
    with pytest.raises(SettingsError, match=r"'shop' is not connected: set DLQ_SHOP_URL"):
        dlq.connect("shop")
    with pytest.raises(SettingsError, match=r"'shop' is not connected: set DLQ_SHOP_HAND_URL"):
        dlq.connect_hand("shop")
    monkeypatch.setenv("DLQ_SHOP_URL", url)
    assert len(load("shop")) == 108
    with pytest.raises(
        SettingsError, match=r"'oracle://' is no system that can be read yet. There are: postgresql"
    ):
        dlq.connect("oracle://x/y")
    kept = dlq.snapshot(load("shop"), tmp_path / "kept.parquet")
    assert len(load(kept)) == 108
    monkeypatch.setenv("DLQ_KEPT_URL", str(kept))
    assert len(load("kept")) == 108
    with pytest.raises(SettingsError, match=r"is an export: nothing can be replayed from it"):
        dlq.connect_hand(str(kept))
    assert dlq.connect("admin+http://localhost:1/api/v1/admin/dlq").name.startswith(
        "admin:localhost"
    )


@pytest.mark.parametrize("scheme", sorted(set(SYSTEMS) - {"log+file"}))
def test_what_slides_out_of_a_password_is_not_told(scheme):
    """A bare sign ends the user's part: what follows is taken for a path, an option or a fragment."""
    for sign in "/?#":
        for door in (dlq.connect, dlq.connect_hand, dlq.connect_monitor, dlq.capabilities):
            with pytest.raises(SettingsError, match="percent-encoded") as refused:
                door(f"{scheme}://me:17{sign}s3cret@host:1/0?queue=a")
            assert not re.search(r"s3cret|17", str(refused.value))


def test_an_empty_table_is_an_empty_frame(shop_url):
    failures = load(shop_url)
    assert failures.empty
    assert {name: failures[name].dtype for name in SCHEMA} == SCHEMA
    assert load(shop_url, columns=["traceback", "raw"]).empty


def test_a_load_makes_no_object_per_row(url):
    """Columns stay in Arrow from the wire to the frame."""
    failures = load(url)
    for name in ("failure_id", "args", "kwargs", "exception_message"):
        assert type(failures[name].array).__name__ == "ArrowStringArray"
    assert failures.task_name.cat.codes.dtype == np.int8


PAYLOADS = (
    ("[1]", "{}", "complete"),
    (" [1] ", "{}", "complete"),
    ('[NaN, 1e999, "\\ud800"]', "{}", "complete"),
    ("[" * 300 + "]" * 300, "{}", "complete"),
    ("[1]", None, "complete"),
    (None, None, "missing"),
    ("(1,)", "{}", "unreadable"),
    ("[1]", "{'a': 1}", "unreadable"),
    ("{}", "{}", "unreadable"),
    ("[1]", "[]", "unreadable"),
    ('"[1]"', "{}", "unreadable"),
    ("", "{}", "unreadable"),
    ("[" * 100_000, "{}", "truncated"),
    ('[1, "ab', "{}", "truncated"),
    ("('long...', 2)", "{}", "unreadable"),
    ("('long...',)", "{}", "truncated"),
    ("[1]", '{"a": "b…', "truncated"),
)


def test_payload_states():
    import pyarrow as pa

    args, kwargs, states = (list(column) for column in zip(*PAYLOADS, strict=True))
    found = payload_state(
        pa.chunked_array([args[:3], args[3:]]), pa.chunked_array([kwargs]), len(args)
    )
    assert found.to_pylist() == states
    alone = [
        payload_state(
            pa.chunked_array([[a]], pa.string()), pa.chunked_array([[k]], pa.string()), 1
        )[0].as_py()
        for a, k, _ in PAYLOADS
    ]
    assert alone == states


def test_many_refused_payloads_are_not_tried_one_by_one(monkeypatch):
    import pyarrow as pa

    from dlqanalysis.sources import _payload_state

    tried = []
    monkeypatch.setattr(_payload_state, "_SLOW", 10)
    monkeypatch.setattr(_payload_state, "_reads", lambda text: tried.append(text) or True)
    args = [f"({n},)" for n in range(50)] + ["[NaN]"]
    found = payload_state(pa.chunked_array([args]), pa.chunked_array([["{}"] * 51]), 51).to_pylist()
    assert found == ["unreadable"] * 50 + ["complete"]
    assert tried == ["[NaN]"]
