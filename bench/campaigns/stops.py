"""What must send nothing, or stop soon: replays that fail again, notebooks that are run whole, a plan that is done."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dlqanalysis as dlq
from bench.campaigns.operators import EVERY, ROOT, hand_of
from bench.campaigns.worlds import Place, World
from dlqanalysis.errors import RunError
from dlqanalysis.sources import connect_hand
from tests.bull import Bull
from tests.consumer import Consumer

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


def bullmq(place: Place, version: int, size: int) -> Stop:
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


def _stopped(title, failures, hand, place, executed) -> Stop:
    journal = dlq.Journal(f"sqlite:///{place.folder / 'stops.sqlite'}")
    plan = dlq.plan(failures, journal, reason="campaign", classes=EVERY, ungraded=None)
    run = dlq.replay(
        plan, to=hand, journal=journal, confirm=plan.id, rate="50/s", same=None, **QUIETLY
    )
    sent = int(run.summary.iloc[0]["sent"])
    kept = not run.finished and sent <= 10 and executed() == sent and f"{sent} sent" in repr(run)
    return Stop(title, "60 % fail again", len(plan.chosen), sent, run.stopped, kept)


def notebooks(world: World, place: Place, ways: tuple[str, ...]) -> list[Stop]:
    """40_replay on a live system with a hand, run whole; then its plan confirmed twice."""
    env = {
        **os.environ,
        "DLQ_CELERY_URL": place.postgres,
        "DLQ_CELERY_HAND_URL": place.postgres,
        "DLQ_CELERY_BROKER_URL": place.redis,
        "DLQ_HOME": str(place.folder / "home"),
    }
    made = json.loads((ROOT / "notebooks" / "40_replay.ipynb").read_text())
    chosen = {"source": "celery", "hand": "celery", "queue": f"{place.token}.payments"}
    [cell] = [c for c in made["cells"] if "parameters" in c["metadata"].get("tags", [])]
    cell["source"] = [*cell["source"], "\n", *(f"{k} = {v!r}\n" for k, v in chosen.items())]
    copy, out = place.folder / "40_replay.ipynb", place.folder / "out.ipynb"
    copy.write_text(json.dumps(made))
    convert = ["nbconvert", "--to", "notebook", "--execute", "--output", str(out), str(copy)]
    commands = {
        "nbconvert --execute": convert,
        "Run All (nbconvert --allow-errors)": [*convert, "--allow-errors"],
        "papermill": ["papermill", str(copy), str(out), "-k", "python3"],
    }
    stops = []
    for way in ways:
        out.unlink(missing_ok=True)
        subprocess.run(
            [sys.executable, "-m", *commands[way]], env=env, cwd=place.folder,
            capture_output=True, check=False, timeout=300,
        )  # fmt: skip
        text = out.read_text() if out.exists() else ""
        runs = _runs(place.folder / "home")
        refused = "NotConfirmed" in text or not text
        planned = len(world.load())
        kept = refused and not runs and not world.count() and planned == world.size
        told = "NotConfirmed" if text else "it ended at the refusing cell, without an output"
        stops.append(Stop(world.title, f"40_replay, {way}", planned, world.count(), told, kept))
    return stops


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


def _runs(home: Path) -> int:
    file = home / "journal.sqlite"
    return len(dlq.Journal(f"sqlite:///{file}").runs()) if file.exists() else 0
