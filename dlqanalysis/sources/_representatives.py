"""Which few rows stand for all the others of their kind, so that only their tracebacks need fetching."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dlqanalysis.fingerprint import skeletons

MOST = 20_000  #: representatives fetched at most, of the largest groups first


def representatives(table: pa.Table) -> tuple[npt.NDArray[np.int64], int]:
    """The first row of each (task_name, exception_type, message skeleton, traceback length), and how many
    groups there are. Rows without a traceback stand for nothing.
    """
    import polars as pl

    keys = {}
    for name in ("task_name", "exception_type"):
        if name in table.column_names:
            keys[name] = _codes(table[name])
    if "exception_message" in table.column_names:
        keys["skeleton"] = pl.from_arrow(skeletons(table["exception_message"]))
    keys["length"] = pl.from_arrow(table["traceback_bytes"])
    rows = pl.DataFrame(keys).with_row_index("row").filter(pl.col("length") > 0)
    groups = rows.group_by(list(keys)).agg(pl.col("row").min(), pl.len().alias("rows"))
    chosen = groups.sort(["rows", "row"], descending=[True, False]).head(MOST)
    return chosen["row"].sort().to_numpy().astype(np.int64), len(groups)


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = pa.chunked_array(
        [chunk.indices for chunk in column.unify_dictionaries().chunks], pa.int32()
    )
    return indices.fill_null(-1).to_numpy().astype(np.int64)
