"""Keeping a million failures in a file and opening it again, beside psql's COPY of the same columns."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.goals import Section, at_most
from bench.load import LEAN, copied

ROWS, REPEAT = 1_000_000, 3
OPEN, COPY = "dlq.load of the snapshot", "psql COPY, same columns"


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P11."""
    with data.postgres(rows) as url, tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "failures.parquet")
        kept = beside({"snapshot of a loaded frame": keep}, 1, url=url, path=path)
        found = beside(
            {OPEN: reopen, COPY: copy},
            repeat,
            url=url,
            path=path,
        )
        size = Path(path).stat().st_size
    wire = found[COPY].answer
    figures = [
        at_most("P11", "opening a snapshot / COPY of its columns", found[OPEN].seconds / found[COPY].seconds, 0.1),
        at_most("P11", "a snapshot's bytes / those of COPY", size / wire, 0.15),
    ]  # fmt: skip
    lines = [
        f"{rows:,} failures, {size / 2**20:,.0f} MB on disk, {size / wire:.2f} of the {wire / 2**20:,.0f} MB that COPY sends."
        " Its hash is checked each time it is opened.",
        "",
        *table(found | kept, OPEN),
    ]
    return Section(lines, figures, found | kept)


def keep(url: str, path: str) -> Iterator[Any]:
    """dlq.snapshot of what load brings."""
    import dlqanalysis as dlq

    failures = dlq.load(url, since=None)
    yield
    dlq.snapshot(failures, path)
    yield len(failures)


def reopen(url: str, path: str) -> Iterator[Any]:
    """dlq.load of the file."""
    import polars
    import pyarrow.parquet

    import dlqanalysis as dlq
    from dlqanalysis.sources import export

    assert polars and pyarrow.parquet and export and dlq.load
    yield
    yield len(dlq.load(path, since=None))


def copy(url: str, path: str) -> Iterator[Any]:
    """The wire again; gives its bytes."""
    yield from copied(url, LEAN, count=True)
