"""The nouns that are not frames, and the two ports: a Source reads, a Hand writes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, Self

from dlqanalysis.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: words that systems use for rows that are no longer waiting for anybody
SETTLED = ("replayed", "replaying", "pending_replay", "archived", "resolved", "discarded")

_DURATION = re.compile(r"\s*(\d+)\s*(s|m|h|d|w)\s*")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class FailureClass(StrEnum):
    """What has to happen before a failure may go back."""

    TRANSIENT = "transient"  #: nothing: later is enough
    PERMANENT = "permanent"  #: code, configuration or credentials first
    DATA = "data"  #: a record or the payload first
    UNKNOWN = "unknown"  #: the text does not say


class Outcome(StrEnum):
    """What became of a replayed task. "Enqueued" is no outcome."""

    SUCCEEDED = "succeeded"
    FAILED_AGAIN = "failed_again"
    PENDING = "pending"
    UNKNOWN = "unknown"


class State(StrEnum):
    """Where one item of a run stands. planned = sent + refused + skipped + uncertain + not reached."""

    SENT = "sent"  #: the system confirmed it
    REFUSED = "refused"  #: the system said no; the failure is where it was
    SKIPPED = "skipped"  #: not tried: it changed, is gone, or somebody else has it
    UNCERTAIN = "uncertain"  #: asked, never answered; `dlq.settle` decides
    NOT_REACHED = "not_reached"  #: the run stopped before it, or its system: a resume may send it


def duration(text: str) -> timedelta:
    """A length of time written as number and unit (s, m, h, d, w).

    >>> duration("90m")
    datetime.timedelta(seconds=5400)
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise SettingsError(
            f"'{text}' is not a duration. Write a number and a unit, such as 90m, 24h, 7d."
        )
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except (OverflowError, ValueError):  # ValueError: more digits than Python reads
        raise SettingsError(f"'{text[:40]}' is too long a duration. 3650d is ten years.") from None


def moment(when: "str | date | datetime | None", now: datetime | None = None) -> datetime | None:
    """A point in time in UTC, from a duration back from now, a date, an aware time, or None for no bound.

    >>> moment("2026-11-01")
    datetime.datetime(2026, 11, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if when is None or when == "":
        return None
    if isinstance(when, str):
        if _DURATION.fullmatch(when):
            try:
                return (now or datetime.now(UTC)) - duration(when)
            except OverflowError:
                raise SettingsError(
                    f"'{when}' ago is before the year 1. Leave it empty for no bound."
                ) from None
        try:
            when = date.fromisoformat(when) if len(when) == 10 else datetime.fromisoformat(when)
        except ValueError:
            raise SettingsError(
                f"'{when}' is no time. Write a duration back from now (7d, 24h), a date (2026-11-01, UTC)"
                " or a time with its zone (2026-11-01T10:00:00Z)."
            ) from None
    if not isinstance(when, date):
        raise SettingsError(
            f"{when!r} is no time. Write a duration back from now (7d, 24h), a date or a time with its zone."
        )
    if not isinstance(when, datetime):
        return datetime(when.year, when.month, when.day, tzinfo=UTC)
    if when.tzinfo is None:
        raise SettingsError(
            f"{when.isoformat()} has no time zone. Add one: {when.isoformat()}Z for UTC."
        )
    try:
        return when.astimezone(UTC)
    except OverflowError:
        raise SettingsError(
            f"{when.isoformat()} is out of range. Leave it empty for no bound."
        ) from None


def worldwide(task_id: str) -> bool:
    """Whether a task's id names it in every system: a UUID or something as long. A `17` of one queue is not the
    `17` of another.

    >>> worldwide("8f0a4f7e-6f0e-4c55-8b70-3a1e35b7c0de"), worldwide("17"), worldwide("default:17")
    (True, False, False)
    """
    return len(task_id) >= 20


def words(value: "str | Iterable[str] | None") -> tuple[str, ...]:
    """A filter's values: nothing, one, several, or one text with commas.

    >>> words("emails, memos")
    ('emails', 'memos')
    """
    if not value:
        return ()
    parts = value.split(",") if isinstance(value, str) else list(value)
    return tuple(part.strip() for part in parts if part.strip())


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which failures to read. Relative times are resolved when it is made, so it means the same later."""

    since: datetime | None = None  #: failed at or after, UTC
    until: datetime | None = None  #: failed before, UTC
    queue: tuple[str, ...] = ()
    task: tuple[
        str, ...
    ] = ()  #: whole names, or their last part: generate_memo finds api.tasks.generate_memo
    exception: tuple[str, ...] = ()
    status: tuple[str, ...] = ("failed",)  #: the system's own words; empty for all
    limit: int | None = None  #: newest first; a source reads one more to know that it was cut

    @property
    def narrows(self) -> bool:
        """Whether anything but the status is asked for."""
        return bool(
            self.since or self.until or self.queue or self.task or self.exception or self.limit
        )

    def as_dict(self) -> dict[str, Any]:
        """What a frame keeps of it for each source, in `attrs["asked"]`: plain values, so that a file can hold it."""
        return {
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            **{
                name: list(getattr(self, name)) for name in ("queue", "task", "exception", "status")
            },
            "limit": self.limit,
        }

    def __str__(self) -> str:
        parts = [f"since {self.since:%Y-%m-%d %H:%M}Z" if self.since else "from the beginning"]
        if self.until:
            parts.append(f"until {self.until:%Y-%m-%d %H:%M}Z")
        for name in ("queue", "task", "exception", "status"):
            if values := getattr(self, name):
                parts.append(f"{name} {', '.join(values)}")
        if self.limit:
            parts.append(f"at most {self.limit:,}")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Read:
    """What a source read: columns of the failures frame as Arrow, and whether the limit cut it off."""

    table: "pa.Table"
    truncated: bool = False
    notes: tuple[
        str, ...
    ] = ()  #: sentences the reader should see, such as which column was missing
    absent: tuple[
        str, ...
    ] = ()  #: those of the notes that say what the URL names and is not there, so that nothing of it was read


