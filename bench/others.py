"""Somebody else's connection, in a process of its own, that pings Redis every 2 ms: how long others wait."""

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from bench.beside import ROOT

if TYPE_CHECKING:
    import redis


class Others:
    """Pings while a `with` lasts."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.others", url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Others":
        assert self._process.stdout
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.__exit__(None, None, None)

    def longest(self) -> float:
        """The longest answer so far, in ms; it ends the pings."""
        return float(self._process.communicate("\n")[0])


def _answers(client: "redis.Redis") -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.ResponseError as error:
        if "BUSY" not in str(error):
            raise
        return False


def _main(url: str) -> None:
    import redis

    client = redis.Redis.from_url(
        url, socket_timeout=120
    )  # a whole getFailed takes longer than 5 s
    client.ping()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    longest = 0.0
    while not stop.wait(0.002):
        start = time.perf_counter()
        while not _answers(client):  # busy with a script for more than five seconds: not served yet
            time.sleep(0.002)
        longest = max(longest, time.perf_counter() - start)
    sys.stdout.write(f"{longest * 1000}\n")


if __name__ == "__main__":
    _main(sys.argv[1])
