"""Failures as frames: all of a selection, the heavy columns of some, everything of one."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dlqanalysis.display.card import Card
from dlqanalysis.errors import QueryError, SchemaError, SettingsError, did_you_mean
from dlqanalysis.frame import COLUMNS, HEAVY, check, from_arrow, in_order
from dlqanalysis.model import Selection, moment, words
from dlqanalysis.redact import redact
from dlqanalysis.sources import connect
from dlqanalysis.sources._nothing import settled, time_of, unmatched

if TYPE_CHECKING:
    from dlqanalysis.model import Source

_AT_ONCE = 5_000  #: rows whose details are asked for in one statement


def load(
    source: "Source | str | Path",
    since: "str | date | datetime | None" = "7d",
    until: "str | date | datetime | None" = None,
    queue: "str | Iterable[str] | None" = None,
    task: "str | Iterable[str] | None" = None,
    exception: "str | Iterable[str] | None" = None,
    status: "str | Iterable[str] | None" = "failed",
    limit: int | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The failures of a source, as a failures frame; `attrs` say what was asked for and what to know of it.

    `since` takes a duration (7d), a date, an aware time, or None for all; `task` and `exception` whole names
    or their last part; `limit` keeps the newest. Tracebacks come for one representative of each task,
    exception type, message template and stack length; `columns=["traceback", "raw"]` asks for all of them.
    Where nothing is found `attrs["notes"]` say which name no failure has, or that all there is was replayed or archived,
    or in which time nothing failed.
    """
    if isinstance(source, str | Path):
        source = connect(source)
    elif not hasattr(source, "read"):
        raise SettingsError(
            f"{source!r:.40} is no source. Give a name (celery reads DLQ_CELERY_URL), a path, or what dlq.connect gives."
        )
    asked = words(columns)
    for name in asked:
        if name not in COLUMNS:
            raise SchemaError(f"'{name}' is no column of the frame. {did_you_mean(name, COLUMNS)}")
    selection = selected(since, until, queue, task, exception, status, limit)
    read = source.read(selection, asked)
    notes, truncated, absent = list(read.notes), read.truncated, list(read.absent)
    unmatched_names = [] if read.table.num_rows else unmatched(source, selection)
    notes += unmatched_names
    settled_now = ""
    if not read.table.num_rows and not unmatched_names:
        settled_now = settled(source, selection)
        if said := settled_now or ((when := time_of(selection)) and f"nothing failed {when}"):
            notes.insert(0, f"{said[0].upper()}{said[1:]}.")  # what the source adds comes after it
    table = in_order(read.table)
    del read  # a million rows need not be there twice
    # a source that brings tracebacks unasked has them all, but for a snapshot of a frame that did not
    tracebacks = (
        getattr(source, "tracebacks", "all") if "traceback" in table.column_names else "none"
    )
    if "traceback_bytes" in table.column_names:
        if tracebacks == "none":
            failures, tracebacks = _with_representatives(source, table, notes), "representatives"
        else:
            failures = from_arrow(table.drop_columns("traceback_bytes"))
    else:
        failures = from_arrow(table)
    failures.attrs = {
        "selection": str(selection),
        "asked": {source.name: selection.as_dict()},
        "narrows": selection.narrows,
        "loaded": len(failures),  # a frame with fewer rows was narrowed by hand
        "truncated": truncated,
        "notes": notes,
        "source": source.name,
        "tracebacks": tracebacks,
        "unmatched": unmatched_names,
        "settled": settled_now,
        "absent": absent,
    }
    return failures


def selected(
    since: Any = None,
    until: Any = None,
    queue: Any = None,
    task: Any = None,
    exception: Any = None,
    status: Any = "failed",
    limit: int | None = None,
) -> Selection:
    """What load was asked for, checked; relative times resolved now."""
    selection = Selection(
        since=moment(since),
        until=moment(until),
        queue=words(queue),
        task=words(task),
        exception=words(exception),
        status=words(status),
        limit=_limit(limit),
    )
    if selection.since and selection.until and selection.since >= selection.until:
        raise SettingsError(
            f"since ({selection.since:%Y-%m-%d %H:%M}Z) is not before until"
            f" ({selection.until:%Y-%m-%d %H:%M}Z). Nothing lies between: swap or widen them."
        )
    return selection