class Source(Protocol):
    """Where dead letters are read. Reading never consumes, never locks, never writes."""

    @property
    def name(self) -> str:
        """System and place, such as `celery:failed_tasks`. Holds no secret; stands in the frame."""
        ...

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for, with at least these columns of the frame."""
        ...

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> "pa.Table":
        """`failure_id` and the heavy columns (traceback, raw) of a few failures."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One failure chosen by a plan."""

    failure_id: str
    task_id: str
    task_name: str
    queue: str
    content_hash: str  #: of what was read; a hand skips an item whose content is another now
    generation: int  #: 1 for its first replay, 2 when it has come back once, ...
    fingerprint: str = ""
    action: str = "replay"  #: what the plan is for
    key: str = ""  #: hash of what must go one at a time, such as a tenant; empty for no order
    undoes: str = ""  #: for undo and restore: the run whose work on this failure is taken back
    sent_id: str = ""  #: for undo and restore: the id that it was given in that run
    payload: bytes | None = None  #: what goes instead of the original, for a repaired failure
    target: str = (
        ""  #: the queue it goes to, where the profile's [routes] names one; empty for its own
    )
    work: str = (
        ""  #: hash of the work it stands for, by which copies of it are known when it is gone
    )


#: the texts of an item that a plan chooses, the journal keeps and a resume reads
PLANNED = (
    "failure_id", "task_id", "task_name", "queue", "content_hash", "fingerprint", "key", "target",
    "work",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A hand's answer for one item."""

    failure_id: str
    state: State
    sent_id: str = ""  #: the id under which it runs now, where the system gives one
    detail: str = ""  #: why it was not sent, always; what is known of an uncertain one


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of a sent item, as its system tells it."""

    failure_id: str
    outcome: Outcome
    detail: str = ""
    exception_type: str = ""  #: of what failed again, where the system says it
    exception_message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A fact that somebody should see: from preflight, health checks, thresholds."""

    name: str
    severity: str  #: "ok", "warning", "critical"
    text: str  #: one sentence
    blocks: bool = False  #: a blocking finding stops a run before it starts
    facts: Mapping[str, Any] = field(default_factory=dict)


class Hand(Protocol):
    """What may write to a system. Opened apart from the source, with its own credentials; closed by `with`, too."""

    @property
    def name(self) -> str:
        """The same place name as its source's, so that a plan cannot go to another system."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do: the actions of a plan (replay, quarantine, archive, purge, undo, restore, pause,
        unpause, revoke), and outcome, settle, repair (it sends `Item.payload` where there is one), reroute
        (it sends to `Item.target` where there is one)."""
        ...

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Is the target ready for these: broker reachable, queues known, workers there."""
        ...

    def snapshot(self, failure_ids: Sequence[str]) -> "pd.DataFrame":
        """The raw rows as they are now, whole, for keeping before anything moves; each with its failure_id (or `id`,
        where that is the same). What is gone may be left out."""
        ...

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterable[Receipt]:
        """Act on each item at most once; one receipt an item, as soon as it is known. An action that it cannot is
        refused, before anything moves, by a RunError that names those that it can."""
        ...

    def settle(self, items: Sequence[Item], run_id: str) -> Iterable[Receipt]:
        """For items whose answer never came: sent, not reached (it never happened), or uncertain still. Those of undo
        and restore have `undoes`."""
        ...

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterable[Verdict]:
        """What became of sent items, given failure_id -> sent_id."""
        ...

    def close(self) -> None:
        """Give connections back; a second time nothing happens."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Monitor(Protocol):
    """What tells how a system is now: depths, workers, what is running. Reads only; knows no failures.

    What a system cannot tell is an empty frame with a sentence in `attrs["notes"]`.
    """

    @property
    def name(self) -> str:
        """System and place; holds no secret."""
        ...

    def depths(self) -> "pd.DataFrame":
        """The columns of readings.DEPTHS, one row a queue and state."""
        ...

    def workers(self) -> "pd.DataFrame":
        """The columns of readings.WORKERS, one row a worker that answered."""
        ...

    def running(self) -> "pd.DataFrame":
        """A failures frame of the tasks that workers hold: status active, reserved, scheduled, stalled."""
        ...

    def health(self) -> list[Finding]:
        """What the system says of its own health."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
