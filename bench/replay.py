"""Replaying 20,000 failed BullMQ jobs with all checks and a journal, beside BullMQ's own Queue.retryJobs."""

import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import data
from bench.beside import beside, table
from bench.bullmq import library
from bench.goals import Section, at_least, at_most

JOBS, REPEAT = 20_000, 3
OURS, ROAD, NODE = "dlq.replay of a plan", "load, classify, plan, replay", "node Queue.retryJobs"


def run(jobs: int = JOBS, repeat: int = REPEAT) -> Section:
    """The section, P15."""
    ways = {OURS: ours, ROAD: road} | ({NODE: node} if library() else {})
    with data.redis_server() as url, tempfile.TemporaryDirectory() as folder:
        found = beside(ways, repeat, url=url, jobs=jobs, folder=folder)
    answers = {name: one.answer for name, one in found.items()}
    wrong = sum(one["waiting"] != one["planned"] for one in answers.values())
    kept = jobs - answers[OURS]["planned"]
    figures = [at_most("P15", "ways that did not put all planned jobs back to wait", wrong, 0)]
    if library():
        figures.append(
            at_least(
                "P15", "Queue.retryJobs / dlq.replay", found[NODE].seconds / found[OURS].seconds, 1
            )
        )
    lines = [
        f"{jobs:,} failed jobs, of which our plan holds {kept} back as copies; all others wait afterwards."
        " Ours looks at each job's content, claims and journals it before it is sent and notes the answer;"
        " retryJobs does none of it.",
        "",
        *table(found, OURS),
    ]
    return Section(lines, figures, found)


def ours(url: str, jobs: int, folder: str) -> Iterator[Any]:
    """The replay alone: the plan was made before."""
    yield from _replayed(url, jobs, folder, planned=True)


def road(url: str, jobs: int, folder: str) -> Iterator[Any]:
    """All of it."""
    yield from _replayed(url, jobs, folder, planned=False)


def _replayed(url: str, jobs: int, folder: str, planned: bool) -> Iterator[Any]:
    import secrets

    import dlqanalysis as dlq
    from dlqanalysis.model import FailureClass

    os.environ["DLQ_HOME"] = folder
    prefix = f"dlqbench-{secrets.token_hex(4)}"
    place = f"bullmq+{url}{'&' if '?' in url else '?'}prefix={prefix}"
    journal = dlq.Journal(f"sqlite:///{Path(folder) / f'{prefix}.sqlite'}")

    def plan() -> Any:
        failures = dlq.load(dlq.connect(place), since=None, queue="work")
        return dlq.plan(
            failures, journal, reason="a bench", ungraded=None,
            classes=tuple(FailureClass),
        )  # fmt: skip

    with _filled(url, prefix, jobs) as client, dlq.connect_hand(place) as hand:
        made = plan() if planned else None
        yield
        made = made or plan()
        dlq.replay(
            made, to=hand, journal=journal, confirm=made.id,
            stages=(None,), rate=None, gate=None, progress=lambda _: None,
        )  # fmt: skip
        yield {"waiting": _left(client, prefix), "planned": len(made.chosen)}


def node(url: str, jobs: int, folder: str) -> Iterator[Any]:
    """BullMQ's own, a thousand at a time, as it is documented."""
    import secrets

    prefix, parts = f"dlqbench-{secrets.token_hex(4)}", urlsplit(url)
    script = [parts.hostname, parts.port or 6379, parts.username or "", parts.password or "",
              parts.path.strip("/") or 0, prefix]  # fmt: skip
    command = ["node", "-e", _SCRIPT, "--", *map(str, script)]
    env = {**os.environ, "NODE_PATH": str(library())}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        _filled(url, prefix, jobs) as client,
        subprocess.Popen(command, env=env, **pipes) as process,
    ):
        assert process.stdin and process.stdout
        assert process.stdout.readline().strip() == "ready"
        yield
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == "done"
        yield {"waiting": _left(client, prefix), "planned": jobs}


_SCRIPT = """
const { Queue } = require("bullmq5"), [, host, port, username, password, db, prefix] = process.argv;
(async () => {
  const queue = new Queue("work", { prefix, connection: { host, port: +port, username: username || undefined,
    password: password || undefined, db: +db } });
  await queue.waitUntilReady();
  console.log("ready");
  process.stdin.once("data", async () => {
    await queue.retryJobs({ state: "failed", count: 1000 });
    console.log("done");
    process.exit(0);
  });
})();
"""


@contextmanager
def _filled(url: str, prefix: str, jobs: int) -> Iterator[Any]:
    """A client, while a queue has that many failed jobs; they go afterwards."""
    import redis

    with redis.Redis.from_url(url) as client:
        data.fill_bullmq(client, prefix, jobs)
        try:
            yield client
        finally:
            for keys in _chunks(client.scan_iter(f"{prefix}:*", count=10_000), 5_000):
                client.unlink(*keys)


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while some := list(itertools.islice(items, size)):
        yield some


def _left(client: Any, prefix: str) -> int:
    """How many wait."""
    return int(client.llen(f"{prefix}:work:wait"))
