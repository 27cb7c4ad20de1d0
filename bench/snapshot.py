"""Keeping a million failures in a file and opening it again, beside psql's COPY of the same columns."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.load import copy_lean

ROWS, REPEAT = 1_000_000, 3


def run(rows: int = ROWS, repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    with data.postgres(rows) as url, tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "failures.parquet")
        kept = beside({"snapshot of a loaded frame": keep}, 1, url=url, path=path)
        found = beside(
            {"dlq.load of the snapshot": reopen, "psql COPY, same columns": copy},
            repeat,
            url=url,
            path=path,
        )
        size = Path(path).stat().st_size
    wire = kept["snapshot of a loaded frame"].answer
    return [
        f"{rows:,} failures, {size / 2**20:,.0f} MB on disk, {size / wire:.2f} of the frame's {wire / 2**20:,.0f} MB."
        " Its hash is checked each time it is opened.",
        "",
        *table(found | kept, "dlq.load of the snapshot"),
    ]


def keep(url: str, path: str) -> Iterator[Any]:
    """dlq.snapshot; gives the frame's bytes."""
    import dlqanalysis as dlq

    failures = dlq.load(url, since=None)
    yield
    dlq.snapshot(failures, path)
    yield int(failures.memory_usage(deep=True).sum())


def reopen(url: str, path: str) -> Iterator[Any]:
    """dlq.load of the file."""
    import dlqanalysis as dlq

    yield
    yield len(dlq.load(path, since=None))


def copy(url: str, path: str) -> Iterator[Any]:
    """The wire again."""
    yield from copy_lean(url)
