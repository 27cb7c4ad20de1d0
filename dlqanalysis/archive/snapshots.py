"""Failures kept as they were: one Parquet file, with what was asked for and the hash of its content inside.

The facts stand in the schema, which who reads and writes the file again keeps; the hash of the stored bytes, of the
columns' names and types and of the facts stands behind them, as a seal that goes lost then.
"""

import hashlib
import io
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.archive.bombs import defuse
from dlqanalysis.archive.pages import begins
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import COLUMNS, HEAVY, check, from_arrow, in_order
from dlqanalysis.model import Selection

if TYPE_CHECKING:
    from dlqanalysis.model import Source

VERSION = 2  #: of the layout; a reader refuses newer ones. 1 had a hash of the decoded content
_KEY, _SEAL = b"dlqanalysis", b"dlqanalysis.seal"
_WORDS = (
    100  #: different texts among the first of a column up to which it is written as a dictionary
)


def snapshot(failures: "pd.DataFrame | Source", path: str | Path) -> Path:
    """The failures in a Parquet file at `path`, written whole or not at all, readable by its owner only.

    Of a frame what it holds, verdicts included; of a source everything, traceback and raw included.
    """
    where = Path(path)
    if where.suffix != ".parquet":
        raise SettingsError(
            f"A snapshot is a Parquet file: name it {where.with_suffix('.parquet')}."
        )
    if not isinstance(failures, pd.DataFrame) and not hasattr(failures, "read"):
        raise SettingsError(
            "dlq.snapshot takes a frame or a source, not its name: dlq.snapshot(dlq.connect(name), path)."
        )
    if not isinstance(failures, pd.DataFrame):
        failures = _everything(failures)
    check(failures)
    table = _table(failures)
    facts = {
        "version": VERSION,
        "rows": table.num_rows,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "attrs": {name: value for name, value in failures.attrs.items() if _plain(value)},
    }
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        _write(table, facts, where)
    except OSError as error:
        raise SettingsError(
            f"The snapshot {where} cannot be written: {error.strerror or error}. Choose another path."
        ) from None
    return where


def keep(rows: pd.DataFrame, path: Path) -> str:
    """Any system's raw rows in a Parquet file, for getting them back; gives the sha256 of their content."""
    table = _table(rows)
    facts = {"version": VERSION, "rows": table.num_rows, "attrs": {}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _write(table, facts, path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror or error}. Make room, or set DLQ_HOME elsewhere."
        ) from None


def read(path: str | Path) -> pd.DataFrame:
    """The frame of a snapshot, after its content was checked against its hash; `attrs["snapshot"]` has the hash."""
    table, facts = verified(path)
    table = in_order(table)
    frame = from_arrow(table.select([name for name in table.column_names if name in COLUMNS]))
    added = [name for name in table.column_names if name not in COLUMNS]
    extra = table.select(added).to_pandas(
        types_mapper={pa.string(): _STR, pa.large_string(): _STR, pa.int32(): pd.Int32Dtype()}.get
    )
    for name in added:  # categories as text, as verdicts have them
        if isinstance(extra[name].dtype, pd.CategoricalDtype):
            known = pd.Index(extra[name].cat.categories, dtype="str")
            extra[name] = extra[name].cat.rename_categories(known)
    frame = frame.assign(**{name: extra[name] for name in added})
    frame.attrs = {**facts["attrs"], "snapshot": facts["sha256"]}
    return frame


def verified(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """The columns and the facts (version, rows, sha256, made_at, attrs) of a snapshot, checked against its hash."""
    import pyarrow.parquet as pq

    try:
        defuse(path)
        with ThreadPoolExecutor(1) as worker:
            sealing = worker.submit(_sealed, Path(path))
            table = pq.read_table(path, partitioning=None)
            seal, hashed = sealing.result()
    except FileNotFoundError:
        raise SettingsError(f"There is no snapshot at {path}. Check the path.") from None
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no text
        reason = str(error).splitlines()[0][:120]
        raise SchemaError(
            f"{path} is no whole Parquet file ({reason}). Take another copy."
        ) from None
    said = (table.schema.metadata or {}).get(_KEY, b"")
    try:
        facts = json.loads(said)
        version = facts["version"]
        if type(version) is not int or not isinstance(facts["attrs"], dict):
            raise ValueError
    except (KeyError, ValueError, TypeError, RecursionError):
        raise SchemaError(
            f"{path} is a Parquet file, but no snapshot of ours: read it with dlq.load(dlq.connect({str(path)!r}))."
        ) from None
    if version > VERSION:
        raise SchemaError(
            f"{path} has layout {version}, this dlqanalysis knows {VERSION}. Install a newer one."
        )
    if version == 1:
        sha256, facts["sha256"] = facts.get("sha256"), content_sha256(table)
    else:
        sha256, facts["sha256"] = seal.get("sha256"), _with_names(hashed, table.schema, said)
    if sha256 != facts["sha256"]:
        raise SchemaError(
            f"{path} was changed after it was written: its content does not match its hash. Take another copy."
        )
    return table, facts


def facts_of(path: str | Path) -> dict[str, Any]:
    """What a snapshot says of itself, unchecked."""
    import pyarrow.parquet as pq

    found: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[_KEY])
    return found


