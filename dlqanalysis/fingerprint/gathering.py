"""Skeletons of a column that comes in parts, found while the rest of it is still coming."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from dlqanalysis.distinct import Codes, distinct
from dlqanalysis.fingerprint.columns import remember, shapes, texts
from dlqanalysis.fingerprint.hand import by_hand

#: rows that are worked on at once: each time all patterns are compiled, and what stands twice is found only inside
_AT_ONCE = 250_000


class Gathering:
    """Give it the parts as they come, then the whole: what skeleton_codes says of the whole is then there.

    A column of less than a quarter of a million rows waits until it is asked for.
    """

    def __init__(self) -> None:
        self._own: Mapping[str, str] = by_hand().placeholders
        self._worker = ThreadPoolExecutor(1)
        self._found: list[Future[tuple[Codes, pl.Series]]] = []
        self._waiting: list[pa.Array] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._worker.shutdown(cancel_futures=True)

    def add(self, part: pa.ChunkedArray) -> None:
        """The next rows."""
        self._waiting += part.chunks
        if sum(map(len, self._waiting)) >= _AT_ONCE:
            self._submit()

    def remember(self, whole: pa.ChunkedArray) -> None:
        """All rows: the same texts in the same order."""
        if not self._found:
            return
        self._submit()
        found = [one.result() for one in self._found]
        starts = np.cumsum([0, *(len(shaped) for _, shaped in found)])
        codes, shaped = distinct(pl.concat([shaped for _, shaped in found]))
        rows = [codes[own + start] for (own, _), start in zip(found, starts, strict=False)]
        remember(whole, self._own, np.concatenate(rows), shaped)

    def _submit(self) -> None:
        if self._waiting:
            column = pa.chunked_array(self._waiting)
            self._found.append(self._worker.submit(_shapes, column, self._own))
            self._waiting = []


def _shapes(column: pa.ChunkedArray, own: Mapping[str, str]) -> tuple[Codes, pl.Series]:
    codes, values = distinct(texts(column))
    shape_codes, shaped = shapes(values, own)
    return shape_codes[codes], shaped
