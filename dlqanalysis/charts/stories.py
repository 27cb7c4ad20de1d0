"""What happened when: episodes with their changes, groups over time, and how a run went."""

import html
import textwrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dlqanalysis.charts.parts import (
    GRID,
    INK,
    bars,
    dressed,
    label,
    look,
    nothing,
    rows_named,
    totals,
)
from dlqanalysis.errors import SchemaError
from dlqanalysis.model import Outcome, State


def marked(
    figure: go.Figure, changes: pd.DataFrame | None = None, onsets: pd.DataFrame | None = None
) -> go.Figure:
    """A timeline with a dashed line at each change and a triangle at each onset, numbered and named below it.

    Takes a figure of `charts.timeline`, `dlq.changes(...)` and `dlq.onsets(...)`.
    """
    if not figure.data:
        return figure
    said = []
    for number, row in enumerate(_rows(changes), 1):
        figure.add_vline(x=_naive(row["at"]), line={"color": INK, "width": 1, "dash": "dash"})
        _note(figure, row["at"], f" D{number}", "top")
        name = f"{row['service']} {row['version']}".strip() or row["kind"]
        said.append(f"D{number} {label(name, 30)} {row['at']:%d %b %H:%M}")
    for first, last, at in _clusters(onsets, figure):
        _note(figure, at, f"▲{first}" if first == last else f"▲{first}-{last}", "below")
    if not said:
        return figure
    shown = said[:12] + ([f"and {len(said) - 12} more"] if len(said) > 12 else [])
    lines = textwrap.wrap("changes: " + " · ".join(shown), 120)
    figure.add_annotation(
        text="<br>".join(lines), xref="paper", yref="paper", x=0, y=0, yshift=-62, yanchor="top",
        xanchor="left", showarrow=False, font={"size": 11, "color": INK}, align="left",
    )  # fmt: skip
    more = 24 + 16 * len(lines)
    figure.update_layout(height=(figure.layout.height or 380) + more, margin={"b": 50 + more})
    alt = f"{figure.layout.meta['alt']} Changes: {'; '.join(shown)}."
    figure.update_layout(meta={**figure.layout.meta, "alt": html.unescape(alt)})
    return figure


def episodes(found: pd.DataFrame, failures: pd.DataFrame | None = None, n: int = 20) -> go.Figure:
    """The episodes of `dlq.onsets` from their onset to their end, the earliest on top; with `failures` their
    groups are named by exception and message."""
    if "onset" not in found.columns or "until" not in found.columns:
        raise SchemaError("episodes draws onsets. Write charts.episodes(dlq.onsets(failures)).")
    if not len(found):
        return nothing("nothing began in this time")
    top = found.head(n)
    by = found.columns[0]
    names = [str(value) for value in top[by]]
    if failures is not None and by == "fingerprint" and "template" in failures.columns:
        first = failures.drop_duplicates("fingerprint").set_index("fingerprint")
        names = [
            f"{first['exception_type'].get(one)}: {first['template'].get(one)}" if one in first.index
            else one for one in names
        ]  # fmt: skip
    last = found["until"].max()
    if failures is not None and len(failures):
        last = failures["failed_at"].max()
    last = last if last == last else found["onset"].max() + pd.Timedelta("1h")
    figure = go.Figure()
    ends = [last if pd.isna(end) else end for end in top["until"]]
    span = max((last - found["onset"].min()).total_seconds(), 1.0)
    for place, (row, end) in enumerate(zip(top.to_dict("records"), ends, strict=True)):
        goes_on = pd.isna(row["until"])
        figure.add_scatter(
            x=[_naive(row["onset"]), _naive(end)],
            y=[place, place],
            mode="lines+markers",
            line={"color": INK, "width": 6},
            marker={"size": [10, 12 if goes_on else 9], "symbol": ["circle", "triangle-right" if goes_on else "line-ns"],
                    "color": INK, "line": {"width": 2, "color": INK}},
            hovertemplate=f"{label(names[place], 90)}<br>%{{x|%d %b %H:%M:%S}} UTC<br>{row['count']:,} failures<extra></extra>",
            showlegend=False,
        )  # fmt: skip
        if (end - row["onset"]).total_seconds() / span < 0.8:
            figure.add_annotation(
                x=_naive(end), y=place, text=f" {row['count']:,}{' and going on' if goes_on else ''}",
                xanchor="left", xshift=8, showarrow=False, font={"size": 11, "color": INK},
            )  # fmt: skip
    rows_named(figure, names, 54)
    going = int(found["until"].isna().sum())
    first_ = top.iloc[0]
    said = (
        f"{len(found):,} episode{'' if len(found) == 1 else 's'}, the first from {first_['onset']:%a %d %b %H:%M} UTC"
        + (f"; {going:,} still going on" if going else "; all over")
    )
    figure.update_xaxes(
        title_text="UTC; a triangle to the right means that it goes on", type="date"
    )
    return dressed(figure, said, f"Bars over time. {said}.", 130 + 30 * len(names), legend=False)


