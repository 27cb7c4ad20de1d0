"""The files of an archive: what their names say, what they hold, and which rows of them newer ones replace."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from dlqanalysis.archive.places import answering, opened, shown
from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import cast, plain_type

LAYOUT = 1  #: of the archive; a reader refuses newer ones
KEY = b"dlqanalysis.archive"
UNDATED = "undated"
ALWAYS = ("source", "failure_id", "failed_at")
_NAME = re.compile(r"(\d{8}T\d{12}Z)-([0-9a-f]{12})-(\d{5})\.parquet")

Lost = dict[str, npt.NDArray[np.int64]]  #: path -> numbers of the rows that a newer file has again


@dataclass(frozen=True, order=True, slots=True)
class Part:
    """One file. In order of age: when its writer began, the writing, the number within it."""

    taken: str
    writing: str
    number: int
    day: str
    path: str
    size: int


def stamp(when: datetime) -> str:
    """A moment as file names have it, so that they sort by time."""
    when = when.astimezone(UTC)
    return f"{when.year:04}{when:%m%dT%H%M%S%f}Z"  # %Y of the year 5 is 5


def listed(place: str) -> list[Part]:
    """The files of an archive, the oldest writing first. No list of them is kept: what is there counts."""
    files, root = opened(place)
    with answering(place):
        files.invalidate_cache()
        if not files.exists(root):
            return []
        found = files.find(root, detail=True)
    parts = []
    for path, about in found.items():
        inside = path[len(root) + 1 :].split("/")
        if any(name.startswith(("_", ".")) for name in inside) or not path.endswith(".parquet"):
            continue
        match = _NAME.fullmatch(inside[-1])
        if not match or len(inside) != 2 or not inside[0].startswith("day="):
            raise SchemaError(
                f"{'/'.join(inside)} in {shown(place)} is no file of an archive. Move it out; dlq.archive.append"
                " takes the frame that it holds."
            )
        parts.append(
            Part(match[1], match[2], int(match[3]), inside[0][4:], path, int(about["size"] or 0))
        )
    return sorted(parts)


def of_days(parts: Iterable[Part], since: datetime | None, until: datetime | None) -> list[Part]:
    """The files of the days that this time touches; those of failures without a time only where no bound is given."""
    if since is None and until is None:
        return list(parts)
    first = since.date().isoformat() if since else ""
    last = until.date().isoformat() if until else "9999-12-31"
    none_of_last = until is not None and until.time() == time.min
    return [
        part
        for part in parts
        if part.day != UNDATED
        and first <= part.day <= last
        and not (none_of_last and part.day == last)
    ]


def facts(files: Any, part: Part) -> dict[str, Any]:
    """What a file says of itself: layout, rows, sha256, redacted."""
    import pyarrow.parquet as pq

    with files.open(part.path, "rb") as file:
        return _facts(_whole(pq, file, part), part)


def _whole(pq: Any, file: Any, part: Part) -> Any:
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise SchemaError(
            f"{part.path} is no whole Parquet file ({str(error).splitlines()[0][:80]}). Take another copy of it."
        ) from None


def _facts(parquet: Any, part: Part) -> dict[str, Any]:
    try:
        told = json.loads((parquet.schema_arrow.metadata or {})[KEY])
        layout = int(told["layout"])
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        raise SchemaError(
            f"{part.path} does not say that it belongs to an archive. Move it out, or take another copy."
        ) from None
    if layout > LAYOUT:
        raise SchemaError(
            f"{part.path} has layout {layout}, this dlqanalysis knows {LAYOUT}. Install a newer one."
        )
    if absent := [name for name in ALWAYS if name not in parquet.schema_arrow.names]:
        raise SchemaError(
            f"{part.path} has no {' and no '.join(absent)}, which every file of an archive has. Take another copy of it."
        )
    return told


def columns_of(place: str, part: Part, columns: Sequence[str]) -> tuple[pa.Table, dict[str, Any]]:
    """These columns of a file, as the frame has them (nothing where an older file has not got one), and its facts."""
    import pyarrow.parquet as pq

    files, _ = opened(place)
    with answering(place), files.open(part.path, "rb") as file:
        parquet = _whole(pq, file, part)
        told = _facts(parquet, part)
        try:
            there = set(parquet.schema_arrow.names)
            table = parquet.read([name for name in columns if name in there])
            made = {}  # of one type in every file, or they do not go together
            for name in columns:
                nothing = pa.chunked_array([pa.nulls(table.num_rows, plain_type(name))])
                made[name] = cast(name, table[name] if name in there else nothing)
                made[name].validate(full=True)
        except (pa.ArrowException, OSError, ValueError, KeyError, SchemaError) as error:
            reason = str(error).splitlines()[0][:120]
            raise SchemaError(
                f"{part.path} was damaged after it was written ({reason}). Take another copy of it."
            ) from None
    return pa.table(made), told


def rivals(parts: Sequence[Part], chosen: Sequence[Part]) -> list[Part]:
    """The files among which a failure of the chosen ones may stand again: these, and newer ones of whatever day,
    for a failure that failed again moved to another day. None where one writing made them all."""
    if not chosen:
        return []
    picked = set(chosen)
    oldest = min(chosen)
    found = [part for part in parts if part in picked or part > oldest]
    return found if len({part.writing for part in found}) > 1 else []


def keys(place: str, parts: Iterable[tuple[int, Part]]) -> pl.DataFrame:
    """source, failure_id, file (its place by age) and row, of all rows of these files."""
    tables = [_NO_KEYS]
    for age, part in parts:
        table, _ = columns_of(place, part, ("source", "failure_id"))
        names = {name: table[name].cast(pa.large_string()) for name in ("source", "failure_id")}
        frame = pl.DataFrame(pl.from_arrow(pa.table(names)))
        tables.append(frame.with_row_index("row").insert_column(0, pl.lit(age).alias("file")))
    return pl.concat(
        [table.select(_NO_KEYS.columns).cast(dict(_NO_KEYS.schema)) for table in tables]
    )


_NO_KEYS = pl.DataFrame(
    schema={"source": pl.String, "failure_id": pl.String, "file": pl.Int32, "row": pl.UInt32}
)


def superseded(found: pl.DataFrame) -> pl.DataFrame:
    """file and row of those whose failure stands in a newer file too."""
    newest = pl.col("file").max().over("source", "failure_id")
    return found.filter(pl.col("file") < newest).select("file", "row")


def by_path(lost: pl.DataFrame, among: Sequence[Part]) -> Lost:
    """The same, by the file's path."""
    if lost.is_empty():
        return {}
    return {
        among[int(one[0])].path: rows["row"].to_numpy().astype(np.int64)
        for one, rows in lost.group_by("file")
    }


def surviving(table: pa.Table, lost: npt.NDArray[np.int64] | None) -> pa.Table:
    """The table without these rows."""
    if lost is None or not len(lost):
        return table
    stays = np.ones(table.num_rows, bool)
    stays[lost] = False
    return table.filter(pa.array(stays))
