"""From a source into an archive, a day at a time and some ten thousand rows at once; a killed one goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.archive.dataset import ROWS, Writing, append
from dlqanalysis.archive.parts import UNDATED, Part, facts
from dlqanalysis.archive.places import answering, folder, opened, put
from dlqanalysis.display.progress import Progress
from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import COLUMNS, HEAVY, check, from_arrow
from dlqanalysis.model import Selection, moment
from dlqanalysis.text import many

if TYPE_CHECKING:
    from dlqanalysis.model import Source

_AT_ONCE = 5_000  #: rows whose traceback and raw are asked for in one statement
_LAST = datetime(9999, 12, 31, tzinfo=UTC)  #: the last day that has an end
_DONE = "_exports"  #: what was exported already; nobody needs it for reading


def export(
    source: "Source",
    place: str | Path,
    *,
    redact: bool,
    since: "str | date | datetime | None" = None,
    until: "str | date | datetime | None" = None,
    again: bool = False,
    write: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Writes everything a source has (every status, traceback and raw included) into an archive, the newest day first;
    gives one row a day: day, rows, files, skipped.

    A day that was over when it was exported is skipped when its files are still there as they were written; `again`
    exports it anew, for rows that changed since. `write` takes the lines of progress instead of the screen.
    """
    first, last = moment(since), moment(until)
    if not hasattr(source, "parts"):  # such a source gives all or nothing
        return _at_once(source, str(place), redact, Selection(since=first, until=last, status=()))
    told, begun, done = Progress(write), monotonic(), []
    for day, start, end in _days(source, first, last):
        record = None if again else _recorded(str(place), source.name, day, redact, end)
        if record is None:
            selection = Selection(since=start, until=end, status=())
            whole = (start is None) or (
                start.time() == datetime.min.time() and end == start + timedelta(days=1)
            )
            record = _write_day(source, str(place), day, selection, redact, told, whole)
        done.append(record)
        rows = sum(one["rows"] for one in done)
        told.say(
            f"{day}: {many(record['rows'], 'failures')}"
            f"{' were there already' if record['skipped'] else ''}; {rows:,} after {monotonic() - begun:.0f} s"
        )
    table = [{**one, "files": len(one["files"])} for one in done]
    return pd.DataFrame(table, columns=["day", "rows", "files", "skipped"])


def _days(
    source: "Source", since: datetime | None, until: datetime | None
) -> "Iterator[tuple[str, datetime | None, datetime | None]]":
    """The days that have failures, newest first, cut at the bounds; at last those without a time."""
    before = until or _LAST  # else what has no time, or "infinity", may be the newest there is
    while True:
        newest = source.read(Selection(since=since, until=before, status=(), limit=1), ())
        when = newest.table["failed_at"][0].as_py() if newest.table.num_rows else None
        if when is None:
            break
        start = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        end = start + timedelta(days=1)
        before = start
        yield (
            start.date().isoformat(),
            max(start, since) if since else start,
            min(end, until) if until else end,
        )
    if since is None and until is None:
        yield UNDATED, None, None


def _write_day(
    source: "Source",
    place: str,
    day: str,
    selection: Selection,
    redact: bool,
    told: Progress,
    whole: bool,
) -> dict[str, Any]:
    """The files of one day, and the note that they are all there."""
    writing, notes, rows = Writing(place, redact), [], 0
    waiting: list[pa.Table] = []

    def flush() -> None:
        nonlocal rows, waiting
        if waiting:
            table = pa.concat_tables(waiting, promote_options="permissive")
            waiting = []
            rows += table.num_rows
            writing.add(day, check(from_arrow(table)))
            told.stage(day, {"written": rows})

    for part in source.parts(selection, notes):  # type: ignore[attr-defined]
        if selection.since is None:
            part = part.filter(pc.is_null(part["failed_at"]))
        for start in range(0, part.num_rows, _AT_ONCE):
            waiting.append(_with_details(source, part.slice(start, _AT_ONCE)))
            if sum(table.num_rows for table in waiting) > ROWS - _AT_ONCE:
                flush()
    flush()
    record = {
        "source": source.name,
        "day": day,
        "rows": rows,
        "redacted": redact,
        "taken": writing.taken.isoformat(),
        "files": [
            {name: one[name] for name in ("name", "rows", "sha256")} for one in writing.files
        ],
    }
    if whole:
        files, root = opened(place)
        with answering(place):
            folder(files, root)
            folder(files, f"{root}/{_DONE}")
            put(files, _note(root, source.name, day), text=json.dumps(record).encode())
    return {**record, "skipped": False}


def _with_details(source: "Source", rows: pa.Table) -> pa.Table:
    """The rows with traceback and raw, where the source still has them."""
    rows = rows.select([name for name in rows.column_names if name in COLUMNS])
    ids = rows["failure_id"].cast(pa.string())
    found = source.details(ids.to_pylist(), HEAVY)
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(pd.Index(ids.to_pandas()))
    for name in HEAVY:
        if name in found.column_names and name not in rows.column_names:
            column = found[name].combine_chunks()
            if found.num_rows:
                column = column.take(pa.array(np.where(place < 0, 0, place), mask=place < 0))
            else:
                column = pa.nulls(rows.num_rows, column.type)
            rows = rows.append_column(name, column)
    return rows


def _note(root: str, source: str, day: str) -> str:
    return f"{root}/{_DONE}/{hashlib.sha256(source.encode()).hexdigest()[:12]}-{day}.json"


def _recorded(
    place: str, source: str, day: str, redact: bool, end: datetime | None
) -> dict[str, Any] | None:
    """What was noted of a day that was over when it was exported, if its files are there with these rows and hashes."""
    files, root = opened(place)
    path = _note(root, source, day)
    try:
        if not files.exists(path):
            return None
        record = json.loads(files.cat_file(path))
        if (
            end is None
            or datetime.fromisoformat(record["taken"]) < end
            or record["redacted"] != redact
        ):
            return None
        for one in record["files"]:
            part = Part("", "", 0, day, f"{root}/day={day}/{one['name']}", 0)
            there = facts(files, part)
            if (there["rows"], there["sha256"]) != (one["rows"], one["sha256"]):
                return None
        rows = sum(one["rows"] for one in record["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SchemaError):
        return None  # whatever is wrong with it, exporting the day once more makes it good
    return {"day": day, "rows": rows, "files": record["files"], "skipped": True}


def _at_once(source: "Source", place: str, redact: bool, selection: Selection) -> pd.DataFrame:
    read = source.read(selection, HEAVY)
    names = [name for name in read.table.column_names if name in COLUMNS]
    failures = from_arrow(read.table.select(names))
    files = append(place, failures, redact=redact)
    days = failures["failed_at"].dt.strftime("%Y-%m-%d").fillna(UNDATED)
    table = (
        days.value_counts().sort_index(ascending=False).rename_axis("day").reset_index(name="rows")
    )
    made = [sum(f"/day={day}/" in path for path in files) for day in table["day"]]
    return table.assign(files=made, skipped=False)
