"""What must send nothing, or stop soon: replays that fail again, notebooks that are run whole, a plan that is done."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

import dlqanalysis as dlq
from bench.campaigns.operators import EVERY, ROOT, hand_of
from bench.campaigns.worlds import Place, World
from dlqanalysis.errors import RunError
from dlqanalysis.sources import connect_hand
from tests.admin_server import AdminServer
from tests.bull import Bull
from tests.consumer import Consumer
from tests.lists import Lists, message
from tests.priority_server import PriorityServer, entry
from tests.priority_world import World as PriorityQueue
from tests.rabbit import rabbit, url_of

QUIETLY = {"progress": lambda line: None, "poll": 0.05, "wait": "60s"}


@dataclass
class Stop:
    """A run that had to stop, or a way to run a notebook that had to send nothing."""

    world: str
    way: str
    planned: int
    sent: int
    told: str  #: what the run or the refusal says
    kept: bool


def fails_again(n: int) -> bool:
    """Of any ten numbers in a row, six."""
    return n % 5 < 3


def celery(world: World, place: Place) -> Stop:
    """Of what goes back to a worker of a Celery table on Redis, 60 % fails again."""
    queue = f"{place.token}.payments"
    worker = Consumer(
        place.redis, place.postgres, [queue], lambda task, args, kwargs: not fails_again(args[0])
    )
    with contextlib.closing(hand_of(world.order)) as hand, worker:
        return _stopped(world.title, world.load(), hand, place, lambda: len(worker.ran))


def bullmq(place: Place, version: int, size: int = 60) -> Stop:
    """The same with a real BullMQ worker."""
    assert place.peer is not None
    bull = Bull(place.peer, place.redis, place.token, version)
    try:
        bull.fail(*({"data": {"n": n, "again": fails_again(n)}} for n in range(size)))
        bull.work("again", record=bull.record())
        failures = dlq.load(dlq.connect(bull.url), since=None, task="email.send")
        with connect_hand(bull.url) as hand:
            count = lambda: bull.redis.llen(bull.record())  # noqa: E731
            return _stopped(f"BullMQ {version}", failures, hand, place, count)
    finally:
        bull.rest()
        bull.redis.close()


def redis_list(place: Place, size: int = 60) -> Stop:
    """The same with a consumer of a Redis list, which writes what failed into the dead-letter list again."""
    lists = Lists(place.redis, f"{place.token}:")
    lists.fill_many(message(n) for n in range(size))
    taken: list[bytes] = []

    def work() -> None:
        if raw := lists.redis.rpop(lists.main):
            taken.append(raw)
            said = json.loads(raw)
            if fails_again(number := int(said["id"][2:])):
                lists.fill(message(number, retryCount=said["retryCount"] + 1))

    with contextlib.closing(lists.redis), _working(work), connect_hand(lists.url) as hand:
        return _stopped("Redis list", lists.load(task="webhook"), hand, place, lambda: len(taken))


def rabbitmq(place: Place, size: int = 60) -> Stop:
    """The same with a consumer on RabbitMQ, which rejects what fails."""
    taken: list[bytes] = []
    with rabbit(place.amqp, f"{place.token}.again") as made:
        made.fill(size)

        def work() -> None:
            method, _, body = made.channel.basic_get(made.work)
            if method is None:
                return
            taken.append(body)
            if fails_again(json.loads(body)[0][0]):
                made.channel.basic_reject(method.delivery_tag, requeue=False)
            else:
                made.channel.basic_ack(method.delivery_tag)

        url = url_of(place.amqp, made.dlq, "&delivery_limit=none")
        with _working(work), contextlib.closing(connect_hand(url)) as hand:
            failures = dlq.load(dlq.connect(url), since=None, task="shop.charge")
            return _stopped("RabbitMQ dead-letter queue", failures, hand, place, lambda: len(taken))


def priority_redis(place: Place, size: int = 60) -> Stop:
    """The same with a worker of the priority queue, which dead-letters what failed."""
    made = PriorityQueue(place.redis, f"{place.token}:")
    for n in range(size):
        made.dead(f"t{n}", payload={"user_id": n})
    taken: list[str] = []

    def work() -> None:
        if raw := made.redis.rpop(made.key("tasks:normal")):
            taken.append(one := raw.decode())
            if fails_again(int(one[1:])):
                made.dead(one, last_error="still down")
            else:
                made.redis.hset(made.key(f"task:{one}"), "status", "completed")

    with contextlib.closing(made.redis), _working(work), connect_hand(made.url) as hand:
        failures = dlq.load(dlq.connect(made.url), since=None, limit=size)
        return _stopped("Priority queue, Redis", failures, hand, place, lambda: len(taken))


def admin_api(place: Place, size: int = 60) -> Stop:
    """The same behind the admin API, whose worker writes a new row for what failed again, and shows no success."""
    done: list[str] = []
    with AdminServer(tasks=size, shows_new_id=True) as server:

        def work() -> None:
            for one in server.executed[len(done) :]:
                done.append(one)
                if fails_again(int(one)):
                    server.fails_again(server.tasks[one]["replayed_task_id"], size + len(done))

        with _working(work), contextlib.closing(connect_hand(server.url)) as hand:
            failures = dlq.load(dlq.connect(server.url), since=None, limit=size)
            return _stopped("Admin API", failures, hand, place, lambda: len(server.executed))


def priority_api(place: Place, size: int = 60) -> Stop:
    """The same behind the priority queue's API, whose worker lists what failed again; it shows no success either."""
    done: list[str] = []
    with PriorityServer(entries=size) as server:

        def work() -> None:
            for one in server.executed[len(done) :]:
                done.append(one)
                if fails_again(number := int(one.rpartition("-")[2])):
                    at = datetime.now(UTC).replace(tzinfo=None).isoformat()
                    server.lists["normal"].insert(0, entry(number, failed_at=at))

        with _working(work), contextlib.closing(connect_hand(server.url)) as hand:
            failures = dlq.load(dlq.connect(server.url), since=None, limit=size)
            return _stopped("Priority API", failures, hand, place, lambda: len(server.executed))


