"""Since when: the moments at which failures began to come much more often than before, and what began together.

Counts an interval, freed from the hour of the day, go through a kept change-point search (ruptures); each rise is
then tested exactly (a conditional Poisson test), so that a busy morning is no burst and three failures no trend.
Failures that come in clumps (a batch, a retry) count for less: dlqanalysis.patterns.clumps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dlqanalysis.errors import did_you_mean, need
from dlqanalysis.model import duration
from dlqanalysis.patterns.clumps import clumping, shared

__all__ = ["common_causes", "onsets"]

FEWEST = 5  #: failures without which nothing began
SURE = 1e-3  #: how likely chance may make one of all rises looked at
LED_IN = 0.01  #: the same for a stretch that leads into a rise: one is looked at
_AGAIN = 3  #: so many after a quiet night are no straggler
_ENDED = 0.05  #: as few by chance: fewer say that an episode ended in the last interval
RISE = 2.0  #: times the usual rate, at least, after what chance leaves
_HOURLY = 5.0  #: failures of an hour of the day from which it weighs as much as the day does
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
    what could not be judged, `attrs["clumping"]` how many failures of each value come at once.
    """
    need(failures, "failed_at")
    if by is not None:
        need(failures, by, hint=did_you_mean(by, failures.columns))
    dated = failures[failures["failed_at"].notna()]
    times = dated["failed_at"].astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6
    notes = []
    if (missing := len(failures) - len(dated)) > 0:
        notes.append(f"{missing:,} failures without a time are not counted.")
    rows: list[dict[str, Any]] = []
    clumps: dict[str, float] = {}
    if len(times):
        grids = _grids(float(times.min()), float(times.max()), every)
        parts = {value: np.sort(mine) for value, mine in _parts(dated, by, times, most)}
        seen: list[_Seen] = []
        for grid in grids:
            seen.append(_Seen.of(grid, parts, seen[0] if seen else None))
        for value, mine in parts.items():
            for episode in _found(seen, value, mine, len(parts) * len(grids)):
                rows.append({by or "all": value, **episode})
        clumps = seen[0].clumps if seen else {}
        if not grids:
            notes.append("The failures lie too close together in time to tell what began when.")
    table = pd.DataFrame(rows, columns=[by or "all", *_OUT])
    for name in ("onset", "until"):
        table[name] = pd.to_datetime(table[name], utc=True)
    table = table.astype({by or "all": "str", **_OUT}).sort_values(
        ["onset", "count"], ascending=[True, False], ignore_index=True
    )
    table.attrs = {"notes": notes, "clumping": clumps}
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
    table = table.astype({**kinds, **shares})
    table.attrs["empty"] = "Nothing began in several queues at once."
    return table


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


