"""Since when: the moments at which failures began to come much more often than before, and what began together.

Counts an interval, freed from the hour of the day, go through a kept change-point search (ruptures); each rise is
then tested exactly (a conditional Poisson test), so that a busy morning is no burst and three failures no trend.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dlqanalysis.errors import SchemaError, did_you_mean
from dlqanalysis.model import duration

__all__ = ["common_causes", "onsets"]

FEWEST = 5  #: failures without which nothing began
SURE = 1e-3  #: how likely chance may make one of all rises looked at
RISE = 2.0  #: times the usual rate, at least, after what chance leaves
_BINS = 336  #: two weeks in hours
_STEPS = ("1m", "5m", "15m", "1h", "3h", "6h", "1d", "7d")
_DAY = 86_400.0
_OUT = {
    "onset": "datetime64[us, UTC]",
    "until": "datetime64[us, UTC]",
    "count": "int64",
    "per_hour": "float64",
    "usual_per_hour": "float64",
    "times_usual": "float64",
    "at_least": "float64",
    "confidence": "str",
}
_NEAR = pd.Timedelta("1D")
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def onsets(
    failures: pd.DataFrame,
    by: str | None = "fingerprint",
    every: str | None = None,
    most: int = 50,
) -> pd.DataFrame:
    """One row an episode, the earliest first: `by`'s value, onset and until (UTC; missing while it goes on),
    count, per_hour, usual_per_hour (before), times_usual (missing where it never came before), at_least (the
    lower end of what chance leaves of it), confidence (high, medium).

    Looked at are the `most` largest values of `by` with at least 5 failures; None looks at all failures
    together. `every` is the interval of the search, chosen from the span when left out; the onset itself is
    the time of a failure. What went on from the beginning of the data has no onset. `attrs["notes"]` says
    what could not be judged.
    """
    if by is not None and by not in failures.columns:
        raise SchemaError(f"The frame has no column '{by}'. {did_you_mean(by, failures.columns)}")
    dated = failures[failures["failed_at"].notna()]
    times = dated["failed_at"].astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6
    notes = []
    if (missing := len(failures) - len(dated)) > 0:
        notes.append(f"{missing:,} failures without a time are not counted.")
    rows: list[dict[str, Any]] = []
    if len(times):
        grids = _grids(float(times.min()), float(times.max()), every)
        parts = list(_parts(dated, by, times, most))
        for value, mine in parts:
            for episode in _found(grids, np.sort(mine), len(parts) * len(grids)):
                rows.append({by or "all": value, **episode})
        if not grids:
            notes.append("The failures lie too close together in time to tell what began when.")
    table = pd.DataFrame(rows, columns=[by or "all", *_OUT])
    for name in ("onset", "until"):
        table[name] = pd.to_datetime(table[name], utc=True)
    table = table.astype({by or "all": "str", **_OUT}).sort_values(
        ["onset", "count"], ascending=[True, False], ignore_index=True
    )
    table.attrs = {"notes": notes}
    return table


def common_causes(
    failures: pd.DataFrame, within: str = "15m", by: str = "queue", fewest: int = 2
) -> pd.DataFrame:
    """What began in several queues (or tasks) at about the same time: one row a moment, the earliest first.

    onset (of the first), until, queues (their names), of (how many have failures at all), failures, rule and
    exception_type of most of them with their share, rule_share and exception_share: all queues and one rule
    such as db-lost is one database, not many bugs. Needs classified failures for the rule.
    """
    found = onsets(failures, by=by, most=200)
    span = pd.Timedelta(duration(within))
    rows = []
    number = (found["onset"].diff() > span).cumsum()
    for _, together in found.groupby(number):
        names = sorted(together[by].unique())
        if len(names) < fewest:
            continue
        begin, end = together["onset"].min(), together["until"].max()
        end = failures["failed_at"].max() if together["until"].isna().any() else end
        inside = failures[
            failures[by].astype("str").isin(names) & failures["failed_at"].between(begin, end)
        ]
        rule, rule_share = _leading(inside, "rule")
        kind, kind_share = _leading(inside, "exception_type")
        rows.append(
            {
                "onset": begin,
                "until": end,
                "queues" if by == "queue" else f"{by}s": ", ".join(names),
                "of": int(failures[by].nunique()),
                "failures": len(inside),
                "rule": rule,
                "rule_share": rule_share,
                "exception_type": kind,
                "exception_share": kind_share,
            }
        )
    columns = ["onset", "until", "queues" if by == "queue" else f"{by}s", "of", "failures"]
    columns += ["rule", "rule_share", "exception_type", "exception_share"]
    table = pd.DataFrame(rows, columns=columns)
    for name in ("onset", "until"):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    kinds = {
        "of": "int64",
        "failures": "int64",
        "rule": "str",
        "exception_type": "str",
        columns[2]: "str",
    }
    shares = {"rule_share": "float64", "exception_share": "float64"}
    return table.astype({**kinds, **shares})


def _grids(start: float, end: float, every: str | None) -> "list[_Grid]":
    """Two rulers: a fine one for bursts, and whole days for stories that only many days tell."""
    span = max(end - start, 1.0)
    seconds = [duration(step).total_seconds() for step in _STEPS]
    fine = next((one for one in seconds if span / one <= _BINS * 1.5), seconds[-1])
    made = [_Grid(start, end, duration(every).total_seconds() if every else fine)]
    made = [grid for grid in made if grid.bins >= 8]
    if made and made[0].step < _DAY and span >= 4 * _DAY:
        made.append(_Grid(start, end, _DAY))
    return made


def _found(grids: "list[_Grid]", times: Floats, looked_at: int) -> list[dict[str, Any]]:
    """The episodes of one group on both rulers; where they see the same one, the fine one tells it when it
    has most of it, else the coarse one."""
    if not grids or len(times) < FEWEST:
        return []
    fine = list(_episodes(grids[0], times, looked_at))
    if len(grids) == 1:
        return fine
    end = pd.Timestamp(grids[0].end, unit="s", tz="UTC")
    chosen = []
    for wide in _episodes(grids[1], times, looked_at):
        till = end if pd.isna(wide["until"]) else wide["until"]
        inside = [
            one for one in fine if wide["onset"] <= one["onset"] + _NEAR and one["onset"] <= till
        ]
        fine = [one for one in fine if one not in inside]
        most = sum(map(_excess, inside)) >= 0.7 * _excess(wide)
        chosen += inside if most else [wide]
    return sorted([*chosen, *fine], key=lambda one: one["onset"])


def _excess(episode: dict[str, Any]) -> float:
    """How many failures more than usual."""
    hours = episode["count"] / episode["per_hour"]
    return float(episode["count"] - episode["usual_per_hour"] * hours)


class _Grid:
    """Intervals over the whole span; the same for every group, so that they can be compared."""

    def __init__(self, start: float, end: float, step: float) -> None:
        self.step = step
        self.start = np.floor(start / self.step) * self.step
        self.end = end
        self.bins = int((end - self.start) // self.step) + 1

    def counts(self, times: Floats) -> npt.NDArray[np.int64]:
        where = ((times - self.start) // self.step).astype(np.int64)
        return np.bincount(where, minlength=self.bins)

    def hour(self) -> npt.NDArray[np.int64]:
        """The hour of the day of each interval; one value for all where intervals are longer than that."""
        if self.step > 6 * 3600 or self.end - self.start < 3 * _DAY:
            return np.zeros(self.bins, np.int64)
        return (((self.start + np.arange(self.bins) * self.step) % _DAY) // 3600).astype(np.int64)

    def weekend(self) -> npt.NDArray[np.bool_]:
        """Which intervals are of a Saturday or Sunday (UTC); none where the data is too short or too coarse."""
        if self.step > _DAY or self.end - self.start < 3 * _DAY:
            return np.zeros(self.bins, bool)
        days = (self.start + np.arange(self.bins) * self.step) // _DAY
        return (days + 4) % 7 % 6 == 0  # the first of January 1970 was a Thursday


def _parts(
    failures: pd.DataFrame, by: str | None, times: Floats, most: int
) -> Iterator[tuple[str, Floats]]:
    if by is None:
        yield "all failures", times
        return
    codes, values = pd.factorize(failures[by], use_na_sentinel=True)
    sizes = np.bincount(codes[codes >= 0], minlength=len(values))
    for place in np.argsort(-sizes, kind="stable")[:most]:
        if sizes[place] >= FEWEST:
            yield str(values[place]), times[codes == place]


def _episodes(grid: _Grid, times: Floats, looked_at: int) -> Iterator[dict[str, Any]]:
    """The stretches of one group in which it came much more often than before them."""
    counts = grid.counts(times)
    usual = np.ones(grid.bins, bool)  # intervals outside of episodes seen so far
    open_: dict[str, Any] | None = None
    for first, last in _segments(grid, counts):
        base = usual.copy()
        base[first:] = False
        before = int(counts[base].sum())
        rise = _risen(grid, counts, slice(first, last), base, looked_at)
        if rise is None:
            continue
        usual[first:last] = False
        if open_ is not None and (first - open_["last"]) * grid.step <= _DAY:
            open_["last"] = last  # a night between two days of one story
            continue
        if open_ is not None:
            yield _told(grid, times, open_)
        open_ = {"first": first, "last": last, "before": before, "base": int(base.sum()), **rise}
    if open_ is not None:
        yield _told(grid, times, open_)


def _segments(grid: _Grid, counts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches of one level each, by change points in what the hour of the day does not explain."""
    import ruptures

    hours = grid.hour()
    expected = np.zeros(grid.bins)
    for hour in np.unique(hours):
        same = np.sort(counts[hours == hour])
        kept = same[: max(1, int(len(same) * 0.75))]  # without the days of a burst
        expected[hours == hour] = kept.mean()
    level = 2 * np.sqrt(counts + 0.375) - 2 * np.sqrt(expected + 0.375)  # Anscombe: unit variance
    search = ruptures.KernelCPD(kernel="linear", min_size=1).fit(level.reshape(-1, 1))
    ends = search.predict(pen=3 * np.log(grid.bins))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _risen(
    grid: _Grid, counts: Counts, part: slice, base: npt.NDArray[np.bool_], looked_at: int
) -> dict[str, Any] | None:
    """The rise of a stretch over all that was before it; what came on weekdays must be one over weekdays too:
    a Monday after the weekend with which the data begins cannot be told from a rise."""
    seen = counts[part]
    whole = _rise(int(seen.sum()), len(seen), int(counts[base].sum()), int(base.sum()), looked_at)
    weekend = grid.weekend()
    theirs = ~weekend[part]
    if whole is None or seen[theirs].sum() * 2 < seen.sum():
        return whole
    alike = base & ~weekend
    same = _rise(int(seen[theirs].sum()), int(theirs.sum()), int(counts[alike].sum()),
                 int(alike.sum()), looked_at)  # fmt: skip
    return whole if same is not None else None


