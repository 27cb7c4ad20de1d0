"""Reads an export: a snapshot of ours, or any .parquet, .jsonl or .csv file of failures.

Names are understood as those of a table are. A line that cannot be read stays a row: its bytes in `raw`,
its payload_state unreadable. JSON lines and CSV are read as text, line by line: exports are files of a size
that somebody made by hand; the millions come from databases and snapshots.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.archive import defuse, facts_of, is_snapshot, verified
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import COLUMNS, SCHEMA, arrow_type, in_order
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._names import NAMES
from dlqanalysis.sources._payload_state import payload_state
from dlqanalysis.text import decoded, many, storable, written

CAN = {"read": "every row; lines that cannot be read stay rows with their bytes"}
CANNOT = {"replay": "a file is no queue: connect the hand to the system that it came from"}
_AT_ONCE = 10_000
_NAMES_AT_MOST = 2_000  #: columns
_UNREAD = "_unread"  #: the bytes of a line that could not be read
_TIME = "datetime64[us, UTC]"


class ExportSource:
    """The source for one file. Its bytes are read once, when they are first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole: pa.Table | None = None
        self._notes: list[str] = []

    def __repr__(self) -> str:
        return f"ExportSource({self.path.name})"

    @property
    def name(self) -> str:
        """The system that the failures came from, where the file says it of all; else `export:file`."""
        names = self.names
        return next(iter(names)) if len(names) == 1 else f"export:{self.path.name}"

    @property
    def names(self) -> frozenset[str]:
        """Every source that the file's rows name."""
        return frozenset(pc.unique(self._table()["source"]).to_pylist())

    @property
    def tracebacks(self) -> str:
        """ "all", or "representatives" where the snapshot was made of a frame that held only these."""
        if self.path.suffix == ".parquet" and is_snapshot(self.path):
            self._table()  # checked against its hash
            return str(facts_of(self.path)["attrs"].get("tracebacks", "all"))
        return "all"

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for, with traceback and raw where the file has them."""
        whole = self._table()
        notes = list(self._notes)
        mask = _mask(whole, selection)
        table = whole if pc.all(mask).as_py() else whole.filter(mask)
        if not table.num_rows and whole.num_rows and (selection.since or selection.until):
            without = replace(selection, since=None, until=None)
            others = whole.filter(_mask(whole, without))["failed_at"]
            if others.null_count < len(others):
                first, last = pc.min_max(others).as_py().values()
                notes.append(
                    f"No failure of {self.path.name} lies in this time range; they are from"
                    f" {first:%Y-%m-%d %H:%M}Z to {last:%Y-%m-%d %H:%M}Z. since=None shows them all."
                )
        truncated = selection.limit is not None and table.num_rows > selection.limit
        if truncated:
            table = table.slice(table.num_rows - selection.limit)  # in order: the newest are last
            notes.append(
                f"Cut at {many(selection.limit, 'rows')}, the newest first. Raise limit=, or narrow the selection."
            )
        return Read(table, truncated, tuple(notes))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and these columns of some rows."""
        table = self._table()
        names = [
            "failure_id",
            *(n for n in columns if n in table.column_names and n != "failure_id"),
        ]
        return table.filter(
            pc.is_in(table["failure_id"], pa.array(failure_ids, pa.string()))
        ).select(names)

    def _table(self) -> pa.Table:
        if self._whole is None:
            self._notes = []
            try:
                raw = _READERS[self.path.suffix](self.path)
            except FileNotFoundError:
                raise SettingsError(_missing(self.path)) from None
            except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
                reason = str(error).splitlines()[0][:120]
                raise SchemaError(
                    f"{self.path} cannot be read ({reason}). Take another copy."
                ) from None
            whole = _as_kept(raw) or _shaped(raw, self.path.name, self._notes)
            self._whole = in_order(whole)
        return self._whole


