"""What figures are made of: labels that are escaped, colours that stay apart in grey, bars, cards, words."""

import html
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from dlqanalysis.model import FailureClass

#: Okabe and Ito's palette, ordered so that neighbours differ in lightness too: they stay apart in grey.
COLOURS = {
    str(FailureClass.TRANSIENT): "#56B4E9",
    str(FailureClass.PERMANENT): "#D55E00",
    str(FailureClass.DATA): "#F0E442",
    str(FailureClass.UNKNOWN): "#555555",
}
SHAPES = dict(zip(COLOURS, ("", "/", ".", "x"), strict=True))
PALETTE = ("#0072B2", "#E69F00", "#56B4E9", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#999999")
PATTERNS = ("", "/", ".", "x", "\\", "-", "|", "+")
INK, PAPER, GRID = "#1a1a1a", "#ffffff", "#d9d9d9"
CONFIG = {"showSendToCloud": False, "displaylogo": False, "plotlyServerURL": "", "responsive": True}
_LONGEST = 44


def label(text: Any, longest: int = _LONGEST) -> str:
    """A text as plotly may show it: one line, shortened in the middle, escaped.

    >>> label("<b>bold</b> & $x$")
    '&lt;b&gt;bold&lt;/b&gt; &amp; &#36;x&#36;'
    >>> label("api.tasks.billing.invoices.generate_memo_for_property_owner", 30)
    'api.tasks.bill…_property_owner'
    """
    if text is None or text != text:
        return "(none)"
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()
    if len(line) > longest:
        half = (longest - 1) // 2
        line = f"{line[:half]}…{line[len(line) - (longest - 1 - half) :]}"
    return html.escape(line, quote=False).replace("$", "&#36;")


def no_share_button() -> None:
    """Take the button that uploads a chart's data out of plotly's renderers."""
    for name in pio.renderers:
        renderer = pio.renderers[name]
        if hasattr(renderer, "config"):
            renderer.config = {**(renderer.config or {}), **CONFIG}


no_share_button()


def look(name: str, place: int) -> dict[str, Any]:
    """Colour and pattern of a series: a class always has its own."""
    colour = COLOURS.get(name, PALETTE[place % len(PALETTE)])
    shape = SHAPES.get(name, PATTERNS[place % len(PATTERNS)])
    pattern = {"shape": shape, "size": 6, "solidity": 0.25, "fgcolor": INK, "fillmode": "overlay"}
    return {"color": colour, "pattern": pattern, "line": {"color": INK, "width": 0.4}}


def bars(
    figure: go.Figure, names: Sequence[Any], sizes: Iterable[Any], name: str, marker: dict[str, Any]
) -> None:
    """Horizontal bars by place, not by label: two names that are shortened alike stay two bars."""
    figure.add_bar(
        y=list(range(len(names))),
        x=[int(size) for size in sizes],
        orientation="h",
        name=label(name, 28),
        marker=marker,
        customdata=[label(text, 90) for text in names],
        hovertemplate="%{customdata}<br>%{x:,} " + label(name, 28) + "<extra></extra>",
    )


def totals(figure: go.Figure, sizes: Sequence[Any], texts: Iterable[str]) -> None:
    """The number of each bar, written behind it."""
    figure.add_scatter(
        x=[int(size) for size in sizes],
        y=list(range(len(sizes))),
        text=[f" {text}" for text in texts],
        mode="text",
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(range=[0, max([*sizes, 1]) * 1.3])


def rows_named(figure: go.Figure, names: Sequence[Any], longest: int = _LONGEST) -> None:
    """The name of each horizontal bar, the first on top."""
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[f"{label(name, longest)} " for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )


def dressed(figure: go.Figure, said: str, alt: str, height: int, legend: bool) -> go.Figure:
    """The figure with its finding as title, on a white card: legible in a dark theme and on paper."""
    lines = textwrap.wrap(said, 92) or [""]
    figure.update_layout(
        title={"text": "<br>".join(lines), "x": 0, "xref": "container", "yref": "container",
               "y": 1, "yanchor": "top", "pad": {"t": 14 + 10 * (len(lines) - 1), "l": 10}, "font": {"size": 15}},
        template="none",
        font={"family": "DejaVu Sans, Verdana, Arial, sans-serif", "size": 12, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        height=height + 20 * (len(lines) - 1),
        margin={"l": 10, "r": 20, "t": 62 + 20 * (len(lines) - 1), "b": 50},
        showlegend=legend,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom",
                "traceorder": "normal"},
        hoverlabel={"bgcolor": PAPER, "font": {"color": INK}, "align": "left"},
        meta={"alt": html.unescape(alt), "title": html.unescape(said)},
    )  # fmt: skip
    figure.update_xaxes(automargin=True, gridcolor=GRID, zeroline=False, linecolor=INK, ticks="")
    figure.update_yaxes(automargin=True, gridcolor=GRID, zeroline=False, separatethousands=True)
    return figure


def nothing(why: str) -> go.Figure:
    """A card that says that there is nothing to draw."""
    figure = go.Figure()
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    said = f"Nothing to draw: {why}"
    return dressed(figure, said, f"{said}.", 120, legend=False)
