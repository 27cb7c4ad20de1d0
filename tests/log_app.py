"""A Celery app for tests of logs: each task ends in another of the ways that a worker writes of.

celery -A tests.log_app worker, with LOG_BROKER and LOG_QUEUE in the environment.
"""

import os
import signal
import time

from celery import Celery, Task
from celery.exceptions import Reject

app = Celery("log", broker=os.environ["LOG_BROKER"])
app.conf.update(
    task_default_queue=os.environ["LOG_QUEUE"],
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=True,
)


@app.task(name="log.fine")
def fine() -> None:
    """Succeeds."""


@app.task(name="log.raises")
def raises() -> None:
    """Fails, caused by something else, with a message of two lines."""
    try:
        {}["tenant"]
    except KeyError as error:
        raise RuntimeError('it\'s "bad"\nand \xe9 worse') from error


@app.task(name="log.expected", throws=(LookupError,))
def expected() -> None:
    """Fails as its declaration says that it may."""
    raise LookupError("no such memo")


@app.task(name="log.recovers", bind=True, max_retries=3)
def recovers(self: Task) -> None:
    """Succeeds at the third try."""
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("refused"), countdown=0)


@app.task(name="log.gives_up", bind=True, max_retries=1)
def gives_up(self: Task) -> None:
    """Fails after one more try."""
    raise self.retry(exc=TimeoutError("too late"), countdown=0)


@app.task(name="log.slow", time_limit=1)
def slow() -> None:
    """Runs into its hard time limit."""
    time.sleep(30)


@app.task(name="log.softly", soft_time_limit=1)
def softly() -> None:
    """Runs into its soft time limit."""
    time.sleep(30)


@app.task(name="log.killed")
def killed() -> None:
    """Loses its process, as if the kernel were out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="log.rejected", acks_late=True)
def rejected() -> None:
    """Goes to the dead letters."""
    raise Reject("no use", requeue=False)
