"""What campaigns came to, kept in a file as each one ends, so that a run that is broken off loses nothing.

A line of JSON for each campaign, by its name. Several runs may write at once.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.campaigns.account import Count
from bench.campaigns.hostile import Bytes
from bench.campaigns.stops import Stop

_KINDS = {kind.__name__: kind for kind in (Count, Stop, Bytes)}
Row = Count | Stop | Bytes | str


@dataclass
class Result:
    """What one campaign came to the last time that it was counted, and why a later one was broken off."""

    rows: list[Row] = field(default_factory=list)
    when: str = ""
    size: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    where: str = ""  #: machine and versions
    broken: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise was kept and the campaign came to its end."""
        return all(
            isinstance(row, str) or (row.kept and getattr(row, "ended", True)) for row in self.rows
        )


class Results:
    """The file. A result takes the place of the last one, unless that one was larger and both kept the promise."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Result]:
        """By the name of the campaign."""
        if not self.path.exists():
            return {}
        lines = [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]
        return {
            line.pop("name"): Result(**{**line, "rows": [_row(one) for one in line["rows"]]})
            for line in lines
        }

    def put(self, name: str, rows: list[Row], size: dict[str, Any], seed: int, where: str) -> None:
        """Keep what was counted."""
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        new = Result(rows, when, size, seed, where)
        with self._changed() as results:
            old = results.get(name, Result())
            larger = old.rows and old.size.get("failures", 0) > size.get("failures", 0)
            if larger and old.kept and new.kept:
                new = old
                new.broken = ""
            results[name] = new

    def put_broken(self, name: str, why: str) -> None:
        """Note that a campaign could not be counted; what it came to before stays."""
        with self._changed() as results:
            results.setdefault(name, Result()).broken = why

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Result]]:
        lock = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            results = self.read()
            yield results
            lines = [
                {"name": name, **asdict(one), "rows": [_plain(row) for row in one.rows]}
                for name, one in sorted(results.items())
            ]
            part = self.path.with_suffix(".part")
            part.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
            part.rename(self.path)
        finally:
            os.close(lock)


def _plain(row: Row) -> Any:
    return row if isinstance(row, str) else {"kind": type(row).__name__, **asdict(row)}


def _row(plain: Any) -> Row:
    return plain if isinstance(plain, str) else _KINDS[plain.pop("kind")](**plain)
