"""What figures are made of: labels that are escaped, colours that stay apart in grey, bars, cards, words."""

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dlqanalysis.display.grammars import spare
from dlqanalysis.display.unshared import no_share_button
from dlqanalysis.frame import error_of
from dlqanalysis.model import FailureClass
from dlqanalysis.redact import redact
from dlqanalysis.text import JOINTS

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
_LONGEST = 44
_LINE = 28  # letters of a bar's name in one line
_ROOM = 160  # pixels at most for numbers behind the bars
_TITLE = 56  # letters of a title in one line: about 480 pixels
_NARROW = 540  # pixels of a chart on a narrow screen


def label(text: Any, longest: int = _LONGEST) -> str:
    """A text as plotly may show it: redacted, one line, shortened, escaped. A name keeps both its ends, a sentence
    its beginning.

    >>> label("<b>bold</b> & $x$")
    '&lt;b&gt;bold&lt;/b&gt; &amp; &#36;x&#36;'
    >>> label("api.tasks.billing.invoices.generate_memo_for_property_owner", 30)
    'api.tasks.bill…_property_owner'
    >>> label("HTTPError: Client error '429 Too Many Requests' for url", 48)
    "HTTPError: Client error '429 Too Many Requests'…"
    """
    return _escaped(_shortened(text, longest))


def named(row: Mapping[str, Any]) -> str:
    """What stands for a group: exception and message, or what there is of them; not every system has both."""
    return error_of(row) or "no message"


def _shortened(text: Any, longest: int) -> str:
    if text is None or text != text:
        return "(none)"
    line = "".join(letter if letter.isprintable() else " " for letter in redact(str(text))).strip()
    if len(line) <= longest:
        return line
    if " " in line:  # a sentence: its beginning says most
        end = line.rfind(" ", longest // 2, longest)
        return f"{line[: end if end > 0 else longest - 1]}…"
    half = (longest - 1) // 2
    return f"{line[:half]}…{line[len(line) - (longest - 1 - half) :]}"


def _escaped(line: str) -> str:
    return html.escape(line, quote=False).replace("$", "&#36;")


def _folded(text: Any, longest: int) -> str:
    """A label in one line, or in two where it would leave a narrow screen no room for its bar."""
    line = _shortened(text, longest)
    if len(line) <= _LINE:
        return _escaped(line)
    middle = len(line) // 2
    spaces = [at for at, sign in enumerate(line) if sign == " " and abs(at - middle) <= _LINE // 4]
    joints = [
        found.start() for found in JOINTS.finditer(line)
    ]  # wide letters: only next to the middle
    joints = [at for at in joints if abs(at - middle) <= _LINE // 8]
    at = min(spaces or joints or [middle], key=lambda gap: abs(gap - middle))
    return f"{_escaped(line[:at].rstrip())} <br>{_escaped(line[at:].lstrip())}"


spare()
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
    """The number of each bar, written behind it: the longest bar's stands in the margin, however wide the screen."""
    written = ["<br>".join(f" {line}" for line in text.split("<br>")) for text in texts]
    figure.add_scatter(
        x=[int(size) for size in sizes],
        y=list(range(len(sizes))),
        text=written,
        mode="text",
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    lines = [line for text in written for line in text.split("<br>")]
    room = 16 + 7 * max((len(html.unescape(line)) for line in lines), default=0)
    largest = max([*sizes, 1])
    figure.update_xaxes(
        range=[0, largest * (1 if room <= _ROOM else 1.3)],
        separatethousands=True,
        dtick=counted(largest),
    )
    figure.update_layout(margin={"r": min(room, _ROOM)})


def counted(largest: float) -> int | None:
    """The step of an axis that counts, where plotly would choose a part of one: there is no half of a failure."""
    return 1 if largest < 5 else None


def rows_named(figure: go.Figure, names: Sequence[Any], longest: int = _LONGEST) -> None:
    """The name of each horizontal bar, the first on top."""
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[f"{_folded(name, longest)} " for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        tickfont={"size": 11},  # two lines of it fit into a row
    )


def dressed(figure: go.Figure, said: str, alt: str, height: int, legend: bool) -> go.Figure:
    """The figure with its finding as title, on a white card: legible in a dark theme and on paper."""
    lines = textwrap.wrap(said, _TITLE, break_long_words=False) or [""]
    head = 20 * len(lines) + 10
    top = head + (_legend(figure) if legend else 0) + 12
    figure.update_layout(
        title={"text": "<br>".join(lines), "x": 0, "xref": "container", "yref": "container",
               "y": 1, "yanchor": "top", "pad": {"t": 14 + 10 * (len(lines) - 1), "l": 10}, "font": {"size": 15}},
        template="none",
        font={"family": "DejaVu Sans, Verdana, Arial, sans-serif", "size": 12, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        height=height + top - 62,
        margin={"l": 10, "r": figure.layout.margin.r or 20, "t": top, "b": 56},
        showlegend=legend,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom",
                "traceorder": "normal", "font": {"size": 11}},
        hoverlabel={"bgcolor": PAPER, "font": {"color": INK}, "align": "left"},
        meta={"alt": html.unescape(alt), "title": html.unescape(said), "head": head},
    )  # fmt: skip
    figure.update_xaxes(automargin=True, gridcolor=GRID, zeroline=False, linecolor=INK, ticks="")
    figure.update_yaxes(automargin=True, gridcolor=GRID, zeroline=False, separatethousands=True)
    return figure


def _legend(figure: go.Figure) -> int:
    """Pixels that its legend takes above the plot where the screen is narrow: it is as wide as the plot, and its
    lines break."""
    entries = [html.unescape(one.name or "") for one in figure.data if one.showlegend is not False]
    lines = [line for tick in figure.layout.yaxis.ticktext or () for line in tick.split("<br>")]
    names = 6 * max((len(html.unescape(line)) for line in lines), default=6)
    plot = max(_NARROW - names - (figure.layout.margin.r or 20), 190)
    wide = 42 + 6 * max(map(len, entries), default=0)  # plotly gives all entries one width
    return 18 * -(-len(entries) // max(1, plot // wide)) + 4


def nothing(why: str) -> go.Figure:
    """A card that says that there is nothing to draw."""
    figure = go.Figure()
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    said = f"Nothing to draw: {why}"
    return dressed(figure, said, f"{said}.", 100, legend=False)
