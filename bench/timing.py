"""Seconds of a call, as the median of a few."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def median(call: Callable[[], Any], times: int = 5) -> float:
    """Seconds by the wall."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
