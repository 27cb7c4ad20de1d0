"""Text columns worked on once for each distinct value, with the steps of the table. No Python object per row."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa

from dlqanalysis.fingerprint.table import Step

LONGEST = 8_000  #: characters of a message that are looked at
SHOWN = 2_000  #: characters of a template
_THREADS = min(4, os.cpu_count() or 1)
_SPLIT = 50_000  # rows below which a second thread costs more than it gives


def texts(column: pa.Array | pa.ChunkedArray) -> pl.Series:
    """An Arrow text column (plain or dictionary-encoded) as a polars one, cut at LONGEST."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    series = pl.Series("text", pl.from_arrow(column.cast(pa.large_string())), dtype=pl.String)
    return series.str.slice(0, LONGEST) if (series.str.len_bytes().max() or 0) > LONGEST else series


def distinct(series: pl.Series) -> tuple[npt.NDArray[np.int64], pl.Series]:
    """A code for each row, and the distinct values that the codes point at."""
    hashed = series.hash().to_numpy()
    codes, values = pd.factorize(hashed)
    first = np.empty(len(values), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    unique = series.gather(first)
    if not unique.gather(codes).eq_missing(series).all():  # two texts with one hash: once in an age
        codes, values = pd.factorize(series.to_numpy(), use_na_sentinel=False)
        unique = pl.Series(series.name, values, dtype=pl.String)
    return codes, unique


def run(series: pl.Series, steps: Sequence[Step]) -> pl.Series:
    """The series after all steps, in order."""
    expression = pl.col("text")
    for step in steps:
        expression = expression.str.replace_all(step.pattern, step.into)

    def part(piece: pl.Series) -> pl.Series:
        return piece.to_frame("text").select(expression)["text"]

    if len(series) < _SPLIT or _THREADS == 1:
        return part(series)
    size = -(-len(series) // _THREADS)
    pieces = [series.slice(start, size) for start in range(0, len(series), size)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return pl.concat(list(pool.map(part, pieces)), rechunk=True)
