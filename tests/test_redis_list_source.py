"""Dead letters in Redis lists: every element is a row, whatever its bytes are, and reading changes nothing."""

import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.errors import ConnectError, QueryError, SettingsError
from dlqanalysis.sources import connect, connect_monitor
from dlqanalysis.sources.redis_list import walk
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.keys import Names, Token, named, shown
from dlqanalysis.sources.redis_list.ledger import Note, Numbers, hashes
from dlqanalysis.sources.redis_list.rows import Reader, moment
from tests.lists import CORRUPT, KINDS, UNREADABLE, Lists, churning, counted, message
from tests.source_suite import check_source


@pytest.fixture
def lists(redis_url, key_prefix):
    one = Lists(redis_url, key_prefix)
    yield one
    one.redis.close()


def test_the_suite_on_hostile_messages(lists):
    lists.fill(*(message(n, KINDS[n % 3]) for n in range(30)), message(3), *CORRUPT.values())
    lists.redis.lpush(f"{lists.prefix}dlq:jobs", message(77, "job"))
    lists.redis.expire(f"{lists.prefix}dlq:jobs", 5000)
    whole = check_source(connect(lists.url), lists.state)
    assert len(whole) == 30 + 1 + 22 + 1
    assert whole["expires_at"].notna().sum() == 1


def test_each_corrupt_message_is_a_row_with_its_bytes(lists):
    lists.fill(*CORRUPT.values(), message(1))
    failures = lists.load(columns=["raw"])
    assert sorted(failures["raw"]) == sorted([*CORRUPT.values(), message(1)])
    states = dict(zip(failures["raw"], failures["payload_state"].astype(str), strict=True))
    for name, raw in CORRUPT.items():
        assert states[raw] == UNREADABLE.get(name, "complete"), name
    assert any("15 messages are no JSON" in note for note in failures.attrs["notes"])


def test_a_row_has_what_the_message_says(lists):
    lists.fill(message(5, priority="high", trace_id="t-1", idempotencyKey="k-1", stack=["a", "b"]))
    [row] = lists.load(columns=["raw"]).to_dict("records")
    assert row["failure_id"].startswith(f"{lists.dlq}:") and row["failure_id"].endswith(":1")
    assert (row["task_id"], row["task_name"], row["queue"]) == ("w-000005", "webhook", lists.main)
    assert (row["retries"], row["max_retries"], row["priority"]) == (3, 3, "high")
    assert row["kwargs"] == '{"shop":"s5.example.com","n":5,"big":9007199254740998,"tags":[]}'
    assert row["exception_message"] == "ECONNREFUSED 10.0.0.5:5432"
    assert row["failed_at"] == pd.Timestamp("2026-01-15T10:00:05Z")
    assert (row["trace_id"], row["idempotency_key"]) == ("t-1", "k-1")
    assert (row["traceback"], row["raw"], row["status"]) == ("a\nb", message(5, priority="high", trace_id="t-1", idempotencyKey="k-1", stack=["a", "b"]), "failed")  # fmt: skip


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"error": "ValueError: bad"}, "ValueError", "ValueError: bad"),
        ({"error": {"name": "HttpError", "message": "boom", "stack": "at x"}}, "HttpError", "boom"),
        ({"error": {"odd": 1}}, None, '{"odd": 1}'),
        ({"last_error": "HTTP 429"}, None, "HTTP 429"),
        ({"exception_type": "E", "exception": "x"}, "E", "x"),
        ({"error": None, "reason": "late"}, None, "late"),
        ({"error": "\ud800"}, None, "\\ud800"),
    ],
)
def test_errors_are_found_where_messages_have_them(said, kind, words):
    import json

    row = Reader().row(json.dumps(said).encode())
    assert (row["exception_type"], row["exception_message"]) == (kind, words)


def test_paths_of_the_url_say_where_things_are(lists):
    lists.fill(b'{"meta":{"kind":"a.b","no":7},"why":"x","at":1768471200,"in":{"deep":{"n":1.50}}}')
    options = "&type=meta.kind&id=meta.no&error=why&time=at&payload=in.deep"
    [row] = lists.load(options).to_dict("records")
    assert (row["task_name"], row["task_id"], row["exception_message"]) == ("a.b", "7", "x")
    assert row["failed_at"] == pd.Timestamp(1768471200, unit="s", tz="UTC")
    assert row["kwargs"] == '{"n":1.50}'


