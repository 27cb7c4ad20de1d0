"""Reading 200,000 failed BullMQ jobs: ours beside the raw socket, a pipeline of HGETALL and BullMQ's own getFailed.

The longest PING is asked by another connection every 2 ms while a way reads: how long everybody else waits.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import data
from bench.beside import beside, table
from bench.goals import Section, at_least, at_most
from bench.others import Others

JOBS, REPEAT = 200_000, 3
OURS, ALL = "dlq.load", "dlq.load with all fields"
RAW, PIPED = "raw socket, HGETALL, thrown away", "redis-py, pipelined HGETALL"
NODE = "node getFailed, pages of 1000"


def run(jobs: int = JOBS, repeat: int = REPEAT) -> Section:
    """The section, P7."""
    ways = {OURS: ours, ALL: ours_all, RAW: raw, PIPED: pipeline}
    if library():
        ways |= {NODE: node_pages, "node getFailed(0, -1)": node_all}
    with data.redis(jobs) as url:
        found = beside(ways, repeat, url=url, jobs=jobs)
    wrong = {name: one.answer for name, one in found.items() if one.answer["jobs"] != jobs}
    pings = ", ".join(f"{name} {one.answer['ping']:.1f}" for name, one in found.items())
    lines = [f"{jobs:,} failed jobs; read: {wrong or 'the same in every way'}", ""]
    lines += [*table(found, OURS), "", f"Longest PING of somebody else, in ms: {pings}."]
    few, all_ = found[OURS].seconds, found[ALL].seconds
    figures = [
        at_most("P7", "load / raw socket", few / found[RAW].seconds, 0.7),
        at_least("P7", "pipelined HGETALL / load", found[PIPED].seconds / few, 3.5),
        at_most("P7", "load with all fields / raw socket", all_ / found[RAW].seconds, 1.25),
        at_most("P7", "longest PING while load reads, ms", found[OURS].answer["ping"], 5),
    ]
    if library():
        figures += [
            at_least("P7", "node getFailed / load", found[NODE].seconds / few, 10),
            at_least("P7", "node getFailed / load with all fields", found[NODE].seconds / all_, 5),
        ]
    else:
        lines.append("Node's BullMQ was not there: npm is missing.")
    return Section(lines, figures, found)


def ours(url: str, jobs: int) -> Iterator[Any]:
    """dlq.load as it comes: what stacktraces say, but not they themselves."""
    yield from _ours(url, jobs, None)


def ours_all(url: str, jobs: int) -> Iterator[Any]:
    """dlq.load with tracebacks."""
    yield from _ours(url, jobs, ["traceback"])


def _ours(url: str, jobs: int, columns: list[str] | None) -> Iterator[Any]:
    import dlqanalysis as dlq

    place = f"bullmq+{url}{'&' if '?' in url else '?'}prefix={data.prefix(jobs)}"
    with closing(dlq.connect(place)) as source, Others(url) as others:
        yield
        read = len(dlq.load(source, since=None, columns=columns))
        yield {"jobs": read, "ping": others.longest()}


def pipeline(url: str, jobs: int) -> Iterator[Any]:
    """What a script does: ids, then HGETALL of 500 at a time, as dicts of text."""
    import redis

    base = f"{data.prefix(jobs)}:work"
    with redis.Redis.from_url(url, decode_responses=True) as client, Others(url) as others:
        yield
        ids = client.zrange(f"{base}:failed", 0, -1)
        rows = []
        for start in range(0, len(ids), 500):
            pipe = client.pipeline(transaction=False)
            for one in ids[start : start + 500]:
                pipe.hgetall(f"{base}:{one}")
            rows += pipe.execute()
        yield {"jobs": len(rows), "ping": others.longest()}


def raw(url: str, jobs: int) -> Iterator[Any]:
    """The bytes of every job over a socket, nothing made of them: what Redis and the wire need."""
    import redis

    base = f"{data.prefix(jobs)}:work".encode()
    with redis.Redis.from_url(url) as client, Others(url) as others:
        ids = client.zrange(base + b":failed", 0, -1)
        socket = client.connection_pool.get_connection()._sock
        yield
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            asked = b"".join(
                b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%s\r\n"
                % (len(base) + 1 + len(one), base + b":" + one)
                for one in some
            )
            socket.sendall(asked + b"*1\r\n$4\r\nPING\r\n")
            while not socket.recv(1 << 20).endswith(b"+PONG\r\n"):
                pass
        yield {"jobs": len(ids), "ping": others.longest()}


def node_pages(url: str, jobs: int) -> Iterator[Any]:
    """BullMQ's own reading, a thousand at a time."""
    yield from _node(url, jobs, 1000)


def node_all(url: str, jobs: int) -> Iterator[Any]:
    """BullMQ's own reading in one call, as dashboards do it."""
    yield from _node(url, jobs, jobs)


_SCRIPT = """
const { Queue } = require("bullmq5"), [, host, port, username, password, db, prefix, page] = process.argv;
(async () => {
  const queue = new Queue("work", { prefix, connection: { host, port: +port, username: username || undefined,
    password: password || undefined, db: +db } });
  await queue.waitUntilReady();
  console.log("ready");
  process.stdin.once("data", async () => {
    let read = 0;
    for (let start = 0; ; start += +page) {
      const jobs = await queue.getFailed(start, start + +page - 1);
      read += jobs.length;
      if (jobs.length < +page) break;
    }
    console.log(read);
    process.exit(0);
  });
})();
"""


def _node(url: str, jobs: int, page: int) -> Iterator[Any]:
    parts = urlsplit(url)
    script = [parts.hostname, parts.port or 6379, parts.username or "", parts.password or "",
              parts.path.strip("/") or 0, data.prefix(jobs), page]  # fmt: skip
    command = ["node", "--max-old-space-size=8192", "-e", _SCRIPT, "--", *map(str, script)]
    env = {**os.environ, "NODE_PATH": str(library())}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with Others(url) as others, subprocess.Popen(command, env=env, **pipes) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline().strip() == "ready"
        yield
        process.stdin.write("go\n")
        process.stdin.flush()
        read = int(process.stdout.readline())
        yield {"jobs": read, "ping": others.longest()}


@cache
def library() -> Path | None:
    """The folder with BullMQ that the tests have installed; None where there is no Node."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    from tests.bull import libraries

    return libraries()