def _found(
    rulers: "list[_Seen]", value: str, times: Floats, looked_at: int
) -> list[dict[str, Any]]:
    """The episodes of one group on both rulers; where they see the same one, the fine one tells it when it
    has most of it, else the coarse one."""
    if not rulers:
        return []
    fine = list(_episodes(rulers[0], value, times, looked_at))
    if len(rulers) == 1:
        return fine
    end = pd.Timestamp(rulers[0].grid.end, unit="s", tz="UTC")
    chosen = []
    for wide in _episodes(rulers[1], value, times, looked_at):
        till = end if pd.isna(wide["until"]) else wide["until"]
        inside = [
            one for one in fine if wide["onset"] <= one["onset"] + _NEAR and one["onset"] <= till
        ]
        fine = [one for one in fine if one not in inside]
        # what never came before and goes on began with its first failure, be it in a slow night
        new = pd.isna(wide["until"]) and not wide["usual_per_hour"]
        most = sum(map(_excess, inside)) >= (0.95 if new else 0.7) * _excess(wide)
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one ruler sees: of each group its counts, stretches of one level, and how much comes at once."""

    grid: _Grid
    counts: dict[str, Counts]
    stretches: dict[str, list[tuple[int, int]]]
    busy: dict[str, Floats]  #: how busy an interval is by its hour of the day; 1 in the middle
    clumps: dict[str, float]

    @classmethod
    def of(cls, grid: _Grid, parts: Mapping[str, Floats], finer: "_Seen | None" = None) -> "_Seen":
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


def _episodes(seen: _Seen, value: str, times: Floats, looked_at: int) -> Iterator[dict[str, Any]]:
    """The stretches of one group in which it came much more often than before them."""
    grid, counts = seen.grid, seen.counts[value]
    usual = np.ones(grid.bins, bool)  # intervals outside of episodes seen so far
    open_: dict[str, Any] | None = None
    stretches = seen.stretches[value]
    for place, (first, last) in enumerate(stretches):
        base = usual.copy()
        base[first:] = False
        rise = _risen(seen, value, slice(first, last), base, looked_at)
        if rise is None:
            continue
        usual[first:last] = False
        if open_ is not None and (first - open_["last"]) * grid.step <= _DAY:
            open_["last"] = last  # a night between two days of one story
            continue
        if open_ is not None:
            yield _told(grid, times, open_)
        first = _led_in(
            seen, value, usual, stretches[place - 1] if place else (0, 0), (first, last)
        )
        base[first:] = False
        before = {"before": int(counts[base].sum()), "base": int(base.sum())}
        open_ = {"first": first, "last": last, **before, **rise}
    if open_ is not None:
        yield _told(grid, times, open_)


def _usual(grid: _Grid, counts: Counts) -> Floats:
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


def _busy(grid: _Grid, usual: Floats) -> Floats:
    """How busy each interval is by its hour of the day, as far as enough failures tell."""
    days = grid.bins * grid.step / _DAY
    seen = usual * _DAY / grid.step / 24 * days  # failures of that hour of the day
    return (seen + _HOURLY) / (seen.mean() + _HOURLY)


def _risen(
    seen: _Seen, value: str, part: slice, base: npt.NDArray[np.bool_], looked_at: int
) -> dict[str, Any] | None:
    """The rise of a stretch over all that was before it; what came on weekdays must be one over weekdays too:
    a Monday after the weekend with which the data begins cannot be told from a rise. Nor is it one that the
    busiest hours of a day have more than a day on average."""
    counts, busy, weekend = (
        seen.counts[value] / seen.clumps[value],
        seen.busy[value],
        seen.grid.weekend(),
    )
    here = np.zeros(seen.grid.bins, bool)
    here[part] = True

    def rise(of: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
        mine, before = here & of, base & of
        length = float(busy[mine].clip(min=1).sum())
        return _rise(
            counts[mine].sum(), length, counts[before].sum(), busy[before].sum(), looked_at
        )

    whole = rise(np.ones(seen.grid.bins, bool))
    if whole is None or counts[here & ~weekend].sum() * 2 < counts[here].sum():
        return whole
    return whole if rise(~weekend) is not None else None


def _rise(
    seen: float, length: float, before: float, base: float, looked_at: int
) -> dict[str, Any] | None:
    """How much more often, when chance does not explain it; None when it does. Counts are of clumps."""
    from scipy.stats import beta

    if seen < FEWEST or base <= 0:
        return None
    part = length / (length + base)
    chance = float(beta.cdf(part, seen, before + 1)) * looked_at  # the binomial's upper tail
    low = float(beta.ppf(0.025, seen, before + 1))  # Clopper and Pearson
    at_least = low / (1 - low) * base / length
    if chance > SURE or at_least < RISE:
        return None
    return {"chance": chance, "at_least": at_least}


def _led_in(
    seen: _Seen,
    value: str,
    usual: npt.NDArray[np.bool_],
    just: tuple[int, int],
    rise: tuple[int, int],
) -> int:
    """Where a rise begins if the stretch right before it belongs to it: one that is no longer than it, proves nothing
    by itself, and has more than chance would give it."""
    from scipy.stats import beta

    base = usual.copy()
    base[just[0] :] = False
    length, before = just[1] - just[0], int(base.sum())
    counts = seen.counts[value] / seen.clumps[value]
    mine = float(counts[just[0] : just[1]].sum())
    if just[1] != rise[0] or length > rise[1] - rise[0] or not mine or not before:
        return rise[0]
    chance = beta.cdf(length / (length + before), mine, float(counts[base].sum()) + 1)
    return just[0] if chance < LED_IN else rise[0]


def _told(grid: _Grid, times: Floats, episode: dict[str, Any]) -> dict[str, Any]:
    first, last = episode["first"], episode["last"]
    if last < grid.bins and _keeps_on(grid, times, first, last):
        last = grid.bins
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


def _keeps_on(grid: _Grid, times: Floats, first: int, last: int) -> bool:
    """Whether the last interval has no fewer than a stretch lets expect of the part of it that has passed: that there
    are few in the first minute of an hour is no end, and neither is a quiet night before it."""
    from scipy.stats import poisson

    since, ended = (grid.start + place * grid.step for place in (first, last))
    begin = grid.start + (grid.bins - 1) * grid.step
    late = int((times >= begin).sum())
    if begin > ended and (begin - ended > _DAY or late < _AGAIN):
        return False
    before = int(((times >= since) & (times < ended)).sum())
    expected = before / (last - first) * (grid.end - begin) / grid.step
    return bool(poisson.cdf(late, expected) > _ENDED)


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
