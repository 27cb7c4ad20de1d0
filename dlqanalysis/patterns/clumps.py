"""How many failures come at once: a batch of ten that fails is one event, not ten, and no test of chance may take it
for ten.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

_LARGEST = 3  #: stretches that may be stories: they say nothing about what is usual
_OWN = 20.0  #: failures from which a group's own clumps weigh as much as those of the others
_TAIL = 1.5  #: a large clump is less rare than a variance says: its sizes have a longer tail than chance alone
_WIDER = (1, 3)  #: intervals put together: a clump may lie across the border of two

Told = tuple[float, float]  #: failures at once, and how many failures tell so


def clumping(
    counts: npt.NDArray[np.int64],
    usual: npt.NDArray[np.float64],
    stretches: Sequence[tuple[int, int]],
    weekend: npt.NDArray[np.bool_],
) -> Told:
    """How many failures of one group come at once (1 where each comes by itself), and how many failures say so.

    It is the variance of counts over their mean, told by the differences of neighbours, which a level that changes
    slowly or once does not disturb; the largest stretches above the usual are left out.
    """
    excess = [float((counts[a:b] - usual[a:b]).sum()) for a, b in stretches]
    calm, level = np.ones(len(counts), bool), np.zeros(len(counts) + 1, np.int64)
    for place in np.argsort(excess)[::-1][:_LARGEST]:
        first, last = stretches[place]
        if excess[place] > 0:
            level[[first, last]] += 1
            if (last - first) * 4 <= len(counts):  # what is longer tells inside of it what is usual
                calm[first:last] = False
    level, left = np.cumsum(level)[:-1], counts - usual
    told = []
    for wide in _WIDER:
        if len(counts) < 4 * wide:
            continue
        starts = np.arange(0, len(counts) - wide + 1, wide)
        quiet, weekends = (np.add.reduceat(mask, starts) for mask in (~calm, weekend))
        rest, seen = (np.add.reduceat(values, starts) for values in (left, counts))
        pairs = (quiet[1:] + quiet[:-1] == 0) & ((weekends[1:] > 0) == (weekends[:-1] > 0))
        pairs &= level[starts[:-1]] == level[starts[1:] + wide - 1]
        both = float((seen[1:] + seen[:-1])[pairs].sum())
        if both:
            told.append((float((np.diff(rest)[pairs] ** 2).sum()) / both, both / 2))
    return max(told, default=(1.0, 0.0))


def shared(told: Mapping[str, Told]) -> dict[str, float]:
    """Of each group how many failures count as one, at least 1: by its own clumps where it has many failures, else
    by those of all."""
    weights = sum(weight for _, weight in told.values())
    middle = (
        sum(at_once * weight for at_once, weight in told.values()) / weights if weights else 1.0
    )
    middle = max(1.0, middle)
    found = {}
    for name, (at_once, weight) in told.items():
        one = (at_once * weight + middle * _OWN) / (weight + _OWN)
        found[name] = 1.0 + _TAIL * max(0.0, one - 1.0)
    return found


_SPANS = (
    60,
    600,
    3600,
)  #: seconds in which failures count as at once; the longest holds an hour of the day
_PRIOR = 10.0  #: failures from which a field's own likeness weighs as much as that of all fields


def draws(
    sides: Sequence[tuple[npt.NDArray[np.int64], Mapping[str, npt.NDArray[np.int64]]]],
) -> dict[str, list[float]]:
    """For each field: how many failures of each side count as one draw of its value, at least 1.

    `sides` are times (microseconds) and a field's values as codes (-1 for none). Where failures that come at once have
    more often the same value than failures that do not (a batch of one tenant), they are not drawn one by one: it is
    the design effect of samples in clusters, 1 + (size - 1) * likeness, with sizes weighted by their failures.
    """
    fields = {name for _, codes in sides for name in codes}
    found = {name: [1.0] * len(sides) for name in fields}
    for span in _SPANS:
        parts = {
            name: [_likeness(times, codes[name], span) for times, codes in sides if name in codes]
            for name in fields
        }
        excess, room = (sum(one[at] for many in parts.values() for one in many) for at in (0, 1))
        usual = min(max(excess / room, 0.0), 1.0) if room else 0.0
        for name, many in parts.items():
            own, of = (sum(one[at] for one in many) for at in (0, 1))
            alike = min(max((own + _PRIOR * usual) / (of + _PRIOR), 0.0), 1.0)
            sizes = [_larger(times, span) for times, _ in sides]
            found[name] = [
                max(known, 1 + alike * size) for known, size in zip(found[name], sizes, strict=True)
            ]
    return found


def _larger(times: npt.NDArray[np.int64], span: int) -> float:
    """How many others come at once with a failure, on the mean."""
    counts = np.unique(times // (span * 1_000_000), return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / max(len(times), 1))


def _likeness(
    times: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], span: int
) -> tuple[float, float]:
    """By how many failures more share their value with one that comes at once than with any other; of how many that
    could."""
    bins = np.unique(times // (span * 1_000_000), return_inverse=True)[1]
    sizes = np.bincount(bins) if len(bins) else np.zeros(0, np.int64)
    values = codes - codes.min(initial=0)
    both = np.unique(
        bins * (values.max(initial=0) + 1) + values, return_index=True, return_counts=True
    )
    inside = np.bincount(bins[both[1]], both[2] * (both[2] - 1.0), len(sizes))
    pairs = float((sizes * (sizes - 1.0)).sum())
    whole = np.bincount(values).astype(float) if len(values) else np.zeros(0)
    apart = len(values) * (len(values) - 1.0) - pairs
    if not pairs or apart <= 0:
        return 0.0, 0.0
    usual = float((whole * (whole - 1)).sum() - inside.sum()) / apart
    many = sizes > 1
    told = float(sizes[many].sum())
    share = float((inside[many] / (sizes[many] - 1)).sum())
    return share - told * usual, told * (1 - usual)
