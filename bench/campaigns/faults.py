"""What runs into trouble: a server that is killed and started again, answers that get lost, a disk that is full."""

import contextlib
import os
import random
import re
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import psycopg
import redis

from bench.campaigns.account import Count, account
from bench.campaigns.kills import finish, opened, run_of
from bench.campaigns.operators import Operators, Order
from bench.campaigns.worlds import World
from dlqanalysis.demo import servers
from dlqanalysis.demo.den import Den


def _until_done(
    world: World,
    crew: Operators,
    campaign: str,
    order: Order,
    begin: Callable[[], Any] = lambda: None,
    faults: Callable[[], int] = lambda: 0,
    end: Callable[[], Any] = lambda: None,
    note: str = "",
) -> Count:
    """Operators, each going on where the last one stopped, while faults happen; the last ones without any."""
    began = time.monotonic()
    plain, journal = opened(world, crew.folder / "journal.sqlite")
    order = replace(order, journal=plain.journal)
    before = world.load()
    stops = 0
    begin()
    try:
        while world.left() > 0:
            pid = crew.start(replace(order, run_id=run_of(order)))
            answer = crew.answer(pid, world.left())
            if "error" not in answer and not answer.get("stopped"):
                break
            stops += 1
            time.sleep(0.1)
        met = faults()
    finally:
        end()
    troubles = finish(world, crew, order)
    seconds = time.monotonic() - began
    said = f"the run stopped {stops} time{'' if stops == 1 else 's'}" + (
        f"; {note}" if note else ""
    )
    counted = account(world, campaign, before, [journal], met, seconds, said)
    counted.troubles += troubles
    return counted


# ---- a full disk ---------------------------------------------------------------------------------


def full(world: World, crew: Operators) -> Count:
    """After the first stage the system lets no file of the operator grow by more than 40,000 bytes (RLIMIT_FSIZE)."""
    began = time.monotonic()
    order, journal = opened(world, crew.folder / "journal.sqlite")
    before = world.load()
    answer = crew.answer(crew.start(replace(order, full_after=40_000)))
    stopped = answer.get("error") or str(answer.get("stopped"))
    said = re.findall(r"journal at \S+ (failed: .{,40}?)\.", stopped)
    met = int("JournalError" in stopped or "journal at" in stopped)
    moved = world.count()
    troubles = finish(world, crew, order)
    note = f"stopped after {moved} executions{f', {said[0]}' if said else ''}"
    seconds = time.monotonic() - began
    counted = account(world, "the journal's disk is full", before, [journal], met, seconds, note)
    counted.troubles += troubles + ([] if met else ["the disk did not get full"])
    return counted


# ---- lost answers --------------------------------------------------------------------------------