def test_a_payload_named_twice_is_taken_where_it_stands():
    raw = b'{"note":"payload","x":{"payload":[1.0]},"payload":{"a":1e400,"b":"\\u00e9"}}'
    assert Reader().row(raw)["kwargs"] == '{"a":1e400,"b":"\\u00e9"}'


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2026-01-15T10:00:00Z", datetime(2026, 1, 15, 10, tzinfo=UTC)),
        (1768471200, datetime(2026, 1, 15, 10, tzinfo=UTC)),
        (1768471200000, datetime(2026, 1, 15, 10, tzinfo=UTC)),
        ("1768471200.0", datetime(2026, 1, 15, 10, tzinfo=UTC)),
        ("2026-01-15 10:00:00", datetime(2026, 1, 15, 10)),
        *((bad, None) for bad in ("yesterday", True, 10**400, -5, {}, "9" * 400, float("1e308"))),
    ],
)
def test_times_are_read_and_never_guessed(value, found):
    assert moment(value) == found


def test_times_without_a_zone_need_one(lists):
    lists.fill(message(1, failedAt="2026-01-15T10:00:00"))
    failures = lists.load()
    assert failures["failed_at"].isna().all()
    assert any("1 time has no zone" in note for note in failures.attrs["notes"])
    berlin = lists.load("&tz=Europe/Berlin")
    assert berlin["failed_at"].iloc[0] == pd.Timestamp("2026-01-15T09:00:00Z")


def test_a_pattern_that_names_nothing_says_so(lists):
    lists.fill(message(1))
    assert not lists.load().attrs["notes"]
    none = dlq.load(connect(lists.url.replace("dlq:*", "dql:*")), since=None)
    assert not len(none) and "No list is named like" in none.attrs["notes"][0]


def test_identical_messages_are_rows_whose_ids_stay(lists):
    lists.fill(message(1), message(1), message(2))
    before = lists.load()
    assert before["failure_id"].is_unique and len(before) == 3
    lists.fill(message(1), message(3))
    after = lists.load()
    assert set(before["failure_id"]) < set(after["failure_id"])
    # the ledger has number 1: the others keep theirs, and one that comes is a new one
    sha1 = before["failure_id"].iloc[0].split(":")[-2]
    note = Note("replay", "r-1", 1).text()
    lists.redis.hset(hashes(lists.dlq.encode())[0], f"{sha1}:1", note)
    lists.redis.lrem(lists.dlq, -1, message(1))
    mine = [one for one in lists.load()["failure_id"] if sha1 in one]
    assert [one.split(":")[-1] for one in mine] == ["2", "3"]
    lists.redis.hset(hashes(lists.dlq.encode())[0], f"{sha1}:3", note)
    lists.fill(message(1))
    mine = [one for one in lists.load()["failure_id"] if sha1 in one]
    assert [one.split(":")[-1] for one in mine] == ["2", "4", "5"]


@pytest.mark.parametrize("seed", range(6))
def test_numbers_go_past_what_was_taken_on_whatever_page(lists, seed):
    chance = random.Random(seed)
    key = lists.dlq.encode()
    taken = {Token(one, n) for one in "abc" for n in range(1, 12) if chance.random() < 0.4}
    for token in taken:  # some this month, some the month before
        name = hashes(key)[chance.random() < 0.5]
        lists.redis.hset(name, str(token), Note("replay", "r", 1).text())
    order = [chance.choice("abcd") for _ in range(30)]
    numbers = Numbers(lists.redis, key)
    found = []
    while len(found) < len(order):
        size = chance.randint(1, 9)
        found += numbers.of(order[len(found) : len(found) + size])
    free = {one: [n for n in range(1, 99) if Token(one, n) not in taken] for one in "abcd"}
    assert found == [Token(one, free[one].pop(0)) for one in order]


