"""The columns of `failures`: one row a dead-lettered task, the same columns and dtypes from every source."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import SchemaError, did_you_mean, need
from dlqanalysis.text import decoded, many, storable

_CATEGORY, _TEXT, _TIME = "category", "str", "datetime64[us, UTC]"

#: column -> (pandas dtype, meaning). The order is the order on the screen.
COLUMNS: dict[str, tuple[Any, str]] = {
    "source": (_CATEGORY, "which system and place, such as celery:failed_tasks"),
    "failure_id": (_TEXT, "the handle of this occurrence in its source; unique within the source"),
    "task_id": (_TEXT, "the task's own id; a failure seen in two systems joins on it"),
    "task_name": (_CATEGORY, "as the system says it"),
    "queue": (_CATEGORY, "as the system says it"),
    "status": (_CATEGORY, "as the system says it; unknown states are kept"),
    "priority": (_CATEGORY, "as the system says it"),
    "args": (_TEXT, "positional arguments as JSON text, never evaluated"),
    "kwargs": (_TEXT, "named arguments as JSON text, never evaluated"),
    "payload_state": (
        _CATEGORY,
        "complete, truncated, unreadable or missing; only complete can be replayed",
    ),
    "exception_type": (_CATEGORY, "as recorded"),
    "exception_message": (_TEXT, "as recorded"),
    "traceback": (_TEXT, "as recorded; may be left out of a load and fetched for a few rows"),
    "retries": ("Int32", "attempts made"),
    "max_retries": ("Int32", "attempts allowed"),
    "enqueued_at": (_TIME, "UTC"),
    "first_failed_at": (_TIME, "UTC"),
    "failed_at": (_TIME, "UTC"),
    "replayed_at": (_TIME, "UTC"),
    "expires_at": (_TIME, "UTC; when the source will forget it"),
    "worker": (_TEXT, "where known"),
    "idempotency_key": (_TEXT, "where known"),
    "trace_id": (_TEXT, "where known"),
    "raw": (pd.ArrowDtype(pa.binary()), "the exact bytes where the source has them"),
}
SCHEMA: dict[str, Any] = {name: dtype for name, (dtype, _) in COLUMNS.items()}
HEAVY = ("traceback", "raw")  #: left out of a load unless asked for

_ARROW = {
    _CATEGORY: pa.dictionary(pa.int32(), pa.string()),
    _TEXT: pa.string(),
    _TIME: pa.timestamp("us", tz="UTC"),
    "Int32": pa.int32(),
}


def arrow_type(column: str) -> pa.DataType:
    """The Arrow type of a column of the frame."""
    dtype = SCHEMA[column]
    return _ARROW[dtype] if isinstance(dtype, str) else pa.binary()


def plain_type(column: str) -> pa.DataType:
    """The Arrow type of a column's values, before texts that repeat are encoded."""
    kind = arrow_type(column)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def light(columns: Collection[str] = ()) -> list[str]:
    """All columns but the heavy ones, and those of them that `columns` names; in the frame's order."""
    return [name for name in COLUMNS if name not in HEAVY or name in columns]


def to_arrow(records: Sequence[Mapping[str, Any]], names: Iterable[str], **same: Any) -> pa.Table:
    """Columns of the frame from records, whose values are as their columns hold them; `same` is every row's.

    >>> to_arrow([{"queue": "mails"}, {}], ["source", "queue"], source="here").to_pylist()
    [{'source': 'here', 'queue': 'mails'}, {'source': 'here', 'queue': None}]
    """
    arrays = {}
    for name in dict.fromkeys(names):
        values = [same[name]] * len(records) if name in same else [r.get(name) for r in records]
        array = pa.chunked_array([pa.array(values, plain_type(name))])
        arrays[name] = array.dictionary_encode() if SCHEMA[name] == _CATEGORY else array
    return pa.table(arrays)