def details(source: "Source | str | Path", rows: pd.DataFrame) -> pd.DataFrame:
    """These failures with traceback and raw as the source has them now; rows that are gone keep what they have."""
    if isinstance(source, str | Path):
        source = connect(source)
    check(rows)
    mine = (
        rows["source"].isin(getattr(source, "names", {source.name})).to_numpy()
    )  # a file may hold several
    ids = rows.loc[mine, "failure_id"].tolist()
    if ids and not mine.all():
        raise SettingsError(
            f"Some of these rows are not from {source.name}. Take one source at a time:"
            f" rows[rows.source == '{source.name}']."
        )
    if len(rows) and not ids:
        raise SettingsError(
            f"These rows are from {rows['source'].iloc[0]}, not from {source.name}. Connect that one."
        )
    found = _fetched(source, ids, HEAVY)
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(rows["failure_id"])
    filled = rows.copy()
    for name in HEAVY:
        if name in found.column_names and len(found):
            fresh = from_arrow(pa.table({name: found[name]}))[name].take(
                np.where(place < 0, 0, place)
            )
            fresh = fresh.set_axis(rows.index)
            filled[name] = fresh.where((place >= 0) & fresh.notna().to_numpy(), rows[name])
    gone = int((place < 0).sum())
    notes = [*rows.attrs.get("notes", [])]
    if gone:
        notes.append(f"{gone:,} of these rows are no longer in {source.name}.")
    filled.attrs = {**rows.attrs, "tracebacks": "all", "notes": notes}
    return filled


def show(source: "Source | str | Path", failure_id: Any) -> pd.Series:
    """Everything a source has on one failure, field by field, traceback included; shown redacted everywhere, its
    values as they are."""
    if isinstance(source, str | Path):
        source = connect(source)
    found = source.details([str(failure_id)], list(COLUMNS))
    if not found.num_rows:
        raise QueryError(
            f"{source.name} has no failure '{failure_id}'. Take a failure_id from a loaded frame; it is not"
            " the task's own id."
        )
    row = found.slice(0, 1).to_pylist()[0]
    row = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    return Card(row, name=str(failure_id), dtype=object)


def _with_representatives(source: "Source", table: pa.Table, notes: list[str]) -> pd.DataFrame:
    """The frame of a table in order, with a traceback on one row of each kind; these are fetched while it is made."""
    from dlqanalysis.sources._representatives import MOST, representatives

    if (
        "exception_message" in table.column_names
    ):  # as the frame will have it: classify knows it again
        at = table.column_names.index("exception_message")
        wide = table["exception_message"].cast(pa.large_string())
        table = table.set_column(at, "exception_message", wide)
    rows, groups = representatives(table)
    if groups > MOST:
        notes.append(
            f"{groups:,} kinds of failures: tracebacks were fetched for the {MOST:,} most frequent ones."
        )
    ids = table["failure_id"].take(pa.array(rows)).to_pylist()
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(_fetched, source, ids, ["traceback"])
        failures = from_arrow(table.drop_columns("traceback_bytes"))
        found = coming.result()
    place = pd.Index(found["failure_id"].to_pandas()).get_indexer(pd.Index(ids))
    where = np.full(table.num_rows, -1)
    where[rows] = place
    traces = (
        found["traceback"]
        .cast(pa.large_string())
        .combine_chunks()
        .take(pa.array(where, mask=where < 0))
    )
    return failures.assign(traceback=pd.array(traces, dtype=failures["traceback"].dtype))


def _fetched(source: "Source", ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
    parts = [
        source.details(ids[start : start + _AT_ONCE], columns)
        for start in range(0, max(len(ids), 1), _AT_ONCE)
    ]
    return pa.concat_tables(parts)


def _limit(limit: Any) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 1:
        raise SettingsError(f"limit is {limit!r}. Give a whole number above 0, or None for all.")
    return int(limit)


def scope(failures: pd.DataFrame) -> pd.DataFrame:
    """What a frame was made from, a sentence a row (column `read`): source, selection and how many failures; then what
    to know of it, such as rows that were cut off or have no time, and names that match nothing. Redacted.

    A page that shows it cannot be taken for more than it read.
    """
    many = int(failures["count"].sum()) if "summary_of" in failures.attrs else len(failures)
    places = ", ".join(failures["source"].dropna().astype("str").unique())
    what = [
        failures.attrs.get("source") or places or "a frame made by hand",
        failures.attrs.get("selection") or "nothing was asked for",
        f"{many:,} failure{'s' if many != 1 else ''}",
    ]
    said = [": ".join(map(str, what)), *failures.attrs.get("notes", [])]
    return pd.DataFrame({"read": [redact(str(one)) for one in dict.fromkeys(said)]}, dtype="str")