def test_a_walk_ends_though_a_producer_never_does(lists):
    lists.fill_many(message(n) for n in range(1000))

    class Busy:
        """A client whose list grows by a page with each look."""

        def __getattr__(self, name):
            return getattr(lists.redis, name)

        def lrange(self, *where):
            lists.fill_many(message(9) for _ in range(600))
            return lists.redis.lrange(*where)

    pages = list(walk.Walk(Busy(), lists.dlq.encode(), False))
    read = [raw for _, page in pages for raw in page]
    assert read[:1000] == [message(n) for n in range(1000)] and len(read) < 1500


def test_the_oldest_end_can_be_the_head(lists):
    for n in range(40):
        lists.redis.rpush(lists.dlq, message(0 if n in (3, 30) else n))
    address = Address.parse(lists.url + "&oldest=head")
    assert address.push_right
    [first, *_] = [page for page in walk.whole(lists.redis, lists.dlq.encode(), True)]
    assert first == (0, [message(0 if n == 3 else n) for n in range(16)])
    assert len(lists.load("&oldest=head")) == 40


def test_many_pages_while_producers_push_and_others_take(lists):
    raws = [message(n) for n in range(6_000)]
    lists.redis.lpush(lists.dlq, *raws)

    def take():
        for _ in range(40):
            lists.redis.rpop(lists.dlq)
            time.sleep(0.002)

    thread = threading.Thread(target=take)
    with churning(lists, every=0.001):
        thread.start()
        found = Counter()
        for _ in range(3):
            failures = lists.load(columns=["raw"])
            found = Counter(failures["raw"])
            assert failures["failure_id"].is_unique
            missing = set(raws[40:]) - set(found)
            assert not missing and found.most_common(1)[0][1] == 1
        thread.join()


def test_a_list_of_many_is_read_in_short_steps(key_prefix):
    with servers.valkey() as url:  # of its own: what it counts is ours
        lists = Lists(url, key_prefix)
        lists.fill_many(message(n) for n in range(50_000))
        with counted(lists) as commands:
            assert len(lists.load()) == 50_000
        lists.redis.close()
    calls, microseconds = commands["lrange"]
    assert calls >= 100 and microseconds < 5_000  # at most 500 elements each
    assert not {"keys", "sort", "eval", "lrem", "rpop", "multi"} & commands.keys()


def test_lists_are_found_by_pattern_and_by_name(lists):
    for name in ("dlq:b", "dlq:a"):
        lists.redis.lpush(f"{lists.prefix}{name}", message(1))
    lists.redis.lpush(f"{lists.prefix}b", message(2))
    lists.redis.lpush(lists.quarantine, message(3))
    lists.redis.set(f"{lists.prefix}dlq:text", "no list")
    assert sorted(lists.load()["queue"]) == [f"{lists.prefix}a", f"{lists.prefix}b"]
    url = lists.url.replace("dlq:*", "*")
    failures = dlq.load(connect(url), since=None)
    assert sorted(failures["queue"]) == [f"{lists.prefix}a", f"{lists.prefix}b"]
    assert any("not read" in note for note in failures.attrs["notes"])
    alone = dlq.load(connect(lists.url.replace("dlq:*", "quarantine")), since=None)
    assert len(alone) == 1
    text = dlq.load(connect(lists.url.replace("dlq:*", "dlq:text")), since=None)
    assert not len(text) and "is a string, not a list" in text.attrs["notes"][0]


@pytest.mark.parametrize(
    ("key", "main", "quarantine"),
    [
        ("tokpulse:dlq:webhooks", "tokpulse:webhooks", "tokpulse:quarantine"),
        ("dlq:webhooks", "webhooks", "quarantine"),
        ("webhooks:dlq", "webhooks", "webhooks:quarantine"),
        ("app.orders.dead-letter", "app.orders", "app.orders.quarantine"),
        ("app:dead:mail:out", "app:mail:out", "app:quarantine"),
        ("dlq", None, "quarantine"),
        ("deadline:x", None, "deadline:quarantine"),
    ],
)
def test_names_are_derived(key, main, quarantine):
    names = Names.of(key)
    assert (names.main, names.quarantine) == (main, quarantine)


