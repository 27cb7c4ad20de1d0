"""The admin API's source against a real server on a socket: reads completely, and says what goes wrong."""

import gzip
import json
import logging
import ssl
from collections import deque
from datetime import UTC, datetime

import pytest

from dlqanalysis.errors import ConnectError, SchemaError, SettingsError
from dlqanalysis.frame import HEAVY
from dlqanalysis.loading import details, load, show
from dlqanalysis.model import Selection
from dlqanalysis.sources import connect, connect_hand
from dlqanalysis.sources._http import NoAnswer
from dlqanalysis.sources.admin_api import AdminSource, open_hand, open_source
from dlqanalysis.sources.admin_api.client import open_client
from dlqanalysis.sources.admin_api.rows import record, rows_in
from tests.admin_server import BASE, TOKEN, AdminServer, task
from tests.admin_ways import ALL, DIALECTS, client, read
from tests.small_server import SmallServer


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


# ---- reading --------------------------------------------------------------------------------------


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
    assert any(note.startswith("Cut at 2 rows") for note in got.notes) is got.truncated


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


def test_rows_of_one_id_are_one_failure_and_told():
    """Where a row's id is its task's, a task that failed twice has two rows; loading met pandas' error for that."""
    with AdminServer(tasks=0) as server:
        for n, error in enumerate(("KeyError", "ValueError", "KeyError")):
            server.tasks[f"{n}"] = task(7, exception_type=error, exception_message=f"new {error}")
        failures = load(AdminSource(client(server)), since=None)
    assert failures["failure_id"].tolist() == ["7"]
    assert failures["exception_type"].tolist() == ["KeyError"]
    assert any("2 rows have the id of an earlier row" in n for n in failures.attrs["notes"])


def test_rows_without_time_are_counted_when_time_decides():
    with AdminServer() as server:
        server.tasks["2"]["failed_at"] = None
        frame, got = read(server, Selection(since=datetime(2020, 1, 1, tzinfo=UTC)))
    assert set(frame["failure_id"]) == {"1", "3", "4"}
    assert "1 row has no readable failed_at" in " ".join(got.notes)


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


# ---- what goes wrong while reading ----------------------------------------------------------------


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
        ("slow", "did not answer within 1 s"),
        ("drip", "did not answer within 1 s"),
        ("drop_before", "dropped the connection"),
    ],
)
def test_each_way_to_fail_has_its_sentence(habit, words):
    with AdminServer(slow=2) as server:
        server.gets["/tasks"] = deque([habit] * 9)
        with pytest.raises(ConnectError, match=words) as caught:
            read(server, timeout=1 if habit in ("slow", "drip") else 60)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("packing", "says"),
    [
        ("gzip", "more than 1 MB"),
        ("gzip, gzip", "packed as gzip, gzip"),  # 500 bytes were 200 MB before anybody counted them
        ("br", "packed as br"),
    ],
)
def test_an_answer_is_not_unpacked_to_more_than_is_read(packing, says, monkeypatch):
    monkeypatch.setattr("dlqanalysis.sources._http._MOST_BYTES", 2**20)
    packed = json.dumps([" " * 2**22]).encode()
    for _ in packing.split(","):
        packed = gzip.compress(packed)
    with SmallServer(lambda *_: (200, packed, packing)) as server:
        api = open_client(f"admin+http://{server.place}", TOKEN, sleep=lambda seconds: None)
        with pytest.raises(ConnectError, match=says):
            api.get_json("/stats")
        with pytest.raises(NoAnswer) as posted:
            api.post("/replay", {})
    assert posted.value.sent


def test_a_packed_answer_is_read_and_a_broken_one_told():
    answers = {
        "/good": (gzip.compress(b'{"a": 1}'), "gzip"),
        "/bad": (b"no gzip", "gzip"),
        "/odd": (b'{"a": 2}', "UTF-8"),
    }

    def reply(verb, path, query, body):
        return 200, *answers[path.removeprefix(BASE)]

    with SmallServer(reply) as server:
        api = open_client(f"admin+http://{server.place}", TOKEN, sleep=lambda seconds: None)
        assert (api.get_json("/good"), api.get_json("/odd")) == ({"a": 1}, {"a": 2})
        with pytest.raises(ConnectError, match="cannot be unpacked"):
            api.get_json("/bad")


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


@pytest.mark.parametrize("loc", [5, None, "line", {"row": 1}, [], ["body", 1, None]])
def test_a_refusal_in_any_shape_has_words(loc):
    """They are asked for after a request that may have done something: an error there would lose its receipt."""
    with SmallServer(lambda *_: (422, {"detail": [{"loc": loc, "msg": "no"}, loc]})) as server:
        api = open_client(f"admin+http://{server.place}", TOKEN)
        assert ": no; " in api.words(api.post("/replay", {}))


def test_words_of_a_server_give_a_terminal_no_orders():
    said = {"detail": "no \x1b[2J\x1b]0;owned\x07 and \u202egnp.exe"}
    with SmallServer(lambda *_: (409, said)) as server:
        api = open_client(f"admin+http://{server.place}", TOKEN)
        words = api.words(api.post("/replay", {}))
    assert words.isprintable() and "owned" in words and "gnp.exe" in words


def test_a_number_of_any_length_costs_no_other_failure():
    digits = "7" * 5000
    with SmallServer(lambda *_: (200, b'[{"id": 1}, {"id": %s}]' % digits.encode())) as server:
        api = open_client(f"admin+http://{server.place}", TOKEN)
        assert api.get_json("/tasks") == [{"id": 1}, {"id": digits}]


def test_refusals_are_redacted_and_short():
    with AdminServer() as server:
        api = client(server)
        server.gets["/stats"] = deque(["400"])
        answer = api.get("/stats")
        object.__setattr__(answer, "content", json.dumps({"detail": f"x {TOKEN} " * 90}).encode())
    assert TOKEN not in api.words(answer) and len(api.words(answer)) <= 200
