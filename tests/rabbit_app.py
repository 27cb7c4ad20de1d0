"""A Celery app for tests: work that fails until a file says go, on a queue that dead-letters what fails.

celery -A tests.rabbit_app worker, with RABBIT_BROKER, RABBIT_QUEUE, RABBIT_FOLDER in the environment.
"""

import os
from pathlib import Path

from celery import Celery
from kombu import Queue

app = Celery("rabbit", broker=os.environ["RABBIT_BROKER"])
app.conf.update(
    task_queues=[Queue(os.environ["RABBIT_QUEUE"], exchange="", no_declare=True)],
    task_default_queue=os.environ["RABBIT_QUEUE"],
    task_acks_late=True,
    task_acks_on_failure_or_timeout=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
)
FOLDER = Path(os.environ["RABBIT_FOLDER"])


@app.task(name="rabbit.work")
def work(number: int) -> int:
    """Fails until the file `go` is there; writes down each execution."""
    if not (FOLDER / "go").exists():
        raise ConnectionError("the other side does not answer")
    with (FOLDER / "ran").open("a") as file:
        file.write(f"work {number} {work.request.id}\n")
    return number * 10


@app.task(name="rabbit.finish")
def finish(number: int) -> None:
    """What follows in a chain."""
    with (FOLDER / "ran").open("a") as file:
        file.write(f"finish {number} {finish.request.id}\n")
