"""Reading BullMQ's failed jobs from keys as BullMQ writes them, hostile ones among them. Needs no Node."""

import json
import re
import subprocess
from datetime import UTC, datetime

import pandas as pd
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

import dlqanalysis as dlq
from dlqanalysis.demo import servers
from dlqanalysis.errors import ConnectError, QueryError, SettingsError
from dlqanalysis.sources import connect, connect_hand, connect_monitor
from dlqanalysis.sources.bullmq import jobs, keys, raw
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.pages import Pages
from tests.bull import content
from tests.source_suite import check_source
from tests.waiting import until

NOON = 1_795_310_162_839
STACK = [
    "Error: first\n    at a (/srv/a.js:1:2)",
    'TypeError: x is "no" function\n    at b,c (/srv/b.js:3:4)',
]


class Den:
    """Failed jobs as BullMQ keeps them."""

    def __init__(self, url, prefix):
        self.redis = redis.Redis.from_url(url, protocol=2)
        self.prefix = prefix
        scheme, _, rest = url.partition("://")
        self.url = f"bullmq+{scheme}://{rest}?prefix={prefix}"

    def key(self, part, queue="default"):
        return f"{self.prefix}:{queue}:".encode() + (
            part if isinstance(part, bytes) else part.encode()
        )

    def job(self, job, score=NOON, queue="default", **fields):
        fields = {
            "name": "email.send", "data": '{"n": 1}', "opts": '{"attempts":3,"removeOnFail":false}',
            "failedReason": 'x is "no" function', "stacktrace": json.dumps(STACK, separators=(",", ":")),
            "timestamp": str(NOON - 1000), "finishedOn": str(NOON), "atm": "2", "priority": "10",
            "pb": "worker-1", **fields,
        }  # fmt: skip
        there = {name: value for name, value in fields.items() if value is not None}
        if there:
            self.redis.hset(self.key(job, queue), mapping=there)
        self.redis.zadd(self.key("failed", queue), {job: score})

    def many(self, count, score=lambda n: NOON + n):
        asking = self.redis.pipeline(transaction=False)
        for n in range(count):
            asking.hset(
                self.key(str(n)), mapping={"name": "email.send", "data": "{}", "opts": "{}"}
            )
            asking.zadd(self.key("failed"), {str(n): score(n)})
        asking.execute()

    def state(self):
        return content(self.redis, f"*{self.prefix}*")


@pytest.fixture
def den(redis_url, token):
    one = Den(redis_url, token)
    yield one
    one.redis.close()


def hostile(den):
    den.job("1", NOON, stacktrace=None, failedReason=None)
    den.job("2", NOON, data="[1, 2]", opts='{"attempts":"many"}', priority="high", atm="-1e9")
    den.job("3", NOON + 1, data='{"cut": ', stacktrace="no json", timestamp="soon")
    den.job("4", NOON + 2, data=b'{"\xff": 1}', failedReason=b"caf\xe9 \x00", name=b"n\xffame")
    den.job("5", NOON + 3, opts="{", stacktrace='["Error')
    den.job("6", NOON + 4, data='{"a": "\\ud800"}', failedReason="\x00\x1f", stacktrace="[]")
    den.job(b"\xff\x00:@%", NOON + 5)
    den.job("7 \n☃", NOON + 6, data="[" * 3000 + "]" * 3000)
    den.job("a:b@1", "inf", finishedOn=None)
    den.job("8", -5, finishedOn="")
    den.job("9", NOON + 0.5, data="")
    den.job("10", NOON + 7, data='{"n": NaN}', name="pdf.generate")
    den.job("11", NOON + 8, name=None)
    den.job("12", NOON, queue="bulk:odd", name="api.tasks.send")
    den.job("13", NOON, queue="späť ☃", atm=None, attemptsMade="4")
    den.redis.zadd(den.key("failed"), {"gone": NOON})
    den.redis.zadd(den.key("failed"), {"odd": NOON, "list": NOON})
    den.redis.set(den.key("odd"), b"\xff text")
    den.redis.rpush(den.key("list"), "a")
    den.redis.hset(den.key("17:failed"), "bull:x:1", "a flow's own failed children")
    den.redis.set(f"{den.prefix}:strange:failed", "no zset")