def _sealed(path: Path) -> tuple[dict[str, Any], "hashlib._Hash"]:
    """A file's seal, and the hash of all bytes before its footer; columns must follow one another, as they were
    written, or a footer could tell one for another."""
    import pyarrow.parquet as pq

    hashed, meta = hashlib.sha256(), pq.read_metadata(path)
    seal = (meta.metadata or {}).get(_SEAL)
    if seal is None:
        return {}, hashed
    end = 4
    for group in range(meta.num_row_groups):
        for column in range(meta.num_columns):
            chunk = meta.row_group(group).column(column)
            if begins(chunk) != end:
                return {}, hashed
            end += chunk.total_compressed_size
    with path.open("rb") as file:
        while end and (some := file.read(min(end, 1 << 20))):
            hashed.update(some)
            end -= len(some)
    try:
        told = json.loads(seal)
    except (ValueError, RecursionError):
        told = None
    return told if isinstance(told, dict) else {}, hashed


def _with_names(hashed: "hashlib._Hash", schema: pa.Schema, facts: bytes) -> str:
    """The hash of stored bytes, completed by what tells how they are read."""
    hashed.update(json.dumps([[field.name, _kind(field.type)] for field in schema]).encode())
    hashed.update(facts)
    return hashed.hexdigest()


def _kind(kind: pa.DataType) -> str:
    """A type by a name that writing and reading leave as it is."""
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    return "nested" if pa.types.is_nested(kind) else str(kind).removeprefix("large_")


def is_snapshot(path: str | Path) -> bool:
    """Whether a Parquet file says that it is a snapshot of ours."""
    import pyarrow.parquet as pq

    return _KEY in (pq.read_schema(path).metadata or {})


def content_sha256(table: pa.Table) -> str:
    """The hash of names, values and nulls, in order; the same however columns are chunked or encoded."""
    whole = hashlib.sha256()
    for name in table.column_names:
        lengths, texts = hashlib.sha256(), hashlib.sha256()  # apart, so that chunks do not show
        column = table[name]
        for start in range(0, len(column), 10_000):
            for chunk in column.slice(start, 10_000).chunks:
                size, text = _bytes(chunk)
                lengths.update(size)
                texts.update(text)
        whole.update(f"{name}\x1f{table.num_rows}\x1e".encode())
        whole.update(lengths.digest() + texts.digest())
    return whole.hexdigest()


def _bytes(values: pa.Array) -> tuple[bytes, memoryview]:
    """The length of each value as text (-1 for a null), and all texts after another."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        values = values.cast(pa.large_string())
    values = values.cast(pa.large_binary())
    lengths = pc.fill_null(pc.binary_length(values).cast(pa.int64()), -1)
    filled = pc.fill_null(values, b"")
    ends = np.frombuffer(filled.buffers()[1], np.int64)[filled.offset :][: len(filled) + 1]
    texts = memoryview(filled.buffers()[2] or b"")[ends[0] : ends[-1]]
    return np.asarray(lengths, "<i8").tobytes(), texts


def _table(failures: pd.DataFrame) -> pa.Table:
    try:
        table = pa.Table.from_pandas(failures, preserve_index=False)
        table.validate(full=True)
        return table.replace_schema_metadata(None)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise SchemaError(
            f"This frame cannot be kept: {error}. Drop or convert that column."
        ) from None


def _everything(source: "Source") -> pd.DataFrame:
    asked = Selection(status=())
    got = source.read(asked, HEAVY)
    known = [name for name in got.table.column_names if name in COLUMNS]
    frame = from_arrow(got.table.select(known))
    frame.attrs = {"selection": str(asked), "source": source.name, "notes": list(got.notes)}
    frame.attrs |= {
        "asked": {source.name: asked.as_dict()},
        "narrows": False,
        "truncated": got.truncated,
        "tracebacks": "all",
    }
    return frame


def _write(table: pa.Table, facts: dict[str, Any], where: Path) -> str:
    """The table in a file, whole or not at all, with its facts and its seal; gives the hash."""
    import pyarrow.parquet as pq

    said = json.dumps(facts).encode()
    schema = table.schema.with_metadata({_KEY: said})
    words = [name for name in table.column_names if _few(table[name])]
    handle, name = tempfile.mkstemp(prefix=f".{where.stem}.", suffix=".part", dir=where.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            sink = _Hashed(file)
            with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=words) as writer:
                writer.write_table(table.cast(schema))
                sha256 = _with_names(sink.hashed.copy(), table.schema, said)
                writer.add_key_value_metadata({_SEAL: json.dumps({"sha256": sha256}).encode()})
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(where)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return sha256


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is written."""

    def __init__(self, file: Any) -> None:
        self.file, self.hashed = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hashed.update(data)
        return int(self.file.write(data))


def _few(column: pa.ChunkedArray) -> bool:
    """Whether a column's values are a few words again and again. What else is written as a dictionary first takes
    longer to write and to read, and says less of how much it decodes to."""
    if pa.types.is_dictionary(column.type):
        return True
    try:
        return bool(pc.count_distinct(column.slice(0, 10_000)).as_py() <= _WORDS)
    except pa.ArrowNotImplementedError:  # a column of nothing, of lists, ...
        return False


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


_STR = pd.StringDtype(na_value=np.nan)