def sparklines(failures: pd.DataFrame, groups: pd.DataFrame, n: int = 8) -> go.Figure:
    """The n largest groups of `dlq.groups` over time, each on a line and a scale of its own."""
    if "fingerprint" not in failures.columns or "template" not in groups.columns:
        raise SchemaError(
            "sparklines draws groups: charts.sparklines(failures, dlq.groups(failures))."
        )
    dated = failures[failures["failed_at"].notna()]
    if not len(dated) or not len(groups):
        return nothing("no failure has a time")
    top = groups.head(n)
    start, end = dated["failed_at"].min(), dated["failed_at"].max()
    step = max((end - start) / 120, pd.Timedelta("1s"))
    edges = start + step * np.arange(121)
    figure = go.Figure()
    peaks = []
    for place, one in enumerate(top["fingerprint"]):
        mine = dated.loc[dated["fingerprint"] == one, "failed_at"]
        bins = ((mine - start) / step).astype("int64").clip(upper=119)
        counts = np.bincount(bins, minlength=120)
        peaks.append(edges[int(counts.argmax())])
        figure.add_scatter(
            x=[_naive(at) for at in edges[:-1]],
            y=place + 0.35 - 0.75 * counts / max(counts.max(), 1),
            mode="lines",
            line={"color": INK, "width": 1.4, "shape": "hv"},
            customdata=counts,
            hovertemplate="%{x|%d %b %H:%M} UTC<br>%{customdata:,} failures<extra></extra>",
            showlegend=False,
        )
        figure.add_hline(y=place + 0.35, line={"color": GRID, "width": 1})
    names = [
        f"{count:,} {kind}: {text}"
        for count, kind, text in zip(
            top["count"], top["exception_type"], top["template"], strict=True
        )
    ]
    rows_named(figure, names, 54)
    figure.update_xaxes(title_text="failed at (UTC); each line has a scale of its own", type="date")
    said = f"The largest group, {label(names[0], 50)}, peaked at {peaks[0]:%a %d %b %H:%M} UTC"
    return dressed(
        figure, said, f"Small lines over time. {said}.", 120 + 36 * len(names), legend=False
    )


def recovery(run: Any) -> go.Figure:
    """How a run went: what was sent, what succeeded and what failed again, added up over time."""
    items = run.items
    sent = items[items["state"] == State.SENT]
    if not len(sent):
        return nothing("nothing was sent")
    figure = go.Figure()
    series = {
        "sent": sent["at"],
        "succeeded": sent.loc[sent["outcome"] == Outcome.SUCCEEDED, "outcome_at"],
        "failed again": sent.loc[sent["outcome"] == Outcome.FAILED_AGAIN, "outcome_at"],
    }
    dashes = {"sent": "dot", "succeeded": "solid", "failed again": "dash"}
    for place, (name, times) in enumerate(series.items()):
        when = times.dropna().sort_values()
        if not len(when):
            continue
        figure.add_scatter(
            x=[_naive(at) for at in when],
            y=np.arange(1, len(when) + 1),
            mode="lines",
            name=name,
            line={
                "color": look(name, place)["color"],
                "width": 2.5,
                "dash": dashes[name],
                "shape": "hv",
            },
            hovertemplate=f"%{{x|%H:%M:%S}} UTC<br>%{{y:,}} {name}<extra></extra>",
        )
    good, bad = (int(series[name].notna().sum()) for name in ("succeeded", "failed again"))
    said = f"Of {len(sent):,} sent, {good:,} succeeded and {bad:,} failed again"
    pending = len(sent) - good - bad
    said += f"; {pending:,} without an outcome" if pending else ""
    figure.update_xaxes(title_text="UTC", type="date")
    figure.update_yaxes(title_text="tasks, added up", rangemode="tozero")
    return dressed(figure, said, f"Lines over time. {said}.", 340, legend=True)


def severities(findings: pd.DataFrame) -> go.Figure:
    """How many findings of each severity; takes `health.table(...)`."""
    counts = findings["severity"].value_counts()
    names = [name for name in ("critical", "warning", "ok") if counts.get(name, 0)]
    if not names:
        return nothing("nothing was checked")
    figure = go.Figure()
    sizes = [int(counts[name]) for name in names]
    bars(figure, names, sizes, "findings", look("findings", 0))
    totals(figure, sizes, [f"{size:,}" for size in sizes])
    rows_named(figure, names)
    said = ", ".join(f"{size:,} {name}" for name, size in zip(names, sizes, strict=True))
    figure.update_xaxes(title_text="findings")
    return dressed(figure, said, f"Bar chart. {said}.", 120 + 30 * len(names), legend=False)


def _rows(frame: pd.DataFrame | None) -> list[dict[Any, Any]]:
    return [] if frame is None else frame.to_dict("records")


def _naive(at: Any) -> Any:
    """A time as plotly takes it: UTC, without saying so."""
    return pd.Timestamp(at).tz_convert("UTC").tz_localize(None)


def _note(figure: go.Figure, at: Any, text: str, edge: str) -> None:
    """A short mark at the upper edge of the plot, or a line below it."""
    top = edge == "top"
    figure.add_annotation(
        x=_naive(at), y=1 if top else 0.92, yref="paper", text=text, showarrow=False, yanchor="top",
        xanchor="left", font={"size": 11, "color": INK},
    )  # fmt: skip


def _clusters(onsets: pd.DataFrame | None, figure: go.Figure) -> list[tuple[int, int, Any]]:
    """(first number, last number, time) of onsets that lie too near each other to be marked apart."""
    rows = _rows(onsets)
    if not rows:
        return []
    shown = [at for trace in figure.data for at in (trace.x if trace.x is not None else ())]
    times = (
        pd.to_datetime(pd.Series(shown)) if shown else pd.Series([_naive(r["onset"]) for r in rows])
    )
    near = (times.max() - times.min()) / 40
    found: list[tuple[int, int, Any]] = []
    for number, row in enumerate(rows, 1):
        if found and row["onset"] - found[-1][2] <= near:
            found[-1] = (found[-1][0], number, found[-1][2])
        else:
            found.append((number, number, row["onset"]))
    return found