def _rise(seen: int, length: int, before: int, base: int, looked_at: int) -> dict[str, Any] | None:
    """How much more often, when chance does not explain it; None when it does."""
    from scipy.stats import beta, binom

    if seen < FEWEST or base < 1:
        return None
    part = length / (length + base)
    chance = float(binom.sf(seen - 1, seen + before, part)) * looked_at
    low = float(beta.ppf(0.025, seen, before + 1))  # Clopper and Pearson
    at_least = low / (1 - low) * base / length
    if chance > SURE or at_least < RISE:
        return None
    return {"chance": chance, "at_least": at_least}


def _told(grid: _Grid, times: Floats, episode: dict[str, Any]) -> dict[str, Any]:
    first, last = episode["first"], episode["last"]
    begin = float(times[times >= grid.start + first * grid.step][0])
    if episode["before"]:  # else the first one ever is the beginning
        begin = _refined(grid, times, first, last, episode["before"] / episode["base"])
    end = grid.start + last * grid.step
    goes_on = last >= grid.bins
    inside = times[(times >= begin) & (times < end)]
    hours = max((min(end, grid.end) - begin) / 3600, grid.step / 3600)
    per_hour = len(inside) / hours
    usual = episode["before"] / (episode["base"] * grid.step / 3600)
    sure = episode["chance"] < 1e-6 and episode["at_least"] >= 3
    return {
        "onset": pd.Timestamp(begin, unit="s", tz="UTC"),
        "until": pd.NaT if goes_on else pd.Timestamp(inside.max(), unit="s", tz="UTC"),
        "count": len(inside),
        "per_hour": round(per_hour, 2),
        "usual_per_hour": round(usual, 2),
        "times_usual": round(per_hour / usual, 1) if usual else np.nan,
        "at_least": round(episode["at_least"], 1),
        "confidence": "high" if sure else "medium",
    }


def _refined(grid: _Grid, times: Floats, first: int, last: int, rate: float) -> float:
    """The failure with which the stretch most likely began: of those around its first interval, the one
    that parts a slow stretch before from a fast one after best."""
    low = grid.start + max(first - 1, 0) * grid.step
    high = grid.start + min(first + 2, last) * grid.step
    near = times[(times >= low) & (times < high)]
    if not len(near):
        return float(times[times >= grid.start + first * grid.step][0])
    before = np.arange(len(near))
    after = len(near) - before
    left = (near - low).clip(min=grid.step / 60)
    right = (high - near).clip(min=grid.step / 60)
    slow = np.maximum(before, rate * left / grid.step).clip(min=1e-9) / left
    gain = after * np.log(after / right) - after + before * np.log(slow) - slow * left
    rising = after / right > slow
    gain = np.where(rising, gain, -np.inf)
    return float(near[int(np.argmax(gain))]) if rising.any() else float(near[0])


def _leading(rows: pd.DataFrame, column: str) -> tuple[str, float]:
    if column not in rows.columns or not len(rows):
        return "", 0.0
    counts = rows[column].astype("str").value_counts()
    return (str(counts.index[0]), float(counts.iloc[0] / len(rows))) if len(counts) else ("", 0.0)
