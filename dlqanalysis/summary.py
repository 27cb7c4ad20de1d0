"""Millions of failures as some thousand rows with a `count`: read once, some ten thousand at a time, never held whole.

What judges and counts failures takes these rows as it takes failures: classify, fingerprint, coverage, groups,
counts, timeline.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import polars as pl
import pyarrow as pa

from dlqanalysis.fingerprint import template_codes
from dlqanalysis.frame import from_arrow, plain_type
from dlqanalysis.loading import selected
from dlqanalysis.model import Selection, duration
from dlqanalysis.sources import connect
from dlqanalysis.sources._nothing import settled, unmatched

if TYPE_CHECKING:
    from dlqanalysis.model import Source

_KINDS = ["task_name", "queue", "status", "payload_state", "exception_type", "template"]
_SAMPLE = ["exception_message", *_KINDS]
_NO_KINDS = pl.DataFrame(schema={"kind": pl.UInt32} | dict.fromkeys(_SAMPLE, pl.String))
_KEYS = ["kind", "exhausted", "bin"]
_KEPT = ["failure_id", "retries", "max_retries", "failed_at"]  #: of the newest
_FOLD = 200_000  # rows of parts that wait before they are put together
_TRACEBACKS = 5_000  #: fetched at most, for the largest groups; as many as one statement asks for


def summary(
    source: "Source | str | Path",
    since: "str | date | datetime | None" = "7d",
    until: "str | date | datetime | None" = None,
    queue: "str | Iterable[str] | None" = None,
    task: "str | Iterable[str] | None" = None,
    exception: "str | Iterable[str] | None" = None,
    status: "str | Iterable[str] | None" = "failed",
    every: str = "1h",
) -> pd.DataFrame:
    """One row for the failures of a task, queue, status, exception type and message template in each `every`
    (a duration), with `count`: a failures frame in which the newest of them stands for all, with a message of its kind.

    Takes what load takes. Times are true to `every`; payloads are left out, and such rows cannot be planned.
    """
    if isinstance(source, str | Path):
        source = connect(source)
    selection = selected(since, until, queue, task, exception, status)
    step = int(duration(every).total_seconds()) * 1_000_000
    notes: list[str] = []
    kinds, table, waiting, rows = _NO_KINDS, pl.DataFrame(), [], 0
    for part in _parts(source, selection, notes):
        rows += part.num_rows
        kinds, keyed = _keyed(part, step, kinds)
        waiting.append(_folded(keyed, pl.len()))
        if sum(map(len, waiting)) > max(_FOLD, len(table)):
            table = _folded(pl.concat([table, *waiting]), pl.col("count").sum())
            waiting = []
    table = _folded(pl.concat([table, *waiting]), pl.col("count").sum())
    table = table.join(kinds, on="kind").sort("failed_at", "failure_id", nulls_last=True)
    found = _with_tracebacks(source, table.with_columns(source=pl.lit(source.name)))
    del table, waiting  # what is in the frame need not be there twice
    frame = from_arrow(found.drop_columns("count"))
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(frame["failure_id"])
    frame["count"] = found["count"].to_numpy()[place]
    nothing = [] if rows else unmatched(source, selection)
    notes += nothing
    frame.attrs = {
        "selection": str(selection), "asked": {source.name: selection.as_dict()}, "narrows": selection.narrows,
        "truncated": False, "notes": notes, "source": source.name, "tracebacks": "representatives",
        "summary_of": rows, "unmatched": nothing,
        "settled": "" if rows or nothing else settled(source, selection),
    }  # fmt: skip
    return frame


def _parts(source: "Source", selection: Selection, notes: list[str]) -> Iterator[pa.Table]:
    """The failures in pieces, where a source can give them so."""
    if hasattr(source, "parts"):
        yield from source.parts(selection, notes)
        return
    read = source.read(selection, ())
    notes += read.notes
    yield read.table


def _keyed(part: pa.Table, step: int, kinds: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The kinds, with new ones added; and of each failure its kind, interval, and what is kept of the newest."""
    columns = {}
    for name in (*_SAMPLE[:-1], *_KEPT):
        want = plain_type(name)
        have = part[name] if name in part.column_names else pa.nulls(part.num_rows, want)
        columns[name] = have.cast(want)
    codes, named = template_codes(columns["exception_message"])
    columns["template"] = named.take(pa.array(codes))
    frame = pl.DataFrame(pl.from_arrow(pa.table(columns)))
    new = frame.select(_SAMPLE).unique(_KINDS, keep="first", maintain_order=True)
    new = new.join(kinds, on=_KINDS, how="anti", nulls_equal=True, maintain_order="left")
    kinds = pl.concat([kinds, new.with_row_index("kind", len(kinds)).select(kinds.columns)])
    frame = frame.join(kinds.select("kind", *_KINDS), on=_KINDS, how="left", nulls_equal=True)
    out = pl.col("retries") >= pl.col("max_retries").fill_null(3)
    keyed = frame.select(
        "kind", out.fill_null(False).alias("exhausted"),
        (pl.col("failed_at").cast(pl.Int64) // step).alias("bin"), *_KEPT,
    )  # fmt: skip
    return kinds, keyed


def _folded(frame: pl.DataFrame, count: pl.Expr) -> pl.DataFrame:
    """One row for each combination of keys: how many, and the newest of them."""
    newest_last = frame.sort("failed_at", "failure_id", nulls_last=False)
    return newest_last.group_by(_KEYS, maintain_order=True).agg(
        pl.col(_KEPT).last(), count.cast(pl.Int64).alias("count")
    )


def _with_tracebacks(source: "Source", table: pl.DataFrame) -> pa.Table:
    """The rows with a traceback on the newest of each kind, the most frequent kinds first."""
    kinds = table.group_by("kind").agg(pl.col("failure_id").last(), pl.col("count").sum())
    chosen = kinds.sort("count", "failure_id", descending=True).head(_TRACEBACKS)["failure_id"]
    found = source.details(chosen.to_list(), ["traceback"]) if len(chosen) else pa.table({})
    rows = table.drop("kind", "template", "exhausted", "bin").to_arrow()
    if "traceback" not in found.column_names:
        return rows
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(rows["failure_id"].to_pandas())
    traces = found["traceback"].cast(pa.large_string()).combine_chunks()
    return rows.append_column("traceback", traces.take(pa.array(place, mask=place < 0)))
