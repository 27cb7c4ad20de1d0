"""Frames -> plotly figures. Each title says the finding, and `layout.meta.alt` says it to a screen reader.

Dead letters are hostile: every label is escaped and shortened, because plotly reads <b>, <a href> and
$tex$ in any text. Importing this module takes plotly's "Share chart" button, which uploads the chart's
data to its maker, out of every renderer.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dlqanalysis import patterns
from dlqanalysis.charts.intervals import an, edge_labels, length_of, when
from dlqanalysis.charts.parts import (
    COLOURS,
    INK,
    SHAPES,
    bars,
    counted,
    dressed,
    label,
    look,
    named,
    nothing,
    rows_named,
    totals,
)
from dlqanalysis.charts.standing import depths, expiry
from dlqanalysis.charts.stories import episodes, marked, recovery, severities, sparklines
from dlqanalysis.display.harmless import harmless as made_harmless
from dlqanalysis.display.unshared import CONFIG, no_share_button
from dlqanalysis.errors import SchemaError
from dlqanalysis.model import duration
from dlqanalysis.text import many

__all__ = [
    "COLOURS",
    "CONFIG",
    "SHAPES",
    "by",
    "depths",
    "episodes",
    "expiry",
    "funnel",
    "harmless",
    "heatmap",
    "label",
    "marked",
    "matrix",
    "no_share_button",
    "pareto",
    "recovery",
    "severities",
    "sparklines",
    "timeline",
]


def timeline(
    failures: pd.DataFrame, every: str = "1h", by: str | None = "failure_class"
) -> go.Figure:
    """Failures per interval, stacked by class (or another column, or by=None). Where `every` is empty, the interval is
    one that fits their time."""
    if by == "failure_class" and by not in failures.columns:
        by = None
    if not len(failures):
        return nothing("there are no failures")
    line = patterns.timeline(failures, every, by)
    every = line.attrs["every"]
    total = line.groupby("at")["count"].sum()
    if not len(total):
        return nothing("no failure has a time")
    figure = go.Figure()
    # a bar stands around its x: at the middle of its interval it begins and ends with it
    half = pd.Timedelta(duration(every)) / 2
    series = [("failures", line)] if by is None else list(line.groupby(by, observed=True))
    for place, (name, rows) in enumerate(series):
        figure.add_bar(
            x=rows["at"].dt.tz_localize(None) + half,
            y=rows["count"],
            width=[2 * half / pd.Timedelta("1ms")] * len(rows),
            customdata=rows["at"].dt.strftime("%a %d %b %H:%M"),
            name=label(name, 28),
            marker=look(str(name), place),
            hovertemplate="from %{customdata} UTC<br>%{y:,} " + label(name, 28) + "<extra></extra>",
        )
    peak, usual = total.idxmax(), total.median()
    said = f"{int(total.max()):,} of {int(total.sum()):,} failures fell in {when(peak, every)}"
    if len(total) > 3:
        said += f"; the median is {usual:,.0f} per {length_of(every)}"
    if len(total) > 3 and total.min() == total.max():  # no bar is the highest
        said = f"{int(total.sum()):,} failures, {usual:,.0f} in every {length_of(every)}"
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text=f"failed at (UTC), a bar is {an(every)}")
    if (
        len(total) <= _FEW_BARS
    ):  # plotly would name the middle of each: 00:30 for the hour from 00:00
        edges = [at.tz_localize(None) for at in [*total.index, total.index[-1] + 2 * half]]
        figure.update_xaxes(tickvals=edges, ticktext=edge_labels(edges))
        # a bar that is alone would fill the plot, and read as a level that was kept
        beside = half * max(0, _FEW_BARS - len(total))
        figure.update_xaxes(range=[edges[0] - beside, edges[-1] + beside])
    figure.update_yaxes(title_text="failures", rangemode="tozero", dtick=counted(total.max()))
    undated = line.attrs["undated"]
    note = f" Not shown: {many(undated, 'failures')} without a time." if undated else ""
    return dressed(figure, said, f"Bar chart over time. {said}.{note}", 380, legend=by is not None)


def by(failures: pd.DataFrame, column: str = "task_name", n: int = 12, says: str = "") -> go.Figure:
    """Failures per value of a column, the most frequent on top, stacked by class where there is one; `says` is its
    title, where something else than the largest bar is to be said."""
    table = patterns.counts(failures, column)
    if not len(table):
        return nothing("there are no such failures")
    top, rest = table.head(n), table.iloc[n:]
    names = [*top[column], *([f"{_others(len(rest))}"] if len(rest) else [])]
    figure = go.Figure()
    for place, (name, counts) in enumerate(_by_class(failures, column, top[column], len(rest) > 0)):
        bars(figure, names, counts, name, look(name, place))
    sizes = [*top["count"], *([rest["count"].sum()] if len(rest) else [])]
    totals(figure, sizes, [f"{size:,} ({size / len(failures):.0%})" for size in sizes])
    said = f"{label(names[0])} has {sizes[0] / len(failures):.0%} of {len(failures):,} failures"
    said += f" ({len(table):,} {_PLURALS.get(column, 'values')} in all)" if len(table) > 1 else ""
    said = label(says, 200) if says else said
    rows_named(figure, names)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="failures")
    height = 130 + 30 * len(names)
    return dressed(figure, said, f"Bar chart. {said}.", height, "failure_class" in failures)


def matrix(
    failures: pd.DataFrame,
    rows: str = "task_name",
    columns: str = "exception_type",
    most: tuple[int, int] = (14, 10),
) -> go.Figure:
    """How often each value of one column comes with each of another; the number stands in its cell."""
    table = patterns.counts(failures, [rows, columns])
    if not len(table):
        return nothing("there are no such failures")
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
        return nothing("no failure has a time")
    table = patterns.counts(dated.assign(hour=dated["failed_at"].dt.hour), [rows, "hour"])
    cross = _crossed(table, rows, "hour", (14, 24)).reindex(columns=range(24), fill_value=0)
    worst = table.iloc[0]
    said = (
        f"{label(worst[rows])} fails most between {worst['hour']:02d}:00 and"
        f" {(worst['hour'] + 1) % 24:02d}:00 UTC: {worst['count']:,} of {len(dated):,} failures"
    )
    nameless = worst[rows] is None or worst[rows] != worst[rows]
    same = dated[rows].isna() if nameless else dated[rows] == worst[rows]
    days = dated.loc[same & (dated["failed_at"].dt.hour == worst["hour"]), "failed_at"]
    days = days.dt.floor("1D").value_counts()
    if days.iloc[0] * 2 > worst["count"]:  # an outage of one day is no habit of the hour
        said += f", {days.iloc[0]:,} of them on {days.index[0]:%a %d %b}"
    else:
        said += f", on {len(days):,} days"
    cross.columns = [f"{hour:02d}" for hour in cross.columns]
    figure = _cells(cross, said, f"{_WORDS.get(rows, rows)} by hour of the day (UTC)")
    return figure.update_xaxes(title_text="hour of the day (UTC)")


def pareto(groups: pd.DataFrame, n: int = 12) -> go.Figure:
    """The largest groups of `dlq.groups`, and what share they make together."""
    if "template" not in groups.columns or "count" not in groups.columns:
        raise SchemaError("pareto draws groups. Write charts.pareto(dlq.groups(failures)).")
    if not len(groups):
        return nothing("there are no groups")
    together = groups["share"].cumsum()
    vital = int((together < 0.8 - 1e-9).sum()) + 1
    top = groups.head(
        vital if n < vital <= n + 4 else n
    )  # a few more bars, and the title can be seen
    names = [named(row) for row in top.to_dict("records")]
    figure = go.Figure()
    classes = top["failure_class"].fillna("failures")
    series = [name for name in dict.fromkeys([*COLOURS, *classes]) if (classes == name).any()]
    for place, name in enumerate(series):
        sizes = top["count"].where(classes == name, 0)
        bars(figure, names, list(sizes), str(name), look(str(name), place))
    texts = [
        f"{size:,} · together {share:.0%}"
        for size, share in zip(top["count"], together, strict=False)
    ]
    totals(figure, list(top["count"]), texts)
    said = (
        f"{vital:,} of {len(groups):,} groups {'makes' if vital == 1 else 'make'} {together.iloc[vital - 1]:.0%} of"
        f" {groups['count'].sum():,} failures"
    )
    rows_named(figure, names, 48)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="failures")
    alt = f"Bar chart of the largest groups. {said}. The largest: {label(names[0], 80)}."
    return dressed(figure, said, alt, 130 + 30 * len(names), legend=True)


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
        left = sum(sizes) - chosen
        said = f"{chosen:,} of {sum(sizes):,} failures {'goes' if chosen == 1 else 'go'},"
        said += f" {many(left, 'stay')}"
        held = table[~goes].sort_values("failures", ascending=False, kind="stable")
        if len(held) > 1:
            first = held.iloc[0]
            said += f", {int(first['failures']):,} of them because: {label(first['because'], 70)}"
        looks = ["goes" if go else "stays" for go in goes]
    else:
        row = {name: int(value) for name, value in table.iloc[0].items()}
        came = any(row[name] for name in ("succeeded", "failed_again", "pending", "unknown"))
        always = ("planned", "sent", "succeeded") if came else ("planned", "sent")
        names = [name for name in row if row[name] or name in always]
        sizes = [row[name] for name in names]
        said = f"{row['sent']:,} of {row['planned']:,} planned were sent"
        said += f", {row['succeeded']:,} succeeded" if came else ""  # an archive has no outcome
        bad = {name: row.get(name, 0) for name in ("failed_again", "uncertain", "refused")}
        said += "".join(
            f", {size:,} {name.replace('_', ' ')}" for name, size in bad.items() if size
        )
        looks = ["goes" if name in ("planned", "sent", "succeeded") else "stays" for name in names]
        names = [name.replace("_", " ") for name in names]
    if not names:
        return nothing("there is nothing in it")
    figure = go.Figure()
    for place, kind in enumerate(dict.fromkeys(looks)):
        part = [size if mine == kind else 0 for size, mine in zip(sizes, looks, strict=True)]
        bars(figure, names, part, kind, look(kind, 0 if kind == "goes" else place + 6))
    totals(figure, sizes, [f"{size:,}" for size in sizes])
    rows_named(figure, names)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="failures")
    return dressed(figure, said, f"Bar chart. {said}.", 130 + 30 * len(names), legend=False)


def harmless(figure: go.Figure) -> go.Figure:
    """A copy of a chart of your own whose texts are redacted, cut, and neither links nor elements, as notebooks and
    reports show it: `charts.harmless(figure).write_html("a.html", config=charts.CONFIG)`, `go.FigureWidget(charts.harmless(figure))`.
    """
    return go.Figure(made_harmless(figure.to_dict()))


# -- pieces -------------------------------------------------------------------------------------------

_FEW_BARS = 8
_WORDS = {"task_name": "task", "exception_type": "exception", "failure_class": "class"}
_PLURALS = {
    "task_name": "tasks",
    "exception_type": "exceptions",
    "failure_class": "classes",
    "queue": "queues",
    "worker": "workers",
    "source": "sources",
}


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
            colorscale=[[0, "#ffffff"], [0.001, "#eaf3fa"], [1, "#5aa3d3"]],
            textfont={"color": INK},  # black is read on the darkest of these, and in grey
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
    return dressed(figure, said, alt, min(low + 30 * len(ys) + 40, 700), legend=False)