def test_the_suite_on_hostile_jobs(den):
    hostile(den)
    whole = check_source(connect(den.url), den.state)
    state = whole.set_index("task_id")["payload_state"].astype("str")
    good = state[state == "complete"].index
    assert sorted(good) == sorted(
        ["default:1", "default:2", "default:6", "default:%FF%00:@%25", "default:a:b@1", "default:8",
         "bulk%3Aodd:12", "späť%20☃:13"]
    )  # fmt: skip
    assert state["default:gone"] == "missing" and state["default:odd"] == "unreadable"
    assert list(whole["queue"].cat.categories) == ["bulk:odd", "default", "späť%20☃"]
    assert connect(den.url).queues() == ["bulk:odd", "default", "späť%20☃"]


def test_a_row_has_what_the_job_says(den):
    den.job("42", opts='{"attempts":3,"removeOnFail":{"age":86400},"tm":"{\\"traceparent\\":'
            '\\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\\"}"}', deid="order-7")  # fmt: skip
    source = connect(den.url)
    [row] = dlq.details(source, dlq.load(source, since=None)).to_dict("records")
    moment = pd.Timestamp(NOON, unit="ms", tz="UTC")
    assert {name: row[name] for name in row if not pd.isna(row[name])} == {
        "source": source.name, "failure_id": f"default:42@{NOON}", "task_id": "default:42",
        "task_name": "email.send", "queue": "default", "status": "failed", "priority": "10",
        "kwargs": '{"n": 1}', "payload_state": "complete", "exception_type": "TypeError",
        "exception_message": 'x is "no" function', "traceback": STACK[1], "retries": 2, "max_retries": 3,
        "enqueued_at": moment - pd.Timedelta("1s"), "failed_at": moment,
        "expires_at": moment + pd.Timedelta("1D"), "worker": "worker-1", "idempotency_key": "order-7",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "raw": row["raw"],
    }  # fmt: skip
    assert raw.decode(row["raw"]) == den.redis.hgetall(den.key("42"))


def test_a_reason_that_nobody_gave_is_none(den):
    """BullMQ writes null where a text or nothing was thrown; an error whose message is that word has a stack."""
    den.job("1", failedReason="null", stacktrace="[]")
    den.job("2", failedReason="null", stacktrace='["Error: null\\n    at x"]')
    rows = dlq.load(den.url, since=None).pipe(dlq.classify).set_index("task_id")
    assert rows["exception_message"].isna().to_dict() == {"default:1": True, "default:2": False}
    assert rows.loc["default:1", "failure_class"] == "unknown"


TYPES = [
    (["Error: boom\n    at x"], "boom", "Error"),
    (["RateLimited: too many\n    at x"], "too many", "RateLimited"),
    (["old: 1", "RangeError [ERR_OUT]: heap\n at x"], "heap", "RangeError"),
    (["AxiosError: a,\"b\",c"], "a,\"b\",c", "AxiosError"),
    (["Error"], "", "Error"),
    (["Boom: it broke\n at x"], "Boom: it broke", None),
    (["a text of somebody"], "a text of somebody", None),
    (["Shop.Quota: used up\n at x"], "used up", "Shop.Quota"),
    (["Shop.Quota: used up\n at x"], "Shop.Quota: used up", None),
    (["AxiosError [ERR:BAD]: no\n at x"], "no", "AxiosError"),
    (["Traceback (most recent call last):\n  File \"w.py\", line 1\nrequests.HTTPError: x: y"], "x: y", "requests.HTTPError"),
    (["Traceback (most recent call last):\n  File \"w.py\", line 1\nValueError: bad\n"], "bad", "ValueError"),
    ([], "job stalled more than allowable limit", None),
]  # fmt: skip


@pytest.mark.parametrize("spaces", [(",", ":"), (", ", ": ")], ids=["node", "python"])
@pytest.mark.parametrize(("stack", "reason", "type_"), TYPES, ids=[str(case[2]) for case in TYPES])
def test_the_type_comes_from_the_last_entry(stack, reason, type_, spaces):
    text = json.dumps(stack, separators=spaces).encode()
    fields = {name: [None] for name in jobs.FIELDS} | {"failedReason": [reason.encode()]}
    table = jobs.columns(b"q", [b"1"], [b"1"], fields, jobs.Stacks.of([text], whole=True))
    assert table["exception_type"][0].as_py() == type_
    assert table["traceback"][0].as_py() == (stack[-1] if stack else None)


