"""Which texts of a column are the same: by a hash of each, and by the texts themselves where hashes are equal."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa

Codes = npt.NDArray[np.int64]
_TABLE = 1 << 23  #: pairs up to which a table of them is small: 32 MB for a moment


def polars_texts(column: "pd.Series | pa.Array | pa.ChunkedArray") -> pl.Series:
    """A text column (of pandas, or of Arrow, plain or dictionary-encoded) as a polars one; nulls stay."""
    if isinstance(column, pd.Series):
        column = pa.array(column, from_pandas=True)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pl.Series("text", pl.from_arrow(column.cast(pa.large_string())), dtype=pl.String)


def distinct(series: pl.Series) -> tuple[Codes, pl.Series]:
    """A code for each row, and the distinct values that the codes point at; null is a value like another."""
    codes, values = pd.factorize(series.hash().to_numpy())
    first = np.empty(len(values), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    # a value that stands alone is nobody else's: the others are compared with the first of their hash
    again = np.flatnonzero(first[codes] != np.arange(len(codes)))
    if not series.gather(first[codes[again]]).eq_missing(series.gather(again)).all():
        # two texts with one hash: once in an age
        codes, values = pd.factorize(series.to_numpy(), use_na_sentinel=False)
        return codes, pl.Series(series.name, values, dtype=pl.String)
    return codes, series.gather(first)


def numbered(column: "pd.Series | pa.Array | pa.ChunkedArray") -> tuple[Codes, pl.Series]:
    """The same of a column in which a null has no value: its code is -1."""
    series = polars_texts(column)
    if not series.null_count():
        return distinct(series)
    there = series.is_not_null().to_numpy()
    codes = np.full(len(series), -1, np.int64)
    codes[there], values = distinct(series.drop_nulls())
    return codes, values


def paired(codes: Codes, size: int, more: Codes, more_size: int) -> tuple[Codes, Codes]:
    """A code for each pair of codes that there is, numbered as they appear, and the pairs as codes * more_size + more.

    What pandas.factorize gives; where there can be few pairs, a table of them takes a fifth of its time.
    """
    wide = max(1, more_size)
    pairs = codes * wide + more
    if size * wide > _TABLE or not 0 < len(pairs) < 2**31:
        found, values = pd.factorize(pairs)
        return found.astype(np.int64), values
    first = np.full(size * wide, len(pairs), np.int32)
    first[pairs[::-1]] = np.arange(len(pairs) - 1, -1, -1, dtype=np.int32)
    values = np.flatnonzero(first < len(pairs))
    values = values[np.argsort(first[values], kind="stable")]
    first[values] = np.arange(len(values), dtype=np.int32)
    return first[pairs].astype(np.int64), values