class Wire:
    """A way to a server that breaks, with a reset, at answers that a seed draws: the request was done."""

    def __init__(self, url: str, seed: int, most: int, every: int) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname, parts.port)
        self._draw, self._left, self._every = random.Random(seed), most, every
        self.cuts = 0
        self.open = False  #: breaks nothing until it is
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(
            f"{parts.hostname}:{parts.port}", f"127.0.0.1:{self._server.getsockname()[1]}"
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._to)
        except OSError:
            client.close()
            return
        back = threading.Thread(target=self._answers, args=(server, client), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while data := client.recv(2**16):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        back.join()
        server.close()
        client.close()

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(2**16):
                with self._lock:
                    cut = self.open and self._left > 0 and self._draw.randrange(self._every) == 0
                    self._left -= cut
                    self.cuts += cut
                if cut:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                client.sendall(data)
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def cut(world: World, crew: Operators, seed: int, cuts: int, every: int, of: str) -> Count:
    """The answers of one of a world's servers get lost; `of` is source or broker."""
    wire = Wire(getattr(world.order, of), seed, cuts, every)
    order = replace(world.order, **{of: wire.url})
    try:
        return _until_done(
            world, crew, f"answers of the {of} lost", order,
            begin=lambda: setattr(wire, "open", True), faults=lambda: wire.cuts,
            end=lambda: setattr(wire, "open", False),
        )  # fmt: skip
    finally:
        wire.close()


def dropped(world: World, crew: Operators, seed: int) -> Count:
    """The server performs a fourth of what it is asked for and hangs up, and hangs up on another tenth at once."""
    draw, habits = random.Random(seed), world.facts["habits"]
    drawn = [draw.random() for _ in range(4 * world.size)]
    told = ["drop_after" if one < 0.25 else "drop_before" if one < 0.35 else "" for one in drawn]
    return _until_done(
        world, crew, "performs, then hangs up", world.order,
        begin=lambda: habits.extend(told),
        faults=lambda: sum(map(bool, told[: len(told) - len(habits)])),
        end=habits.clear,
    )  # fmt: skip


# ---- a server that is killed ---------------------------------------------------------------------


class Doomed(Den):
    """A den that remembers how each process was started, so that it can be killed and started again."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[Sequence[Any], Mapping[str, Any]]] = []

    def start(self, command: Any, **options: Any) -> Any:
        self.started.append((list(command), options))
        return super().start(command, **options)

    def kill(self) -> None:
        """SIGKILL to the last one started."""
        process = self._reaped[-1]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.gone(process)

    def again(self, answers: Callable[[], bool], *more: str) -> None:
        """Start it once more, with more arguments, which stay for the next time, and wait until it answers."""
        command, options = self.started[-1]
        self.start([*command, *more], **options)
        until = time.monotonic() + 90
        while not answers():
            if self._reaped[-1].poll() is not None:  # what the dead one held is not free yet
                self.gone(self._reaped[-1])
                self.start(*self.started[-1][:1], **options)
                time.sleep(0.2)
            if time.monotonic() > until:
                raise TimeoutError("a server did not come back within 90 s")
            time.sleep(0.05)


#: what a server must be told so that it keeps what it has confirmed; RabbitMQ does so by itself
DURABLE = {
    "postgres": ("-c", "fsync=on", "-c", "synchronous_commit=on"),
    "redis": ("--appendonly", "yes", "--appendfsync", "always"),
    "amqp": (),
}


@contextlib.contextmanager
def doomed(kind: str) -> Iterator[tuple[Doomed, str]]:
    """A private server, durable, of a kind (postgres, redis, amqp), in a den that can kill it; and its URL."""
    den = Doomed()
    try:
        start = {"postgres": servers.postgres, "redis": servers.valkey, "amqp": servers.rabbitmq}
        with start[kind](den) as found:
            url = found.url if kind == "amqp" else found
            if DURABLE[kind]:
                den.kill()
                den.again(lambda: answers(url), *DURABLE[kind])
            yield den, url
    finally:
        den.close()


def answers(url: str) -> bool:
    """Whether the server behind a URL lets somebody in."""
    try:
        if url.startswith("postgres"):
            psycopg.connect(url, connect_timeout=2).close()
        elif url.startswith("redis"):
            redis.Redis.from_url(url, socket_timeout=2).ping()
        else:
            pika.BlockingConnection(pika.URLParameters(url)).close()
    except (psycopg.Error, redis.RedisError, pika.exceptions.AMQPError, OSError):
        return False
    return True


def restarted(
    world: World,
    crew: Operators,
    den: Doomed,
    url: str,
    seed: int,
    times: int,
    name: str,
) -> Count:
    """The server is killed at moments that a seed draws, while operators go on, and started again at once."""
    draw, over, met = random.Random(seed), threading.Event(), list[int]()
    journal = crew.folder / "journal.sqlite"

    def strike() -> None:
        for _ in range(times):
            seen = _last_sent(journal)
            while not over.wait(0.02) and _last_sent(journal) == seen:
                pass  # not before the run has gone on
            if over.wait(draw.uniform(0, 0.3)):
                return
            den.kill()
            met.append(1)
            time.sleep(draw.uniform(0, 0.3))
            den.again(lambda: answers(url))

    thread = threading.Thread(target=strike)

    def end() -> None:
        over.set()
        thread.join()

    return _until_done(
        world, crew, f"{name} killed", world.order,
        begin=thread.start, faults=lambda: len(met), end=end,
    )  # fmt: skip


def _last_sent(journal: Path) -> int:
    with contextlib.closing(sqlite3.connect(journal, timeout=30)) as db:
        asked = "SELECT seq FROM dlq_entries WHERE event = 'sent' ORDER BY seq DESC LIMIT 1"
        return next((int(row[0]) for row in db.execute(asked)), 0)
