"""Waiting for a condition instead of a time: what is eventually so may take long on a busy machine; and replays
that do not wait."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: for dlq.replay: as fast as it goes, in silence; the second sends all, whatever became of the first ones
QUICK: dict[str, Any] = {"rate": None, "wait": "20s", "poll": 0.05, "progress": lambda line: None}
UNGATED: dict[str, Any] = {"rate": None, "gate": None, "progress": lambda line: None}


def until(look: Callable[[], T], what: str = "it", seconds: float = 120, every: float = 0.02) -> T:
    """What `look` gives, once that is true of itself; fails with what it gave last after so many seconds."""
    patient = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < patient, f"{what} did not come: {found!r}"
        time.sleep(every)
    return found
