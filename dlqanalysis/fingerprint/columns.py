"""Text columns worked on once for each distinct value, with the steps of the table. No Python object per row."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.distinct import Codes, distinct, polars_texts
from dlqanalysis.fingerprint.table import (
    CODE,
    CODES_FOLLOW,
    GONE,
    KEPT,
    MARKED,
    NUM,
    SKELETON,
    Step,
)

LONGEST = 8_000  #: characters of a message that are looked at
_THREADS = 4  # at most; Polars is asked when there is work, for its threads do not survive a fork
_SPLIT = 20_000  # rows below which a second thread costs more than it gives


def texts(column: "pa.Array | pa.ChunkedArray") -> pl.Series:
    """An Arrow text column (plain or dictionary-encoded) as a polars one, cut at LONGEST."""
    series = polars_texts(column)
    long = (series.str.len_bytes() > LONGEST).any()
    return series.str.slice(0, LONGEST) if long else series


def skeleton_codes(
    column: "pa.Array | pa.ChunkedArray", own: Mapping[str, str], once: bool = False
) -> tuple[Codes, pl.Series]:
    """A code for each row, and the distinct skeletons that the codes point at.

    Those of the last column are remembered, unless it is asked for only `once`: load, classify and fingerprint ask
    for the messages one after another, and for tracebacks in between.
    """
    global _last
    key = _place(column), tuple(own.items())
    known = _last
    if known is None or known[0] != key:
        codes, values = distinct(texts(column))
        shape_codes, shaped = shapes(values, own)
        # with the column itself, so that no other can come to stand at its place
        known = key, column, shape_codes[codes], shaped
        _last = _last if once else known
    return known[2], known[3]


_last: tuple[object, object, Codes, pl.Series] | None = None


def remember(
    column: "pa.Array | pa.ChunkedArray", own: Mapping[str, str], codes: Codes, shaped: pl.Series
) -> None:
    """Makes the skeletons of a column the ones of the last column asked for."""
    global _last
    _last = (_place(column), tuple(own.items())), column, codes, shaped


def _place(column: "pa.Array | pa.ChunkedArray") -> tuple[object, ...]:
    """Where an Arrow column stands in memory: two columns at one place, both there, are one."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return tuple(
        (
            str(chunk.type),
            len(chunk),
            chunk.offset,
            *(b.address if b else 0 for b in _buffers(chunk)),
        )
        for chunk in chunks
    )


def _buffers(chunk: pa.Array) -> list[pa.Buffer | None]:
    if pa.types.is_dictionary(chunk.type):
        return [*chunk.indices.buffers(), *chunk.dictionary.buffers()]
    return chunk.buffers()


def run(series: pl.Series, steps: Sequence[Step]) -> pl.Series:
    """The series after all steps, in order."""
    expression = pl.col("text")
    for step in steps:
        expression = expression.str.replace_all(step.pattern, step.into)
    return _threaded(series, lambda part: part.to_frame("text").select(expression)["text"])


def shapes(series: pl.Series, own: Mapping[str, str]) -> tuple[Codes, pl.Series]:
    """The skeletons of distinct texts: a code for each text, and the distinct skeletons, with numbers gone.
    `own` are placeholders of the user, name -> pattern, which go first.

    Codes are taken out and put back, because no step captures: with captures the same pass takes ten times as long.
    """
    steps = [Step(name, pattern, f"<{name}>") for name, pattern in own.items()]
    codes, distinct_shapes = distinct(_threaded(run(series, steps) if steps else series, _shapes))
    return codes, _filled(distinct_shapes)


def _shapes(series: pl.Series) -> pl.Series:
    if series.str.contains_any([CODE, CODES_FOLLOW]).any():
        series = series.str.replace_all(f"[{CODE}{CODES_FOLLOW}]", " ")
    if series.str.contains_any(list(MARKED)).any():  # a template, read again
        series = series.str.replace_many(MARKED)
    named = pl.col("text")
    for step in SKELETON:
        named = named.str.replace_all(step.pattern, step.into)
    frame = series.to_frame("text").select(named)
    frame = frame.with_columns(shape=pl.col("text").str.replace_all(KEPT, CODE))
    frame = frame.with_columns(shape=pl.col("shape").str.replace_all(GONE, NUM))
    with_codes = pl.col("shape").str.contains(CODE, literal=True)
    codes = pl.col("text").str.extract_all(KEPT).list.join(CODE)
    held = frame.with_row_index("row").filter(with_codes)
    held = held.select("row", shape=pl.col("shape") + CODES_FOLLOW + codes)
    return frame["shape"].scatter(held["row"], held["shape"])


def _filled(skeletons: pl.Series) -> pl.Series:
    """Skeletons with their codes put back in place."""
    parts = skeletons.str.split_exact(CODES_FOLLOW, 1).struct.unnest()
    has = parts["field_1"].is_not_null()
    if not has.any():
        return skeletons
    rows = has.arg_true()
    text = pc.split_pattern(parts["field_0"].gather(rows).to_arrow(), CODE)
    code = pc.split_pattern(parts["field_1"].gather(rows).to_arrow(), CODE)
    return skeletons.clone().scatter(rows, _woven(text, code))


def _woven(text: pa.LargeListArray, code: pa.LargeListArray) -> pl.Series:
    """text[0] + code[0] + text[1] + ... for each row; a row has one text more than codes."""
    sizes = pc.list_value_length(code).to_numpy().astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(2 * sizes + 1)])
    order = np.empty(offsets[-1], dtype=np.int64)
    is_code = np.zeros(offsets[-1], dtype=bool)
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], 2 * sizes + 1)
    is_code[inside % 2 == 1] = True
    pieces, codes = text.flatten(), code.flatten()
    order[~is_code] = np.arange(len(pieces))
    order[is_code] = len(pieces) + np.arange(len(codes))
    values = pa.concat_arrays([pieces, codes]).take(pa.array(order))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), values)
    return pl.Series("text", pl.from_arrow(lists)).list.join("")


def _threaded(series: pl.Series, work: Callable[[pl.Series], pl.Series]) -> pl.Series:
    if len(series) < _SPLIT or (threads := min(_THREADS, pl.thread_pool_size())) == 1:
        return work(series)
    size = -(-len(series) // threads)
    pieces = [series.slice(start, size) for start in range(0, len(series), size)]
    with ThreadPoolExecutor(threads) as pool:
        return pl.concat(list(pool.map(work, pieces)), rechunk=True)
