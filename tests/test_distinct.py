"""Codes of texts and of pairs: what pandas says, faster."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dlqanalysis import distinct as module
from dlqanalysis.distinct import distinct, numbered, paired


@pytest.mark.parametrize("size, wide", [(3, 5), (900, 1_000), (1, 1)])
def test_pairs_are_numbered_as_pandas_does(size, wide):
    pick = np.random.default_rng(7)
    codes, more = pick.integers(0, size, 2_000), pick.integers(0, wide, 2_000)
    for rows in (slice(None), slice(0, 0)):
        found, pairs = paired(codes[rows], size, more[rows], wide)
        expected, values = pd.factorize(codes[rows] * wide + more[rows])
        assert found.tolist() == expected.tolist() and pairs.tolist() == values.tolist()


def test_texts_are_numbered_as_they_appear_and_a_null_is_one_or_none():
    texts = ["b", None, "a", "b", "", None]
    codes, values = distinct(pl.Series("text", texts))
    assert codes.tolist() == [0, 1, 2, 0, 3, 1] and values.to_list() == ["b", None, "a", ""]
    for column in (pd.Series(texts, dtype="str"), pa.chunked_array([texts[:2], texts[2:]])):
        codes, values = numbered(column)
        assert codes.tolist() == [0, -1, 1, 0, 2, -1] and values.to_list() == ["b", "a", ""]


def test_two_texts_with_one_hash_stay_two(monkeypatch):
    monkeypatch.setattr(pl.Series, "hash", lambda self: pl.Series([7] * len(self), dtype=pl.UInt64))
    codes, values = module.distinct(pl.Series("text", ["b", "a", "b"]))
    assert codes.tolist() == [0, 1, 0] and values.to_list() == ["b", "a"]
