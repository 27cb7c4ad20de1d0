"""What a still picture is drawn on: its margins, where values lie on it, and what stands in it so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlqanalysis.charts.parts import INK
from dlqanalysis.charts.still.scales import beyond, edges_of, is_dated, reach, steps
from dlqanalysis.charts.still.writing import (
    LINE,
    attributes,
    lines_of,
    short,
    title_of,
    width_of,
    written,
)

WIDTH = 960  #: pixels; the page shows it smaller where there is less room
TOP = 34.0  #: pixels above the plot, for the legend
_HATCHES = {
    "/": "M0 6 6 0", "\\": "M0 0 6 6", ".": "M2.5 3h1", "x": "M0 6 6 0M0 0 6 6", "-": "M0 3h6", "|": "M3 0v6",
    "+": "M0 3h6M3 0v6",
}  # fmt: skip


@dataclass
class Canvas:
    """Where things stand on the picture, and what was drawn so far."""

    height: float
    left: float
    right: float
    top: float
    bottom: float
    xs: tuple[float, float]  # what stands at the left and right edge
    ys: tuple[float, float]  # what stands at the lower and upper edge
    dated: bool
    begin: dict[int, Any]  # where each series of bars begins, on those before it
    parts: list[str] = field(default_factory=list)
    hatches: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], height: float
    ) -> "Canvas":
        """Margins from what is written in them, edges from what is drawn."""
        x, y = layout.get("xaxis") or {}, layout.get("yaxis") or {}
        margin = layout.get("margin") or {}
        dated = is_dated(traces, layout)
        begin, xs, ys = reach(traces, layout, dated)
        xs = edges_of(x, xs, dated)
        ys = edges_of(y, ys, False)
        names = [lines_of(one) for one in y.get("ticktext") or ()]
        names = names or [[f"{one:,.0f}"] for one in steps(*sorted(ys))]
        size = (y.get("tickfont") or {}).get("size", 12)
        widest = max((width_of(line, size) for lines in names for line in lines), default=0)
        left = 14 + (0 if y.get("visible") is False else widest) + (20 if title_of(y) else 0)
        right = max([20.0, float(margin.get("r") or 20), *beyond(layout, xs, dated)])
        bottom = float(margin.get("b") or 50)
        turned = (
            [width_of(one, 12) for one in x.get("ticktext") or ()] if x.get("tickangle") else []
        )
        bottom = max(bottom, 0.5 * max(turned, default=0) + 40)
        return cls(
            height=height, left=left, right=WIDTH - right, top=TOP,
            bottom=height - bottom, xs=xs, ys=ys, dated=dated, begin=begin,
        )  # fmt: skip

    def x(self, value: Any) -> Any:
        """Where a value of the horizontal axis lies, in pixels."""
        low, high = self.xs
        return self.left + (np.asarray(value) - low) / ((high - low) or 1) * (
            self.right - self.left
        )

    def y(self, value: Any) -> Any:
        """Where a value of the vertical axis lies, in pixels from above."""
        low, high = self.ys
        return self.bottom - (np.asarray(value) - low) / ((high - low) or 1) * (
            self.bottom - self.top
        )

    def path(self, d: str, **look: Any) -> None:
        """Draw a line or an area, looking as told (SVG's attributes, _ for -)."""
        if d:
            self.parts.append(f'<path d="{d}"{attributes(look)}/>')

    def text(
        self, x: float, y: float, text: Any, size: float = 12, middle: bool = True, **look: Any
    ) -> None:
        """Lines of text; y is the middle of the block, or its upper edge."""
        lines = lines_of(text)
        first = y + size * (0.35 - (LINE * (len(lines) - 1) / 2 if middle else -0.65))
        for number, line in enumerate(lines):
            if line.strip():
                at = f'x="{short(x)}" y="{short(first + number * size * LINE)}"'
                given = {**look, "font_size": None if size == 12 else size}
                self.parts.append(f"<text {at}{attributes(given)}>{written(line)}</text>")

    def fill(self, colour: str, shape: str) -> str:
        """A colour, or a colour under a pattern, so that it can be told apart in grey."""
        if shape not in _HATCHES:
            return colour
        name = f"h{list(self.hatches).index((colour, shape))}" if (colour, shape) in self.hatches else f"h{len(self.hatches)}"  # fmt: skip
        thick = 1.6 if shape == "." else 0.9
        self.hatches[colour, shape] = (
            f'<pattern id="{name}" width="6" height="6" patternUnits="userSpaceOnUse"><path fill="{written(colour)}"'
            f' d="M0 0h6v6H0z"/><path stroke="{INK}" stroke-width="{thick}" d="{_HATCHES[shape]}"/></pattern>'
        )
        return f"url(#{name})"
