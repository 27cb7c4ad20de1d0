"""The admin API against a real server on a socket: reads completely, replays once, believes no bare success."""

import json
import logging
import ssl
import time
from collections import deque
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from dlqanalysis.errors import ConnectError, DLQError, RunError, SchemaError, SettingsError
from dlqanalysis.frame import HEAVY, content_hash, from_arrow
from dlqanalysis.journal import Journal
from dlqanalysis.model import Item, Outcome, Selection, State
from dlqanalysis.plan import plan as make_plan
from dlqanalysis.replay import replay as run_plan
from dlqanalysis.replay import resume as go_on
from dlqanalysis.sources import connect, connect_hand, details, load, show
from dlqanalysis.sources.admin_api import AdminHand, AdminSource, open_hand, open_source
from dlqanalysis.sources.admin_api.client import open_client
from dlqanalysis.sources.admin_api.dialect import Dialect
from dlqanalysis.sources.admin_api.evidence import happened, leaves_open
from dlqanalysis.sources.admin_api.rows import record, rows_in, when
from tests.admin_server import BASE, TOKEN, AdminServer, document, task

DIALECTS = ("published", "runbook")
ALL = Selection(status=())


class Clock:
    """Time that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


def client(server, **options):
    options = {"timeout": 5.0, "sleep": lambda _: None, **options}
    return open_client(server.url, options.pop("token", TOKEN), **options)


def read(server, selection=ALL, columns=(), **options):
    source = AdminSource(client(server, **options))
    got = source.read(selection, columns)
    source.close()
    table = got.table
    if "traceback_bytes" in table.column_names:
        table = table.drop_columns("traceback_bytes")
    return from_arrow(table), got


def items(server):
    frame, _ = read(server)
    return {
        row["failure_id"]: Item(
            **{name: row[name] for name in ("failure_id", "task_id", "task_name", "queue")},
            content_hash=content_hash(
                *(row[name] for name in ("task_id", "task_name", "queue", "args", "kwargs"))
            ),
            generation=1,
        )
        for row in frame.to_dict("records")
    }


def hand(server, clock=None, **options):
    clock = clock or Clock()
    names = ("timeout", "token", "longest_wait")
    own = {name: options.pop(name) for name in names if name in options}
    return AdminHand(
        client(server, sleep=clock.sleep, **own), sleep=clock.sleep, clock=clock, **options
    )


def replay(server, *ids, **options):
    chosen = items(server)
    acting = hand(server, **options)
    receipts = list(acting.send("replay", [chosen[i] for i in ids or chosen], "run-1"))
    return receipts, acting


# ---- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("wrap", ["", "tasks", "items", "results", "data"])
def test_both_dialects_and_every_list_shape_give_the_same_frame(dialect, wrap):
    with AdminServer(dialect, 3, wrap=wrap) as server:
        frame, got = read(server)
    assert not got.truncated
    row = frame.set_index("failure_id").loc["3"]
    assert row["source"] == server.url.removeprefix("admin+http://").join(["admin:", ""]).replace(
        BASE, ""
    )
    assert row["task_id"] == "celery-3"  # Celery's id and the row's number are kept apart
    assert (row["queue"], row["task_name"]) == ("memos", "api.tasks.memo_tasks.generate_memo")
    assert (row["args"], row["kwargs"]) == ("[3]", '{"property_id": 3}')
    assert row["payload_state"] == "complete" and row["retries"] == 3
    assert row["failed_at"] == datetime(2026, 1, 10, 0, 3, tzinfo=UTC)  # naive times are UTC
    assert frame["traceback"].isna().all()


@pytest.mark.parametrize(
    ("habits", "truncated", "note"),
    [
        ({}, False, ""),
        ({"most": 100}, False, ""),  # a greater limit is refused
        ({"cap": 50}, False, ""),  # a greater limit is cut without a word
        ({"oldest_first": True}, False, ""),
        ({"cap": 100, "ignores_offset": True}, True, "ignores `offset`"),
        ({"ignores_offset": True}, False, ""),  # everything fits into its one page
    ],
)
@pytest.mark.parametrize("openapi", [True, False])
def test_paging_goes_on_until_the_list_is_complete(habits, truncated, note, openapi):
    with AdminServer(tasks=237, openapi=openapi, **habits) as server:
        frame, got = read(server)
    assert got.truncated is truncated
    assert len(frame) == (100 if truncated else 237)
    assert frame["failure_id"].is_unique
    assert note in " ".join(got.notes)


def test_rows_that_leave_the_list_meanwhile_hide_none_of_the_others():
    def somebody_replays(server, offset):
        if offset in (0, 49):
            for number in range(300 - offset, 270 - offset, -1):
                server.tasks[str(number)]["status"] = "replayed"

    with AdminServer(tasks=300, cap=50, between_pages=somebody_replays) as server:
        frame, _ = read(server, Selection())
        left = {i for i, row in server.tasks.items() if row["status"] == "failed"}
    assert left <= set(frame["failure_id"])


def test_a_list_that_never_stands_still_ends_with_a_note():
    def storm(server, _):
        for i in [i for i, row in server.tasks.items() if row["status"] == "failed"][-60:]:
            server.tasks[i]["status"] = "replayed"

    with AdminServer(tasks=900, cap=50, between_pages=storm) as server:
        _, got = read(server, Selection())
        assert len(server.requests) < 60
    assert "kept changing" in " ".join(got.notes)


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(queue=("memos",)), {"1", "3", "5"}),
        (Selection(queue=("memos", "emails")), {"1", "2", "3", "4", "5"}),
        (Selection(task=("generate_memo",)), {"1", "3", "5"}),
        (Selection(task=("api.tasks.email_tasks.send_email",)), {"2", "4"}),
        (Selection(task=("memo",)), set()),
        (Selection(exception=("ValueError",)), {"5"}),
        (Selection(status=("archived",)), {"6"}),
        (Selection(status=()), {"1", "2", "3", "4", "5", "6"}),
        (Selection(since=datetime(2026, 1, 10, 0, 4, tzinfo=UTC)), {"4", "5"}),
        (Selection(until=datetime(2026, 1, 10, 0, 2, tzinfo=UTC)), {"1"}),
        (Selection(limit=2), {"4", "5"}),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "habits", [{}, {"openapi": False}, {"oldest_first": True}, {"ignores_filters": True}]
)
def test_filters_hold_whatever_the_server_makes_of_them(selection, ids, dialect, habits):
    with AdminServer(dialect, 6, **habits) as server:
        server.tasks["5"]["exception_type"] = "builtins.ValueError"
        server.tasks["6"]["status"] = "archived"
        frame, got = read(server, selection)
    assert set(frame["failure_id"]) == ids
    assert got.truncated is bool(selection.limit)


def test_the_filters_a_server_honours_narrow_what_it_sends():
    with AdminServer("runbook") as server:
        read(server, Selection(queue=("memos",)))
        asked = next(query for _, path, query, _ in server.requests if path == "/tasks")
    assert asked["queue"] == "memos" and asked["status"] == "failed"
    assert "queue_name" not in asked and "task_name" not in asked


def test_reading_stops_where_older_rows_cannot_matter():
    with AdminServer(tasks=1439) as server:
        server.cap = 100
        frame, _ = read(server, Selection(since=datetime(2026, 1, 10, 23, 0, tzinfo=UTC)))
        pages = sum(path == "/tasks" for _, path, _, _ in server.requests)
    assert len(frame) == 60 and pages <= 3


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(since=datetime(2026, 1, 10, 3, 0, tzinfo=UTC)), range(180, 301)),
        (Selection(limit=7), range(294, 301)),
    ],
)
def test_a_list_in_no_order_is_read_to_its_end(selection, ids):
    def shuffled(rows, _):
        return sorted(rows, key=lambda row: row["id"] * 7919 % 301)

    with AdminServer(tasks=300, cap=40, order=shuffled) as server:
        frame, got = read(server, selection)
    assert set(frame["failure_id"]) == {str(i) for i in ids}
    assert got.truncated is bool(selection.limit)


def test_rows_of_the_same_moment_may_change_places_between_two_pages():
    def flickers(rows, asked):
        if asked == 2:
            rows[49], rows[60] = rows[60], rows[49]
        return rows

    with AdminServer(tasks=130, cap=50, order=flickers) as server:
        frame, _ = read(server)
    assert len(frame) == 130


def test_reading_only_reads():
    with AdminServer(tasks=9) as server:
        before = json.dumps(server.tasks)
        source = AdminSource(client(server))
        source.read(ALL, HEAVY)
        source.details(["1"], HEAVY)
        source.stats(), source.alerts(), source.task("2")
        assert {verb for verb, *_ in server.requests} == {"GET"}
        assert json.dumps(server.tasks) == before


def test_heavy_columns_come_when_asked_for_and_details_keep_the_bytes():
    with AdminServer() as server:
        frame, _ = read(server, columns=["traceback", "raw"])
        source = AdminSource(client(server))
        table = source.details(["2", "99"], ["traceback", "raw"])
        narrow = source.details(["2"], ["traceback"])
    assert frame["traceback"].str.startswith("Traceback").all()
    assert json.loads(bytes(frame["raw"].iloc[0]))["id"] == 1
    assert table["failure_id"].to_pylist() == ["2"]  # 99 is gone
    assert json.loads(table["raw"][0].as_py())["task_id"] == "celery-2"
    assert narrow.column_names == ["failure_id", "traceback"]


def test_load_brings_one_traceback_of_a_kind_without_asking_again():
    with AdminServer(tasks=30) as server:
        source = AdminSource(client(server))
        failures = load(source, since=None)
        asked = [path for _, path, _, _ in server.requests]
        filled = details(source, failures.head(2))
        one = show(source, "3")
    assert failures.attrs["tracebacks"] == "representatives" and failures["traceback"].count() < 30
    assert failures["traceback"].count() >= 2 and not any(p.startswith("/tasks/") for p in asked)
    assert failures.attrs["source"] == source.name and not failures.attrs["truncated"]
    assert filled["traceback"].notna().all() and json.loads(bytes(filled["raw"].iloc[0]))["id"] == 1
    assert one["kwargs"] == '{"property_id": 3}' and one["exception_message"] == "boom 3"


def test_connect_finds_source_and_hand_by_name(monkeypatch):
    with AdminServer() as server:
        monkeypatch.setenv("DLQ_SHOP_URL", server.url)
        monkeypatch.setenv("DLQ_SHOP_TOKEN", TOKEN)
        assert len(load("shop", since=None, queue="memos")) == 2
        acting = connect_hand("shop")
        assert acting.name == connect("shop").name
        assert not acting.preflight([])[0].blocks
        with pytest.raises(ConnectError, match="DLQ_ADMIN_TOKEN is not set"):
            load(server.url, since=None)


@pytest.mark.parametrize(
    ("changes", "column", "expected"),
    [
        ({"args": '["a"]', "kwargs": "{}"}, "payload_state", "complete"),
        ({"args": '["a", "b', "kwargs": "{}"}, "payload_state", "truncated"),
        ({"args": "('a',)", "kwargs": "{}"}, "payload_state", "unreadable"),
        ({"args": "['a', ...", "kwargs": {}}, "payload_state", "truncated"),
        ({"args": None, "kwargs": None}, "payload_state", "missing"),
        ({"args": {"a": 1}}, "payload_state", "unreadable"),
        ({"kwargs": [1]}, "payload_state", "unreadable"),
        ({"args": None}, "payload_state", "complete"),
        ({"exception_message": "a\ud800b"}, "exception_message", "a\\ud800b"),
        ({"exception_message": "nul \x00 here"}, "exception_message", "nul \x00 here"),
        ({"failed_at": "2026-01-15T10:00:00+02:00"}, "failed_at", "2026-01-15 08:00:00+00:00"),
        ({"failed_at": "yesterday"}, "failed_at", "NaT"),
        ({"failed_at": 1768471200}, "failed_at", "2026-01-15 10:00:00+00:00"),
        ({"failed_at": 1768471200000}, "failed_at", "2026-01-15 10:00:00+00:00"),
        ({"retries_attempted": 10**40}, "retries", "<NA>"),
        ({"retries_attempted": "4"}, "retries", "4"),
        ({"kwargs": {"n": 9007199254740993}}, "kwargs", '{"n": 9007199254740993}'),
        ({"id": "x/../y?z"}, "failure_id", "x/../y?z"),
        ({"task_id": None}, "task_id", "nan"),
    ],
)
def test_odd_rows_stay_rows(changes, column, expected):
    with AdminServer(tasks=0) as server:
        row = task(7, **changes)
        server.tasks[str(row["id"])] = row
        frame, _ = read(server)
        one = str(frame[column].iloc[0])
        assert (one if one != "None" else "nan") == expected
        shown = AdminSource(client(server)).task(str(row["id"]))
    assert shown["queue_name"] == "memos"


def test_entries_that_are_no_objects_are_told_and_rows_without_id_are_kept():
    rows, total, odd = rows_in({"data": {"items": [{"id": 1}, 7, None]}, "total": 3})
    assert ([dict(r) for r in rows], total, odd) == ([{"id": 1}], 3, 2)
    assert record({"task_name": "a"})["failure_id"].startswith("sha1:")
    assert record({"task_id": 12345})["failure_id"] == "12345"
    assert record({"task_id": 12345})["task_id"] is None  # the runbook's number, not Celery's id
    with pytest.raises(SchemaError, match="an object with count, detail"):
        rows_in({"detail": "x", "count": 1})


def test_rows_without_time_are_counted_when_time_decides():
    with AdminServer() as server:
        server.tasks["2"]["failed_at"] = None
        frame, got = read(server, Selection(since=datetime(2020, 1, 1, tzinfo=UTC)))
    assert set(frame["failure_id"]) == {"1", "3", "4"}
    assert "1 rows have no readable failed_at" in " ".join(got.notes)


def test_an_empty_queue_is_an_empty_frame():
    with AdminServer(tasks=0) as server:
        frame, got = read(server, Selection())
    assert frame.empty and not got.truncated and not got.notes


def test_the_servers_own_count_is_compared_where_it_can_be():
    with AdminServer(tasks=5) as server:
        assert not read(server, Selection())[1].notes
        server.tasks["2"]["status"] = "replaying"
        assert not read(server, Selection())[1].notes  # by_status tells them apart
        note = " ".join(read(server, Selection(queue=("emails",)))[1].notes)
        assert "counts 2 failed tasks (it counts rows being replayed as well)" in note
        since = Selection(since=datetime(2026, 1, 10, 0, 3, tzinfo=UTC))
        assert not read(server, since)[1].notes  # not comparable: it counts older ones


@pytest.mark.parametrize("dialect", DIALECTS)
def test_stats_of_both_dialects_have_one_shape(dialect):
    with AdminServer(dialect, 3) as server:
        source = AdminSource(client(server))
        stats, alert = source.stats(), source.alerts()
    assert stats["total_failed"] == 3 and stats["by_queue"] == {"memos": 2, "emails": 1}
    assert stats["oldest_failure"] == datetime(2026, 1, 10, 0, 1, tzinfo=UTC)
    assert stats["alert"] is True and stats["reason"].startswith("DLQ")
    assert (alert.severity, alert.blocks) == ("warning", False) and "has failed tasks" in alert.text


# ---- what goes wrong while reading -------------------------------------------------------------


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        ("401", "DLQ_ADMIN_TOKEN is not accepted"),
        ("403", "admin role"),
        ("404", "usually /api/v1/admin/dlq"),
        ("405", "refused \\(405\\)"),
        ("503", "fails on its side \\(503: habit 503\\)"),
        ("500", "fails on its side"),
        ("429:900", "too many requests"),
        ("html", "a web page"),
        ("no_json", "no JSON"),
        ("302:https://evil.example/tasks?next=1", "https://evil.example/tasks \\(302\\)"),
        ("slow", "did not answer within 0.3 s"),
        ("drip", "did not answer within 0.3 s"),
        ("drop_before", "dropped the connection"),
    ],
)
def test_each_way_to_fail_has_its_sentence(habit, words):
    with AdminServer(slow=0.6) as server:
        server.gets["/tasks"] = deque([habit] * 9)
        with pytest.raises(ConnectError, match=words) as caught:
            read(server, timeout=0.3)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("habits", [["503"], ["429:2"], ["drop_before"], ["502", "504"]])
def test_reading_tries_again_what_may_pass(habits):
    slept = []
    with AdminServer() as server:
        server.gets["/tasks"] = deque(habits)
        frame, _ = read(server, sleep=slept.append)
    assert len(frame) == 4 and len(slept) == len(habits)
    if habits == ["429:2"]:
        assert slept == [2.0]


def test_no_token_is_another_sentence_than_a_wrong_one():
    with AdminServer() as server:
        with pytest.raises(ConnectError, match="DLQ_ADMIN_TOKEN is not set"):
            read(server, token=None)
        with pytest.raises(ConnectError, match="DLQ_ADMIN_TOKEN is not accepted"):
            read(server, token="old")


def test_nobody_listens_and_no_such_host():
    with AdminServer() as server:
        url = server.url
    slept = []
    with pytest.raises(ConnectError, match="cannot be reached"):
        AdminSource(open_client(url, TOKEN, sleep=slept.append)).read(ALL, ())
    assert len(slept) == 2  # three tries, for the first thing asked, and no more
    with AdminServer() as plain:
        secure = plain.url.replace("admin+http:", "admin+https:")
        with pytest.raises(ConnectError, match=r"TLS with https:.* failed"):
            AdminSource(open_client(secure, TOKEN, timeout=2)).read(ALL, ())


def test_an_untrusted_certificate_is_named():
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    from dlqanalysis.sources._http import _tls

    assert "SSL_CERT_FILE" in _tls(error) and "self-signed" in _tls(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://host/api",
        "admin+ftp://host",
        "admin+https://",
        "admin+https://user:s3cret@host/api/v1/admin/dlq",
        "admin+https://host/api?token=s3cret",
        "admin+https://host:port/",
        "admin+https://ho st\x00/",
    ],
)
def test_a_wrong_url_is_told_without_its_secrets(url):
    with pytest.raises(SettingsError) as caught:
        open_client(url, TOKEN)
    assert "s3cret" not in str(caught.value) and "admin+https://host/api/v1" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("admin+https://api.example.com", "admin:api.example.com"),
        ("admin+https://api.example.com/api/v1/admin/dlq/", "admin:api.example.com"),
        ("admin+https://api.example.com/api/v1/admin/dlq/tasks", "admin:api.example.com"),
        ("admin+http://h:8000/x/dlq", "admin:h:8000/x/dlq"),
        ("admin+https://[::1]:8443", "admin:[::1]:8443"),
    ],
)
def test_source_and_hand_of_one_place_have_one_name(url, name, monkeypatch):
    monkeypatch.setenv("DLQ_SHOP_TOKEN", TOKEN)
    source, acting = open_source(url, "shop"), open_hand(url, "shop")
    assert source.name == acting.name == name


def test_the_token_shows_nowhere(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DLQ_SHOP_APP_TOKEN", "reader")
    monkeypatch.setenv("DLQ_SHOP_APP_HAND_TOKEN", TOKEN)
    with AdminServer(health=(200, {"status": "ok"})) as server:
        acting = open_hand(server.url, "shop-app")
        acting.preflight([])
        assert server.headers[-1]["Authorization"] == f"Bearer {TOKEN}"  # the hand's own
        source = open_source(server.url, "shop-app")
        with pytest.raises(ConnectError, match="DLQ_SHOP_APP_TOKEN") as caught:
            source.read(ALL, ())
        shown = " ".join([repr(acting), repr(source), repr(vars(acting)), repr(source._client)])
    assert TOKEN not in shown + str(caught.value) + caplog.text
    with pytest.raises(SettingsError, match="Copy the token again") as caught:
        open_client(server.url, "tok\nen-s3cret")
    assert "s3cret" not in str(caught.value)


def test_refusals_are_redacted_and_short():
    with AdminServer() as server:
        api = client(server)
        server.gets["/stats"] = deque(["400"])
        answer = api.get("/stats")
        object.__setattr__(answer, "content", json.dumps({"detail": f"x {TOKEN} " * 90}).encode())
    assert TOKEN not in api.words(answer) and len(api.words(answer)) <= 200


# ---- OpenAPI -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_dialect_is_read_from_openapi(dialect):
    learnt = Dialect.learn(document(dialect), BASE)
    assert learnt.documented and learnt.replays and learnt.id_type == "integer"
    assert learnt.id_field == {"published": "failed_task_id", "runbook": "task_id"}[dialect]
    assert learnt.queue_filters == ({"published": "queue_name", "runbook": "queue"}[dialect],)
    assert learnt.bulk.dry_runs is (dialect == "runbook")


@pytest.mark.parametrize(
    "odd",
    [None, [], "x", {}, {"paths": []}, {"paths": {"/dlq": None, "/a/dlq/replay": []}},
     {"paths": {f"{BASE}/replay": {"post": {"requestBody": 7}}}, "components": {"schemas": []}},
     {"paths": {f"{BASE}/tasks": {"get": {"parameters": [None, {"name": 3}, {"$ref": 1}]}}}},
     {"paths": {f"{BASE}/replay": {"post": {"$ref": "#/paths"}}}},
     {"paths": {"/other": {"get": {}}}}],
)  # fmt: skip
def test_odd_documents_teach_nothing_and_break_nothing(odd):
    learnt = Dialect.learn(odd, BASE)
    assert learnt.id_field == "" and learnt.bulk.dry_runs is False


def test_a_document_behind_a_prefix_or_beside_the_api_is_found():
    prefixed = Dialect.learn(document("runbook"), "/shop" + BASE)
    assert prefixed.replays and prefixed.id_field == "task_id"
    with AdminServer("runbook", openapi="/api/v1/openapi.json") as server:
        assert AdminSource(client(server)).dialect.id_field == "task_id"


def test_a_page_in_place_of_the_document_is_no_document():
    with AdminServer(openapi="html") as server:
        _, got = read(server)
    assert "shows no OpenAPI document" in " ".join(got.notes)


# ---- replaying ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("openapi", [True, False])
def test_each_item_is_replayed_once_by_its_number(dialect, openapi):
    with AdminServer(dialect, openapi=openapi) as server:
        receipts, acting = replay(server, "3", "1")
        assert [(r.failure_id, r.state) for r in receipts] == [("3", State.SENT), ("1", State.SENT)]
        assert server.executed == ["3", "1"]
        assert [r.sent_id for r in receipts] == [
            server.tasks[i]["replayed_task_id"] for i in ("3", "1")
        ]
        assert server.posts()[-1] == {server.names["id"]: 1}  # never force, nothing unknown
        assert not server.posts("/replay-bulk")
        asked = zip(server.requests, server.headers, strict=True)
        sent = [headers for (verb, *_), headers in asked if verb == "POST"]
        assert sent[-1]["X-Request-ID"] == "run-1/1" and "Idempotency-Key" not in sent[-1]
        again = list(acting.send("replay", list(items(server).values()), "run-2"))
        assert server.executed == ["3", "1", "2", "4"][: len(server.executed)]
    states = {r.failure_id: r.state for r in again}
    assert states["3"] == states["1"] == State.SKIPPED and states["2"] == State.SENT


def test_other_actions_are_refused_at_once():
    with AdminServer() as server:
        for action in ("archive", "purge", "replay_bulk"):
            with pytest.raises(RunError, match="can replay, not"):
                hand(server).send(action, [], "r")
    assert AdminHand.capabilities == {"replay", "outcome", "settle"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "replayed"}, "somebody has replayed it meanwhile"),
        ({"status": "replaying"}, "somebody replays it now"),
        ({"status": "pending_replay"}, "pending_replay"),
        ({"status": "archived"}, "put away"),
        ({"status": "mystery"}, "'mystery'"),
        ({"args": [8]}, "content has changed"),
        ({"kwargs": {"property_id": 9}}, "content has changed"),
        ({"task_id": "celery-x"}, "content has changed"),
        ({"queue_name": "other"}, "content has changed"),
        ({"id": 77}, "another row (77)"),
        (None, "gone"),
    ],
)
def test_what_changed_since_the_plan_is_skipped(changes, words):
    with AdminServer() as server:
        chosen = items(server)["2"]
        if changes is None:
            del server.tasks["2"]
        else:
            server.tasks["2"].update(changes)
        (receipt,) = hand(server).send("replay", [chosen], "r")
        assert not server.posts() and not server.executed
    assert receipt.state == State.SKIPPED and words in receipt.detail


@pytest.mark.parametrize("habit", ["500", "401", "html", "422", "slow"])
def test_what_cannot_be_looked_at_is_not_sent(habit):
    with AdminServer(slow=0.6) as server:
        chosen = items(server)["2"]
        server.gets["/tasks/2"] = deque([habit] * 9)
        (receipt,) = hand(server, timeout=0.3).send("replay", [chosen], "r")
        assert receipt.state == State.SKIPPED and not server.posts()


@pytest.mark.parametrize(
    ("habit", "state", "words"),
    [
        ("registry", State.REFUSED, "not found in Celery registry"),
        ("broken_commit", State.UNCERTAIN, "may have been published"),
        ("lie", State.UNCERTAIN, "its row has not moved"),
        ("bare", State.UNCERTAIN, "its row has not moved"),
        ("html", State.UNCERTAIN, "no answer of this API"),
        ("no_json", State.UNCERTAIN, "no answer of this API"),
        ("400", State.REFUSED, "habit 400"),
        ("401", State.REFUSED, "habit 401"),
        ("403", State.REFUSED, "habit 403"),
        ("404", State.REFUSED, "habit 404"),
        ("422", State.REFUSED, "habit 422"),
        ("408", State.UNCERTAIN, "408"),
        ("503", State.UNCERTAIN, "503"),
        ("500_after", State.UNCERTAIN, "500"),
        ("somebody_first", State.SKIPPED, "somebody replayed it at this moment"),
        ("drop_before", State.UNCERTAIN, "not answered"),
        ("drop_after", State.UNCERTAIN, "not answered"),
        ("slow_after", State.UNCERTAIN, "did not answer within 0.3 s"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_answer_has_its_receipt_and_nothing_is_sent_twice(habit, state, words, dialect):
    with AdminServer(dialect, slow=0.6) as server:
        server.replays.append(habit)
        (receipt,), _ = replay(server, "2", timeout=0.3)
        assert len(server.posts()) == 1 and len(server.executed) <= 1
    assert receipt.state == state and words in receipt.detail
    assert TOKEN not in receipt.detail and len(receipt.detail) < 500


def test_too_many_requests_waits_as_told_and_looks_again():
    clock = Clock()
    with AdminServer() as server:
        server.replays.extend(["429:7", "429:3"])
        (receipt,), _ = replay(server, "2", clock=clock)
        assert server.executed == ["2"] and len(server.posts()) == 3
        looks = sum(path == "/tasks/2" for _, path, _, _ in server.requests)
    assert receipt.state == State.SENT and clock.slept == [7.0, 3.0] and looks == 4


def test_too_many_requests_has_an_end():
    clock = Clock()
    with AdminServer() as server:
        server.replays.extend(["429:1"] * 9)
        (receipt,), _ = replay(server, "2", clock=clock)
        assert receipt.state == State.REFUSED and len(server.posts()) == 3
        server.replays.clear()
        server.replays.append("429:3600")
        (receipt,), _ = replay(server, "2", clock=clock)
        assert "come back in 3600 s" in receipt.detail and not server.executed
    assert clock.slept == [1.0, 1.0]


def test_somebody_replays_while_we_wait():
    clock = Clock()
    with AdminServer() as server:
        server.replays.append("429:5")

        def meanwhile(seconds):
            server.tasks["2"]["status"] = "replayed"

        clock.sleep = meanwhile
        (receipt,), _ = replay(server, "2", clock=clock)
        assert len(server.posts()) == 1 and not server.executed
    assert receipt.state == State.SKIPPED


def test_three_silences_in_a_row_end_a_batch():
    with AdminServer(tasks=6) as server:
        server.replays.extend(["drop_after"] * 6)
        receipts, _ = replay(server)
        assert len(server.executed) == 3
    assert [r.state for r in receipts] == [State.UNCERTAIN] * 3 + [State.SKIPPED] * 3


# ---- settling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True], ids=["same hand", "after a crash"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_replay_whose_answer_was_lost_ran_once_and_is_settled_as_sent(fresh, dialect):
    with AdminServer(dialect, shows_new_id=True) as server:
        chosen = items(server)["3"]
        server.replays.append("drop_after")
        (receipt,), acting = replay(server, "3")
        assert receipt.state == State.UNCERTAIN
        acting = hand(server) if fresh else acting
        (settled,) = acting.settle([chosen], "run-1")
        (again,) = acting.send("replay", [chosen], "run-2")  # even a second run sends nothing
        assert server.executed == ["3"] and len(server.posts()) == 1
        assert settled.state == State.SENT and "replay_count 1" in settled.detail
        assert settled.sent_id == server.tasks["3"]["replayed_task_id"]
    assert again.state == State.SKIPPED


def test_it_did_not_happen_is_said_only_after_a_while():
    clock = Clock()
    with AdminServer() as server:
        chosen = items(server)["3"]
        server.replays.append("drop_before")
        _, acting = replay(server, "3", clock=clock)
        (soon,) = acting.settle([chosen], "run-1")
        clock.now += 61
        (late,) = acting.settle([chosen], "run-1")
        (sent,) = acting.send("replay", [chosen], "run-1")
        assert server.executed == ["3"]
    assert soon.state == State.UNCERTAIN and "settle again in 60 s" in soon.detail
    assert late.state == State.NOT_REACHED and sent.state == State.SENT


def test_a_fresh_hand_waits_too_before_it_says_no():
    clock = Clock()
    with AdminServer() as server:
        chosen = list(items(server).values())
        acting = hand(server, clock=clock)
        assert {r.state for r in acting.settle(chosen, "r")} == {State.UNCERTAIN}
        clock.now += 60
        assert {r.state for r in acting.settle(chosen, "r")} == {State.NOT_REACHED}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_run_with_lost_answers_executes_everything_once(dialect, monkeypatch, tmp_path):
    clock, said = Clock(), []
    monkeypatch.setenv("DLQ_ADMIN_TOKEN", TOKEN)
    with AdminServer(dialect, tasks=9) as server:
        failures = load(server.url, since=None, queue="memos")
        journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
        plan = make_plan(failures, journal, reason="INC-7: the provider is back", ungraded=None)
        assert set(plan.chosen["failure_id"]) == {"1", "3", "5", "7", "9"}
        server.tasks["9"]["status"] = "replayed"  # somebody was quicker
        server.replays.extend(["", "drop_after", "drop_before"])
        options = {"stages": (3, None), "gate": None, "rate": None, "progress": said.append}
        acting = hand(server, clock=clock)
        first = run_plan(plan, to=acting, journal=journal, confirm=plan.id, **options)
        clock.now += 60
        last = go_on(
            first.run_id, to=acting, journal=journal, confirm=plan.id, progress=said.append
        )
        assert sorted(server.executed) == ["1", "3", "5", "7"]
    states = dict(zip(first.receipts["failure_id"], first.receipts["state"], strict=True))
    assert list(states.values()).count("uncertain") == 2
    states = dict(zip(last.receipts["failure_id"], last.receipts["state"], strict=True))
    assert states == {"1": "sent", "3": "sent", "5": "sent", "7": "sent", "9": "skipped"}


def test_settling_says_cannot_tell_when_the_server_does_not_tell():
    clock = Clock()
    with AdminServer(shows_count=False) as server:
        chosen = items(server)["3"]
        acting = hand(server, clock=clock)
        clock.now += 99
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.UNCERTAIN and "no replay_count" in receipt.detail
        server.tasks["3"]["status"] = "replayed"
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.SENT
        del server.tasks["3"]
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.UNCERTAIN and "gone" in receipt.detail
        server.gets["/tasks/3"] = deque(["500"] * 9)
        (receipt,) = acting.settle([chosen], "r")
        assert receipt.state == State.UNCERTAIN and "could not be looked at" in receipt.detail


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"replay_count": 0}, {"status": "replayed", "replay_count": 1}, True),
        (None, {"status": "replayed", "replay_count": 1}, True),
        (None, {"status": "REPLAYED"}, True),
        ({"replay_count": 1}, {"status": "replayed", "replay_count": 1}, None),
        ({"replay_count": 2}, {"status": "failed", "replay_count": 2}, False),
        (None, {"status": "failed", "replay_count": 0}, False),
        (None, {"status": "failed", "replay_count": 2}, None),
        ({"replay_count": 0}, {"status": "failed", "replay_count": 1}, None),
        ({"replay_count": 0}, {"status": "replaying", "replay_count": 1}, None),
        ({}, {"status": "failed"}, None),
        (None, {"status": "archived", "replay_count": 0}, None),
        (None, None, None),
    ],
)
def test_what_a_row_proves(before, after, expected):
    did, evidence = happened(before, after)
    assert did is expected and evidence


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Task api.x not found in Celery registry", False),
        ("[Errno 111] Connection refused", False),
        ("Object of type UUID is not JSON serializable", False),
        ("(psycopg2.OperationalError) SSL SYSCALL error", True),
        ("could not serialize access due to concurrent update", True),
        ("[Errno 104] Connection reset by peer", True),
        ("timed out", True),
        ("Server unexpectedly closed connection", True),
        ("This Session's transaction has been rolled back", True),
    ],
)
def test_which_failures_leave_open_whether_it_was_published(words, expected):
    assert leaves_open(words) is expected


# ---- outcomes, snapshot, preflight -------------------------------------------------------------


def test_outcomes_of_a_replay():
    since = datetime.now(UTC) - timedelta(seconds=5)
    with AdminServer(tasks=6) as server:
        receipts, _ = replay(server, "1", "2", "3", "4")
        sent = {r.failure_id: r.sent_id for r in receipts}
        server.fails_again(sent["2"], 50)
        server.fails_again("", 51)  # a row without Celery's id is nobody's
        server.tasks["3"]["status"] = "failed"  # a server that puts the same row back
        acting = hand(server, results=lambda ids: {sent["4"]: "SUCCESS", sent["1"]: "PENDING"})
        verdicts = {v.failure_id: v for v in acting.outcomes(sent, since)}
        late = hand(server, patience=timedelta(0))
        later = {v.failure_id: v.outcome for v in late.outcomes({"1": sent["1"], "6": ""}, since)}
    assert verdicts["1"].outcome == Outcome.PENDING
    assert verdicts["2"].outcome == Outcome.FAILED_AGAIN
    assert "failure 50 (ConnectionError)" in verdicts["2"].detail
    assert verdicts["3"].outcome == Outcome.FAILED_AGAIN
    assert verdicts["4"].outcome == Outcome.SUCCEEDED
    assert later["1"] == Outcome.UNKNOWN  # the API tells no success: not claimed


@pytest.mark.parametrize("many", [3, 130])
def test_a_snapshot_holds_every_row_whole(many):
    with AdminServer(tasks=many) as server:
        ids = [*server.tasks, "999"]
        frame = hand(server).snapshot(ids)
        gets = sum(path.startswith("/tasks/") for _, path, _, _ in server.requests)
    assert list(frame["failure_id"]) == ids and gets == (1 if many > 100 else many + 1)
    assert json.loads(frame["raw"].iloc[1])["kwargs"] == {"property_id": 2}
    assert frame["status"].iloc[-1] == "gone" and frame["raw"].isna().sum() == 1
    assert pa.Table.from_pandas(frame).num_rows == many + 1


def found(server, chosen=None, **options):
    chosen = list(items(server).values()) if chosen is None else chosen
    return {f.name: f for f in hand(server, **options).preflight(chosen)}


def test_preflight_of_a_well_server():
    with AdminServer(health=(200, {"status": "healthy", "dlq": {"status": "alert"}})) as server:
        findings = found(server)
        assert {f.severity for f in findings.values()} == {"ok"}
        assert "takes failed_task_id" in findings["replay_endpoint"].text
        assert "dry_run" not in findings and not server.posts("/replay-bulk")


def test_preflight_says_what_is_wrong():
    with AdminServer(health=(200, {"redis": "unhealthy: refused"})) as server:
        chosen = list(items(server).values())
        assert "redis unhealthy" in found(server, chosen)["health"].text
        server.tasks.pop("1")
        assert "the plan has 4. Load again" in found(server, chosen)["admin_api"].text
        blocked = found(server, chosen, token="old")["admin_api"]
        assert blocked.blocks and blocked.severity == "critical"
        odd = Item(**{n: "x" for n in ("failure_id", "task_id", "task_name", "queue", "content_hash")},
                   generation=1)  # fmt: skip
        assert found(server, [odd])["ids"].blocks
        server.openapi = False
        assert found(server, chosen)["replay_endpoint"].severity == "warning"
        server.openapi = {"paths": {f"{BASE}/tasks": {"get": {}}}}
        assert found(server, chosen)["replay_endpoint"].blocks
        server.openapi = {"paths": {f"{BASE}/replay": {"post": {}}}}
        assert "neither failed_task_id nor task_id" in found(server, chosen)["replay_endpoint"].text


def test_a_dry_run_compares_the_servers_selection_with_ours():
    with AdminServer("runbook", 6) as server:
        chosen = list(items(server).values())
        server.tasks["2"]["status"] = "replayed"
        (finding,) = hand(server).dry_run(chosen)
        assert finding.severity == "warning" and finding.facts == {
            "ours": 6, "server": 5, "asked": 2, "of": 2,
        }  # fmt: skip
        assert "such as 2" in finding.text
        assert all(body["dry_run"] is True for body in server.posts("/replay-bulk"))
        assert not server.executed


@pytest.mark.parametrize("missing", ["dry_run", "queue", "task_name", "max_tasks"])
def test_no_dry_run_without_its_whole_schema(missing):
    with AdminServer("runbook") as server:
        schema = document("runbook")
        schema["components"]["schemas"]["ReplayBulkRequest"]["properties"].pop(missing)
        server.openapi = schema
        assert hand(server).dry_run(list(items(server).values())) == []
        assert not server.posts("/replay-bulk") and not server.executed


def test_a_dry_run_that_was_none_blocks():
    with AdminServer("runbook", 2) as server:
        server.replays.append("dry_run_lies")
        (finding,) = hand(server).dry_run(list(items(server).values()))
    assert finding.blocks and "may have replayed" in finding.text


def test_everything_ends_in_one_sentence(recwarn):
    """Whatever the server says to anything: a DLQError or an answer, never another exception."""
    for habit in ("html", "no_json", "bare", "401", "422", "429:1", "503", "drop_before"):
        with AdminServer() as server:
            for path in ("/tasks", "/stats", "/alerts", "/tasks/1"):
                server.gets[path] = deque([habit] * 20)
            source = AdminSource(client(server, timeout=1.0))
            for ask in (
                lambda s=source: s.read(Selection(), ()),
                source.stats, source.alerts, lambda s=source: s.task("1"),
            ):  # fmt: skip
                began = time.monotonic()
                try:
                    ask()
                except DLQError as error:
                    assert "\n" not in str(error)
                assert time.monotonic() - began < 5
    assert when(True) is None and when(1e300) is None
