"""Records of a log: a line that begins one, and the lines that belong to it, such as a traceback."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dlqanalysis.sources.logs.address import Address
from dlqanalysis.sources.logs.events import Event, event
from dlqanalysis.text import decoded, storable

MOST = 256 << 10  #: bytes of a record that are kept
_CUT = b"... (cut here: the record is longer)\n"
_HELD = timedelta(seconds=2)  #: how long a record of a journal may go on

_STAMP = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_LEVEL = rb"DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL"
#: Celery's own head, `[2026-11-22 07:15:58,123: ERROR/ForkPoolWorker-1] `, else a time, and a level before or after it
HEAD = re.compile(
    rb"\[?(?:(?P<before>" + _LEVEL + rb")[\]:| -]{1,3})?\[?(?P<time>" + _STAMP + rb")"
    rb"(?:: (?P<level>"
    + _LEVEL
    + rb")/(?P<worker>[^\]\r\n]{1,100})\] |\]?,?[: |-]{0,3}(?P<after>"
    + _LEVEL
    + rb")?)"
)
_GRAVE = (b"ERROR", b"CRITICAL", b"FATAL")


@dataclass(slots=True)
class Record:
    """One event of a log, where it stands, and the lines after it."""

    offset: int
    when: datetime | None
    worker: str | None
    event: Event
    first: bytes
    body: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, line: bytes) -> None:
        """A line that belongs to it; beyond MOST only that it was cut."""
        if self.size <= MOST:
            self.size += len(line)
            self.body.append(line if self.size <= MOST else _CUT)

    @property
    def rest(self) -> bytes:
        """The lines after the first."""
        return b"".join(self.body)


@dataclass(slots=True)
class Tally:
    """What was seen on the way, for notes."""

    heads: int = 0
    other_errors: int = 0  #: lines at ERROR or CRITICAL that are about no task
    no_time: int = 0
    told: int = 0  #: lines about a task, in a worker's words


#: whether a task is known to have failed or been tried again: successes of others are no news
Known = Callable[[str], bool]


def is_journal(line: bytes) -> bool:
    """Whether a line is an entry of journalctl -o json."""
    return b'"__REALTIME_TIMESTAMP"' in line and line.lstrip()[:1] == b"{"


def of_text(
    found: Iterable[tuple[int, bytes]], address: Address, tally: Tally, known: Known
) -> Iterator[Record]:
    """The records of a text log that are about tasks, in the order of the file."""
    own = address.line is not None
    begins, current = (address.line if own else HEAD).match, None
    groups = address.groups if own else dict(HEAD.groupindex)
    for offset, line in found:
        head = begins(line)
        if head is None:
            if current is not None:
                current.add(line)
            continue
        if current is not None:
            yield current
            current = None
        tally.heads += 1
        start = head.start(groups["message"]) if own else head.end()
        about = event(line, start, own or head["worker"] is not None)
        if about is not None:
            tally.told += 1
            if about.kind == "succeeded" and not known(about.task_id or ""):
                continue
            when = moment(head[groups["time"]], address)
            tally.no_time += when is None
            worker = head[groups["worker"]] if "worker" in groups else None
            current = Record(offset, when, decoded(worker) if worker else None, about, line)
        elif not own and (head["level"] or head["before"] or head["after"]) in _GRAVE:
            tally.other_errors += 1
    if current is not None:
        yield current


def of_journal(
    found: Iterable[tuple[int, bytes]], address: Address, tally: Tally, known: Known
) -> Iterator[Record]:
    """The records of a journal that are about tasks. A line is an entry, so several may be open at once: those
    of other processes end when nothing came for two seconds.
    """
    held: dict[Any, Record] = {}
    for offset, line in found:
        entry = _entry(line)
        if entry is None:
            continue
        tally.heads += 1
        when, key, host, said = entry
        for other in [k for k, one in held.items() if k != key and _over(one, when)]:
            yield held.pop(other)
        first, _, rest = said.partition(b"\n")
        head = HEAD.match(first)
        sure = head is None or head["worker"] is not None
        about = event(first, head.end() if head else 0, sure)
        if (head or about) and key in held:
            yield held.pop(key)
        if about is not None:
            tally.told += 1
            held[key] = Record(offset, when, host, about, line)
            if rest:
                held[key].add(rest)
        elif key in held:
            held[key].add(said + b"\n")
    yield from sorted(held.values(), key=lambda record: record.offset)


def _over(record: Record, when: datetime | None) -> bool:
    return bool(when and record.when and when - record.when > _HELD)


def _entry(line: bytes) -> tuple[datetime | None, Any, str | None, bytes] | None:
    """Time, stream, host and message of a journal's entry; None for what is no entry."""
    try:
        fields = json.loads(line)
        said = fields["MESSAGE"]
        if isinstance(said, list):  # bytes that are no UTF-8 come as numbers
            said = bytes(said)
        elif isinstance(said, str):
            said = said.encode("utf-8", "backslashreplace")
        else:
            return None
        stream = fields.get("_STREAM_ID") or (fields.get("_SYSTEMD_UNIT"), fields.get("_PID"))
        host = fields.get("_HOSTNAME")
        micros = fields["__REALTIME_TIMESTAMP"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    try:
        when = datetime.fromtimestamp(int(micros) // 1_000_000, UTC)
        when += timedelta(microseconds=int(micros) % 1_000_000)
    except (ValueError, TypeError, OverflowError, OSError):
        when = None
    return when, repr((host, stream)), storable(host) if isinstance(host, str) else None, said


def moment(stamp: bytes, address: Address) -> datetime | None:
    """A line's time in UTC, in the zone that it or the address names; None where it is no time."""
    told = decoded(stamp)
    try:
        if address.time:
            when = datetime.strptime(told, address.time)
        else:
            when = datetime.fromisoformat(told.replace(",", "."))
        if when.tzinfo is None:
            if address.tz is None:
                raise NaiveTime
            when = when.replace(tzinfo=address.tz)
        return when.astimezone(UTC)
    except (ValueError, OverflowError, re.error):
        return None


class NaiveTime(Exception):
    """A line's time has no zone, and the address names none."""


Reader = Callable[[Iterable[tuple[int, bytes]], Address, Tally, Known], Iterator[Record]]
