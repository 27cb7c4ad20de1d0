"""Operators that can be killed: forked from a process that has imported everything, so that a new one costs little.

python -m bench.campaigns.operators: reads lines of JSON (see `Order`), forks an operator for each, whose process
id it writes; what that operator says in the end goes to the file `out`. Each opens its own connections and journal.
Nothing may have started threads before the fork, Polars least of all: they do not survive it.
"""

import atexit
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pika  # noqa: F401  imported before the fork, as all that is slow to import
import polars  # noqa: F401
import psycopg  # noqa: F401
import pyarrow.parquet  # noqa: F401
import redis  # noqa: F401

import dlqanalysis as dlq
import dlqanalysis.replay
import dlqanalysis.sources.bullmq.hand
import dlqanalysis.sources.priority_redis.hand
import dlqanalysis.sources.rabbitmq.hand
import dlqanalysis.sources.redis_list.hand
from dlqanalysis.errors import PlanError
from dlqanalysis.frame import from_records
from dlqanalysis.sources import connect, connect_hand
from dlqanalysis.sources.admin_api import AdminHand
from dlqanalysis.sources.admin_api.client import open_client as open_admin
from dlqanalysis.sources.celery.hand import CeleryHand
from dlqanalysis.sources.priority_api import client as priority_client
from dlqanalysis.sources.priority_api.hand import PriorityApiHand

EVERY = ("transient", "permanent", "data", "unknown")
TOKEN = "adm-7f3e-secret"  #: what the admin API's server of the tests wants
ROOT = Path(__file__).parents[2]
_LONGEST = 900  #: seconds after which an operator that hangs is ended


@dataclass(frozen=True)
class Order:
    """What one operator is to do. Without `run_id` it plans and replays; with one it goes on with that run."""

    source: str
    task: str
    journal: str
    broker: str = ""  #: for a Celery table
    reason: str = "campaign"
    run_id: str = ""
    newest: bool = False  #: the newest goes first
    rate: str = ""
    quiet: float | None = None  #: seconds of silence after which an HTTP peer's "no" is believed
    ends: bool = False  #: goes on until nothing is left, settling what is uncertain
    full_after: int = 0  #: bytes that the journal may still grow by after its first stage
    plans: bool = (
        False  #: makes the plan, so that it is there when the operator starts, and nothing else
    )
    out: str = ""


def hand_of(order: Order) -> Any:
    """The hand as people open it; an HTTP one may believe a "no" sooner than after its minute."""
    if order.broker:
        return CeleryHand.connect(order.source, order.broker)
    if order.quiet is None:
        return connect_hand(order.source)
    if order.source.startswith("admin+"):
        return AdminHand(open_admin(order.source, TOKEN), quiet=order.quiet)
    return PriorityApiHand(*priority_client.open_client(order.source), quiet=order.quiet)


def planned(order: Order) -> "dlq.Plan | str":
    """A plan of all failures of the order's task, identical ones too, or why there is none."""
    try:
        failures = dlq.load(connect(order.source), since=None, task=order.task)
        if order.newest:
            failures = failures.iloc[::-1]
        none = dlq.duplicates(from_records([]))
        options = {"classes": EVERY, "duplicates": none, "ungraded": None}
        plan = dlq.plan(failures, reason=order.reason, **options)
    except PlanError as error:  # others have sent everything
        return str(error)
    return plan if len(plan.chosen) else repr(plan)


def operate(order: Order) -> dict[str, Any]:
    """Replay or resume; gives the run's id, what it stands at, and its repr."""
    if not order.run_id and isinstance(plan := planned(order), str):
        return {"run_id": "", "nothing": plan}
    journal = dlq.Journal(order.journal)
    with contextlib.closing(hand_of(order)) as hand:
        common: dict[str, Any] = {"to": hand, "journal": journal, "rate": order.rate or None}
        common |= {"gate": None, "progress": lambda line: filling(order)}
        if order.run_id:
            confirm = journal.run(order.run_id)["plan_id"]
            run = dlq.resume(order.run_id, confirm=confirm, **common)
        else:
            confirm = plan.id
            run = dlq.replay(plan, confirm=confirm, **common)
        if order.ends:
            run = to_the_end(order, run, common, confirm)
    return {"run_id": run.run_id, "stopped": run.stopped, "says": repr(run)}


def to_the_end(order: Order, run: dlq.Run, common: dict[str, Any], confirm: str) -> dlq.Run:
    """Resumes until nothing is left that a resume can send. Who asks an HTTP peer twice waits in between."""
    waited = 0
    while True:
        counts = run.summary.iloc[0]
        if not counts["uncertain"] and not counts["not_reached"]:
            return run
        if not counts["not_reached"]:
            if order.quiet == 0 or waited == 2:
                return run
            waited += 1
            time.sleep((60 if order.quiet is None else order.quiet) + 0.5)
        before = counts
        run = dlq.resume(run.run_id, confirm=confirm, **common)
        if order.quiet == 0 and (run.summary.iloc[0] == before).all():
            return run


def filling(order: Order) -> None:
    """The disk is full from here on: the system refuses to let a file grow beyond what it has now and a bit."""
    if order.full_after:
        path = Path(order.journal.removeprefix("sqlite:///") + "-wal")
        most = path.stat().st_size + order.full_after
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def serve() -> None:
    """Fork an operator for each line, until the lines end; whoever still operates then is killed."""
    atexit.register(os.killpg, 0, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        order = Order(**json.loads(line))
        pid = os.fork()
        if not pid:
            signal.alarm(_LONGEST)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                said = operate(order)
            except BaseException as error:
                told = f"{type(error).__name__}: {error}"
                said = {"error": told, "trace": traceback.format_exc()}
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            part = Path(f"{order.out}.part")
            part.write_text(json.dumps(said))
            part.rename(order.out)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


class Operators:
    """Starts operators, kills them, and knows what they said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self._killed = folder, dict[int, Path](), set[int]()
        env = {**os.environ, "DLQ_HOME": str(folder / "home"), "DLQ_ADMIN_TOKEN": TOKEN}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.campaigns.operators"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip

    def start(self, order: Order) -> int:
        out = self.folder / f"said-{len(self.said)}-{os.urandom(3).hex()}"
        self._process.stdin.write(json.dumps(asdict(replace(order, out=str(out)))) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.said[pid] = out
        return pid

    def runs(self, pid: int) -> bool:
        """Whether it has neither ended nor been killed."""
        alive = pid not in self._killed and Path(f"/proc/{pid}").exists()
        return alive and not self.said[pid].exists()

    def kill(self, pid: int) -> bool:
        """SIGKILL; whether it met a living operator."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.002)
        self._killed.add(pid)
        return not self.said[pid].exists()

    def answer(self, pid: int, seconds: float = 900) -> dict[str, Any]:
        """What it said in the end; an error when it died without a word."""
        until = time.monotonic() + seconds
        while self.runs(pid):
            if time.monotonic() > until:
                self.kill(pid)
                return {"error": f"it did not end within {seconds:.0f} s and was killed"}
            time.sleep(0.005)
        time.sleep(0.01)
        if not self.said[pid].exists():
            return {"error": "it died"}
        return dict(json.loads(self.said[pid].read_text()))

    def close(self) -> None:
        """End all of them."""
        for pid in self.said:
            if self.runs(pid):
                self.kill(pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@contextlib.contextmanager
def operators(folder: Path) -> Iterator[Operators]:
    """A process that forks operators, for the length of a `with`."""
    running = Operators(folder)
    try:
        yield running
    finally:
        running.close()


if __name__ == "__main__":
    serve()
