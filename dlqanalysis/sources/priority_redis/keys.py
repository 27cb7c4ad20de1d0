"""How the system calls its keys, and how a failure of it is called here.

A failure is one element of a list: `high:3f2a...`, its priority and a digest of its bytes, which hold the time
it failed. The second of several equal elements is `...#2`; a number that the ledger has is not given again.
"""

import hashlib
from datetime import UTC, datetime

from dlqanalysis.errors import QueryError
from dlqanalysis.sources._priority import PRIORITIES


class Keys:
    """The keys of the system, and ours beside them: outside of `dlq:*`, which the system looks through."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self._ours = b"dlqanalysis:" + self._prefix + b"dlq:"

    def dead(self, priority: str) -> bytes:
        """The list of dead letters."""
        return self._prefix + b"dlq:" + priority.encode()

    def copy(self, task_id: str) -> bytes:
        """The copy of a task's last dead letter, which the system's own retry needs; it expires."""
        return self._prefix + b"dlq:task:" + task_id.encode("utf-8", "surrogatepass")

    def task(self, task_id: str) -> bytes:
        """What is known of a task: type, payload, status, attempts."""
        return self._prefix + b"task:" + task_id.encode("utf-8", "surrogatepass")

    def queue(self, priority: str) -> bytes:
        """The list that workers take from."""
        return self._prefix + b"tasks:" + priority.encode()

    @property
    def waiting(self) -> bytes:
        """The tasks that wait for their next attempt, by time."""
        return self._prefix + b"tasks:retry"

    @property
    def metrics(self) -> bytes:
        """What the system's monitor leaves."""
        return self._prefix + b"metrics:dlq"

    def ledger(self, month: str) -> bytes:
        """The hash that notes what was done in a month (2026-11): failure -> action, run, time."""
        return self._ours + b"ledger:" + month.encode()

    def aside(self, action: str) -> tuple[bytes, bytes]:
        """The hash of entries in quarantine or archive, failure -> bytes, and the hash of notes on them."""
        place = self._ours + action.encode()
        return place, place + b":notes"

    def taken(self, run_id: str) -> bytes:
        """The entries that a run replayed, for taking it back."""
        return self._ours + b"taken:" + run_id.encode()


def digest(raw: bytes) -> str:
    """What tells the bytes of an entry from others."""
    return hashlib.sha1(raw).hexdigest()[:16]


def priority_of(failure_id: str) -> str:
    """The list that a failure is in."""
    priority, colon, rest = failure_id.partition(":")
    if priority not in PRIORITIES or not colon or not rest:
        raise QueryError(
            f"'{failure_id[:80]}' is no failure of this queue: those are high:..., normal:... or low:....."
            " Take failure_id from a loaded frame."
        )
    return priority


def months(now: datetime | None = None) -> tuple[str, str]:
    """The month of the ledger that is written now, and the one before it."""
    today = now or datetime.now(UTC)
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return f"{today:%Y-%m}", f"{year}-{month:02}"
