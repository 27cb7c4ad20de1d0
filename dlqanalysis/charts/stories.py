"""What happened when: episodes with their changes, groups over time, and how a run went."""

import html
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dlqanalysis.charts.parts import (
    GRID,
    INK,
    PAPER,
    bars,
    dressed,
    label,
    look,
    named,
    nothing,
    rows_named,
    totals,
)
from dlqanalysis.errors import SchemaError
from dlqanalysis.model import Outcome, State


def marked(
    figure: go.Figure, changes: pd.DataFrame | None = None, onsets: pd.DataFrame | None = None
) -> go.Figure:
    """A timeline with a dashed line at each change (D1) and a triangle at each onset (▲1), numbered and named below it.

    Takes a figure of `charts.timeline`, `dlq.changes(...)` and `dlq.onsets(...)`; `charts.episodes` has the same numbers.
    A change outside of the time that the bars show is named, not drawn: the empty time up to it would read as quiet.
    """
    if not figure.data:
        return figure
    deploys, began, starts = [], [], _rows(onsets)
    (begin, end), known = _shown(figure), _rows(changes)
    for number, row in enumerate((one for one in known if begin <= _naive(one["at"]) <= end), 1):
        figure.add_vline(x=_naive(row["at"]), line={"color": INK, "width": 1, "dash": "dash"})
        _note(figure, row["at"], f"D{number}", _UPPER)
        deploys.append(f"D{number} {_changed(row)}")
    for first, last, at in _clusters(onsets, figure):
        mark = f"▲{first}" if first == last else f"▲{first}-{last}"
        until = _until(at, starts[last - 1]["onset"])
        _note(figure, at, mark, _LOWER, middle=_TRIANGLE / 2)
        size = sum(int(row["count"]) for row in starts[first - 1 : last])
        groups = "" if first == last else f" {last - first + 1} groups,"
        began.append(f"{mark} {at:%d %b %H:%M}{until},{groups} {size:,} failures")
    lists = [_listed("▲ where an error began:", began), _listed("D, dashed: a change:", deploys)]
    lists.append(_outside([one for one in known if _naive(one["at"]) < begin], "before", -1))
    lists.append(_outside([one for one in known if _naive(one["at"]) > end], "after", 0))
    lines = [line for one in lists for line in one]
    if not lines:
        return figure
    _headroom(figure)
    figure.add_annotation(
        text="<br>".join(lines), xref="paper", yref="paper", x=0, y=0, yshift=-62, yanchor="top",
        xanchor="left", showarrow=False, font={"size": 11, "color": INK}, align="left",
    )  # fmt: skip
    more, bottom = 8 + 15 * len(lines), figure.layout.margin.b or 56
    figure.update_layout(height=(figure.layout.height or 380) + more, margin={"b": bottom + more})
    told = " ".join(f"{one[0]} {'; '.join(one[1:])}".strip() + "." for one in lists if one)
    alt = f"{figure.layout.meta['alt']} {told}"
    figure.update_layout(meta={**figure.layout.meta, "alt": html.unescape(alt)})
    return figure


_UPPER, _LOWER = 1.0, 0.92  #: where marks stand, as parts of the plot's height
_TRIANGLE = 11  #: pixels: the triangle itself stands at its time, the numbers beside it
_MOST = 10  #: lines of a list below the plot


