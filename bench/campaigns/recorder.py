"""Takes what was replayed, in a process of its own, and keeps a durable record of it, until its input ends.

python -m bench.campaigns.recorder redis URL FROM TO      moves elements of a list to another, each in one step
python -m bench.campaigns.recorder amqp URL QUEUE FILE [POSTGRES]
                                                          a line a message, then the acknowledgement; with
                                                          POSTGRES also a row in task_executions
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pika
import psycopg
import redis


def over() -> bool:
    """Whether who started it is gone, or wants no more."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def move(url: str, source: str, target: str) -> None:
    """As a worker takes them, from the right; what was taken is in `target` whatever dies."""
    client = redis.Redis.from_url(url)
    while not over():
        try:
            while client.lmove(source, target, "RIGHT", "LEFT") is not None:
                pass
        except redis.ConnectionError:
            time.sleep(0.1)
        time.sleep(0.002)


def consume(url: str, queue: str, file: str, database: str = "") -> None:
    """The first argument of each task, one line of twelve characters each."""
    record = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with contextlib.ExitStack() as stack:
        db = stack.enter_context(psycopg.connect(database, autocommit=True)) if database else None
        connection = stack.enter_context(pika.BlockingConnection(pika.URLParameters(url)))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=50)
        for method, properties, body in channel.consume(queue, inactivity_timeout=0.05):
            if method is None:
                if over():
                    return
                continue
            os.write(record, f"{json.loads(body)[0][0]:>11}\n".encode())
            if db:
                db.execute(
                    "INSERT INTO task_executions (task_id, task_name, status) VALUES (%s, %s, 'success')",
                    (properties.headers["id"], properties.headers["task"]),
                )
            channel.basic_ack(method.delivery_tag)


@contextlib.contextmanager
def recording(*arguments: str) -> Iterator[None]:
    """A recorder beside the caller."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.campaigns.recorder", *arguments], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        process.stdin.close()
        process.wait(20)


if __name__ == "__main__":
    {"redis": move, "amqp": consume}[sys.argv[1]](*sys.argv[2:])