def test_templates_name_other_lists():
    address = Address.parse("list+redis://h/0?keys=x&main=in:%7Bname%7D&quarantine={prefix}:aside")
    assert address.main_of(b"failed:mail") == b"in:mail"
    assert address.quarantine_of(b"failed:mail") == b"failed:aside"
    assert named(shown(b"a\x00\xff:b")) == b"a\x00\xff:b"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "Which lists"),
        ("key=a", "Did you mean 'keys'"),
        ("keys=a&oldest=left", "tail or head"),
        ("keys=a&tz=Mars/Olympus", "no time zone"),
        ("keys=a&main={nam}", "Did you mean 'name'"),
        ("keys=a&main={", "cannot be read"),
    ],
)
def test_a_wrong_url_says_what_to_write(options, says):
    with pytest.raises(SettingsError, match=says):
        Address.parse(f"list+redis://user:hunter2@h:6379/0?{options}")


def test_no_message_holds_a_secret():
    address = Address.parse("list+redis://user:hunter2@127.0.0.1:1/0?keys=a")
    with pytest.raises(ConnectError, match="does not answer") as caught:
        dlq.load(connect("list+redis://user:hunter2@127.0.0.1:1/0?keys=a"))
    assert "hunter2" not in f"{caught.value} {address!r} {address.name} {address.server}"
    with pytest.raises(SettingsError) as wrong:
        Address.parse("list+redis://user:hun#ter2@h:6379/0?keys=a")
    assert "ter2" not in str(wrong.value)
    with pytest.raises(QueryError, match="list:sha1:number"):
        connect("list+redis://127.0.0.1:1/0?keys=a").details(["a:b:c"], ["raw"])


def test_depths_of_dead_main_and_quarantine_lists(lists):
    lists.fill(message(9), message(10))
    lists.redis.lpush(lists.main, message(1))
    monitor = connect_monitor(lists.url)
    table = dlq.depths(monitor).set_index("state")
    assert table["depth"].to_dict() == {"dead_lettered": 2, "waiting": 1, "quarantined": 0}
    assert table["queue"].tolist() == [lists.dlq, lists.main, lists.quarantine]
    assert table.loc["dead_lettered", "oldest_at"] == pd.Timestamp("2026-01-15T10:00:09Z")
    assert "know no workers" in dlq.workers(monitor).attrs["notes"][0]
    assert len(dlq.running(monitor)) == 0
    assert {finding.severity for finding in monitor.health()} <= {"ok", "warning", "critical"}
    monitor.close()


def test_many_at_once_say_what_each_says_alone():
    from dlqanalysis.sources.redis_list.columns import Columns
    from dlqanalysis.sources.redis_list.rows import COLUMNS, Reader

    plain = [
        b'{"id": %d, "type": "t", "payload": {"n": 1.50}, "error": "FooError: x", "failed_at": "2026-11-06T12:00:00Z"}'
        % n
        for n in range(20)
    ]
    odd = [
        b'{"id": "\\ud800", "type": "t"}', b'{"id": 1, "type": "t", "error": {"name": "N", "stack": ["a", 1]}}',
        b'{"id": 1, "type": "t", "type": "u", "new": NaN}', b'{"payload": [1e400], "attempts": "3"}', b"[1]", b"",
        b'{"type": "\xff"}', b'{"id": true, "args": [1], "kwargs": {}, "failed_at": "2026-11-06T12:00:00"}',
        b'{"id": null, "error": "", "exception_type": "", "payload": "x", "failed_at": 1732000000123}',
        b'{"type": "cut', b'{"failed_at": "0001-01-01T00:00:00+05:00"}', b'{"failed_at": "2026-W10-1T00:00Z"}',
        b'{"payload": ' + b"[" * 3000 + b"]" * 3000 + b"}", b' {"data" : {"a":1} } ', b'{"retries": 9999999999}',
    ]  # fmt: skip
    raws = [one for pair in zip(plain, odd, strict=False) for one in pair] + plain
    for paths in ({}, {"type": "id"}, {"payload": "payload"}, {"id": "payload.n"}):
        alone, together = Reader(paths=paths), Reader(paths=paths)
        rows = [alone.row(raw) for raw in raws]
        found = Columns(together).of(raws)
        for name in COLUMNS:
            assert found[name].to_pylist() == [row.get(name) for row in rows], (name, paths)
        assert together.naive == alone.naive