@contextlib.contextmanager
def _working(work: Callable[[], None]) -> Iterator[None]:
    """Something done again and again beside the caller."""
    over = threading.Event()

    def go() -> None:
        while not over.wait(0.005):
            work()

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _stopped(title, failures, hand, place, executed) -> Stop:
    journal = dlq.Journal(f"sqlite:///{place.folder / 'stops.sqlite'}")
    plan = dlq.plan(failures, journal, reason="campaign", classes=EVERY, ungraded=None)
    run = dlq.replay(
        plan, to=hand, journal=journal, confirm=plan.id, rate="50/s", same=None, **QUIETLY
    )
    sent = int(run.summary.iloc[0]["sent"])
    until = time.monotonic() + 10
    while executed() < sent and time.monotonic() < until:
        time.sleep(0.05)
    kept = not run.finished and sent <= 10 and executed() == sent and f"{sent} sent" in repr(run)
    return Stop(title, "60 % fail again", len(plan.chosen), sent, run.stopped, kept)


def notebooks(world: World, place: Place) -> list[Stop]:
    """40_replay on a live system with a hand, run whole."""
    copy, out, env = _notebook(place), place.folder / "out.ipynb", _settings(place)
    convert = ["nbconvert", "--to", "notebook", "--execute", "--output", str(out), str(copy)]
    commands = {
        "nbconvert --execute": convert,
        "Run All (nbconvert --allow-errors)": [*convert, "--allow-errors"],
        "papermill": ["papermill", str(copy), str(out), "-k", "python3"],
    }
    stops = []
    for way, command in commands.items():
        out.unlink(missing_ok=True)
        subprocess.run(
            [sys.executable, "-m", *command], env=env, cwd=place.folder,
            capture_output=True, check=False, timeout=300,
        )  # fmt: skip
        text = out.read_text() if out.exists() else ""
        refused = "NotConfirmed" in text or not text
        planned = len(world.load())
        kept = refused and not _runs(place) and not world.count() and planned == world.size
        told = "NotConfirmed" if text else "it ended at the refusing cell, without an output"
        stops.append(Stop(world.title, f"40_replay, {way}", planned, world.count(), told, kept))
    return stops


class _Kernel:
    """A kernel with 40_replay open in it."""

    def __init__(self, place: Place) -> None:
        self.cells = [
            "".join(cell["source"])
            for cell in json.loads(_notebook(place).read_text())["cells"]
            if cell["cell_type"] == "code"
        ]
        [self.sends] = [cell for cell in self.cells if "confirm=confirm)" in cell]
        self._manager, self._client = start_new_kernel(env=_settings(place), cwd=place.folder)

    def run(self, code: str) -> str:
        """What a cell prints and shows, or the error that it ends with."""
        told: list[str] = []
        self._client.execute_interactive(
            code, timeout=300, allow_stdin=False, output_hook=lambda message: told.append(_text(message))
        )  # fmt: skip
        return "".join(told)

    def run_all(self) -> str:
        """Run All, which ends at the first error."""
        for cell in self.cells:
            told = self.run(cell)
            if "Error" in told or "NotConfirmed" in told:
                break
        return told

    def start(self, code: str) -> None:
        """Run a cell and do not wait for it."""
        self._client.execute(code)

    def restart(self) -> None:
        self._manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if message["msg_type"] == "error":
        return f"{content['ename']}: {content['evalue']}\n"
    return str(content.get("text", "") or content.get("data", {}).get("text/plain", ""))


