"""Failures as one or two rows with a count for each combination of keys: what parts say, put together without loss.

Of each combination the oldest and the newest failure stay, since tables show first and last times, name the newest, and
put what is equally frequent in the order in which it came. So the verbs that count (groups, counts, coverage) give for
the condensed rows what they give for all of them.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from dlqanalysis.classify import CLASSES
from dlqanalysis.frame import COLUMNS, from_arrow, in_order
from dlqanalysis.model import duration
from dlqanalysis.patterns import exhausted

VERDICTS = ("failure_class", "rule", "why", "confidence", "fingerprint", "template")
GROUP_KEYS = ("fingerprint", "failure_class", "rule", "task_name", "exception_type", "queue")
_ORDER = ("failed_at", "source", "failure_id")
_KEPT = (*_ORDER, "retries", "max_retries", "rule", "why", "template")


def condensed(
    failures: pd.DataFrame, keys: Sequence[str], window: str, last: datetime | None
) -> pl.DataFrame:
    """The judged failures by `keys`, by whether they are exhausted, and by whether they lie in the last `window`."""
    names = list(dict.fromkeys([*keys, *_KEPT]))
    columns = {name: _arrow(failures[name]) for name in names}
    out = np.zeros(len(failures), bool)
    out[exhausted(failures.reset_index(drop=True)).index] = True
    when = pl.col("failed_at")
    rows = pl.DataFrame(pl.from_arrow(pa.table(columns))).with_columns(
        _out=pl.Series(out), count=pl.lit(1, pl.Int64), _period=pl.lit(0, pl.Int8)
    )
    if last is not None:
        begin = last - duration(window)
        period = pl.when(when > last).then(3).when(when > begin).then(2).otherwise(1)
        period = pl.when(when.is_null()).then(0).otherwise(period)
        rows = rows.with_columns(_period=period.cast(pl.Int8))
    return together([rows], keys)


def together(tables: Sequence[pl.DataFrame], keys: Sequence[str]) -> pl.DataFrame:
    """Condensed rows of several parts as those of the whole."""
    keys = [*dict.fromkeys(keys), "_out", "_period"]
    rows = pl.concat(tables).sort(_ORDER, nulls_last=True)
    groups = rows.group_by(keys, maintain_order=True)
    rest = pl.exclude("count", *keys)
    total = pl.col("count").sum()
    newest = groups.agg(rest.last(), total)
    oldest = groups.agg(rest.first(), total).filter(pl.col("count") > 1)
    newest = newest.with_columns(
        count=pl.when(pl.col("count") > 1).then(pl.col("count") - 1).otherwise(1)
    )
    oldest = oldest.with_columns(count=pl.lit(1, pl.Int64))
    return pl.concat([oldest.select(rows.columns), newest.select(rows.columns)])


def framed(rows: pl.DataFrame) -> pd.DataFrame:
    """The condensed rows as a failures frame with verdicts and `count`, in the order of failures."""
    table = in_order(rows.to_arrow())
    frame = from_arrow(table.select([name for name in table.column_names if name in COLUMNS]))
    for name in VERDICTS:
        if name in table.column_names:
            frame[name] = pd.Series(table[name].to_pandas(), dtype="str")
    frame["failure_class"] = _category(frame, "failure_class", CLASSES)
    frame["rule"] = _category(frame, "rule", sorted(frame["rule"].dropna().unique()))
    return frame.assign(count=table["count"].to_numpy())


def _category(frame: pd.DataFrame, name: str, known: Sequence[str]) -> pd.Series:
    values = frame[name] if name in frame else pd.Series(None, frame.index, "str")
    return values.astype(pd.CategoricalDtype(pd.Index(list(known), dtype="str")))


def _arrow(column: pd.Series) -> pa.Array | pa.ChunkedArray:
    array = pa.array(column, from_pandas=True)
    if pa.types.is_dictionary(array.type) or pa.types.is_null(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.large_string()) if pa.types.is_string(array.type) else array
