"""Judging and counting five million failures that stand in Parquet parts, beside polars and duckdb with a pattern a
rule, and Dask with a loop on two worker processes. The parts are those of a million, five times over."""

from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import beside, have, table
from bench.goals import Section, at_least, at_most
from bench.whole import patterns

ROWS, REPEAT, TIMES = 1_000_000, 3, 5
ONE_OF = 20  #: failures that the loop looks at; all of them would take it half an hour
OURS, POLARS, DUCKDB = "classify, part by part", "polars, when/then", "duckdb, CASE"
DASK = "Dask, two workers, row by row"
_COLUMNS = ["failure_id", "task_name", "exception_type", "exception_message"]


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P9."""
    folder = str(data.parquet(rows, TIMES))
    found = beside({OURS: ours, "reading alone": reading}, repeat, folder=folder)
    ways = {POLARS: by_polars, DASK: by_dask} | ({DUCKDB: by_duckdb} if have("duckdb") else {})
    found |= beside(ways, 1, folder=folder)
    whole = beside({OURS: in_one}, 1, folder=str(data.parquet(rows)))[OURS].answer
    mine, total = found[OURS], found[DASK].answer["megabytes"]
    # what is not looped over was read all the same: all of the reading is taken off, though two workers need half of it
    read, dask = found["reading alone"].seconds, found[DASK]
    whole_loop = max(dask.seconds, ONE_OF * dask.seconds - (ONE_OF - 1) * read)
    found[DASK] = dask._replace(seconds=whole_loop)
    differ = sum(
        count != TIMES * whole.get(rule, 0) for rule, count in mine.answer["rules"].items()
    )
    counted = {name: one.answer["rows"] for name, one in found.items()}
    figures = [
        at_most("P9", "ways that did not count all rows", sum(n != rows * TIMES for n in counted.values()), 0),
        at_most("P9", "rules whose count is not that of all in one frame", differ, 0),
        at_least("P9", "Dask, two workers, row by row / classify", found[DASK].seconds / mine.seconds, 25),
        at_least("P9", "polars, when/then / classify", found[POLARS].seconds / mine.seconds, 2.4),
        at_most("P9", "memory of classify / Dask's processes", mine.megabytes / total, 0.6),
    ]  # fmt: skip
    if DUCKDB in found:
        figures.append(
            at_least("P9", "duckdb, CASE / classify", found[DUCKDB].seconds / mine.seconds, 3.8)
        )
    lines = [
        f"{rows * TIMES:,} failures; Dask's processes had {total:,.0f} MB together at most, and looped over one of"
        f" {ONE_OF} failures, scaled:",
        "",
        *table(found, OURS),
    ]
    return Section(lines, figures, found)


def _parts(folder: str) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for path in _paths(folder):
        yield pq.read_table(path, columns=_COLUMNS)


def _paths(folder: str) -> list[str]:
    from pathlib import Path

    return sorted(map(str, Path(folder).glob("*.parquet")))


def reading(folder: str) -> Iterator[Any]:
    """The four columns, thrown away."""
    import pyarrow.parquet

    assert pyarrow.parquet
    yield
    yield {"rows": sum(part.num_rows for part in _parts(folder))}


def ours(folder: str) -> Iterator[Any]:
    """dlq.classify on each part."""
    import pandas as pd
    import pyarrow.parquet

    import dlqanalysis as dlq

    assert pyarrow.parquet and dlq.classify
    yield
    counted = [dlq.coverage(dlq.classify(_frame(part))) for part in _parts(folder)]
    total = pd.concat(counted).groupby("rule", observed=True)["failures"].sum()
    yield {"rows": int(total.sum()), "rules": {str(rule): int(n) for rule, n in total.items()}}


def in_one(folder: str) -> Iterator[Any]:
    """The same rulebook on all the failures in one frame: failures by rule."""
    import pyarrow as pa

    import dlqanalysis as dlq

    yield
    found = dlq.coverage(dlq.classify(_frame(pa.concat_tables(_parts(folder)))))
    yield {
        str(rule): int(n)
        for rule, n in found.groupby("rule", observed=True)["failures"].sum().items()
    }


def _frame(part: Any) -> Any:
    import pandas as pd

    text = pd.StringDtype(na_value=float("nan"))
    return part.to_pandas(types_mapper=lambda _: text)


def by_polars(folder: str) -> Iterator[Any]:
    """One pattern a rule, the first that matches, by polars."""
    import polars as pl

    rules = [(name, "(?i)" + pattern.pattern) for name, pattern in patterns()]
    yield
    chain = pl.when(pl.lit(False)).then(pl.lit(""))
    for name, pattern in rules:
        chain = chain.when(pl.col("exception_message").str.contains(pattern)).then(pl.lit(name))
    frame = pl.scan_parquet(f"{folder}/*.parquet").select(rule=chain.otherwise(pl.lit("")))
    yield {"rows": int(frame.group_by("rule").len().collect()["len"].sum())}


def by_duckdb(folder: str) -> Iterator[Any]:
    """The same as one CASE of duckdb's."""
    import duckdb

    from bench.whole import quoted

    rules = " ".join(
        f"when regexp_matches(exception_message, {quoted(one.pattern)}, 'i') then '{name}'"
        for name, one in patterns()
    )
    with duckdb.connect() as db:
        yield
        db.execute(
            f"select case {rules} else '' end, count(*) from '{folder}/*.parquet' group by all"
        )
        yield {"rows": sum(count for _, count in db.fetchall())}


def by_dask(folder: str) -> Iterator[Any]:
    """What a team does that has Dask: a loop over each part's messages, on two processes."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(patterns)
        yield
        counted = client.gather(client.map(loop, _paths(folder), pure=False))
        rows = sum(rows for rows, _ in counted)
        from bench.beside import peak

        yield {"rows": rows, "megabytes": peak() + sum(client.run(peak).values())}


def loop(path: str) -> tuple[int, dict[str, int]]:
    """The rows of a part, and the first pattern that matches each of some of its messages, counted."""
    from collections import Counter

    import pyarrow.parquet as pq

    rules = patterns()
    texts = pq.read_table(path, columns=_COLUMNS)["exception_message"].to_pylist()
    looked_at = (next((n for n, one in rules if one.search(t)), "") for t in texts[::ONE_OF])
    return len(texts), dict(Counter(looked_at))
