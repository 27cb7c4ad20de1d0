"""A place where two operators, each a process, wait for each other, so that they compete for the same failures."""

import os
import time
from pathlib import Path


def meet(folder: str) -> None:
    """Wait until two have come here. One who starts late would otherwise find nothing left to plan."""
    if not folder:
        return
    place = Path(folder)
    place.mkdir(exist_ok=True)
    (place / str(os.getpid())).touch()
    until = time.monotonic() + 120
    while len(list(place.iterdir())) < 2:
        if time.monotonic() > until:
            raise TimeoutError(f"nobody else came to {place} in two minutes")
        time.sleep(0.01)
