"""How things stand now: how deep queues are, and what is forgotten when."""

import textwrap
from datetime import datetime

import pandas as pd
import plotly.graph_objects as go

from dlqanalysis import workload
from dlqanalysis.charts.parts import bars, dressed, label, look, nothing, rows_named, totals
from dlqanalysis.errors import SchemaError

_STATES = ("waiting", "prioritized", "delayed", "paused", "active", "unacked", "failed", "dead_lettered", "completed")  # fmt: skip

_BEHIND = 22  # letters in a line behind a bar, which a narrow screen has room for


def depths(readings: pd.DataFrame, n: int = 14) -> go.Figure:
    """What each queue of `dlq.depths` holds, the fullest on top, stacked by state; the numbers and who takes
    from it stand behind its bar."""
    for name in ("source", "queue", "state", "depth", "consumers"):
        if name not in readings.columns:
            raise SchemaError(
                f"There is no column '{name}'. depths draws readings: charts.depths(dlq.depths(...))."
            )
    if not len(readings):
        return nothing("no system told its queues")
    rows = readings.assign(
        name=_names(readings),
        state=readings["state"].astype("str"),
        known=readings["depth"].fillna(0).astype("int64"),
    )
    cross = rows.pivot_table(
        index="name", columns="state", values="known", aggfunc="sum", sort=False
    )
    cross = cross.fillna(0).astype("int64")
    order = cross.sum(axis=1).sort_values(ascending=False, kind="stable").index
    cross, rest = cross.loc[order[:n]], cross.loc[order[n:]]
    if len(rest):
        cross.loc[f"{len(rest):,} others"] = rest.sum()
    states = [one for one in dict.fromkeys([*_STATES, *cross.columns]) if one in cross.columns]
    figure = go.Figure()
    for place, state in enumerate(states):
        bars(
            figure,
            list(cross.index),
            list(cross[state]),
            state.replace("_", " "),
            look(state, place),
        )
    sizes = cross.sum(axis=1)
    behind = [_behind(rows[rows["name"] == name], cross.loc[name]) for name in cross.index]
    totals(figure, list(sizes), behind)
    rows_named(figure, list(cross.index))
    lonely = workload.orphaned(readings)
    every = int(rows["known"].sum())
    said = f"{label(cross.index[0])} holds {int(sizes.iloc[0]):,} of {every:,} tasks in {len(order):,} queues"
    if not every:
        known = int(readings["depth"].notna().sum())
        said = f"{known:,} of {len(readings):,} depths are 0" + ("" if known else ": none is known")
    said += f"; from {len(lonely):,} with waiting tasks nobody takes" if len(lonely) else ""
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="tasks")
    tall = max(30, 15 * max(text.count("<br>") + 1 for text in behind))
    return dressed(figure, said, f"Bar chart. {said}.", 130 + tall * len(cross), len(states) > 1)


def expiry(failures: pd.DataFrame, now: "str | datetime | None" = None) -> go.Figure:
    """A countdown: how many failures their source forgets within an hour, a day, a week."""
    table = workload.expiring(failures, now)
    table = table[table["so_far"].notna()]
    if not len(table):
        return nothing("the source says of no failure that it expires")
    counts = list(table["failures"])
    figure = go.Figure()
    bars(figure, list(table["within"]), counts, "failures", look("failures", 1))
    together = zip(counts, table["so_far"], strict=True)
    totals(figure, counts, [f"{count:,} · together {so_far:,}" for count, so_far in together])
    rows_named(figure, list(table["within"]))
    soon = int(table.loc[table["within"].isin(_SOON), "failures"].sum())
    said = f"{soon:,} of {len(failures):,} failures are forgotten within 24 hours"
    gone = int(table.loc[table["within"] == "gone already", "failures"].sum())
    said += f"; {gone:,} may be gone already" if gone else ""
    figure.update_xaxes(title_text="failures")
    return dressed(figure, said, f"Bar chart. {said}.", 130 + 30 * len(table), legend=False)


_SOON = ("within 1 hour", "within 6 hours", "within 24 hours")


def _names(readings: pd.DataFrame) -> pd.Series:
    """A queue's name, with its system where there are several."""
    queue = readings["queue"].astype("str").fillna("(not told apart)")
    several = readings["source"].dropna().nunique() > 1
    return queue + " · " + readings["source"].astype("str") if several else queue


def _behind(mine: pd.DataFrame, sizes: pd.Series) -> str:
    """What is written behind a bar, so that neither colour nor pattern is needed to read it."""
    parts = [f"{size:,} {str(state).replace('_', ' ')}" for state, size in sizes.items() if size]
    if mine["depth"].isna().any():
        parts.append("some not known")
    consumers = mine.loc[mine["state"] == "waiting", "consumers"].dropna()
    if len(consumers):
        taken = int(consumers.max())
        who = "nobody takes" if not taken else "1 takes" if taken == 1 else f"{taken:,} take"
        parts.append(f"{who} from it")
    whole = [part.replace(" ", "\u00a0") for part in parts]  # no line ends within a part
    lines = textwrap.wrap(", ".join(whole) or "empty", _BEHIND)
    return "<br>".join(label(line, _BEHIND) for line in lines)
