"""A real Celery worker executes what was replayed from a dead-letter queue, and chains go on."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from celery import Celery

import dlqanalysis as dlq
from dlqanalysis.plan import plan as make_plan
from dlqanalysis.sources.rabbitmq import open_hand, open_source
from tests.rabbit import rabbit, url_of

pytestmark = pytest.mark.rabbitmq
ROOT = Path(__file__).parents[1]


@pytest.fixture
def worker(amqp_url, queue_name, tmp_path):
    """Starts a worker for a queue; it is ended with the test."""
    started = []

    def start(queue):
        environment = {**os.environ, "RABBIT_BROKER": amqp_url, "RABBIT_QUEUE": queue, "RABBIT_FOLDER": str(tmp_path)}  # fmt: skip
        command = [sys.executable, "-m", "celery", "-A", "tests.rabbit_app", "worker", "-P", "solo", "-Q", queue, "-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]  # fmt: skip
        with (tmp_path / "worker.log").open("ab") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))  # fmt: skip

    yield start
    for process in started:
        process.kill()
        process.wait(20)


def test_replayed_tasks_run_and_their_chain_goes_on(amqp_url, queue_name, tmp_path, worker):
    with rabbit(amqp_url, queue_name("memos")) as made:
        with Celery("producer", broker=amqp_url) as app:
            app.conf.task_ignore_result = True
            options = {"exchange": "", "routing_key": made.work}
            from kombu import Queue

            queue = Queue(made.work, exchange="", routing_key=made.work, no_declare=True)
            ends = {}
            for number in range(12):
                follow = app.signature("rabbit.finish", options={"queue": made.work, **options})
                follow = follow.clone().set(task_id=f"finish-{number}")
                app.send_task("rabbit.work", [number], queue=queue, task_id=f"work-{number}", chain=[follow])  # fmt: skip
                ends[number] = f"finish-{number}"
        worker(made.work)
        made.until(made.dlq, 12, seconds=150)
        failures = dlq.load(open_source(url_of(amqp_url, made.dlq)), since="1h")
        assert (failures["exception_message"] == "dead-lettered: its consumer gave it up").all()
        chosen = failures[failures["args"].str.strip("[]").astype(int) % 2 == 0]
        (tmp_path / "go").touch()
        plan = make_plan(chosen, reason="it answers again", classes=("unknown",), ungraded=None)
        journal = dlq.Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
        with open_hand(url_of(amqp_url, made.dlq)) as hand:
            run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, gate=None, rate=None)
        assert run.summary["sent"].item() == 6
        sent = set(run.receipts["sent_id"])
        patient = time.monotonic() + 120
        ran = []
        while len(ran) < 12:
            assert time.monotonic() < patient, (tmp_path / "worker.log").read_text()[-2000:]
            ran = (tmp_path / "ran").read_text().splitlines() if (tmp_path / "ran").exists() else []
            time.sleep(0.05)
        time.sleep(0.3)  # nothing may come after
        ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
        even = range(0, 12, 2)
        assert Counter((task, int(number)) for task, number, _ in ran) == Counter(
            [*(("work", n) for n in even), *(("finish", 10 * n) for n in even)]
        )
        assert {i for task, _, i in ran if task == "work"} == sent
        assert {i for task, _, i in ran if task == "finish"} == {ends[n] for n in even}
        assert made.depth(made.dlq) == 6
