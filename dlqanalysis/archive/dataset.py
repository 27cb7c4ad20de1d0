"""Appends to an archive, and reads from it."""

import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.archive.parts import (
    ALWAYS,
    KEY,
    LAYOUT,
    UNDATED,
    Lost,
    Part,
    by_path,
    columns_of,
    keys,
    listed,
    of_days,
    rivals,
    stamp,
    superseded,
    surviving,
)
from dlqanalysis.archive.places import answering, folder, opened, put
from dlqanalysis.archive.snapshots import content_sha256
from dlqanalysis.errors import SchemaError, did_you_mean
from dlqanalysis.frame import COLUMNS, SCHEMA, check, from_arrow
from dlqanalysis.model import moment
from dlqanalysis.redact import redact_frame

ROWS = 50_000  #: of one file at most, so that whoever reads one file holds no more


def append(
    place: str | Path, failures: pd.DataFrame, *, redact: bool, taken: datetime | None = None
) -> list[str]:
    """Adds the failures to the archive at `place`, by the day on which they failed; gives the paths of the new files.

    `redact` is to be said: True writes texts as dlq.redact_frame shows them, False as they are. Verdicts are left out:
    whoever reads judges by the rules of that day. `taken` (default: now) says how new this is, for what is there twice.
    """
    check(failures)
    if not isinstance(redact, bool):
        raise SchemaError("redact= is True (secrets and personal data go) or False (all stays).")
    writing = Writing(str(place), redact, taken)
    names = [name for name in COLUMNS if name in failures.columns]
    days = failures["failed_at"].dt.strftime("%Y-%m-%d").fillna(UNDATED)
    for day, places in sorted(days.groupby(days).indices.items()):
        for start in range(0, len(places), ROWS):
            writing.add(str(day), failures[names].iloc[places[start : start + ROWS]])
    return [one["path"] for one in writing.files]


class Writing:
    """What one person writes at one time: files of one name, each whole before it is seen."""

    def __init__(self, place: str, redact: bool, taken: datetime | None = None) -> None:
        self.place, self.redact = place, redact
        self.taken = moment(taken) or datetime.now(UTC)
        self.files: list[dict[str, object]] = []
        self._store, self._root = opened(place)
        self._id = secrets.token_hex(6)

    def add(self, day: str, failures: pd.DataFrame) -> None:
        """One file more, with these failures of one day."""
        if self.redact:
            failures = redact_frame(failures)
        try:
            table = pa.Table.from_pandas(failures, preserve_index=False)
        except (pa.ArrowException, UnicodeEncodeError) as error:
            raise SchemaError(
                f"This frame cannot be kept: {error}. Drop or convert that column."
            ) from None
        told = {
            "layout": LAYOUT,
            "rows": table.num_rows,
            "sha256": content_sha256(table),
            "redacted": self.redact,
        }
        table = table.replace_schema_metadata({KEY: json.dumps(told).encode()})
        name = f"{stamp(self.taken)}-{self._id}-{len(self.files):05}.parquet"
        path = f"{self._root}/day={day}/{name}"
        with answering(self.place):
            folder(self._store, self._root)
            folder(self._store, f"{self._root}/day={day}")
            put(self._store, path, table)
        self.files.append(
            {"path": path, "name": name, "rows": told["rows"], "sha256": told["sha256"]}
        )


def between(
    place: str,
    since: "str | date | datetime | None",
    until: "str | date | datetime | None",
    columns: Sequence[str] | None,
) -> pd.DataFrame:
    """The failures of an archive, as `archive.read` gives them."""
    wanted = asked_for(columns)
    first, last = moment(since), moment(until)
    there = listed(place)
    parts = of_days(there, first, last)
    among = rivals(there, parts)
    lost = by_path(superseded(keys(place, enumerate(among))), among) if among else {}
    tables, redacted = [pa.table({})], False
    for table, private in rows(place, parts, lost, wanted, first, last):
        tables.append(table)
        redacted |= private
    found = from_arrow(pa.concat_tables(tables, promote_options="permissive"))
    found.attrs = {
        "source": place if "://" not in place else place.partition("://")[0],
        "narrows": bool(first or last),
        "truncated": False,
        "notes": [] if there else ["The archive is empty."],
        "tracebacks": "all" if "traceback" in wanted else "none",
        "redacted": redacted,
    }
    return found


def asked_for(columns: Sequence[str] | None) -> list[str]:
    """The columns to read, checked, with those that are always there."""
    for name in columns or ():
        if name not in SCHEMA:
            raise SchemaError(f"'{name}' is no column of the frame. {did_you_mean(name, SCHEMA)}")
    return [name for name in COLUMNS if columns is None or name in columns or name in ALWAYS]


def rows(
    place: str,
    parts: Sequence[Part],
    lost: Lost,
    columns: Sequence[str],
    since: datetime | None,
    until: datetime | None,
) -> Iterator[tuple[pa.Table, bool]]:
    """Of each file the rows that count and failed in this time, and whether it is redacted."""
    for part in parts:
        table, told = columns_of(place, part, columns)
        table = surviving(table, lost.get(part.path))
        if since is not None or until is not None:
            times = table["failed_at"]
            stays = np.ones(table.num_rows, bool)
            for bound, holds in ((since, pc.greater_equal), (until, pc.less)):
                if bound is not None:
                    inside = holds(times, pa.scalar(bound, pa.timestamp("us", "UTC")))
                    stays &= pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
            table = table.filter(pa.array(stays))
        yield table, bool(told.get("redacted"))
