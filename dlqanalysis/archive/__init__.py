"""Failures kept: one frame in one file (`snapshot`), or years of them in a folder of days (`append`, `export`).

A snapshot is evidence: whole, hashed, verdicts included. An archive is a Parquet dataset `day=2026-11-20/*.parquet` on a
disk or an object store; people append to it at once, and of a failure that stands in it twice the newest is read.
"""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from dlqanalysis.archive import snapshots
from dlqanalysis.archive.bombs import defuse
from dlqanalysis.archive.dataset import append, between
from dlqanalysis.archive.exports import export
from dlqanalysis.archive.snapshots import (
    content_sha256,
    facts_of,
    is_snapshot,
    keep,
    snapshot,
    verified,
)

__all__ = [
    "append",
    "content_sha256",
    "defuse",
    "export",
    "facts_of",
    "is_snapshot",
    "keep",
    "read",
    "snapshot",
    "verified",
]


def read(
    place: str | Path,
    since: "str | date | datetime | None" = None,
    until: "str | date | datetime | None" = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The failures of an archive that failed in this time, as a failures frame; of a path ending in .parquet the
    frame of that snapshot, after its content was checked against its hash.

    Of an archive only the days asked for are read, and only these `columns` (None: all; source, failure_id and
    failed_at always). A failure that was archived twice comes as it was archived last.
    """
    if str(place).endswith(".parquet"):
        return snapshots.read(place)
    return between(str(place), since, until, columns)
