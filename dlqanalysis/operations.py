"""How systems are now: queue depths, workers, what is running, metrics. Reads only.

A place is a name, a URL or a monitor; what a system cannot tell comes as an empty frame with a note in
`attrs["notes"]`, so that one missing answer never keeps a report from being made.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.errors import DLQError
from dlqanalysis.frame import empty
from dlqanalysis.sources import connect_monitor

if TYPE_CHECKING:
    from dlqanalysis.model import Monitor


def depths(*places: "str | Monitor") -> pd.DataFrame:
    """How many tasks each queue holds, by state: the columns of readings.DEPTHS."""
    return _asked(places, "depths", readings.depths([]))


def workers(*places: "str | Monitor") -> pd.DataFrame:
    """One row a worker that answered: the columns of readings.WORKERS. Silence is no proof of absence."""
    return _asked(places, "workers", readings.workers([]))


def running(*places: "str | Monitor") -> pd.DataFrame:
    """Tasks that workers hold at this moment, as a failures frame: status active, reserved or scheduled;
    failed_at is when each began. `dlq.plan(frame, action="revoke", ...)` takes it.
    """
    return _asked(places, "running", empty())


def _asked(places: Iterable["str | Monitor"], what: str, nothing: pd.DataFrame) -> pd.DataFrame:
    """Every place's answer, one under the other; a place that cannot be asked becomes a note."""
    frames, notes = [], []
    for place in places:
        try:
            monitor: Any = connect_monitor(place) if isinstance(place, str) else place
            answer = getattr(monitor, what)()
        except DLQError as error:
            notes.append(str(error))
            continue
        notes += answer.attrs.get("notes", [])
        if len(answer):
            frames.append(answer)
    found = _stacked(frames) if frames else nothing
    found.attrs = {"notes": notes}
    return found


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame; categories are brought together, so that they stay categories."""
    for name in frames[0].select_dtypes("category"):
        known = sorted({value for frame in frames for value in frame[name].cat.categories})
        dtype = pd.CategoricalDtype(pd.Index(known, dtype="str"))
        frames = [frame.assign(**{name: frame[name].astype(dtype)}) for frame in frames]
    return pd.concat(frames, ignore_index=True)
