"""What a worker does with a few files of an archive: the very functions of one machine, then counts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa

from dlqanalysis.archive.dataset import rows
from dlqanalysis.archive.parts import Lost, Part, keys, superseded
from dlqanalysis.classify import classify
from dlqanalysis.classify.rules import rulebook
from dlqanalysis.errors import SettingsError
from dlqanalysis.fingerprint import ALGORITHM, fingerprint
from dlqanalysis.frame import from_arrow
from dlqanalysis.patterns.contrast import Tally, tally, together
from dlqanalysis.profile import groups_file
from dlqanalysis.scan import condense

NEEDED = ("task_name", "payload_state", "exception_type", "exception_message", "traceback")


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some files of an archive, and how they are to be read and judged."""

    place: str
    parts: tuple[Part, ...]
    lost: Lost  #: their rows that newer files have again
    since: datetime | None
    until: datetime | None
    book: str  #: see `judges`

    def judged(self, columns: Sequence[str]) -> pd.DataFrame:
        """The failures of these files with verdicts and fingerprints, by the same rules as on the asking machine."""
        if judges() != self.book:
            raise SettingsError(
                "A worker judges by other rules than this machine. Give it the same dlqanalysis, and the same files in"
                " DLQ_RULEBOOK and DLQ_GROUPS."
            )
        names = list(dict.fromkeys([*NEEDED, *columns, "source", "failure_id", "failed_at"]))
        return fingerprint(classify(self.read(names)))

    def read(self, names: Sequence[str]) -> pd.DataFrame:
        """The failures of these files, with these columns."""
        found = rows(self.place, self.parts, self.lost, names, self.since, self.until)
        tables = [pa.table({}), *(table for table, _ in found)]
        frame = from_arrow(pa.concat_tables(tables, promote_options="permissive"))
        frame.attrs["tracebacks"] = "all"
        return frame


def judges() -> str:
    """A hash of all that a verdict and a fingerprint depend on: rules, groups changed by hand, the algorithm."""
    return _judges(rulebook(), groups_file()[1])


@lru_cache(maxsize=4)
def _judges(book: Any, groups: str) -> str:
    rules = [
        (one.name, one.failure_class, one.why, one.when, one.unless, one.confidence)
        for one in book.rules
    ]
    return hashlib.sha256(repr((ALGORITHM, rules, groups)).encode()).hexdigest()


def identities(place: str, parts: Sequence[tuple[int, Part]], buckets: int) -> list[pl.DataFrame]:
    """The ids in these files, apart by a hash of them: a failure is in the same bucket whatever file it stands in."""
    found = keys(place, parts)
    if buckets == 1:
        return [found]
    marks = pd.util.hash_array(found["failure_id"].to_numpy(), categorize=False) % buckets
    found = found.with_columns(_bucket=pl.Series(marks))
    return [found.filter(pl.col("_bucket") == bucket).drop("_bucket") for bucket in range(buckets)]


def bucket_of(pieces: list[pl.DataFrame], bucket: int) -> pl.DataFrame:
    """One bucket of several."""
    return pieces[bucket]


def replaced(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    """file and row of the failures of one bucket that a newer file has again."""
    return superseded(pl.concat(pieces))


def span(piece: Piece) -> tuple[int, datetime | None]:
    """How many failures there are, and when the last of them failed."""
    frame = piece.read(["source", "failure_id", "failed_at"])
    last = frame["failed_at"].max()
    return len(frame), None if pd.isna(last) else last.to_pydatetime()


def counted(piece: Piece, by: tuple[str, ...], window: str, last: datetime | None) -> pl.DataFrame:
    """The failures of a piece, condensed by these keys."""
    columns = [name for name in by if name not in condense.VERDICTS]
    failures = piece.judged([*columns, "retries", "max_retries"])
    return condense.condensed(failures, by, window, last)


def joined(tables: list[pl.DataFrame], by: tuple[str, ...]) -> pl.DataFrame:
    """Condensed rows of several pieces."""
    return condense.together(tables, by)


def compared(piece: Piece, name: str, tasks: tuple[str | None, ...]) -> Tally:
    """What dlq.lift needs of a piece: the group of that fingerprint beside other failures of these tasks."""
    more = ("queue", "worker", "priority", "status", "args", "kwargs")
    failures = piece.judged(more)
    inside = (failures["fingerprint"] == name).to_numpy(bool, na_value=False)
    same = failures["task_name"].isin(tasks).to_numpy() & ~inside
    return tally(failures, inside, same)


def tallied(tallies: list[Tally]) -> Tally:
    """The tallies of several pieces as one."""
    return together(tallies)
