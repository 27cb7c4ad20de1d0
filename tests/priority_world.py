"""The Redis priority queue as its guide and code describe it, on a real Redis: producers, a worker, dead letters; and
ways for tests to read it and to act on it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import redis

import dlqanalysis as dlq
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Item
from dlqanalysis.sources import connect, connect_hand

PRIORITIES = ("high", "normal", "low")
WEEK = 7 * 24 * 3600


class World:
    """Keys of one prefix. `hours` is how far the system's naive clock is ahead of UTC."""

    def __init__(self, url: str, prefix: str, hours: float = 0) -> None:
        self.redis = redis.Redis.from_url(url, protocol=2)
        self.prefix, self.hours = prefix, hours
        self.url = f"priority+{url}?prefix={prefix}"
        self.ran: Counter[str] = Counter()

    def key(self, name: str) -> str:
        return self.prefix + name

    def now(self) -> str:
        return (datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=self.hours)).isoformat()

    def dead(self, task_id: str, priority: str = "normal", **changes: Any) -> bytes:
        """Dead-letter a task as the system does, its task hash included; gives the entry's bytes."""
        entry = {
            "task_id": task_id,
            "task_type": "send_email",
            "payload": {"user_id": 1, "big": 9007199254740998, "list": []},
            "failed_at": self.now(),
            "attempts": 3,
            "last_error": "connection timeout",
            "trace_id": f"trace-{task_id}",
            "original_created_at": "2026-11-09T08:00:00",
            **changes,
        }
        raw = json.dumps(entry).encode()
        self.redis.hset(
            self.key(f"task:{task_id}"),
            mapping={
                "id": task_id, "type": entry["task_type"], "payload": json.dumps(entry["payload"]),
                "priority": priority, "status": "dead_lettered", "attempts": 3, "max_retries": 3,
                "idempotency_key": f"key-{task_id}", "last_error": "connection timeout",
            },
        )  # fmt: skip
        self.redis.expire(self.key(f"task:{task_id}"), 86_400)
        self.redis.lpush(self.key(f"dlq:{priority}"), raw)
        self.redis.set(self.key(f"dlq:task:{task_id}"), raw, ex=WEEK)
        return raw

    def list(self, name: str) -> list[bytes]:
        return self.redis.lrange(self.key(name), 0, -1)

    def task(self, task_id: str) -> dict[str, str]:
        found = self.redis.hgetall(self.key(f"task:{task_id}"))
        return {name.decode(): value.decode() for name, value in found.items()}

    def state(self) -> Any:
        """Everything under the prefix, and what we keep beside it; the times of expiry to the second."""
        found = {}
        for pattern in (f"{self.prefix}*", f"dlqanalysis:{self.prefix}*"):
            for key in self.redis.scan_iter(match=pattern):
                found[key] = (self.redis.dump(key), self.redis.expiretime(key))
        return found

    def work(self, fails: bool = False, seconds: float = 0.0) -> int:
        """Take what waits, each as the system's worker does; gives how many were run."""
        ran, until = 0, time.monotonic() + seconds
        while True:
            taken = next(
                (t for p in PRIORITIES if (t := self.redis.rpop(self.key(f"tasks:{p}")))), None
            )
            if taken is None:
                if time.monotonic() > until:
                    return ran
                time.sleep(0.005)
                continue
            task_id = taken.decode()
            task = self.task(task_id)
            ran += 1
            self.ran[task_id] += 1
            attempts = int(task.get("attempts", 0)) + 1
            name = self.key(f"task:{task_id}")
            if fails and attempts >= int(task.get("max_retries", 3)):
                self.dead(task_id, task["priority"], last_error="still down", attempts=attempts)
            else:
                status = "retrying" if fails else "completed"
                self.redis.hset(name, mapping={"status": status, "attempts": attempts})

    def meanwhile(self, do: Callable[[], Any]) -> Callable[[], None]:
        """Runs `do` again and again in a thread until what it gives is called."""
        stop = threading.Event()

        def loop() -> None:
            while not stop.is_set():
                do()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        return end


@pytest.fixture
def world(redis_url, key_prefix):
    one = World(redis_url, key_prefix)
    yield one
    one.redis.close()


def loaded(world, options="", **selection):
    return dlq.load(connect(world.url + options), **{"since": None, **selection})


def items(failures):
    return [
        Item(
            failure_id=row.failure_id,
            task_id="" if pd.isna(row.task_id) else row.task_id,
            task_name=str(row.task_name),
            queue=str(row.queue),
            content_hash=content_hash(row.task_id, row.task_name, row.queue, row.args, row.kwargs),
            generation=1,
        )
        for row in failures.itertuples()
    ]


def done(world, what, action="replay", run_id="run-1", options=""):
    chosen = what if isinstance(what, list) else items(what)
    with connect_hand(world.url + options) as hand:
        return {r.failure_id: r for r in hand.send(action, chosen, run_id)}


def states(receipts):
    return [str(receipt.state) for receipt in receipts.values()]
