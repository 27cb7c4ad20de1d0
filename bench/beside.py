"""Ways of doing the same, beside each other: in turns, each repetition in a process of its own.

A way is a generator function: what it does before its first `yield` (imports, connections) is not measured; what it
does until the second one is, and what that yields is its answer, by which ways are compared.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

Way = Callable[..., Iterator[Any]]
ROOT = Path(__file__).parents[1]
PATIENCE = 900  #: seconds that one way may take, before all of them are given up


class Failed(Exception):
    """A way ended with an error, or not at all: its bench has no figures."""


class Result(NamedTuple):
    """What a way took: seconds by the wall (median), the most memory its process had, and its answer."""

    seconds: float
    megabytes: float
    answer: Any
    spread: float  #: largest less smallest, as a part of the median


def beside(ways: Mapping[str, Way], repeat: int, **given: Any) -> dict[str, Result]:
    """Every way once, then every way again: what else the machine does meets all of them."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            runs[name].append(_alone(way, given))
    return {name: _middle(taken) for name, taken in runs.items()}


def _alone(way: Way, given: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.beside", way.__module__, way.__name__]
    try:
        done = subprocess.run(
            [*command, json.dumps(given)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"{way.__name__} had not ended after {PATIENCE} s") from None
    if done.returncode:
        raise Failed(f"{way.__name__} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _middle(runs: list[dict[str, Any]]) -> Result:
    seconds = [run["seconds"] for run in runs]
    middle = statistics.median(seconds)
    return Result(
        middle,
        statistics.median(run["megabytes"] for run in runs),
        runs[0]["answer"],
        (max(seconds) - min(seconds)) / middle,
    )


def have(package: str) -> bool:
    """Whether a package of requirements-bench is there: the tests do without."""
    return find_spec(package) is not None


def peak() -> float:
    """The most memory this process has had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


def table(results: Mapping[str, Result], ours: str) -> list[str]:
    """A table of all ways; how they compare with ours."""
    mine = results[ours]
    lines = [
        "| way | s | peak MB | time / ours | memory / ours | spread |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        shown = f"**{name}**" if name == ours else name
        lines.append(
            f"| {shown} | {one.seconds:.3f} | {one.megabytes:,.0f} | {one.seconds / mine.seconds:.2f}"
            f" | {one.megabytes / mine.megabytes:.2f} | {one.spread:.0%} |"
        )
    return lines


def _main(module: str, name: str, given: str) -> None:
    running = getattr(import_module(module), name)(**json.loads(given))
    next(running)
    start = time.perf_counter()
    answer = next(running)
    seconds = time.perf_counter() - start
    sys.stdout.write(
        f"\n{json.dumps({'seconds': seconds, 'megabytes': peak(), 'answer': answer})}\n"
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
