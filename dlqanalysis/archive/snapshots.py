"""Failures kept as they were: one Parquet file, with what was asked for and the hash of its content inside."""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import COLUMNS, HEAVY, check, from_arrow, in_order
from dlqanalysis.model import Selection

if TYPE_CHECKING:
    from dlqanalysis.model import Source

VERSION = 1  #: of the layout; a reader refuses newer ones
_KEY = b"dlqanalysis"


def snapshot(failures: "pd.DataFrame | Source", path: str | Path) -> Path:
    """The failures in a Parquet file at `path`, written whole or not at all, readable by its owner only.

    Of a frame what it holds, verdicts included; of a source everything, traceback and raw included.
    """
    where = Path(path)
    if where.suffix != ".parquet":
        raise SettingsError(
            f"A snapshot is a Parquet file: name it {where.with_suffix('.parquet')}."
        )
    if not isinstance(failures, pd.DataFrame):
        failures = _everything(failures)
    check(failures)
    table, sha256 = _table(failures)
    facts = {
        "version": VERSION,
        "rows": table.num_rows,
        "sha256": sha256,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "attrs": {name: value for name, value in failures.attrs.items() if _plain(value)},
    }
    table = table.replace_schema_metadata({_KEY: json.dumps(facts).encode()})
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        _write(table, where)
    except OSError as error:
        raise SettingsError(
            f"The snapshot {where} cannot be written: {error.strerror or error}. Choose another path."
        ) from None
    return where


def keep(rows: pd.DataFrame, path: Path) -> str:
    """Any system's raw rows in a Parquet file, for getting them back; gives the sha256 of their content."""
    table, sha256 = _table(rows)
    facts = {"version": VERSION, "rows": table.num_rows, "sha256": sha256, "attrs": {}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(table.replace_schema_metadata({_KEY: json.dumps(facts).encode()}), path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror or error}. Make room, or set DLQ_HOME elsewhere."
        ) from None
    return sha256


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
        table = pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        raise SettingsError(f"There is no snapshot at {path}. Check the path.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise SchemaError(
            f"{path} is no whole Parquet file ({reason}). Take another copy."
        ) from None
    try:
        facts = json.loads((table.schema.metadata or {})[_KEY])
        version, _, _ = facts["version"], facts["sha256"], facts["attrs"]
    except (KeyError, ValueError, TypeError):
        raise SchemaError(
            f"{path} is a Parquet file, but no snapshot of ours: read it with dlq.load(dlq.connect({str(path)!r}))."
        ) from None
    if version > VERSION:
        raise SchemaError(
            f"{path} has layout {version}, this dlqanalysis knows {VERSION}. Install a newer one."
        )
    if content_sha256(table) != facts["sha256"]:
        raise SchemaError(
            f"{path} was changed after it was written: its content does not match its hash. Take another copy."
        )
    return table, facts


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


def _table(failures: pd.DataFrame) -> tuple[pa.Table, str]:
    try:
        table = pa.Table.from_pandas(failures, preserve_index=False).replace_schema_metadata(None)
        return table, content_sha256(table)
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
    frame.attrs |= {"narrows": False, "truncated": got.truncated, "tracebacks": "all"}
    return frame


def _write(table: pa.Table, where: Path) -> None:
    import pyarrow.parquet as pq

    handle, name = tempfile.mkstemp(prefix=f".{where.stem}.", suffix=".part", dir=where.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(where)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


_STR = pd.StringDtype(na_value=np.nan)
