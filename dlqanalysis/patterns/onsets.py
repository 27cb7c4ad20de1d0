"""Since when: the moments at which failures began to come much more often than before.

Counts an interval, freed from the hour of the day, go through a kept change-point search (ruptures); each rise is
then tested exactly (a conditional Poisson test), so that a busy morning is no burst and three failures no trend.
Failures that come in clumps (a batch, a retry) count for less: dlqanalysis.patterns.clumps.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dlqanalysis.errors import did_you_mean, need
from dlqanalysis.patterns.grids import DAY, Floats, Grid, Seen, grids_over
from dlqanalysis.text import many

FEWEST = 5  #: failures without which nothing began
SURE = 1e-3  #: how likely chance may make one of all rises looked at
LED_IN = 0.01  #: the same for a stretch that leads into a rise: one is looked at
_AGAIN = 3  #: so many after a quiet night are no straggler
_ENDED = 0.05  #: as few by chance: fewer say that an episode ended in the last interval
RISE = 2.0  #: times the usual rate, at least, after what chance leaves
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
        notes.append(f"Not counted: {many(missing, 'failures')} without a time.")
    rows: list[dict[str, Any]] = []
    clumps: dict[str, float] = {}
    if len(times):
        grids = grids_over(float(times.min()), float(times.max()), every)
        parts = {value: np.sort(mine) for value, mine in _parts(dated, by, times, most)}
        seen: list[Seen] = []
        for grid in grids:
            seen.append(Seen.of(grid, parts, seen[0] if seen else None))
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


def _found(looks: list[Seen], value: str, times: Floats, looked_at: int) -> list[dict[str, Any]]:
    """The episodes of one group on both grids; where they see the same one, the fine one tells it when it
    has most of it, else the coarse one."""
    if not looks:
        return []
    fine = list(_episodes(looks[0], value, times, looked_at))
    if len(looks) == 1:
        return fine
    end = pd.Timestamp(looks[0].grid.end, unit="s", tz="UTC")
    chosen = []
    for wide in _episodes(looks[1], value, times, looked_at):
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


def _episodes(seen: Seen, value: str, times: Floats, looked_at: int) -> Iterator[dict[str, Any]]:
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
        if open_ is not None and (first - open_["last"]) * grid.step <= DAY:
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


def _risen(
    seen: Seen, value: str, part: slice, base: npt.NDArray[np.bool_], looked_at: int
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
    seen: Seen,
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


def _told(grid: Grid, times: Floats, episode: dict[str, Any]) -> dict[str, Any]:
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


def _keeps_on(grid: Grid, times: Floats, first: int, last: int) -> bool:
    """Whether the last interval has no fewer than a stretch lets expect of the part of it that has passed: that there
    are few in the first minute of an hour is no end, and neither is a quiet night before it."""
    from scipy.stats import poisson

    since, ended = (grid.start + place * grid.step for place in (first, last))
    begin = grid.start + (grid.bins - 1) * grid.step
    late = int((times >= begin).sum())
    if begin > ended and (begin - ended > DAY or late < _AGAIN):
        return False
    before = int(((times >= since) & (times < ended)).sum())
    expected = before / (last - first) * (grid.end - begin) / grid.step
    return bool(poisson.cdf(late, expected) > _ENDED)


def _refined(grid: Grid, times: Floats, first: int, last: int, rate: float) -> float:
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