def test_a_reader_without_patterns_reads_the_same(den, token):
    hostile(den)
    den.many(700, lambda n: NOON + 100 + n)
    fast = dlq.load(connect(den.url), since=None)
    allowed = [
        "+zrange",
        "+zcount",
        "+hmget",
        "+hgetall",
        "+type",
        "+scan",
        "+zscore",
        "+ping",
        "+select",
    ]
    den.redis.execute_command("ACL", "SETUSER", token, "on", ">word", f"%R~{token}:*", *allowed)
    try:
        place = den.url.removeprefix("bullmq+redis://").rpartition("@")[2]
        source = connect(f"bullmq+redis://{token}:word@{place}")
        slow = dlq.load(source, since=None)
        assert "word" not in repr(source) and "word" not in repr(source.address)
    finally:
        den.redis.execute_command("ACL", "DELUSER", token)
    pd.testing.assert_frame_equal(fast.drop(columns="source"), slow.drop(columns="source"))


@pytest.mark.parametrize("score", [lambda n: NOON + n, lambda n: NOON, lambda n: NOON + n // 90],
                         ids=["each its own", "all the same", "some the same"])  # fmt: skip
def test_jobs_that_leave_while_we_read_hide_no_other(den, score):
    den.many(900, score)
    pages = iter(Pages(den.redis, keys.Keys(den.prefix.encode(), b"default")))
    read, gone = [], []
    for number, page in enumerate(pages):
        read += page[0]
        if number < 4:  # a worker's retry takes some of what was read, and some of what was not
            there = den.redis.zrange(den.key("failed"), 0, -1)
            leaving = there[number : number + 9] + there[-3:]
            gone += leaving
            den.redis.zrem(den.key("failed"), *leaving)
    left = {b"%d" % n for n in range(900)} - set(gone)
    assert len(gone) > 30
    assert len(read) == len(set(read)) and left <= set(read)


def test_pages_of_large_jobs_are_small(den):
    for n in range(40):
        den.job(str(n), NOON + n, data=json.dumps({"blob": "x" * 300_000}))
    sizes = [len(page[0]) for page in Pages(den.redis, keys.Keys(den.prefix.encode(), b"default"))]
    assert sum(sizes) == 40 and max(sizes) <= 16 and max(sizes[1:]) <= 8


def test_only_the_queues_of_the_url_are_read(den):
    den.job("1"), den.job("1", queue="bulk"), den.job("1", queue="other")
    failures = dlq.load(connect(f"{den.url}&queues=default,bulk"), since=None)
    assert sorted(failures["failure_id"]) == [f"bulk:1@{NOON}", f"default:1@{NOON}"]
    assert failures["task_id"].is_unique  # both are job 1


def test_a_queue_that_is_not_there_is_no_empty_one(den, monkeypatch):
    den.job("1")
    failures = dlq.load(connect(f"{den.url}&queues=default,defualt"), since=None)
    (note,) = failures.attrs["notes"]
    assert len(failures) == 1 and "There is no queue defualt" in note and "?queues=" in note
    watched = dlq.depths(connect_monitor(f"{den.url}&queues=defualt"))
    assert [note] == [one for one in watched.attrs["notes"] if "defualt" in one]


def test_a_prefix_that_is_not_there_is_no_calm(den):
    """Without queues= all of a prefix are searched: a typo in it finds none, as a day without failures does."""
    said = f"There is no queue under the prefix {den.prefix}"
    for place in (dlq.load(den.url, since=None), dlq.depths(den.url)):
        (note,) = place.attrs["notes"]
        assert said in note and "?prefix=" in note
    den.redis.hset(
        den.key("meta"), "version", "bullmq:5"
    )  # a queue without failures is none to be told of
    assert not dlq.load(den.url, since=None).attrs["notes"]


def test_a_job_that_failed_again_is_another_failure(den):
    den.job("1")
    source = connect(den.url)
    before = dlq.load(source, since=None)
    den.redis.zadd(den.key("failed"), {"1": NOON + 5})
    assert dlq.load(source, since=None)["failure_id"].tolist() == [f"default:1@{NOON + 5}"]
    assert "1 of these rows are no longer in" in dlq.details(source, before).attrs["notes"][-1]
    with pytest.raises(QueryError, match="has no failure"):
        dlq.show(source, before["failure_id"].iloc[0])
    with pytest.raises(QueryError, match="queue:job@score"):
        dlq.show(source, "42")


def test_nothing_there_is_an_empty_frame(den):
    failures = dlq.load(connect(den.url), since=None)
    assert len(failures) == 0
    assert len(dlq.load(connect(den.url), status="waiting")) == 0
    den.redis.set(den.key("failed"), "x")
    named = dlq.load(connect(f"{den.url}&queues=default"), since=None)
    assert "is a string, not BullMQ's sorted set" in named.attrs["notes"][0]


@settings(deadline=None)
@given(queue=st.binary(min_size=1), job=st.binary(min_size=1), score=st.integers(0, 2**53))
def test_every_id_comes_back(queue, job, score):
    one = keys.Failure(queue, job, b"%d" % score)
    assert keys.failure(one.text) == one
    assert not re.search(keys.UNSHOWN.replace("%", ""), one.text)
    fields = {name: [None] for name in jobs.FIELDS}
    table = jobs.columns(queue, [job], [one.score], fields)
    assert table["failure_id"][0].as_py() == one.text


@settings(deadline=None)
@given(st.dictionaries(st.binary(), st.binary()))
def test_raw_bytes_give_the_hash_back(fields):
    assert raw.decode(raw.encode(fields)) == fields


URLS = [
    ("bullmq+redis://h", "bullmq:h:6379/0", {}),
    ("bullmq+redis://u:p%40@h:7000/3?queues=a%2Cb,c&prefix=x", "bullmq:h:7000/3/x",
     {"username": "u", "password": "p@", "queues": ("a,b", "c"), "prefix": "x"}),
    ("bullmq+rediss://h?ca=/etc/ca.pem&reset_attempts=yes&pause=yes", "bullmq:h:6379/0",
     {"tls": True, "ca": "/etc/ca.pem", "reset_attempts": True, "pause": True}),
    ("bullmq+redis://[::1]:1", "bullmq:[::1]:1/0", {"host": "::1"}),
]  # fmt: skip


@pytest.mark.parametrize(("url", "name", "parts"), URLS)
def test_urls_are_read(url, name, parts):
    address = Address.parse(url)
    assert address.name == name == connect(url).name == connect_hand(url).name
    assert {part: getattr(address, part) for part in parts} == parts


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("bullmq+redis://", "cannot be read"),
        ("bullmq+redis://u:pa/ss@h", "cannot be read"),
        ("bullmq+redis://h:many", "cannot be read"),
        ("bullmq+redis://h/0?queue=a", "Did you mean 'queues'?"),
        ("bullmq+redis://h/0?pause=maybe", "neither yes nor no"),
    ],
)
def test_urls_that_say_nothing_are_refused(url, words):
    with pytest.raises(SettingsError, match=words.replace("?", r"\?")) as caught:
        connect(url)
    assert "pa/ss" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_sentence():
    port = servers.free_port()
    with pytest.raises(ConnectError, match="does not answer") as caught:
        dlq.load(connect(f"bullmq+redis://user:hidden-word@127.0.0.1:{port}/0"))
    assert "hidden-word" not in str(caught.value)


def test_a_cluster_is_refused(tmp_path):
    port = servers.free_port()
    command = [servers.valkey_binary(), "--port", str(port), "--cluster-enabled", "yes", "--bind", "127.0.0.1",
               "--dir", str(tmp_path), "--save", "", "--cluster-port", str(servers.free_port())]  # fmt: skip
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: servers.listens(port))
            with pytest.raises(ConnectError, match="is a cluster"):
                dlq.load(connect(f"bullmq+redis://127.0.0.1:{port}/0"))
        finally:
            server.terminate()


def test_since_and_until_are_exact(den):
    den.many(5, lambda n: NOON + n)
    at = [datetime.fromtimestamp((NOON + n) / 1000, UTC) for n in range(5)]
    found = dlq.load(connect(den.url), since=at[1], until=at[3])
    assert found["task_id"].tolist() == ["default:1", "default:2"]
    newest = dlq.load(connect(den.url), since=at[1], until=at[4], limit=2)
    assert newest["task_id"].tolist() == ["default:2", "default:3"] and newest.attrs["truncated"]
