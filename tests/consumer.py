"""A small worker for tests: takes Celery messages off a Redis list and writes what came of them.

It reads the wire format by itself, independently of the code that wrote it, and says of every message what
it was, so that a test can compare what ran with what was planned.
"""

import base64
import json
import threading
from collections.abc import Callable, Sequence

import psycopg
import redis


class Consumer(threading.Thread):
    """Runs until it is left, and then whatever still waits, so that what was sent has run when the block is over;
    `ran` lists (id, task, args, kwargs) in the order of execution."""

    def __init__(
        self,
        redis_url: str,
        postgres_url: str,
        queues: Sequence[str],
        succeeds: Callable[[str, list, dict], bool] = lambda task, args, kwargs: True,
    ) -> None:
        super().__init__(daemon=True)
        self.ran: list[tuple[str, str, list, dict]] = []
        self.headers: list[dict] = []
        self._redis = redis.Redis.from_url(redis_url)
        self._url, self._queues, self._succeeds = postgres_url, list(queues), succeeds
        self._stop_now = threading.Event()
        # What kombu writes when a worker declares its queues.
        for queue in self._queues:
            self._redis.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")

    def __enter__(self) -> "Consumer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join(60)
        for queue in self._queues:
            self._redis.delete(
                queue, f"_kombu.binding.{queue}", f"dlqanalysis:celery:{queue}:ledger"
            )
        self._redis.close()

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as database:
            while True:
                stopping = self._stop_now.is_set()
                if found := self._redis.brpop(self._queues, timeout=0.1):
                    self._execute(database, json.loads(found[1]))
                elif stopping:
                    return

    def _execute(self, database: psycopg.Connection, message: dict) -> None:
        headers = message["headers"]
        args, kwargs, embed = json.loads(base64.b64decode(message["body"]))
        assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}
        assert message["properties"]["correlation_id"] == headers["id"]
        self.headers.append(headers)
        self.ran.append((headers["id"], headers["task"], args, kwargs))
        good = self._succeeds(headers["task"], args, kwargs)
        queue = message["properties"]["delivery_info"]["routing_key"]
        if not good:
            database.execute(
                "INSERT INTO failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
                " exception_message, retries_attempted) VALUES (%s, %s, %s, %s, %s, %s, %s, 3)",
                (
                    headers["id"],
                    headers["task"],
                    queue,
                    json.dumps(args),
                    json.dumps(kwargs),
                    "ConnectionError",
                    "connection refused, again",
                ),
            )
        database.execute(
            "INSERT INTO task_executions (task_id, task_name, queue_name, status) VALUES (%s, %s, %s, %s)",
            (headers["id"], headers["task"], queue, "success" if good else "failed"),
        )
