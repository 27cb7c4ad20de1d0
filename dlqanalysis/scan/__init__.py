"""An archive of any size, judged and counted by the functions of one machine on the workers of a Dask cluster.

with dlq.scan("s3://incidents/celery", since="90d") as scan:
    scan.groups(), scan.coverage(), scan.lift(scan.groups().iloc[0])

Each worker classifies and fingerprints a few files and gives back counts; put together, they are what the whole frame
would have given. The answers are those of dlq.groups, dlq.counts, dlq.coverage and dlq.lift.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from dlqanalysis import patterns
from dlqanalysis.archive.parts import Part, by_path, listed, of_days, rivals
from dlqanalysis.classify import coverage
from dlqanalysis.errors import SchemaError, SettingsError, did_you_mean
from dlqanalysis.frame import SCHEMA
from dlqanalysis.model import moment
from dlqanalysis.patterns import contrast
from dlqanalysis.scan import condense, work
from dlqanalysis.scan.cluster import Cluster

__all__ = ["Scan", "scan"]

#: bytes on the disk that a worker judges at once, some 40,000 failures with tracebacks
PIECE = 8 * 2**20
_KEYS = 48 * PIECE  #: the same of what only ids are read of
_WINDOW = "24h"


def scan(
    place: str | Path,
    since: "str | date | datetime | None" = None,
    until: "str | date | datetime | None" = None,
    cluster: str | None = None,
) -> "Scan":
    """The failures of an archive as counts, without loading them: a Scan with groups, counts, coverage and lift.

    `cluster` is the address of a Dask scheduler (default: DLQ_DASK, else worker processes on this machine).
    """
    return Scan(str(place), moment(since), moment(until), cluster)


class Scan:
    """Answers about an archive from a cluster; what was there when it was made is what all answers are about."""

    def __init__(
        self, place: str, since: datetime | None, until: datetime | None, cluster: str | None
    ) -> None:
        if place.startswith("memory://"):
            raise SettingsError(
                "memory:// is of this process alone, workers do not see it. Archive to a folder or an object store."
            )
        if "://" not in place:
            place = str(Path(place).expanduser().resolve())
        self.place, self._book = place, work.judges()
        there = listed(place)
        chosen = of_days(there, since, until)
        self._cluster = Cluster(cluster)
        try:
            lost = self._lost(rivals(there, chosen))
            self._pieces = [
                work.Piece(
                    place=place,
                    parts=tuple(parts),
                    lost={part.path: lost[part.path] for part in parts if part.path in lost},
                    since=since,
                    until=until,
                    book=self._book,
                )
                for parts in _shared_out(chosen, PIECE)
            ]
            spans = self._cluster.each(work.span, [(piece,) for piece in self._pieces])
        except BaseException:
            self.close()
            raise
        self.rows = sum(rows for rows, _ in spans)  #: failures, each once
        self._last = max((last for _, last in spans if last), default=None)
        self._kept: dict[tuple[Any, ...], pd.DataFrame] = {}

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Scan({self.rows:,} failures in {len(self._pieces):,} pieces)"

    def close(self) -> None:
        """Gives the cluster back."""
        self._cluster.close()

    def groups(self, window: str = _WINDOW, now: datetime | str | None = None) -> pd.DataFrame:
        """What dlq.groups gives for all the failures."""
        now = moment(now)
        return patterns.groups(self._condensed(condense.GROUP_KEYS, window, now), window, now)

    def counts(
        self,
        by: str | Sequence[str] = "task_name",
        window: str = _WINDOW,
        now: datetime | str | None = None,
    ) -> pd.DataFrame:
        """What dlq.counts gives for all the failures; by columns of the frame, and those of verdicts and groups."""
        keys = (by,) if isinstance(by, str) else tuple(dict.fromkeys(by))
        known = {*SCHEMA, *condense.VERDICTS} - {"raw", "traceback"}
        for name in keys:
            if name not in known:
                raise SchemaError(
                    f"A scan has no column '{name}' to count by. {did_you_mean(name, known)}"
                )
        now = moment(now)
        keys = condense.GROUP_KEYS if set(keys) <= set(condense.GROUP_KEYS) else keys
        return patterns.counts(self._condensed(keys, window, now), by, window, now)

    def coverage(self) -> pd.DataFrame:
        """What dlq.coverage gives for all the failures: which rules decided how much."""
        return coverage(self._condensed(condense.GROUP_KEYS, _WINDOW, None))

    def lift(self, within: "str | Mapping[str, Any]", n: int = 20) -> pd.DataFrame:
        """What dlq.lift gives for a group: a fingerprint, or a row of groups()."""
        name = within if isinstance(within, str) else str(within["fingerprint"])
        failures = self._condensed(condense.GROUP_KEYS, _WINDOW, None)
        mine = failures[failures["fingerprint"] == name]
        if mine.empty:
            known = failures["fingerprint"].dropna().unique()[:1000]
            raise SchemaError(
                f"No failure has the fingerprint '{name}'. {did_you_mean(name, known)}"
            )
        tasks = tuple(None if pd.isna(task) else str(task) for task in mine["task_name"].unique())
        asked = [(piece, name, tasks) for piece in self._pieces]
        return contrast.told([self._cluster.reduced(work.compared, asked, work.tallied)], n)

    def _condensed(self, keys: tuple[str, ...], window: str, now: datetime | None) -> pd.DataFrame:
        """The failures condensed by keys; asked of the workers once."""
        last = now or self._last
        asked = (keys, window, last)
        if asked not in self._kept:
            parts = [(piece, *asked) for piece in self._pieces]
            parts = parts or [(self._piece_of_nothing(), *asked)]
            rows = self._cluster.reduced(work.counted, parts, partial(work.joined, by=keys))
            self._kept[asked] = condense.framed(rows)
        return self._kept[asked]

    def _piece_of_nothing(self) -> work.Piece:
        return work.Piece(
            place=self.place, parts=(), lost={}, since=None, until=None, book=self._book
        )

    def _lost(self, among: list[Part]) -> dict[str, Any]:
        """The rows that newer files have again. Only ids travel, and what is found: 12 bytes a row."""
        if not among:
            return {}
        aged = list(enumerate(among))
        pieces = _shared_out(aged, _KEYS)
        client = self._cluster.client
        found = [
            client.submit(work.identities, self.place, piece, len(pieces), pure=False)
            for piece in pieces
        ]
        buckets = [
            ([client.submit(work.bucket_of, one, bucket, pure=False) for one in found],)
            for bucket in range(len(pieces))
        ]
        return by_path(pl.concat(self._cluster.each(work.replaced, buckets)), among)


def _shared_out(parts: Sequence[Any], most: int) -> list[list[Any]]:
    """The files in pieces of about so many bytes."""
    pieces: list[list[Any]] = []
    size = most
    for one in parts:
        part = one if isinstance(one, Part) else one[1]
        if size + part.size > most:
            pieces.append([])
            size = 0
        pieces[-1].append(one)
        size += part.size
    return pieces