def empty() -> pd.DataFrame:
    """A failures frame without rows; same columns, same dtypes."""
    return from_arrow(pa.table({}))


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """A failures frame from Arrow columns: missing ones filled, types cast, sorted. No object per row.

    Refuses times without a zone, and columns that are none of the frame's.
    """
    _refuse_unknown(table.column_names)
    rows = table.num_rows
    columns = {}
    for name in COLUMNS:
        want = arrow_type(name)
        if name not in table.column_names:
            columns[name] = (
                pa.nulls(rows, want) if not pa.types.is_dictionary(want) else _absent(rows)
            )
            continue
        columns[name] = cast(name, table[name])
    return _to_pandas(in_order(pa.table(columns)))


def cast(name: str, have: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as a column of the frame has them, or a sentence about why they cannot become that."""
    want = arrow_type(name)
    try:
        return _cast(name, have, want)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise SchemaError(
            f"Column '{name}' comes as {have.type} and cannot become {want}: {error}. Cast it first."
        ) from None


def _cast(name: str, have: pa.ChunkedArray, want: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(want):
        return _encoded(have)
    if pa.types.is_timestamp(want):
        if pa.types.is_timestamp(have.type) and have.type.tz is None:
            raise SchemaError(
                f"{name} has no time zone. Give it one before it comes in: naive times are refused."
            )
        if pa.types.is_integer(have.type) or pa.types.is_floating(have.type):
            raise SchemaError(
                f"Column '{name}' comes as {have.type}: seconds or milliseconds? Cast it to a timestamp with a zone."
            )
        return have.cast(want, safe=False)  # parts of a microsecond may go
    if pa.types.is_binary(have.type) and want == pa.string():
        have = have.cast(pa.string())  # checks UTF-8
    # texts with 64-bit offsets stay as they are: more than 2 GB of them would not fit into 32 bits
    return have if have.type in (want, _wide(want)) else have.cast(want)


def _absent(rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()), pa.array([], pa.string()))


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionary-encoded text with one dictionary for all chunks."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    elif column.type != _ARROW[_CATEGORY]:
        column = column.cast(_ARROW[_CATEGORY])
    return column.unify_dictionaries()


def in_order(table: pa.Table) -> pa.Table:
    """The rows by failed_at (unknown ones last), source, failure_id; the table itself when they are so already.

    Times decide nearly always; texts are compared only among rows of the same microsecond.
    """
    if table.num_rows < 2:
        return table
    times = _moments(table)
    order = None
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times = times[order]
    same = times[1:] == times[:-1]
    if same.any():
        tied = np.append(same, False) | np.append(False, same)
        rows = np.flatnonzero(tied)
        where = rows if order is None else order[rows]
        keys = pd.DataFrame({"time": times[rows]})
        for name in ("source", "failure_id"):
            if name in table.column_names:
                text = table[name].take(pa.array(where))
                keys[name] = pd.Series(text.cast(pa.large_string()).to_pandas(), dtype="str")
        names = list(keys.columns)
        sorting = keys.sort_values(names, kind="stable").index.to_numpy()
        if (sorting != np.arange(len(sorting))).any():
            order = np.arange(table.num_rows) if order is None else order
            order[rows] = where[sorting]
    if order is None:
        return table
    # 64-bit offsets: gathering more than 2 GB of text in one column overflows 32-bit ones
    wide = [pa.field(f.name, _wide(f.type)) for f in table.schema]
    return table.cast(pa.schema(wide)).take(pa.array(order))


def _moments(table: pa.Table) -> npt.NDArray[np.int64]:
    """failed_at as microseconds; an unknown time is later than any other."""
    if "failed_at" not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    times = table["failed_at"].cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    return np.asarray(pc.fill_null(times, 2**63 - 1).to_numpy(), np.int64)


def _wide(kind: pa.DataType) -> pa.DataType:
    return {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(kind, kind)


def _narrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bytes with 32-bit offsets, in chunks short enough for them."""
    if column.type == pa.binary():
        return column
    return pa.chunked_array(
        [part for chunk in column.chunks for part in _parts(chunk)], pa.binary()
    )


def _parts(chunk: pa.Array) -> list[pa.Array]:
    if chunk.nbytes < 2**31 or len(chunk) < 2:
        if chunk.offset:  # offsets count from the start of the buffer: copied, they begin at 0
            chunk = chunk.take(pa.array(np.arange(len(chunk))))
        return [chunk.cast(pa.binary())]
    half = len(chunk) // 2
    return [*_parts(chunk.slice(0, half)), *_parts(chunk.slice(half))]


_STR = pd.StringDtype(na_value=np.nan)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    """Texts keep their Arrow buffers: no object per row."""
    frame = pd.DataFrame(index=pd.RangeIndex(table.num_rows))
    columns = {}
    for name, dtype in SCHEMA.items():
        column = table[name]
        if dtype == _CATEGORY:
            series = column.to_pandas()
            known = pd.Index(series.cat.categories, dtype="str")  # also when there are none
            # sorted, so that the same failures make the same frame in whatever order they came
            in_abc = pd.Index(sorted(known), dtype="str")
            columns[name] = series.cat.rename_categories(known).cat.reorder_categories(in_abc)
        elif dtype == "Int32":
            columns[name] = column.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
        elif dtype == _TEXT:
            columns[name] = column.cast(pa.large_string()).to_pandas(types_mapper=lambda _: _STR)
        elif dtype == _TIME:
            columns[name] = column.to_pandas().astype(_TIME)
        else:
            columns[name] = _narrow(column).to_pandas(types_mapper=pd.ArrowDtype)
    return frame.assign(**columns)


def from_records(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A failures frame from mappings, so that a log, a CSV or a test is as good a source as a broker.

    Missing columns are filled; unknown ones are refused by name; times must have a zone (datetime or ISO
    text); args and kwargs may be Python values or JSON text. A record without `failure_id` gets the hash
    of its content, numbered when the same content comes twice.
    """
    rows = []
    copies: dict[str, int] = {}
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise SchemaError(
                f"Record {number} is of type {type(record).__name__}, not a mapping of column names to values."
            )
        _refuse_unknown(record)
        row = {name: _value(name, value, number) for name, value in record.items()}
        row.setdefault("source", "records")
        row["payload_state"] = row.get("payload_state") or _payload_state(row)
        if not row.get("failure_id"):
            digest = hashlib.sha1(
                repr(sorted(row.items(), key=str)).encode("utf-8", "backslashreplace")
            )
            key = digest.hexdigest()[:16]
            copies[key] = copies.get(key, 0) + 1
            row["failure_id"] = f"{key}:{copies[key]}"
        rows.append(row)
    return check(from_arrow(to_arrow(rows, COLUMNS)))


def _value(name: str, value: Any, number: int) -> Any:
    """One field as its column holds it. Lone surrogates, which no database and no Arrow text can hold,
    are written as escapes; everything else stays as it is."""
    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and value != value)
    ):
        return None
    dtype = SCHEMA[name]
    if dtype == _TIME:
        return _time(name, value, number)
    if dtype == "Int32":
        return _whole(name, value, number)
    if name == "raw":
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise SchemaError(
            f"Record {number}: raw is of type {type(value).__name__}. Give bytes or text."
        )
    if name in ("args", "kwargs") and not isinstance(value, str | bytes):
        try:
            value = json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            raise SchemaError(
                f"Record {number}: {name} cannot be written as JSON ({error}). Give JSON text."
            ) from None
    return decoded(value) if isinstance(value, bytes) else storable(str(value))


def _whole(name: str, value: Any, number: int) -> int:
    try:
        count = int(value)
    except (ValueError, TypeError, OverflowError):
        count = -(2**63)
    if abs(count) >= 2**31:
        raise SchemaError(
            f"Record {number}: {name} is {value!r}. Give a whole number below 2147483648, or leave it out."
        )
    return count


def _time(name: str, value: Any, number: int) -> datetime:
    try:
        when = (
            datetime.fromisoformat(value)
            if isinstance(value, str)
            else value
            if isinstance(value, datetime) and not isinstance(value, pd.Timestamp)
            else pd.Timestamp(value).to_pydatetime(warn=False)
        )
    except (ValueError, TypeError, OverflowError):
        raise SchemaError(
            f"Record {number}: {name} is {value!r}, which is no time. Write ISO 8601 with a zone."
        ) from None
    if when.tzinfo is None:
        raise SchemaError(
            f"Record {number}: {name} {value!s} has no time zone. Add one, such as +00:00 for UTC."
        )
    try:
        return when.astimezone(UTC)  # one moment, one content, whatever zone it is written in
    except OverflowError:
        raise SchemaError(
            f"Record {number}: {name} {value!s} is out of range. Leave it out if it means 'never'."
        ) from None


def _payload_state(row: Mapping[str, Any]) -> str:
    if row.get("args") is None and row.get("kwargs") is None:
        return "missing"
    for name, kind in (("args", list), ("kwargs", dict)):
        if (text := row.get(name)) is not None:
            try:
                if not isinstance(json.loads(text), kind):
                    return "unreadable"
            except (ValueError, RecursionError):
                return "unreadable"
    return "complete"


def _refuse_unknown(names: Iterable[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise SchemaError(
                f"'{name}' is no column of a failures frame. {did_you_mean(name, COLUMNS)}"
            )


def check(failures: pd.DataFrame) -> pd.DataFrame:
    """The frame itself, if it is a failures frame: all columns, their dtypes, ids unique within a source."""
    need(failures, *SCHEMA)
    for name, dtype in SCHEMA.items():
        if failures[name].dtype != dtype:
            raise SchemaError(
                f"Column '{name}' is {failures[name].dtype}, not {dtype}. Build frames with dlq.load or"
                " dlq.from_records, which set the dtypes."
            )
    nameless = failures["source"].isna() | failures["failure_id"].isna()
    if nameless.any():
        raise SchemaError(
            f"{many(int(nameless.sum()), 'rows have')} no source or no failure_id. Every failure needs both:"
            " build frames with dlq.load or dlq.from_records."
        )
    twice = failures.duplicated(["source", "failure_id"])
    if twice.any():
        first = failures.loc[twice, "failure_id"].iloc[0]
        raise SchemaError(
            f"failure_id '{first}' stands twice in source '{failures.loc[twice, 'source'].iloc[0]}'."
            " Ids must be unique within a source: drop the second copy, or number the occurrences."
        )
    return failures


def content_hash(task_id: Any, task_name: Any, queue: Any, args: Any, kwargs: Any) -> str:
    """What a failure would send, as 16 hex digits: a plan notes it, a hand compares it before it acts."""
    parts = (
        "" if part is None or part is pd.NA or part != part else str(part)
        for part in (task_id, task_name, queue, args, kwargs)
    )
    text = "\x1f".join(parts).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:16]


def error_of(row: Mapping[str, Any]) -> str:
    """What failed, in words: the exception of a row, or of a group in a report, and its message without what varies."""
    parts = [row.get(name) for name in ("exception_type", "template")]
    kind, said = ("" if part is None or part != part else str(part) for part in parts)
    # some systems write the type before the message, too
    return said if said.startswith(f"{kind}:") else ": ".join(part for part in (kind, said) if part)


def brief(failures: pd.DataFrame, columns: Sequence[str] = ()) -> pd.DataFrame:
    """The columns a person looks at first, without payloads: safe to show, safe to keep in a notebook."""
    wanted = [
        "failed_at",
        "task_name",
        "queue",
        "exception_type",
        "failure_class",
        "fingerprint",
        "retries",
    ]
    names = [name for name in (*wanted, *columns) if name in failures.columns]
    return failures[["failure_id", *names]]