def _shown(figure: go.Figure) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The time that the bars show, and a little before it: what came right before the first failure may be why."""
    times = _times(figure)
    half = pd.Timedelta(float(figure.data[0].width[0]) / 2, unit="ms")
    first, last = times.min() - half, times.max() + half
    return first - (last - first) / 20, last


def _until(first: pd.Timestamp, last: pd.Timestamp) -> str:
    """The last beginning under one mark, where it is hours later: a mark of a long time stands for a day."""
    return f" to {last:%d %b %H:%M}" if last - first >= pd.Timedelta("1h") else ""


def _changed(row: dict[Any, Any]) -> str:
    """A change in a line: what, and when."""
    name = f"{row['service']} {row['version']}".strip() or row["kind"]
    return f"{label(name, 30)} {row['at']:%d %b %H:%M}"


def _outside(rows: list[dict[Any, Any]], where: str, nearest: int) -> list[str]:
    """A line on the changes that lie before or after what is shown, with the nearest of them."""
    if not rows:
        return []
    near = _changed(sorted(rows, key=lambda one: one["at"])[nearest])
    if len(rows) == 1:
        return [f"1 change {where} this time: {near}"]
    return [
        f"{len(rows):,} changes {where} this time, the {'last' if nearest else 'first'}: {near}"
    ]


def _headroom(figure: go.Figure) -> None:
    """Room above the bars for the marks, so that none hides the top of a bar."""
    heights = pd.concat([pd.Series(trace.y, index=pd.Index(trace.x)) for trace in figure.data])
    figure.update_yaxes(range=[0, float(heights.groupby(level=0).sum().max()) / 0.84])


def _listed(head: str, lines: list[str]) -> list[str]:
    shown = lines[:_MOST] + ([f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else [])
    return [head, *shown] if lines else []


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
        names = [named(first.loc[one]) if one in first.index else one for one in names]
    names = [f"▲{number} {name}" for number, name in enumerate(names, 1)]
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
    rows_named(figure, names, 48)
    going = int(found["until"].isna().sum())
    first_ = top.iloc[0]
    said = (
        f"{len(found):,} episode{'' if len(found) == 1 else 's'}, the first from {first_['onset']:%a %d %b %H:%M} UTC"
        + (f"; {going:,} still going on" if going else "; all over")
    )
    figure.update_xaxes(title_text="UTC; a triangle: it goes on" if going else "UTC", type="date")
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
    slot = ((dated["failed_at"] - start) / step).astype("int64").clip(upper=119)
    last = int(slot.max())
    late = last - last // 10  # where the last tenth begins
    figure = go.Figure()
    peaks, silent = [], 0
    for place, one in enumerate(top["fingerprint"]):
        counts = np.bincount(slot[dated["fingerprint"] == one], minlength=120)
        peaks.append(int(counts.argmax()))
        silent += not counts[late:].any()
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
        figure.add_annotation(
            x=1, xref="paper", y=place, text=f"peak {counts.max():,}", xanchor="left", xshift=6,
            showarrow=False, font={"size": 11, "color": INK},
        )  # fmt: skip
    whole = [named(row) for row in top.to_dict("records")]
    names = [f"{count:,} {name}" for count, name in zip(top["count"], whole, strict=True)]
    rows_named(figure, names, 48)
    figure.update_xaxes(title_text="failed at (UTC)<br>each line has its own scale", type="date")
    risen = sum(peak >= late for peak in peaks)
    since = f"{edges[late]:%d %b %H:%M} UTC"
    if len(top) == 1:
        said = f"There is one group, {label(whole[0], 40)}"
    elif not risen and not silent:
        said = (
            f"Each of the {len(top):,} largest groups failed after {since}, and none was worst then"
        )
        said += f"; the largest is {label(whole[0], 40)}"
    elif silent == len(top):
        said = f"None of the {len(top):,} largest groups failed after {since}"
    else:
        said = f"{risen:,} of the {len(top):,} largest groups peaked after {since}, {silent:,} did not fail after it"
        said += f"; the largest is {label(whole[0], 40)}"
    said += f", with its peak at {edges[peaks[0]]:%a %d %b %H:%M}"
    dressed(figure, said, f"Small lines over time. {said}.", 130 + 36 * len(names), legend=False)
    return figure.update_layout(margin={"r": 80, "b": 66})


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
    lines = {"sent": ("dot", INK), "succeeded": ("solid", "#0072B2"), "failed again": ("dash", "#D55E00")}  # fmt: skip
    for name, times in series.items():
        when = times.dropna().sort_values()
        if not len(when):
            continue
        figure.add_scatter(
            x=[_naive(at) for at in when],
            y=np.arange(1, len(when) + 1),
            mode="lines",
            name=f"{len(when):,} {name}",
            line={
                "color": lines[name][1],
                "width": 2.5,
                "dash": lines[name][0],
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
    """How many findings of each severity, and which; takes `health.table(...)`."""
    counts = findings["severity"].value_counts()
    words = [word for word in ("critical", "warning", "ok") if counts.get(word, 0)]
    if not words:
        return nothing("nothing was checked")
    figure = go.Figure()
    sizes = [int(counts[word]) for word in words]
    which = {word: list(findings.loc[findings["severity"] == word, "name"]) for word in words}
    bars(figure, words, sizes, "findings", look("findings", 0))
    totals(figure, sizes, [f"{size:,}" for size in sizes])
    rows_named(figure, words)
    every = len(findings)
    verbs = {"critical": ("is critical", "are critical"), "warning": ("is a warning", "are warnings")}  # fmt: skip
    bad = [word for word in words if word in verbs]
    told = [
        f"{len(which[word]):,} {verbs[word][len(which[word]) > 1]} ({_some(which[word])})"
        for word in bad
    ]
    said = f"Of {every:,} checks {' and '.join(told)}" if told else f"All checks are ok: {every:,}"
    figure.update_xaxes(title_text="checks", dtick=max(1, max(sizes) // 5))
    return dressed(figure, said, f"Bar chart. {said}.", 120 + 30 * len(words), legend=False)


def _some(names: list[Any]) -> str:
    """The first names and how many more."""
    shown = [label(name, 30) for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _rows(frame: pd.DataFrame | None) -> list[dict[Any, Any]]:
    return [] if frame is None else frame.to_dict("records")


def _naive(at: Any) -> Any:
    """A time as plotly takes it: UTC, without saying so."""
    return pd.Timestamp(at).tz_convert("UTC").tz_localize(None)


def _note(figure: go.Figure, at: Any, text: str, height: float, middle: float = -2) -> None:
    """A short mark in the plot, at a part of its height; near the right edge what follows its first letter goes before it.
    `middle`: pixels from the mark's beginning to where its time is."""
    times = _times(figure)
    left = _naive(at) < times.min() + (times.max() - times.min()) * 0.9
    text = text if left or middle < 0 else text[1:] + text[0]
    figure.add_annotation(
        x=_naive(at), y=height, yref="paper", text=text, showarrow=False, yanchor="top",
        xanchor="left" if left else "right", xshift=-middle if left else middle, font={"size": 11, "color": INK},
        bgcolor=PAPER,  # no line runs through it
    )  # fmt: skip


def _times(figure: go.Figure) -> pd.Series:
    """All times that a figure's bars stand at."""
    return pd.to_datetime(pd.Series([at for trace in figure.data for at in trace.x]))


def _clusters(onsets: pd.DataFrame | None, figure: go.Figure) -> list[tuple[int, int, Any]]:
    """(first number, last number, time) of onsets that lie too near each other to be marked apart."""
    rows = _rows(onsets)
    if not rows:
        return []
    times = _times(figure)
    near = (times.max() - times.min()) / 14  # on a narrow screen two marks would meet
    found: list[tuple[int, int, Any]] = []
    for number, row in enumerate(rows, 1):
        if found and row["onset"] - found[-1][2] <= near:
            found[-1] = (found[-1][0], number, found[-1][2])
        else:
            found.append((number, number, row["onset"]))
    return found
