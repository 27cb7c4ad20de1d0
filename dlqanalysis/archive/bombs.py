"""Whether a Parquet file is about as large as what it says: a few KB can decode to more than a machine has."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.archive.pages import texts_at_most
from dlqanalysis.errors import SchemaError

#: What a file may always decode to, and how many times its size beyond that. Real failures differ in their ids.
ROOM, TIMES = 1 << 30, 1_000
_STEP, _NESTED_STEP = 1 << 16, 64  #: rows


def defuse(path: str | Path) -> None:
    """Refuses a Parquet file that decodes to over 1 GiB and a thousand times its own size, before it is read.

    What pages say of themselves is enough for most files. Else texts are counted as the lengths of the distinct ones,
    which is what makes a bomb small.
    """
    import pyarrow.parquet as pq

    most = max(ROOM, TIMES * Path(path).stat().st_size)
    with pq.ParquetFile(path) as plain:
        meta, names = plain.metadata, plain.schema_arrow.names
        groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
        said = sum(group.total_byte_size for group in groups)
        _within(path, max(said, meta.num_rows * max(1, len(names))), most)
        texts = [field.name for field in plain.schema_arrow if _is_text(field.type)]
        nested = [f.name for f in plain.schema_arrow if pa.types.is_nested(f.type)]
    if not nested:
        bound = texts_at_most(Path(path), meta)
        if bound is not None and bound <= most:
            return
    held = 0
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for names, step in ((texts, _STEP), (nested, _NESTED_STEP)):
            for name in names:
                for batch in file.iter_batches(step, columns=[name], use_threads=False):
                    held += _decoded(batch.column(0))
                    _within(path, held, most)


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    return any(check(plain) for check in checks)


def _decoded(values: pa.Array) -> int:
    """The bytes of all texts, each as often as it stands there."""
    if not pa.types.is_dictionary(values.type):
        return int(values.nbytes) * 16  # nested: it becomes JSON text, by way of Python objects
    lengths = pc.binary_length(values.dictionary)
    return pc.sum(lengths.take(values.indices).cast(pa.int64())).as_py() or 0


def _within(path: str | Path, size: int, most: int) -> None:
    if size > most:
        raise SchemaError(
            f"{Path(path).name} decodes to more than {most / (1 << 30):,.0f} GiB, over {TIMES:,} times what lies on disk:"
            " it was made to fill memory, so it is not read. Ask where it comes from."
        )
