"""The failures that log files tell of: read from the beginning each time, in bounded memory; never written."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import SettingsError
from dlqanalysis.frame import COLUMNS, HEAVY, arrow_type
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import narrowed
from dlqanalysis.sources.logs.address import SCHEME, Address
from dlqanalysis.sources.logs.lines import BROKEN, lines, opened
from dlqanalysis.sources.logs.records import (
    HEAD,
    Known,
    NaiveTime,
    Reader,
    Record,
    Tally,
    is_journal,
    moment,
    of_journal,
    of_text,
)
from dlqanalysis.sources.logs.story import Story
from dlqanalysis.text import decoded, many

_PROBED = 2_000  #: lines that are looked at to know a file
_NEVER = datetime.max.replace(tzinfo=UTC)


class LogSource:
    """One log, or a rotated set of them, as a source. A failure is the place of its line."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._last: pa.Table | None = None

    def __repr__(self) -> str:
        return f"LogSource({self.name})"

    @property
    def name(self) -> str:
        """`log:celery.log`."""
        return f"log:{self._address.name}"

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """Tasks that failed (status failed), were rejected, revoked, or are tried again (retrying); succeeded are
        those of them that a later line calls so."""
        whole, notes = self._scanned()
        heavy = [name for name in HEAVY if name in columns]
        table, truncated, cut = narrowed(whole, selection)
        if heavy:
            found = self._heavy(table["failure_id"].to_pylist())
            for name in heavy:
                values = [found.get(one, {}).get(name) for one in table["failure_id"].to_pylist()]
                table = table.append_column(name, pa.array(values, arrow_type(name)))
        return Read(table, truncated, (*notes, *cut))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for; traceback and raw are read at the line's place."""
        if self._last is None or set(failure_ids) - set(self._last["failure_id"].to_pylist()):
            self._scanned()
        assert self._last is not None
        hit = pc.is_in(self._last["failure_id"], pa.array(failure_ids, pa.string()))
        table = self._last.filter(hit)
        found = self._heavy(table["failure_id"].to_pylist())
        for name in HEAVY:
            values = [found.get(one, {}).get(name) for one in table["failure_id"].to_pylist()]
            table = table.append_column(name, pa.array(values, arrow_type(name)))
        names = [name for name in COLUMNS if name == "failure_id" or name in columns]
        return table.select([name for name in names if name in table.column_names])

    def _scanned(self) -> tuple[pa.Table, list[str]]:
        """All that the files tell, and what to know of it."""
        story, tally = Story(), Tally()
        notes: list[str] = []
        with ExitStack() as stack:
            logs = self._logs(notes)
            known = story.knows if len(logs) == 1 else _anybody  # several are read ahead of it
            parts = [self._records(log, tally, notes, stack, known) for log in logs]
            ordered = parts[0] if len(parts) == 1 else heapq.merge(*parts, key=_time)
            for failure_id, record in ordered:
                story.add(record, failure_id)
        self._last = story.table(self.name)
        return self._last, [*notes, *_told(tally, self._address)]

    def _records(
        self, log: "_Log", tally: Tally, notes: list[str], stack: ExitStack, known: Known
    ) -> Iterator[tuple[str, Record]]:
        file = stack.enter_context(opened(log.path))
        try:
            for record in log.reader(lines(file), self._address, tally, known):
                yield f"{log.identity}:{record.offset}", record
        except NaiveTime:
            raise _no_zone(log.path) from None
        except (*BROKEN, OSError):
            notes.append(
                f"{log.path.name} cannot be read to its end: what stands before the damage is here. Take another"
                " copy."
            )

    def _heavy(self, failure_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """traceback and raw of some failures, read where they stand; what is gone is left out."""
        logs = {log.identity: log for log in self._logs([])}
        places: dict[str, list[int]] = {}
        for failure_id in failure_ids:
            identity, _, place = failure_id.rpartition(":")
            places.setdefault(identity, []).append(int(place))
        found = {}
        for identity, offsets in places.items():
            if identity not in logs:
                continue
            with opened(logs[identity].path) as file:
                for offset in sorted(offsets):
                    record = self._at(file, logs[identity].reader, offset)
                    if record is not None:
                        rest = decoded(record.rest)
                        about = {"traceback": rest or None, "raw": record.first + record.rest}
                        found[f"{identity}:{offset}"] = about
        return found

    def _at(self, file: BinaryIO, reader: Reader, offset: int) -> Record | None:
        """The record that begins at `offset`."""
        try:
            records = reader(lines(file, offset), self._address, Tally(), _anybody)
            return next((one for one in records if one.offset == offset), None)
        except (*BROKEN, OSError):
            return None

    def _logs(self, notes: list[str]) -> list["_Log"]:
        """The files, each with what tells it from others when it is renamed or packed."""
        logs: list[_Log] = []
        for path in self._address.files():
            log = _probed(path, self._address)
            twins = sum(other.identity.partition("-")[0] == log.identity for other in logs)
            if twins:
                notes.append(
                    f"{path.name} begins like another of these files: if it is a copy, its failures are here twice."
                )
                log.identity = f"{log.identity}-{twins + 1}"
            logs.append(log)
        return logs


class _Log:
    """One file: its path, how it is read, and an identity that stays when it grows or is rotated."""

    def __init__(self, path: Path, reader: Reader, identity: str) -> None:
        self.path, self.reader, self.identity = path, reader, identity


def _probed(path: Path, address: Address) -> _Log:
    """A file known by its first line that has a time."""
    with opened(path) as file:
        try:
            for _, line in islice(lines(file), _PROBED):
                if is_journal(line):
                    return _Log(path, of_journal, _digest(line))
                if head := (address.line or HEAD).match(line):
                    moment(head[address.groups["time"] if address.line else "time"], address)
                    return _Log(path, of_text, _digest(line))
        except NaiveTime:
            raise _no_zone(path) from None
        except (*BROKEN, OSError):
            pass
    return _Log(path, of_text, _digest(b""))


def _digest(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\r\n")).hexdigest()[:10]


def _anybody(task_id: str) -> bool:
    return True


def _time(found: tuple[str, Record]) -> datetime:
    return found[1].when or _NEVER


def _no_zone(path: Path) -> SettingsError:
    return SettingsError(
        f"The times in {path.name} name no zone, and none is guessed: say the zone of the worker's clock,"
        f" {SCHEME}://{path.absolute()}?tz=UTC (or Europe/Berlin, ...)."
    )


def _told(tally: Tally, address: Address) -> Iterator[str]:
    if not tally.heads:
        yield (
            f"No line of {address.name} begins with a time in a form that is known: say how lines begin with the"
            " option line= (docs/operations.md)."
        )
    elif (
        not tally.told
    ):  # such as the log of another kind of worker, whose lines `line=` lets begin but not mean
        yield (
            f"None of {tally.heads:,} lines of {address.name} is about a task in the words of a Celery worker"
            " (Task name[id] ...): of other lines no rows are made."
        )
    if tally.other_errors:
        yield (
            f"{many(tally.other_errors, 'lines')} at ERROR or CRITICAL in {address.name} without a task, such as lost"
            " connections: no rows here."
        )
    if tally.no_time:
        yield f"{many(tally.no_time, 'lines have')} a time that is none in {address.name}: such rows are undated."
