"""Where values lie on the axes of a still picture: from where to where they reach, and what stands at the ticks."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.charts.still.writing import lines_of, width_of

_LENGTHS = [60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000]  # fmt: skip


def reach(
    traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], dated: bool
) -> tuple[dict[int, Any], tuple[float, float], tuple[float, float]]:
    """Where the bars of each series begin; and from where to where all of it reaches."""
    begin: dict[int, Any] = {}
    stack: dict[float, float] = {}
    xs: list[float] = []
    ys: list[float] = []
    for place, trace in enumerate(traces):
        kind = trace.get("type", "scatter")
        if kind == "bar":
            places, sizes, lies = bars(trace, dated)
            low = np.array([stack.get(one, 0.0) for one in places]) if layout.get("barmode") == "stack" else 0 * sizes  # fmt: skip
            begin[place] = low
            stack.update(zip(places, low + sizes, strict=True))
            steps = np.diff(np.unique(places))
            half = float(steps.min()) / 2 if len(steps) else 0.5
            across = [one + side for one in places for side in (-half, half)]
            along = [0.0, *(low + sizes)]
            xs, ys = (xs + along, ys + across) if lies else (xs + across, ys + along)
        elif kind == "heatmap":
            tall, wide = np.asarray(values(trace.get("z"))).shape
            xs, ys = [*xs, -0.5, wide - 0.5], [*ys, -0.5, tall - 0.5]
        else:
            xs += list(places_of(trace.get("x"), dated))
            ys += list(places_of(trace.get("y"), False))
    return begin, _span(xs), _span(ys)


def _span(values: Iterable[float]) -> tuple[float, float]:
    known = [float(one) for one in values if one == one]
    return (min(known), max(known)) if known else (0.0, 1.0)


def edges_of(
    about: Mapping[str, Any], reach: tuple[float, float], dated: bool
) -> tuple[float, float]:
    """What stands at the ends of an axis: as told, or where its values end, with a little air."""
    if about.get("range") is not None:
        low, high = places_of(about["range"], dated)
        return float(low), float(high)
    low, high = reach
    air = (high - low) * 0.05 or 0.5
    if dated:
        return low - air / 4, high + air / 4
    return (0.0 if low >= 0 else low - air), high + air


def bars(trace: Mapping[str, Any], dated: bool) -> tuple[Any, Any, bool]:
    """Places, sizes, and whether the bars lie."""
    lies = trace.get("orientation") == "h"
    at, size = (trace.get("y"), trace.get("x")) if lies else (trace.get("x"), trace.get("y"))
    sizes = np.nan_to_num(np.asarray(values(size), dtype="float64"))
    return places_of(at, dated and not lies), sizes, lies


def values(given: Any) -> Any:
    """A trace's values; plotly packs numbers as base64 where it writes them to JSON."""
    if isinstance(given, Mapping) and "bdata" in given:
        flat = np.frombuffer(base64.b64decode(given["bdata"]), dtype=given["dtype"])
        shape = [int(one) for one in str(given.get("shape") or "").split(",") if one]
        return flat.reshape(shape) if shape else flat
    return [] if given is None else given


def places_of(given: Any, dated: bool) -> Any:
    """Values as numbers; times as seconds since 1970."""
    found = values(given)
    if dated:
        times = pd.to_datetime(pd.Series(list(found), dtype="object"), format="ISO8601")
        return times.to_numpy(dtype="datetime64[us]").astype("int64") / 1e6
    return np.asarray(found, dtype="float64")


def beyond(layout: Mapping[str, Any], edges: tuple[float, float], dated: bool) -> Iterable[float]:
    """Pixels that notes need which stand behind what ends near the right edge."""
    near = edges[0] + 0.8 * (edges[1] - edges[0])
    for note in layout.get("annotations") or ():
        if note.get("xref") == "paper" or note.get("xanchor") != "left":
            continue
        if places_of([note["x"]], dated)[0] > near:
            size = float((note.get("font") or {}).get("size") or 12)
            wide = max(width_of(line, size) for line in lines_of(note.get("text") or ""))
            yield wide + float(note.get("xshift") or 0) + 6


def is_dated(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> bool:
    """Whether the horizontal axis is one of times."""
    if kind := (layout.get("xaxis") or {}).get("type"):
        return bool(kind == "date")
    first = next((one for trace in traces for one in list(values(trace.get("x")))[:1]), None)
    return isinstance(first, np.datetime64 | pd.Timestamp) or (
        isinstance(first, str) and bool(re.match(r"\d{4}-\d\d-\d\d", first))
    )


def ticks(
    about: Mapping[str, Any], edges: tuple[float, float], dated: bool
) -> list[tuple[float, str]]:
    """Where an axis has its ticks, and what stands there."""
    low, high = sorted(edges)
    if about.get("tickvals") is not None:
        places = places_of(about["tickvals"], dated)
        return [(float(at), str(text)) for at, text in zip(places, about.get("ticktext") or places, strict=True)]  # fmt: skip
    if dated:
        return _times(low, high)
    if step := about.get("dtick"):
        return [(float(at), f"{at:,.0f}") for at in np.arange(np.ceil(low / step) * step, high + step / 9, step)]  # fmt: skip
    return [(at, f"{at:,.0f}") for at in steps(low, high)]


def steps(low: float, high: float, most: int = 8) -> list[float]:
    """Whole numbers between, in steps of 1, 2 or 5 of some power of ten."""
    span = max(high - low, 1.0)
    for power in range(16):
        for step in (1, 2, 5):
            if span / (step * 10**power) <= most:
                wide = step * 10**power
                return [float(at) for at in np.arange(np.ceil(low / wide) * wide, high + wide / 9, wide)]  # fmt: skip
    return [low, high]


def _times(low: float, high: float, most: int = 8) -> list[tuple[float, str]]:
    """Times (seconds) between, in whole minutes, hours or days; the day is named where it begins."""
    step = next((one for one in _LENGTHS if (high - low) / one <= most), _LENGTHS[-1])
    found = []
    for at in np.arange(np.ceil(low / step) * step, high + 1, step):
        when = pd.Timestamp(float(at), unit="s")
        day = f"{when:%d %b}"
        named = (
            f"{when:%H:%M}<br>{day}" if not found or when == when.normalize() else f"{when:%H:%M}"
        )
        found.append((float(at), day if step >= 86400 else named))
    return found