def open_source(path: str) -> ExportSource:
    """The source for a path ending in .parquet, .jsonl, .ndjson or .csv."""
    where = Path(path).expanduser()
    if where.suffix not in _READERS:
        raise SettingsError(
            f"{where.name} is no export that can be read. There are {', '.join(_READERS)}; a name or URL connects"
            " a system."
        )
    if not where.is_file():
        raise SettingsError(_missing(where))
    return ExportSource(where)


def _missing(where: Path) -> str:
    """Notebooks run in the folder of whoever began them: a path that is right in one is wrong in another."""
    here = "" if where.is_absolute() else f", seen from {Path.cwd()}"
    return f"There is no export at {where}{here}. Check the path."


def _parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    if is_snapshot(path):
        return verified(path)[0]
    defuse(path)
    return pq.read_table(path, partitioning=None)


def _jsonl(path: Path) -> pa.Table:
    with path.open("rb") as lines:
        return _texts(_json_record(line) for line in lines if line.strip())


def _json_record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # ValueError also says: no UTF-8
        record = None
    return record if isinstance(record, dict) else {_UNREAD: line.rstrip(b"\r\n")}


def _csv(path: Path) -> pa.Table:
    import csv
    import io

    text = path.read_bytes().decode("utf-8-sig", "backslashreplace")
    csv.field_size_limit(2**31 - 1)
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows, [])
    return _texts(_csv_record(header, row) for row in rows if row)


