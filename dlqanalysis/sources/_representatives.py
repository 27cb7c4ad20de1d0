"""Which few rows stand for all the others of their kind, so that only their tracebacks need fetching."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.distinct import Codes, paired
from dlqanalysis.fingerprint import template_codes

_LENGTHS = 10_000  #: lengths of stacks differ by less, mostly
MOST = 20_000  #: representatives fetched at most, of the largest groups first


def representatives(table: pa.Table) -> tuple[Codes, int]:
    """The first row of each (task_name, exception_type, message template, length of the stack), and how many
    groups there are. Rows without a traceback stand for nothing.

    Most tracebacks hold the message, whose length varies: where the length without it tells less apart, that is
    the stack's.
    """
    length = pc.fill_null(table["traceback_bytes"].cast(pa.int64()), 0).to_numpy()
    rows = np.flatnonzero(length > 0)
    length = length[rows]
    kinds = np.zeros(len(rows), np.int64)
    for name in ("task_name", "exception_type"):
        if name in table.column_names:
            kinds = _pairs(kinds, _codes(table[name])[rows])
    if "exception_message" in table.column_names:
        message = table["exception_message"]
        kinds = _pairs(kinds, template_codes(message)[0][rows])
        said = pc.fill_null(pc.binary_length(message).cast(pa.int64()), 0).to_numpy()[rows]
        fewer = _variety(kinds, length - said) < _variety(kinds, length)
        length = np.where(fewer[kinds], length - said, length)
    kinds = _pairs(kinds, length)
    sizes = np.bincount(kinds)
    first = np.full(len(sizes), len(kinds))
    np.minimum.at(first, kinds, np.arange(len(kinds)))
    largest = np.lexsort((first, -sizes))[:MOST]
    return rows[np.sort(first[largest])], len(sizes)


def _pairs(kinds: Codes, values: Codes) -> Codes:
    """A code for each pair that there is."""
    low = int(values.min(initial=0))
    if int(values.max(initial=0)) - low > _LENGTHS:
        values, _ = pd.factorize(values)
        low = 0
    sizes = (int(part.max(initial=0)) + 1 for part in (kinds, values - low))
    return paired(kinds, next(sizes), values - low, next(sizes))[0]


def _variety(kinds: Codes, values: Codes) -> Codes:
    """How many different values each kind has."""
    pairs = _pairs(kinds, values)
    kind = np.zeros(pairs.max(initial=-1) + 1, np.int64)
    kind[pairs] = kinds
    return np.bincount(kind)


def _codes(column: pa.ChunkedArray) -> Codes:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = pa.chunked_array(
        [chunk.indices for chunk in column.unify_dictionaries().chunks], pa.int32()
    )
    return indices.fill_null(-1).to_numpy().astype(np.int64)
