"""Intervals in words: what stands below bars, and what a chart says of them."""

import re
from itertools import pairwise

import pandas as pd


def edge_labels(times: list[pd.Timestamp]) -> list[str]:
    """Where bars begin: the time, and the day below it where it is another than before."""
    days = [f"{at:%b} {at.day}" for at in times]
    days[0] += f"<br>{times[0].year}"
    if all(at == at.normalize() for at in times):
        return days
    fresh = [True, *(one.date() != before.date() for before, one in pairwise(times))]
    return [
        f"{at:%H:%M}" + f"<br>{day}" * new for at, day, new in zip(times, days, fresh, strict=True)
    ]


def when(at: pd.Timestamp, every: str) -> str:
    """An interval by its beginning: the hour from Mon 02 Nov, 14:00 UTC; the day of Mon 02 Nov 2026."""
    length = length_of(every)
    if length.endswith(("day", "week", "days", "weeks")):
        return f"the {length} of {at:%a %d %b %Y}"
    return f"the {length} from {at:%a %d %b, %H:%M} UTC"


def an(every: str) -> str:
    """An interval with its article: an hour, a day, 6h."""
    length = length_of(every)
    return length if length[0].isdigit() else f"{'an' if length == 'hour' else 'a'} {length}"


def length_of(every: str) -> str:
    """An interval in words: 1h is an hour, 6h are 6 hours."""
    words = {"m": "minute", "min": "minute", "h": "hour", "d": "day", "w": "week"}
    told = re.fullmatch(r"(\d+) *([a-z]+)", every.strip().lower())
    if told is None or told[2] not in words:
        return every
    return words[told[2]] if told[1] == "1" else f"{told[1]} {words[told[2]]}s"