def _csv_record(header: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(header):
        return {_UNREAD: ",".join(row).encode()}
    return {name: value or None for name, value in zip(header, row, strict=True)}


_READERS = {".parquet": _parquet, ".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv}


def _texts(records: Iterable[dict[str, Any]]) -> pa.Table:
    """Records as columns of text, some thousand at a time."""
    parts, page = [], []
    for record in records:
        page.append(record)
        if len(page) == _AT_ONCE:
            parts.append(_page(page))
            page = []
    parts.append(_page(page))
    return pa.concat_tables(parts, promote_options="default")


def _page(records: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for record in records for name in record)
    if len(names) > _NAMES_AT_MOST:
        raise SchemaError(
            f"An export names more than {_NAMES_AT_MOST:,} columns, so each of its rows would have all of them, nearly"
            " all empty. Put what differs from row to row into one column, such as kwargs."
        )
    columns = {}
    for name in names:
        values = (record.get(name) for record in records)
        if name == _UNREAD:
            columns[name] = pa.array(list(values), pa.binary())
        else:
            columns[storable(name)] = pa.array(
                [_text(value) for value in values], pa.large_string()
            )
    if not columns:
        return pa.table({_UNREAD: pa.array([None] * len(records), pa.binary())})
    return pa.table(columns)


def _text(value: Any) -> str | None:
    return None if value is None else written(value)


def _shaped(raw: pa.Table, file: str, notes: list[str]) -> pa.Table:
    """The columns of the frame, whatever the file calls them."""
    found = _named(raw.column_names, file) if raw.num_rows else {}
    columns: dict[str, Any] = {}
    for column, name in found.items():
        columns[column] = _as(column, raw[name], file, notes)
    rows = raw.num_rows
    for name in ("source", "failed_at", "failure_id"):
        if name not in columns:
            plain = pa.string() if name != "failed_at" else arrow_type(name)
            columns[name] = pa.chunked_array([pa.nulls(rows, plain)])
    columns["source"] = pc.fill_null(columns["source"], f"export:{file}")
    unread = (
        raw[_UNREAD]
        if _UNREAD in raw.column_names
        else pa.chunked_array([pa.nulls(rows, pa.binary())])
    )
    bad = pc.is_valid(unread)
    if broken := pc.sum(bad).as_py():
        notes.append(
            f"Lines of {file} that cannot be read: {broken:,}. They are rows with payload_state unreadable, their bytes in raw."
        )
        have = columns.get("raw", pa.chunked_array([pa.nulls(rows, pa.binary())]))
        columns["raw"] = pc.coalesce(have, unread)
    columns["failure_id"] = _ids(raw, columns["failure_id"])
    state = payload_state(columns.get("args"), columns.get("kwargs"), rows).dictionary_decode()
    if "payload_state" in columns:  # what the source knew is better than what its text shows
        state = pc.coalesce(columns["payload_state"], state)
    columns["payload_state"] = pc.if_else(bad, "unreadable", state)
    return pa.table({name: columns[name] for name in COLUMNS if name in columns})


def _as_kept(raw: pa.Table) -> pa.Table | None:
    """The columns of a frame that was kept whole, as they are; None where anything in them is to be mended."""
    if not set(COLUMNS) <= set(raw.column_names):
        return None
    table = raw.select(list(COLUMNS))
    for field in table.schema:
        want = arrow_type(field.name)
        have = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        plain = want.value_type if pa.types.is_dictionary(want) else want
        if str(have).removeprefix("large_") != str(plain):
            return None
    if any(table[name].null_count for name in ("source", "failure_id", "payload_state")):
        return None
    ids = pl.Series(pl.from_arrow(table["failure_id"].cast(pa.large_string())), dtype=pl.String)
    return table if ids.hash().n_unique() == table.num_rows else None  # else it is looked at closer


def _named(names: list[str], file: str) -> dict[str, str]:
    """Frame column -> the file's column: the frame's own name first, then what other systems say."""
    there = {name.strip().lower().replace(" ", "_"): name for name in reversed(names)}
    found: dict[str, str] = {}
    for column in COLUMNS:
        plain, loose = NAMES.get(column, ((), ()))
        taken = set(found.values())
        for name in (column, *plain, *loose):
            if name in there and there[name] not in taken:
                found[column] = there[name]
                break
    if not ({"exception_type", "exception_message", "task_name"} & set(found)) and names != [
        _UNREAD
    ]:
        raise SchemaError(
            f"{file} shows no failures: it has {', '.join(names[:12])}. Name its columns as the frame does:"
            " task_name, exception_type, exception_message, failed_at, ..."
        )
    return found


def _as(column: str, values: pa.ChunkedArray, file: str, notes: list[str]) -> pa.ChunkedArray:
    """A column in the frame's plain type; what does not fit becomes null, with a note."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if column == "raw":
        return values.cast(pa.binary())
    if SCHEMA[column] == _TIME:
        made = _times(values)
    elif SCHEMA[column] == "Int32":
        numbers = pd.to_numeric(values.cast(pa.string()).to_pandas(), errors="coerce")
        numbers = numbers.where((numbers % 1 == 0) & (numbers.abs() < 2**31))
        made = pa.chunked_array(
            [pa.array(numbers, pa.float64(), from_pandas=True).cast(pa.int32())]
        )
    elif pa.types.is_nested(values.type):
        made = pa.chunked_array(
            [pa.array([_text(v) for v in values.to_pylist()], pa.large_string())]
        )
    elif pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        texts = [v if v is None else decoded(v) for v in values.to_pylist()]
        made = pa.chunked_array([pa.array(texts, pa.large_string())])
    else:
        made = values.cast(pa.large_string())
    if lost := made.null_count - values.null_count:
        notes.append(f"Values of {column} in {file} that cannot be one, left out: {lost:,}.")
    return made.cast(pa.string()) if pa.types.is_large_string(made.type) else made


def _times(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in UTC: naive ones are UTC; bare numbers are seconds or milliseconds since 1970."""
    want = arrow_type("failed_at")
    if pa.types.is_timestamp(values.type):
        return values.cast(want, safe=False)  # a naive one becomes UTC
    texts = values.cast(pa.string()).dictionary_encode().unify_dictionaries()
    words = (
        texts.chunk(0).dictionary if texts.num_chunks else pa.array([], pa.string())
    ).to_pandas()
    moments = pd.to_datetime(words.astype("str"), utc=True, format="ISO8601", errors="coerce")
    numbers = pd.to_numeric(words, errors="coerce")
    micros = (numbers * 1e6).where(numbers.abs() < 1e11, numbers * 1e3).round()
    micros = micros.where(micros.abs() < 2.5e17)  # until the year 9892
    numbered = pd.to_datetime(micros.astype("Int64"), unit="us", utc=True).astype(_TIME)
    moments = numbered.where(numbers.notna(), moments).astype(_TIME)
    known = pa.array(moments, want, from_pandas=True)
    indices = pa.chunked_array([c.indices for c in texts.chunks], pa.int32())
    return known.take(indices.combine_chunks()) if texts.num_chunks else pa.chunked_array([known])


def _ids(raw: pa.Table, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids, unique: a row without one gets the hash of its content; the second of the same gets its number."""
    ids = ids.cast(pa.string()).combine_chunks()
    lacking = pc.is_null(ids)
    if pc.any(lacking).as_py():
        made = [_digest(row) for row in _rows(raw.filter(lacking))]
        ids = pc.replace_with_mask(ids, lacking, pa.array(made, pa.string()))
    series = pd.Series(ids.to_pandas(), dtype="str")
    copy = series.groupby(series).cumcount()
    numbered = series.where(copy == 0, series + ":" + (copy + 1).astype("str"))
    return pa.chunked_array([pa.array(numbered, pa.string())])


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_AT_ONCE):
        yield from batch.to_pylist()


def _digest(row: dict[str, Any]) -> str:
    held = sorted((name, value) for name, value in row.items() if value is not None)
    return hashlib.sha256(repr(held).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _mask(table: pa.Table, selection: Selection) -> pa.ChunkedArray:
    """Which rows are asked for. A line that could not be read has no time and no status: it always shows,
    except where a queue, task or exception is asked for by name."""
    mask = pc.is_valid(table["failure_id"])
    unread = pc.and_(
        _each(table["payload_state"], lambda states: pc.equal(states, "unreadable")),
        pc.is_null(table["failed_at"]),
    )
    dated = mask
    if selection.since:
        dated = pc.and_(
            dated,
            pc.greater_equal(
                table["failed_at"], pa.scalar(selection.since, arrow_type("failed_at"))
            ),
        )
    if selection.until:
        dated = pc.and_(
            dated, pc.less(table["failed_at"], pa.scalar(selection.until, arrow_type("failed_at")))
        )
    mask = pc.and_(mask, pc.or_(pc.fill_null(dated, False), unread))
    for column, words in (
        ("queue", selection.queue),
        ("task_name", selection.task),
        ("exception_type", selection.exception),
        ("status", selection.status),
    ):
        if not words or (column == "status" and column not in table.column_names):
            continue
        if column not in table.column_names:
            raise SettingsError(
                f"This export has no {column}, so it cannot be filtered by it. Leave it out."
            )
        hit = _each(table[column], partial(_hit, column, words))
        mask = pc.and_(mask, hit)
    return mask


def _hit(column: str, words: Sequence[str], values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each value is among the words; a task and an exception also by their last part."""
    wanted = pa.array(words, values.type)
    hit = pc.is_in(values, wanted)
    if column in ("task_name", "exception_type"):
        last = pc.replace_substring_regex(values, r"^.*\.", "")
        hit = pc.or_(hit, pc.is_in(last, wanted))
    return pc.or_(hit, pc.is_null(values)) if column == "status" else hit


def _each(
    column: pa.ChunkedArray, test: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> pa.ChunkedArray:
    """A test of a column's texts, once for each distinct one where they are a dictionary's; a null's is a null's."""
    if not pa.types.is_dictionary(column.type):
        return test(column)
    column = column.unify_dictionaries()
    if not column.num_chunks:
        return pa.chunked_array([], pa.bool_())
    words = column.chunk(0).dictionary
    nothing = pa.nulls(1, words.type)
    found = test(pa.chunked_array([pa.concat_arrays([words, nothing])])).combine_chunks()
    places = [pc.fill_null(chunk.indices.cast(pa.int64()), len(words)) for chunk in column.chunks]
    return pa.chunked_array([found.take(place) for place in places], pa.bool_())
