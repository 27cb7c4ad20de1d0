"""Frames -> plotly figures. Each title says the finding, and `layout.meta.alt` says it to a screen reader.

Dead letters are hostile: every label is escaped and shortened, because plotly reads <b>, <a href> and
$tex$ in any text. Importing this module takes plotly's "Share chart" button, which uploads the chart's
data to its maker, out of every renderer.
"""

import html
import textwrap
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

from dlqanalysis import patterns
from dlqanalysis.errors import SchemaError
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


def timeline(
    failures: pd.DataFrame, every: str = "1h", by: str | None = "failure_class"
) -> go.Figure:
    """Failures per interval, stacked by class (or another column, or by=None)."""
    if by == "failure_class" and by not in failures.columns:
        by = None
    line = patterns.timeline(failures, every, by)
    total = line.groupby("at")["count"].sum()
    if not len(total):
        return _nothing("no failure has a time")
    figure = go.Figure()
    series = [("failures", line)] if by is None else list(line.groupby(by, observed=True))
    for place, (name, rows) in enumerate(series):
        figure.add_bar(
            x=rows["at"].dt.tz_localize(None),
            y=rows["count"],
            name=label(name, 28),
            marker=_look(str(name), place),
            hovertemplate="%{x|%a %d %b %H:%M} UTC<br>%{y:,} "
            + label(name, 28)
            + "<extra></extra>",
        )
    peak, usual = total.idxmax(), total.median()
    said = f"{int(total.max()):,} of {int(total.sum()):,} failures fell in {_when(peak, every)}"
    if len(total) > 3:
        said += f"; the median is {usual:,.0f} per {_length(every)}"
    figure.update_layout(barmode="stack", bargap=0.05 if len(total) < 80 else 0)
    figure.update_xaxes(
        title_text=f"failed at (UTC), a bar is {_a(every)}", hoverformat="%d %b %H:%M"
    )
    figure.update_yaxes(title_text="failures", rangemode="tozero")
    undated = line.attrs["undated"]
    note = f" {undated:,} failures have no time and are not shown." if undated else ""
    return _dressed(figure, said, f"Bar chart over time. {said}.{note}", 380, legend=by is not None)


def by(failures: pd.DataFrame, column: str = "task_name", n: int = 12) -> go.Figure:
    """Failures per value of a column, the most frequent on top, stacked by class where there is one."""
    table = patterns.counts(failures, column)
    if not len(table):
        return _nothing("there are no failures")
    top, rest = table.head(n), table.iloc[n:]
    names = [*top[column], *([f"{_others(len(rest))}"] if len(rest) else [])]
    figure = go.Figure()
    for place, (name, sizes) in enumerate(_by_class(failures, column, top[column], len(rest) > 0)):
        _bars(figure, names, sizes, name, _look(name, place))
    totals = [*top["count"], *([rest["count"].sum()] if len(rest) else [])]
    _totals(figure, totals, [f"{size:,} ({size / len(failures):.0%})" for size in totals])
    said = f"{label(names[0])} has {totals[0] / len(failures):.0%} of {len(failures):,} failures"
    said += f" ({len(table):,} {_PLURALS.get(column, 'values')} in all)" if len(table) > 1 else ""
    _rows(figure, names)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="failures")
    height = 130 + 30 * len(names)
    return _dressed(figure, said, f"Bar chart. {said}.", height, "failure_class" in failures)


def matrix(
    failures: pd.DataFrame,
    rows: str = "task_name",
    columns: str = "exception_type",
    most: tuple[int, int] = (14, 10),
) -> go.Figure:
    """How often each value of one column comes with each of another; the number stands in its cell."""
    table = patterns.counts(failures, [rows, columns])
    if not len(table):
        return _nothing("there are no failures")
    worst = table.iloc[0]
    cross = _crossed(table, rows, columns, most)
    said = (
        f"{label(worst[rows])} with {label(worst[columns])} is the largest pair:"
        f" {worst['count']:,} of {len(failures):,} failures"
    )
    return _cells(cross, said, f"{_WORDS.get(rows, rows)} by {_WORDS.get(columns, columns)}")


def heatmap(failures: pd.DataFrame, rows: str = "queue") -> go.Figure:
    """Failures per queue (or another column) and hour of the day, UTC."""
    dated = failures[failures["failed_at"].notna()]
    if not len(dated):
        return _nothing("no failure has a time")
    table = patterns.counts(dated.assign(hour=dated["failed_at"].dt.hour), [rows, "hour"])
    cross = _crossed(table, rows, "hour", (14, 24)).reindex(columns=range(24), fill_value=0)
    worst = table.iloc[0]
    said = (
        f"{label(worst[rows])} fails most between {worst['hour']:02d}:00 and"
        f" {(worst['hour'] + 1) % 24:02d}:00 UTC: {worst['count']:,} of {len(dated):,} failures"
    )
    cross.columns = [f"{hour:02d}" for hour in cross.columns]
    return _cells(cross, said, f"{_WORDS.get(rows, rows)} by hour of the day (UTC)")


