"""Dead-letter queues made the way RabbitMQ makes them: real queues, real rejections."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pika

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def body(args: Any, kwargs: Any = None, **embed: Any) -> bytes:
    return json.dumps([args, kwargs or {}, {**EMBED, **embed}]).encode()


def headers(task: str = "shop.charge", task_id: str | None = None, **more: Any) -> dict[str, Any]:
    return {"lang": "py", "task": task, "id": task_id or str(uuid.uuid4()), "retries": 3, **more}


class Rabbit:
    """One connection, a work queue that dead-letters into a DLQ, and ways to fill and look at them."""

    def __init__(self, url: str, work: str, kind: str = "classic", **arguments: Any) -> None:
        self.url, self.work, self.dlq, self.kind = url, work, f"{work}.dlq", kind
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dlq}
        self.channel.queue_declare(
            self.dlq, durable=True, arguments={"x-queue-type": kind, **arguments}
        )
        self.channel.queue_declare(work, durable=True, arguments=dead)

    def publish(self, content: bytes, **properties: Any) -> None:
        given = {
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
        }
        self.channel.basic_publish(
            "", self.work, content, pika.BasicProperties(**{**given, **properties})
        )

    def task(self, args: Any, kwargs: Any = None, **more: Any) -> str:
        """Publish a Celery message, protocol 2; gives its id."""
        told = headers(**more)
        self.publish(body(args, kwargs), headers=told, correlation_id=told["id"], priority=0)
        return told["id"]

    def reject(self, count: int) -> None:
        """Reject that many from the work queue, and wait until they are dead letters."""
        before = self.depth(self.dlq)
        for _ in range(count):
            method, _, _ = self.channel.basic_get(self.work)
            self.channel.basic_reject(method.delivery_tag, requeue=False)
        self.until(self.dlq, before + count)

    def fill(self, count: int, **more: Any) -> list[str]:
        """So many rejected tasks with args [0], [1], ..."""
        ids = [self.task([number], **more) for number in range(count)]
        self.reject(count)
        return ids

    def depth(self, queue: str) -> int:
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def until(self, queue: str, depth: int, seconds: float = 120) -> None:
        patient = time.monotonic() + seconds
        while (now := self.depth(queue)) != depth:
            assert time.monotonic() < patient, f"{queue} has {now}, not {depth}"
            time.sleep(0.02)

    def take(self, queue: str) -> list[tuple[Any, bytes]]:
        """Everything in a queue, taken for good: (properties, body)."""
        taken = []
        while (got := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            taken.append(got[1:])
        return taken

    def close(self) -> None:
        if self.connection.is_open:
            self.connection.close()


@contextlib.contextmanager
def rabbit(url: str, work: str, kind: str = "classic", **arguments: Any) -> Iterator[Rabbit]:
    made = Rabbit(url, work, kind, **arguments)
    try:
        yield made
    finally:
        made.close()


def url_of(base: str, dlq: str, options: str = "") -> str:
    return f"{base}?queue={dlq}{options}"
