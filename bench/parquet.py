"""Judging and counting a million failures that stand in Parquet parts, beside polars with a pattern a rule."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import data
from bench.beside import beside, table

ROWS, REPEAT = 1_000_000, 3
_COLUMNS = ["failure_id", "task_name", "exception_type", "exception_message"]


def run(rows: int = ROWS, repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    folder = str(data.parquet(rows))
    ways = {
        "classify, part by part": ours,
        "polars, when/then": by_polars,
        "reading alone": reading,
    }
    found = beside(ways, repeat, folder=folder)
    return [
        f"{rows:,} failures in {len(list(Path(folder).glob('*.parquet')))} parts:",
        "",
        *table(found, "classify, part by part"),
    ]


def _parts(folder: str) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for path in sorted(Path(folder).glob("*.parquet")):
        yield pq.read_table(path, columns=_COLUMNS)


def reading(folder: str) -> Iterator[Any]:
    """The four columns, thrown away."""
    import pyarrow.parquet

    assert pyarrow.parquet
    yield
    yield sum(part.num_rows for part in _parts(folder))


def ours(folder: str) -> Iterator[Any]:
    """dlq.classify on each part."""
    import pandas as pd
    import pyarrow.parquet

    import dlqanalysis as dlq

    assert pyarrow.parquet and dlq.classify
    text = pd.StringDtype(na_value=float("nan"))
    yield
    counted = []
    for part in _parts(folder):
        failures = dlq.classify(part.to_pandas(types_mapper=lambda _: text))
        counted.append(dlq.coverage(failures)[["failure_class", "rule", "failures"]])
    total = pd.concat(counted).groupby(["failure_class", "rule"], observed=True)["failures"].sum()
    yield int(total.sum())


def by_polars(folder: str) -> Iterator[Any]:
    """One pattern a rule, the first that matches, by polars."""
    import polars as pl

    from bench.whole import patterns

    rules = [(name, "(?i)" + pattern.pattern) for name, pattern in patterns()]
    yield
    chain = pl.when(pl.lit(False)).then(pl.lit(""))
    for name, pattern in rules:
        chain = chain.when(pl.col("exception_message").str.contains(pattern)).then(pl.lit(name))
    frame = pl.scan_parquet(f"{folder}/*.parquet").select(rule=chain.otherwise(pl.lit("")))
    yield int(frame.group_by("rule").len().collect()["len"].sum())