def pareto(groups: pd.DataFrame, n: int = 12) -> go.Figure:
    """The largest groups of `dlq.groups`, and what share they make together."""
    if "template" not in groups.columns or "count" not in groups.columns:
        raise SchemaError("pareto draws groups. Write charts.pareto(dlq.groups(failures)).")
    if not len(groups):
        return _nothing("there are no groups")
    together = groups["share"].cumsum()
    vital = int((together < 0.8 - 1e-9).sum()) + 1
    top = groups.head(n)
    names = [
        f"{kind if kind == kind else '?'}: {text if text == text else ''}"
        for kind, text in zip(top["exception_type"], top["template"], strict=True)
    ]
    figure = go.Figure()
    classes = top["failure_class"].fillna("failures")
    series = [name for name in dict.fromkeys([*COLOURS, *classes]) if (classes == name).any()]
    for place, name in enumerate(series):
        sizes = top["count"].where(classes == name, 0)
        _bars(figure, names, list(sizes), str(name), _look(str(name), place))
    texts = [
        f"{size:,} · together {share:.0%}"
        for size, share in zip(top["count"], together, strict=False)
    ]
    _totals(figure, list(top["count"]), texts)
    said = (
        f"{vital:,} of {len(groups):,} groups make {together.iloc[vital - 1]:.0%} of"
        f" {groups['count'].sum():,} failures"
    )
    _rows(figure, names, 64)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="failures")
    alt = f"Bar chart of the largest groups. {said}. The largest: {label(names[0], 80)}."
    return _dressed(figure, said, alt, 130 + 30 * len(names), legend=True)


def funnel(run: Any) -> go.Figure:
    """What became of a run: planned, sent, succeeded. Or of a plan: what goes, and why the rest stays.

    Takes a run, a plan, or the summary of either.
    """
    table = run if isinstance(run, pd.DataFrame) else run.summary
    if "because" in table.columns:
        goes = table["decision"] == "goes"
        names = [
            "goes" if go else f"stays: {why}"
            for go, why in zip(goes, table["because"], strict=True)
        ]
        sizes = [int(size) for size in table["failures"]]
        chosen = int(table.loc[goes, "failures"].sum())
        said = f"{chosen:,} of {sum(sizes):,} failures go, {sum(sizes) - chosen:,} stay"
        looks = ["goes" if go else "stays" for go in goes]
    else:
        row = {name: int(value) for name, value in table.iloc[0].items()}
        names = [name for name in row if row[name] or name in ("planned", "sent", "succeeded")]
        sizes = [row[name] for name in names]
        said = f"{row['sent']:,} of {row['planned']:,} planned were sent, {row['succeeded']:,} succeeded"
        bad = {name: row.get(name, 0) for name in ("failed_again", "uncertain", "refused")}
        said += "".join(
            f", {size:,} {name.replace('_', ' ')}" for name, size in bad.items() if size
        )
        looks = ["goes" if name in ("planned", "sent", "succeeded") else "stays" for name in names]
        names = [name.replace("_", " ") for name in names]
    if not names:
        return _nothing("there is nothing in it")
    figure = go.Figure()
    for place, look in enumerate(dict.fromkeys(looks)):
        part = [size if mine == look else 0 for size, mine in zip(sizes, looks, strict=True)]
        _bars(figure, names, part, look, _look(look, 0 if look == "goes" else place + 6))
    _totals(figure, sizes, [f"{size:,}" for size in sizes])
    _rows(figure, names)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="failures")
    return _dressed(figure, said, f"Bar chart. {said}.", 130 + 30 * len(names), legend=False)


# -- pieces -------------------------------------------------------------------------------------------

_WORDS = {"task_name": "task", "exception_type": "exception", "failure_class": "class"}
_PLURALS = {
    "task_name": "tasks",
    "exception_type": "exceptions",
    "failure_class": "classes",
    "queue": "queues",
    "worker": "workers",
    "source": "sources",
}


def _look(name: str, place: int) -> dict[str, Any]:
    """Colour and pattern of a series: a class always has its own."""
    colour = COLOURS.get(name, PALETTE[place % len(PALETTE)])
    shape = SHAPES.get(name, PATTERNS[place % len(PATTERNS)])
    pattern = {"shape": shape, "size": 6, "solidity": 0.25, "fgcolor": INK, "fillmode": "overlay"}
    return {"color": colour, "pattern": pattern, "line": {"color": INK, "width": 0.4}}


