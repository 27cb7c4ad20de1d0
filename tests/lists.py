"""Dead-letter lists for tests: messages as producers write them, and what else one finds in such lists."""

import json
import threading
import time
from contextlib import contextmanager

import redis

import dlqanalysis as dlq
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Item
from dlqanalysis.sources import connect

KINDS = ("webhook", "order.created", "app.uninstalled")
ERRORS = ("Timeout after 30000ms", "ECONNREFUSED 10.0.0.5:5432", "HTTP 429", "HTTP 503")
CORRUPT = {
    "truncated": b'{"id":"c1","type":"webhook","payload":{"a":',
    "not_json": b"hello world",
    "empty": b"",
    "nul": b"\x00\x01\x02",
    "latin1": '{"id":"c5","type":"webhook","s":"caf\u00e9"}'.encode("latin-1"),
    "scalar": b"42",
    "null": b"null",
    "array": b'[{"type":"webhook"}]',
    "string": b'"webhook"',
    "no_type": b'{"id":"c10"}',
    "type_null": b'{"id":"c11","type":null}',
    "type_int": b'{"id":"c12","type":7}',
    "dup_keys": b'{"id":"c13","type":"webhook","type":"order.created"}',
    "nan": b'{"id":"c14","type":"webhook","v":NaN}',
    "bom": b'\xef\xbb\xbf{"id":"c15","type":"webhook"}',
    "lone_surrogate": b'{"id":"c16","type":"webhook","s":"\\ud800"}',
    "deep": b'{"type":"webhook","d":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "big": b'{"id":"c18","type":"webhook","blob":"' + b"x" * 300_000 + b'"}',
    "trailing": b'{"id":"c19","type":"webhook"} garbage',
    "pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
    "php": b'a:1:{s:4:"type";s:7:"webhook";}',
    "gzip": bytes.fromhex("1f8b0800000000000203ab56cacf56b2524a4a2c52aa0500"),
}
#: of those, what no consumer could read, and as what it stands in the frame
UNREADABLE = {
    "truncated": "truncated",
    **dict.fromkeys(
        ("not_json", "empty", "nul", "latin1", "scalar", "null", "string", "nan", "bom", "deep",
         "trailing", "pickle", "php", "gzip"),
        "unreadable",
    ),
}  # fmt: skip


def message(n, kind="webhook", **more):
    """The bytes of the n-th message."""
    said = {
        "id": f"w-{n:06}",
        "type": kind,
        "payload": {
            "shop": f"s{n % 17}.example.com",
            "n": n,
            "big": 9007199254740993 + n,
            "tags": [],
        },
        "retryCount": 3,
        "maxRetries": 3,
        "error": ERRORS[n % len(ERRORS)],
        "failedAt": f"2026-01-15T{10 + n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z",
        **more,
    }
    return json.dumps(said, separators=(",", ":")).encode()


class Lists:
    """The lists of one test: `dlq` holds dead letters, consumers take from `main`."""

    def __init__(self, url, prefix):
        self.redis = redis.Redis.from_url(url)
        self.prefix = prefix
        self.dlq, self.main = f"{prefix}dlq:webhooks", f"{prefix}webhooks"
        self.quarantine = f"{prefix}quarantine"
        self.url = f"list+{url}?keys={prefix}dlq:*"

    def fill(self, *raws):
        """LPUSH, as producers do: the last one given is the newest."""
        for raw in raws:
            self.redis.lpush(self.dlq, raw)

    def fill_many(self, raws):
        """The same for many."""
        whole = list(raws)
        for start in range(0, len(whole), 1000):
            self.redis.lpush(self.dlq, *whole[start : start + 1000])

    def all(self, key=None):
        """The elements of a list, the oldest first."""
        return self.redis.lrange(key or self.dlq, 0, -1)[::-1]

    def load(self, options="", **selection):
        return dlq.load(connect(self.url + options), **{"since": None, **selection})

    def state(self):
        """Everything that belongs to the test."""
        found = {}
        for key in sorted(self.redis.keys(f"*{self.prefix}*")):
            kind = self.redis.type(key)
            whole = self.redis.hgetall(key) if kind == b"hash" else self.redis.lrange(key, 0, -1)
            found[key] = kind, whole, self.redis.expiretime(key)
        return found


def items(failures, **more):
    """The rows of a frame as a hand takes them."""
    return [
        Item(
            failure_id=row.failure_id,
            task_id="" if row.task_id != row.task_id else row.task_id,
            task_name=str(row.task_name),
            queue=str(row.queue),
            content_hash=content_hash(row.task_id, row.task_name, row.queue, row.args, row.kwargs),
            generation=1,
            **more,
        )
        for row in failures.itertuples()
    ]


@contextmanager
def counted(lists):
    """Gives command -> (calls, microseconds a call) of a server of one's own, once it is left."""
    lists.redis.config_resetstat()
    found = {}
    yield found
    for name, told in lists.redis.info("commandstats").items():
        found[name.removeprefix("cmdstat_")] = told["calls"], told["usec_per_call"]


@contextmanager
def churning(lists, every=0.002):
    """A producer that goes on: LPUSHes new failures. Gives what it pushed."""
    pushed, stop = [], threading.Event()

    def push():
        while not stop.is_set():
            raw = message(500_000 + len(pushed), "late.comer")
            lists.redis.lpush(lists.dlq, raw)
            pushed.append(raw)
            time.sleep(every)

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield pushed
    finally:
        stop.set()
        thread.join()


@contextmanager
def consuming(lists):
    """A consumer that takes from the main list. Gives what it took, also what is left at the end."""
    taken, stop = [], threading.Event()

    def take():
        while True:
            raw = lists.redis.rpop(lists.main)
            if raw is not None:
                taken.append(raw)
            elif stop.is_set():
                return
            else:
                time.sleep(0.002)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()
