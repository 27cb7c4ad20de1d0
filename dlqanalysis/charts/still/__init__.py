"""A figure as a still picture: SVG with its text as text and no script, some KB where plotly.js has 5 MB.

Draws what the kit's charts are made of: bars, lines, points, texts, cells, lines across, notes. What else plotly
can do is not drawn. A series is one path, so that a timeline of 1,300 bars has 30 KB; matplotlib, which draws more
kinds, made 525 KB of it, and took seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dlqanalysis.charts.parts import GRID, INK, PALETTE, PAPER
from dlqanalysis.charts.still.canvas import TOP, WIDTH, Canvas
from dlqanalysis.charts.still.scales import bars, places_of, ticks, values
from dlqanalysis.charts.still.writing import LINE, lines_of, short, title_of, width_of

_DASHES = {"dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}
_ANCHORS = {"left": "start", "center": "middle", "right": "end"}


def svg(figure: Mapping[str, Any]) -> str:
    """The picture of a figure (`figure.to_plotly_json()`, or as a notebook holds it), without its title; empty
    where it has something that cannot be drawn still."""
    traces, layout = list(figure.get("data") or ()), figure.get("layout") or {}
    if any(trace.get("type", "scatter") not in _DRAWN for trace in traces):
        return ""
    above = float(
        (layout.get("margin") or {}).get("t") or TOP
    )  # title and legend of the live chart
    room = Canvas.of(traces, layout, float(layout.get("height") or 400) - above + TOP)
    if traces:
        _frame(room, layout)
        for place, trace in enumerate(traces):
            _DRAWN[trace.get("type", "scatter")](room, trace, place)
        for shape in layout.get("shapes") or ():
            _line_across(room, shape)
        for note in layout.get("annotations") or ():
            _note(room, note)
        if layout.get("showlegend"):
            _legend(room, traces)
    size = f"{WIDTH} {short(room.height)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-size="12" fill="{INK}"'
        ' font-family="DejaVu Sans,Verdana,Arial,sans-serif">'
        f'<defs>{"".join(room.hatches.values())}</defs><path fill="{PAPER}" d="M0 0h{WIDTH}v{short(room.height)}H0z"/>'
        f"{''.join(room.parts)}</svg>"
    )  # fmt: skip


# -- traces -----------------------------------------------------------------------------------------


def _bar(room: Canvas, trace: Mapping[str, Any], place: int) -> None:
    places, sizes, lies = bars(trace, room.dated)
    low = room.begin[place]
    steps = np.diff(np.unique(places))
    thick = 0.8 if lies or not len(steps) else 0.95 * float(steps.min())
    across, along = (room.y, room.x) if lies else (room.x, room.y)
    one, two = across(places - thick / 2), across(places + thick / 2)
    start, end = along(low), along(low + sizes)
    d = []
    for a, b, c, e in zip(
        one[sizes > 0], two[sizes > 0], start[sizes > 0], end[sizes > 0], strict=True
    ):
        left, top, wide, tall = (c, min(a, b), e - c, abs(b - a)) if lies else (min(a, b), e, abs(b - a), c - e)  # fmt: skip
        d.append(f"M{short(left)} {short(top)}h{short(wide)}v{short(tall)}h{short(-wide)}z")
    room.path("".join(d), fill=_filled(room, trace, place), stroke=INK, stroke_width=0.4)


def _scatter(room: Canvas, trace: Mapping[str, Any], place: int) -> None:
    mode = str(trace.get("mode") or "lines+markers")
    x = room.x(places_of(trace.get("x"), room.dated))
    y = room.y(places_of(trace.get("y"), False))
    if "lines" in mode and len(x):
        line = trace.get("line") or {}
        d = f"M{short(x[0])} {short(y[0])}"
        for one, two in zip(x[1:], y[1:], strict=True):
            stepped = line.get("shape") == "hv"
            d += f"H{short(one)}V{short(two)}" if stepped else f"L{short(one)} {short(two)}"
        room.path(
            d, fill="none", stroke=_colour(trace, place), stroke_width=line.get("width", 2),
            stroke_dasharray=_DASHES.get(str(line.get("dash"))), stroke_linejoin="round",
        )  # fmt: skip
    if "markers" in mode:
        marker = trace.get("marker") or {}
        sizes, symbols = (_each(marker.get(name, usual), len(x)) for name, usual in (("size", 6), ("symbol", "circle")))  # fmt: skip
        marks = zip(x, y, sizes, symbols, strict=True)
        d = "".join(
            _mark(one, two, float(size) / 2, str(symbol)) for one, two, size, symbol in marks
        )
        room.path(d, fill=_colour(trace, place), stroke=_colour(trace, place), stroke_width=1.5)
    if "text" in mode:
        for one, two, text in zip(x, y, _each(trace.get("text"), len(x)), strict=True):
            room.text(one, two, text)


def _heatmap(room: Canvas, trace: Mapping[str, Any], place: int) -> None:
    cells = np.asarray(values(trace.get("z")), dtype="float64")
    low, high = (float(trace.get(name) or 0) for name in ("zmin", "zmax"))
    scale = [
        (float(at), str(colour)) for at, colour in trace.get("colorscale") or ((0, PAPER), (1, INK))
    ]
    by_colour: dict[str, list[str]] = {}
    for (row, column), value in np.ndenumerate(cells):
        left, right = room.x(column - 0.5), room.x(column + 0.5)
        top, bottom = sorted((room.y(row - 0.5), room.y(row + 0.5)))
        d = f"M{short(left + 0.5)} {short(top + 0.5)}h{short(right - left - 1)}v{short(bottom - top - 1)}h{short(left - right + 1)}z"
        by_colour.setdefault(_shade(scale, (value - low) / ((high - low) or 1)), []).append(d)
    for colour, many in by_colour.items():
        room.path("".join(many), fill=colour)
    for row, line in enumerate(trace.get("text") or ()):
        for column, text in enumerate(line):
            room.text(room.x(column), room.y(row), text, text_anchor="middle")


_DRAWN: dict[str, Callable[[Canvas, Mapping[str, Any], int], None]] = {
    "bar": _bar, "scatter": _scatter, "heatmap": _heatmap,
}  # fmt: skip


def _mark(x: float, y: float, half: float, symbol: str) -> str:
    if symbol == "triangle-right":
        return f"M{short(x - half)} {short(y - half)}L{short(x + half)} {short(y)}L{short(x - half)} {short(y + half)}z"
    if symbol == "line-ns":
        return f"M{short(x)} {short(y - half)}V{short(y + half)}"
    arc = f"a{short(half)} {short(half)} 0 1 0"
    return f"M{short(x - half)} {short(y)}{arc} {short(2 * half)} 0{arc} {short(-2 * half)} 0z"


# -- what stands around them ------------------------------------------------------------------------


def _frame(room: Canvas, layout: Mapping[str, Any]) -> None:
    """Grid, ticks, and what the axes are called."""
    x, y = layout.get("xaxis") or {}, layout.get("yaxis") or {}
    if y.get("visible") is not False:
        size = (y.get("tickfont") or {}).get("size", 12)
        for value, text in ticks(y, room.ys, False):
            at = float(room.y(value))
            if y.get("showgrid") is not False:
                room.path(f"M{short(room.left)} {short(at)}H{short(room.right)}", stroke=GRID)
            room.text(room.left - 6, at, text, size, text_anchor="end")
        if name := title_of(y):
            middle = (room.top + room.bottom) / 2
            room.text(14, middle, name, text_anchor="middle", transform=f"rotate(-90 14 {short(middle)})")  # fmt: skip
    if x.get("visible") is not False:
        lowest = room.bottom + 8
        for value, text in ticks(x, room.xs, room.dated):
            at = float(room.x(value))
            if x.get("showgrid") is not False:
                room.path(f"M{short(at)} {short(room.top)}V{short(room.bottom)}", stroke=GRID)
            if angle := float(x.get("tickangle") or 0):
                turn = f"rotate({short(angle)} {short(at)} {short(lowest + 6)})"
                room.text(at, lowest + 6, text, text_anchor="end", transform=turn)
            else:
                room.text(at, lowest, text, middle=False, text_anchor="middle")
        if name := title_of(x):
            room.text((room.left + room.right) / 2, room.bottom + 28, name, middle=False, text_anchor="middle")  # fmt: skip
        room.path(f"M{short(room.left)} {short(room.bottom)}H{short(room.right)}", stroke=INK)


def _line_across(room: Canvas, shape: Mapping[str, Any]) -> None:
    line = shape.get("line") or {}
    look = {
        "stroke": line.get("color", INK),
        "stroke_width": line.get("width", 1),
        "stroke_dasharray": _DASHES.get(str(line.get("dash"))),
    }
    if shape.get("x0") is not None and shape.get("x0") == shape.get("x1"):
        at = float(room.x(places_of([shape["x0"]], room.dated)[0]))
        room.path(f"M{short(at)} {short(room.top)}V{short(room.bottom)}", **look)
    elif shape.get("y0") is not None and shape.get("y0") == shape.get("y1"):
        at = float(room.y(shape["y0"]))
        room.path(f"M{short(room.left)} {short(at)}H{short(room.right)}", **look)


def _note(room: Canvas, note: Mapping[str, Any]) -> None:
    if note.get("xref") == "paper":
        x = room.left + float(note.get("x") or 0) * (room.right - room.left)
    else:
        x = float(room.x(places_of([note.get("x")], room.dated)[0]))
    if note.get("yref") == "paper":
        y = room.bottom - float(note.get("y") or 0) * (room.bottom - room.top)
    else:
        y = float(room.y(note.get("y") or 0))
    x, y = x + float(note.get("xshift") or 0), y - float(note.get("yshift") or 0)
    size = float((note.get("font") or {}).get("size") or 12)
    lines, upper = lines_of(note.get("text") or ""), note.get("yanchor") == "top"
    anchor = _ANCHORS.get(str(note.get("xanchor")), "middle")
    if anchor == "start":  # what begins inside ends inside
        x = min(x, WIDTH - 4 - max(width_of(line, size) for line in lines))
    if note.get("bgcolor"):
        wide, tall = max(map(lambda one: width_of(one, size), lines)), size * LINE * len(lines)
        left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
        room.path(f"M{short(left)} {short(y if upper else y - tall / 2)}h{short(wide)}v{short(tall)}h{short(-wide)}z", fill=note["bgcolor"])  # fmt: skip
    room.text(x, y, note.get("text") or "", size, middle=not upper, text_anchor=anchor)


def _legend(room: Canvas, traces: Sequence[Mapping[str, Any]]) -> None:
    """Above the plot, at the right."""
    shown = [(place, trace) for place, trace in enumerate(traces) if trace.get("showlegend") is not False and trace.get("name")]  # fmt: skip
    x = room.right
    for place, trace in reversed(shown):
        x -= width_of(str(trace["name"]), 12)
        room.text(x, 16, trace["name"])
        x -= 30
        if trace.get("type", "scatter") == "bar":
            room.path(f"M{short(x)} 10h24v12h-24z", fill=_filled(room, trace, place), stroke=INK, stroke_width=0.4)  # fmt: skip
        else:
            line = trace.get("line") or {}
            room.path(
                f"M{short(x)} 16h24", stroke=_colour(trace, place), stroke_width=line.get("width", 2),
                stroke_dasharray=_DASHES.get(str(line.get("dash"))),
            )  # fmt: skip
        x -= 14


def _each(given: Any, count: int) -> list[Any]:
    """A value for each point: plotly takes one for all, too."""
    return list(given) if isinstance(given, list | tuple | np.ndarray) else [given] * count


# -- looks ------------------------------------------------------------------------------------------


def _colour(trace: Mapping[str, Any], place: int) -> str:
    found = (trace.get("line") or {}).get("color") or (trace.get("marker") or {}).get("color")
    return str(found or PALETTE[place % len(PALETTE)])


def _filled(room: Canvas, trace: Mapping[str, Any], place: int) -> str:
    marker = trace.get("marker") or {}
    colour = str(marker.get("color") or PALETTE[place % len(PALETTE)])
    return room.fill(colour, str((marker.get("pattern") or {}).get("shape") or ""))


def _shade(scale: Sequence[tuple[float, str]], share: float) -> str:
    """A colour of a scale, between its two neighbours."""
    share = min(max(share, 0.0), 1.0)
    for (low, first), (high, last) in pairwise(scale):
        if share <= high:
            part = (share - low) / ((high - low) or 1)
            mixed = (
                round(a + (b - a) * part) for a, b in zip(_rgb(first), _rgb(last), strict=True)
            )
            return "#" + "".join(f"{one:02x}" for one in mixed)
    return scale[-1][1]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