def _by_class(failures, column, values, others):  # type: ignore[no-untyped-def]
    """For each class its count for every value shown, and for the others together."""
    if "failure_class" not in failures.columns:
        counts = patterns.counts(failures, column)["count"]
        return [
            (
                "failures",
                [*counts.head(len(values)), *([counts.iloc[len(values) :].sum()] * others)],
            )
        ]
    table = patterns.counts(failures, ["failure_class", column])
    found = []
    for name in dict.fromkeys([*COLOURS, *table["failure_class"].dropna()]):
        rows = table[table["failure_class"] == name]
        if len(rows):
            sizes = rows.set_index(column)["count"]
            shown = sizes.reindex(values, fill_value=0)
            found.append((name, [*shown, *([sizes.sum() - shown.sum()] * others)]))
    return found


def _bars(figure, names, sizes, name, marker):  # type: ignore[no-untyped-def]
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


def _totals(figure, sizes, texts):  # type: ignore[no-untyped-def]
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


def _rows(figure, names, longest=_LONGEST):  # type: ignore[no-untyped-def]
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[f"{label(name, longest)} " for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )


def _crossed(table, rows, columns, most):  # type: ignore[no-untyped-def]
    """Counts as a square of the most frequent rows and columns; the rest is put together."""
    cross = table.assign(
        **{
            name: table[name].astype("object").where(table[name].notna(), "(none)")
            for name in (rows, columns)
        }
    ).pivot_table(index=rows, columns=columns, values="count", aggfunc="sum", fill_value=0)
    cross = cross.loc[
        cross.sum(axis=1).sort_values(ascending=False, kind="stable").index,
        cross.sum(axis=0).sort_values(ascending=False, kind="stable").index,
    ]
    if len(cross) > most[0]:
        others = cross.iloc[most[0] - 1 :]
        cross = pd.concat(
            [cross.iloc[: most[0] - 1], others.sum().to_frame(f"{_others(len(others))}").T]
        )
    if cross.shape[1] > most[1]:
        others = cross.iloc[:, most[1] - 1 :]
        cross = cross.iloc[:, : most[1] - 1].assign(
            **{f"{_others(others.shape[1])}": others.sum(axis=1)}
        )
    return cross


def _others(count: int) -> str:
    return "1 other" if count == 1 else f"{count:,} others"


def _cells(cross, said, what):  # type: ignore[no-untyped-def]
    """A table of numbers, the darker the more (by square root, so that small ones are seen beside large)."""
    sizes = cross.to_numpy(dtype="int64")
    ys, xs = ([label(name, 34) for name in names] for names in (cross.index, cross.columns))
    figure = go.Figure(
        go.Heatmap(
            z=sizes**0.5,
            text=[[f"{size:,}" if size else "" for size in line] for line in sizes],
            texttemplate="%{text}",
            customdata=[
                [f"{y} · {x}<br>{size:,} failures" for x, size in zip(xs, line, strict=True)]
                for y, line in zip(ys, sizes, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            colorscale=[[0, "#ffffff"], [0.001, "#eaf3fa"], [1, "#08306b"]],
            showscale=False,
            zmin=0,
            zmax=max(1, sizes.max()) ** 0.5,
            xgap=1,
            ygap=1,
        )
    )
    figure.update_xaxes(
        tickvals=list(range(len(xs))), ticktext=xs, side="bottom", showgrid=False,
        tickangle=0 if max(map(len, xs)) <= 5 else -30,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(ys))),
        ticktext=[f"{y} " for y in ys],
        range=[len(ys) - 0.5, -0.5],
        showgrid=False,
    )
    low = 110 if max(map(len, xs)) <= 5 else 190
    alt = f"Table of counts, {what}. {said}."
    return _dressed(figure, said, alt, min(low + 30 * len(ys) + 40, 700), legend=False)


def _dressed(figure: go.Figure, said: str, alt: str, height: int, legend: bool) -> go.Figure:
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


def _nothing(why: str) -> go.Figure:
    """A card that says that there is nothing to draw."""
    figure = go.Figure()
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    said = f"Nothing to draw: {why}"
    return _dressed(figure, said, f"{said}.", 120, legend=False)


def _when(at: pd.Timestamp, every: str) -> str:
    length = _length(every)
    if length in ("day", "week") or length.endswith(("d", "w")):
        return f"the {length} of {at:%a %d %b %Y}"
    return f"the {length} from {at:%a %d %b, %H:%M} UTC"


def _a(every: str) -> str:
    """An interval with its article: an hour, a day, 6h."""
    length = _length(every)
    return length if length[0].isdigit() else f"{'an' if length == 'hour' else 'a'} {length}"


def _length(every: str) -> str:
    """An interval in words, where it has one: 1h is an hour."""
    words = {"1m": "minute", "1h": "hour", "1d": "day", "1w": "week"}
    return words.get(every.replace(" ", ""), every)
