"""Equal intervals over the span of all failures: what each group has in them, and its stretches of one level.

By themselves they judge nothing; dlqanalysis.patterns.onsets does."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dlqanalysis.model import duration
from dlqanalysis.patterns.clumps import clumping, shared

DAY = 86_400.0  #: seconds
_HOURLY = 5.0  #: failures of an hour of the day from which it weighs as much as the day does
_BINS = 336  #: two weeks in hours
_STEPS = ("1m", "5m", "15m", "1h", "3h", "6h", "1d", "7d")
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Grid:
    """Intervals over the whole span; the same for every group, so that they can be compared."""

    def __init__(self, start: float, end: float, step: float) -> None:
        self.step = step
        self.start = np.floor(start / self.step) * self.step
        self.end = end
        self.bins = int((end - self.start) // self.step) + 1

    def counts(self, times: Floats) -> Counts:
        where = ((times - self.start) // self.step).astype(np.int64)
        return np.bincount(where, minlength=self.bins)

    def hour(self) -> Counts:
        """The hour of the day of each interval; one value for all where intervals are longer than that."""
        if self.step > 6 * 3600 or self.end - self.start < 3 * DAY:
            return np.zeros(self.bins, np.int64)
        return (((self.start + np.arange(self.bins) * self.step) % DAY) // 3600).astype(np.int64)

    def weekend(self) -> npt.NDArray[np.bool_]:
        """Which intervals are of a Saturday or Sunday (UTC); none where the data is too short or too coarse."""
        if self.step > DAY or self.end - self.start < 3 * DAY:
            return np.zeros(self.bins, bool)
        days = (self.start + np.arange(self.bins) * self.step) // DAY
        return (days + 4) % 7 % 6 == 0  # the first of January 1970 was a Thursday


@dataclass(frozen=True, slots=True)
class Seen:
    """What one grid sees: of each group its counts, stretches of one level, and how much comes at once."""

    grid: Grid
    counts: dict[str, Counts]
    stretches: dict[str, list[tuple[int, int]]]
    busy: dict[str, Floats]  #: how busy an interval is by its hour of the day; 1 in the middle
    clumps: dict[str, float]

    @classmethod
    def of(cls, grid: Grid, parts: Mapping[str, Floats], finer: "Seen | None" = None) -> "Seen":
        counts = {value: grid.counts(times) for value, times in parts.items()}
        usual = {value: _usual(grid, mine) for value, mine in counts.items()}
        stretches = {value: _segments(mine, usual[value]) for value, mine in counts.items()}
        told = {
            value: clumping(mine, usual[value], stretches[value], grid.weekend())
            for value, mine in counts.items()
        }
        clumps = shared(told)
        if finer is not None:  # what comes at once in an hour comes at once in a day
            clumps = {value: max(one, finer.clumps[value]) for value, one in clumps.items()}
        busy = {value: _busy(grid, mine) for value, mine in usual.items()}
        return cls(grid, counts, stretches, busy, clumps)


def grids_over(start: float, end: float, every: str | None) -> list[Grid]:
    """Two grids: a fine one for bursts, and whole days for stories that only many days tell."""
    span = max(end - start, 1.0)
    seconds = [duration(step).total_seconds() for step in _STEPS]
    fine = next((one for one in seconds if span / one <= _BINS * 1.5), seconds[-1])
    made = [Grid(start, end, duration(every).total_seconds() if every else fine)]
    made = [grid for grid in made if grid.bins >= 8]
    if made and made[0].step < DAY and span >= 4 * DAY:
        made.append(Grid(start, end, DAY))
    return made


def _usual(grid: Grid, counts: Counts) -> Floats:
    """What each interval has by its hour of the day."""
    hours = grid.hour()
    expected = np.zeros(grid.bins)
    for hour in np.unique(hours):
        same = np.sort(counts[hours == hour])
        kept = same[: max(1, int(len(same) * 0.75))]  # without the days of a burst
        expected[hours == hour] = kept.mean()
    return expected


def _segments(counts: Counts, expected: Floats) -> list[tuple[int, int]]:
    """Stretches of one level each, by change points in what the hour of the day does not explain."""
    import ruptures

    level = 2 * np.sqrt(counts + 0.375) - 2 * np.sqrt(expected + 0.375)  # Anscombe: unit variance
    search = ruptures.KernelCPD(kernel="linear", min_size=1).fit(level.reshape(-1, 1))
    ends = search.predict(pen=3 * np.log(len(counts)))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _busy(grid: Grid, usual: Floats) -> Floats:
    """How busy each interval is by its hour of the day, as far as enough failures tell."""
    days = grid.bins * grid.step / DAY
    seen = usual * DAY / grid.step / 24 * days  # failures of that hour of the day
    return (seen + _HOURLY) / (seen.mean() + _HOURLY)
