"""Real BullMQ 5 and 6 for tests: one Node process that adds jobs and works on them, driven by JSON lines.

The two libraries are installed by npm, once, into a folder of the user's cache.
"""

import hashlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.services import Services, missing
from tests.waiting import until

HERE = Path(__file__).parent / "bullmq"


def libraries() -> Path:
    """The node_modules with both BullMQs; installed when first asked for."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing("BullMQ needs node and npm: apt-get install nodejs npm")
    package = (HERE / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlqanalysis"
    place = cache / f"bullmq-{hashlib.sha256(package).hexdigest()[:12]}"
    if not (place / "node_modules" / "bullmq6").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fresh:  # another session may do the same now
            (Path(fresh) / "package.json").write_bytes(package)
            options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(
                ["npm", "install", *options], cwd=fresh, capture_output=True, text=True, timeout=180
            )
            if done.returncode:
                missing(f"npm could not install BullMQ: {done.stderr.strip()[-300:]}")
            with suppress(OSError):
                Path(fresh).rename(place)
                Path(fresh).mkdir()
    return place / "node_modules"


class Peer:
    """The Node process. `ran` is every job that a worker began, in order."""

    def __init__(self) -> None:
        self.ran: list[dict[str, Any]] = []
        self.trouble: list[str] = []
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._number = 0
        env = {**os.environ, "NODE_PATH": str(libraries())}
        self._process = subprocess.Popen(
            ["node", str(HERE / "peer.js")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=env, encoding="utf-8",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        self._answers[0].get(timeout=120)

    def ask(self, do: str, wait: bool = True, **what: Any) -> Any:
        """What the peer gives for a command; without `wait`, a function that waits for it."""
        self._number += 1
        box = self._answers[self._number] = queue.Queue()
        self._process.stdin.write(json.dumps({"n": self._number, "do": do, **what}) + "\n")
        self._process.stdin.flush()

        def answer() -> Any:
            said = box.get(timeout=120)
            assert "error" not in said, said["error"]
            return said["gives"]

        return answer() if wait else answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join(5)
        self._process.stdout.close()

    def _listen(self) -> None:
        for line in self._process.stdout:
            said = json.loads(line)
            if "ran" in said:
                self.ran.append(said)
            elif "trouble" in said:
                self.trouble.append(said["trouble"])
            else:
                self._answers[said["n"]].put(said)


class Bull:
    """One version of BullMQ on one prefix of one Redis, for one test."""

    def __init__(self, peer: Peer, url: str, prefix: str, version: int) -> None:
        self.peer, self.prefix, self.version = peer, prefix, version
        self.redis = redis.Redis.from_url(url, protocol=2)
        self._where = {"url": url, "prefix": prefix, "v": version}
        peer.ran.clear()
        peer.trouble.clear()
        scheme, _, rest = url.partition("://")
        self.url = f"bullmq+{scheme}://{rest}?prefix={prefix}"

    def ask(self, do: str, queue: str = "default", **what: Any) -> Any:
        return self.peer.ask(do, queue=queue, **self._where, **what)

    def add(self, *jobs: dict[str, Any], queue: str = "default") -> list[str]:
        """Adds jobs, each {name, data, opts}; gives their ids."""
        made = []
        for job in jobs:
            opts = {"attempts": 1, "removeOnComplete": True, **job.get("opts", {})}
            made.append(
                {"name": job.get("name", "email.send"), "data": job.get("data", {}), "opts": opts}
            )
        return self.ask("add", queue, jobs=made)

    def fail(self, *jobs: dict[str, Any], queue: str = "default") -> list[str]:
        """Adds jobs and lets a real worker fail them all; jobs without data.fail meet a refused connection."""
        jobs = [{**job, "data": {"fail": "network", **job.get("data", {})}} for job in jobs]
        before = self.redis.zcard(self.key("failed", queue))
        ids = self.add(*jobs, queue=queue)
        self.work("fail", queue)
        until(lambda: self.redis.zcard(self.key("failed", queue)) == before + len(ids))
        self.rest()
        self.peer.ran.clear()
        return ids

    def flow(self, flow: dict[str, Any]) -> dict[str, Any]:
        return self.peer.ask("flow", flow=flow, **self._where)

    def work(self, mode: str = "ok", queue: str = "default", **options: Any) -> None:
        self.ask("work", queue, mode=mode, **options)

    def rest(self) -> None:
        self.peer.ask("rest")

    def key(self, part: str, queue: str = "default") -> str:
        return f"{self.prefix}:{queue}:{part}"

    def failed(self, queue: str = "default") -> list[str]:
        """The ids in the failed set."""
        return [one.decode() for one in self.redis.zrange(self.key("failed", queue), 0, -1)]

    def runs(self) -> Counter[str]:
        """How often each job was begun."""
        return Counter(one["ran"] for one in self.peer.ran)

    def record(self) -> str:
        """A list for `work(record=...)`: every job that is begun, kept in Redis, whoever is killed."""
        return f"{self.prefix}:ran"

    def recorded(self) -> Counter[str]:
        """How often each job was begun, by that list."""
        return Counter(one.decode() for one in self.redis.lrange(self.record(), 0, -1))

    def hashes(self, *ids: str, queue: str = "default") -> list[dict[bytes, bytes]]:
        return [self.redis.hgetall(self.key(one, queue)) for one in ids]


def content(client: redis.Redis, pattern: str) -> dict[bytes, Any]:
    """All keys that match, whole. Not by DUMP where there is a choice: how Redis packs a key may change."""
    found: dict[bytes, Any] = {}
    for name in sorted(client.keys(pattern)):
        if name.endswith(b":stalled-check"):  # a worker's clock runs on by itself
            continue
        kind = client.type(name)
        if kind == b"hash":
            whole: Any = client.hgetall(name)
        elif kind == b"zset":
            whole = client.zrange(name, 0, -1, withscores=True)
        else:
            whole = client.dump(name)
        found[name] = kind, whole, client.ttl(name)
    return found


@pytest.fixture
def peer(services: Services) -> Peer:
    """Node with both BullMQs, one for the whole session."""
    return services.get("bullmq", running_peer)


@contextmanager
def running_peer() -> Iterator[Peer]:
    """A Node process that ends afterwards."""
    running = Peer()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(params=[5, 6], ids=["bullmq5", "bullmq6"])
def bull(request: pytest.FixtureRequest, peer: Peer, redis_url: str, token: str) -> Iterator[Bull]:
    """BullMQ 5, then 6, on a prefix of the test's own."""
    yield from _bull(peer, redis_url, token, request.param)


@pytest.fixture
def bull5(peer: Peer, redis_url: str, token: str) -> Iterator[Bull]:
    """BullMQ 5 alone."""
    yield from _bull(peer, redis_url, token, 5)


@pytest.fixture
def bull6(peer: Peer, redis_url: str, token: str) -> Iterator[Bull]:
    """BullMQ 6 alone, where the version makes no difference."""
    yield from _bull(peer, redis_url, token, 6)


def _bull(peer: Peer, url: str, token: str, version: int) -> Iterator[Bull]:
    assert urlsplit(url).hostname
    one = Bull(peer, url, token, version)
    try:
        yield one
    finally:
        one.rest()
        one.redis.close()