def kernel(world: World, place: Place) -> list[Stop]:
    """40_replay in a kernel: its cells run again, the kernel restarted, before and after an id was typed."""
    queue, stops = f"{place.token}.payments", list[Stop]()
    worker = Consumer(place.redis, place.postgres, [queue])

    def stop(way: str, sent: int, told: list[str], wanted: list[str]) -> None:
        says = all(one in text for text, one in zip(told, wanted, strict=True))
        time.sleep(0.5)
        kept = says and len(worker.ran) == sent == len({ran[0] for ran in worker.ran})
        title = f"40_replay in a kernel: {way}"
        stops.append(Stop(world.title, title, world.size, len(worker.ran), "; ".join(wanted), kept))

    with worker, contextlib.closing(_Kernel(place)) as here:
        told = [here.run_all(), here.run(here.sends)]
        here.restart()
        told += [here.run(here.sends), here.run_all()]
        wanted = ["NotConfirmed", "NotConfirmed", "NameError", "NotConfirmed"]
        stop("Run All, its cell again, restarted, both again", 0, told, wanted)

        here.run("plan = dlq.plan(failures, journal, action=action, reason=reason, limit=12)")
        here.run("confirm = plan.id")
        told = [here.run(here.sends), here.run(here.sends)]
        stop("confirmed, then its cell again", 12, [told[1]], ["was run already"])

        typed = here.run("print(plan.id)").strip()
        here.restart()
        here.cells.insert(1, f"confirm = {typed!r}")
        stop("then restarted, Run All with the id that was typed", 12, [here.run_all()], ["NotConfirmed"])  # fmt: skip

        here.run("confirm = plan.id")
        typed = here.run("print(plan.id)").strip()
        here.start(here.sends)
        while len(worker.ran) < 17:
            time.sleep(0.01)
        here.restart()
        time.sleep(1)
        sent = len(worker.ran)
        here.cells[1] = f"confirm = {typed!r}"
        stop("restarted while it sends, Run All with the id that was typed", sent, [here.run_all()], ["NotConfirmed"])  # fmt: skip
    return stops


def _settings(place: Place) -> dict[str, str]:
    return {
        **os.environ,
        "DLQ_CELERY_URL": place.postgres,
        "DLQ_CELERY_HAND_URL": place.postgres,
        "DLQ_CELERY_BROKER_URL": place.redis,
        "DLQ_HOME": str(place.folder / "home"),
    }


def _notebook(place: Place) -> Path:
    """40_replay with the parameters of this system."""
    made = json.loads((ROOT / "notebooks" / "40_replay.ipynb").read_text())
    chosen = {"source": "celery", "hand": "celery", "queue": f"{place.token}.payments"}
    [cell] = [c for c in made["cells"] if "parameters" in c["metadata"].get("tags", [])]
    cell["source"] = [*cell["source"], "\n", *(f"{k} = {v!r}\n" for k, v in chosen.items())]
    copy = place.folder / "40_replay.ipynb"
    copy.write_text(json.dumps(made))
    return copy


def twice(world: World, place: Place) -> Stop:
    """A plan that is done, confirmed once more."""
    journal = dlq.Journal(f"sqlite:///{place.folder / 'twice.sqlite'}")
    plan = dlq.plan(world.load(), journal, reason="campaign", ungraded=None, limit=20)
    with contextlib.closing(hand_of(world.order)) as hand:
        common = {"to": hand, "journal": journal, "confirm": plan.id, "gate": None, "rate": None}
        first = dlq.replay(plan, progress=QUIETLY["progress"], **common)
        world.drain()
        before = world.ran().total()
        try:
            told = repr(dlq.replay(plan, progress=QUIETLY["progress"], **common))
        except RunError as error:
            told = str(error)
    world.drain()
    kept = "was run already" in told and first.finished and before == world.ran().total() == 20
    return Stop(world.title, "a done plan, confirmed again", 20, before, told[:70], kept)


def _runs(place: Place) -> int:
    file = place.folder / "home" / "journal.sqlite"
    return len(dlq.Journal(f"sqlite:///{file}").runs()) if file.exists() else 0
