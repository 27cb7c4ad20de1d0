"""Somebody else's connection, in a process of its own, that pings Redis every 2 ms: how long others wait."""

import subprocess
import sys
import threading
import time

from bench.beside import ROOT


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


def _main(url: str) -> None:
    import redis

    client = redis.Redis.from_url(url)
    client.ping()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    longest = 0.0
    while not stop.wait(0.002):
        start = time.perf_counter()
        client.ping()
        longest = max(longest, time.perf_counter() - start)
    sys.stdout.write(f"{longest * 1000}\n")


if __name__ == "__main__":
    _main(sys.argv[1])
