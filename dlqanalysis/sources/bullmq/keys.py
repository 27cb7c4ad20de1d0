"""How BullMQ calls its keys, and how a failure of it is called here.

A failure is an occurrence: one job's entry in its queue's failed set, at one score (the millisecond it
failed). Its id is `queue:job@score`. The first colon ends the queue and the last @ begins the score, so a
job id may hold both; what cannot be shown as it is (control characters, bytes that are no UTF-8, %) is
written %XX.
"""

import re
from datetime import datetime
from typing import NamedTuple

from dlqanalysis.errors import QueryError

#: what an id cannot show as it is, for Python and for RE2; bytes that are no UTF-8 go as surrogates
UNSHOWN = "[\\x00-\\x20\\x7f-\\xa0\u2028\u2029\ufeff%]"
_SHOWN = re.compile(rf"{UNSHOWN}|[\ud800-\udfff]")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


class Failure(NamedTuple):
    """One occurrence of a failure, in the bytes that Redis knows."""

    queue: bytes
    job: bytes
    score: bytes

    @property
    def text(self) -> str:
        """Its failure_id."""
        return f"{task_id(self.queue, self.job)}@{self.score.decode('ascii', 'replace')}"

    @property
    def field(self) -> bytes:
        """What the ledger of its queue calls it."""
        return self.job + b"\x1f" + self.score


class Keys:
    """The keys of one queue, and ours beside them: outside of `prefix:queue:*`, where BullMQ deletes."""

    def __init__(self, prefix: bytes, queue: bytes) -> None:
        self.queue, self.base = queue, prefix + b":" + queue
        self.ours = b"dlqanalysis:" + self.base  # keeps a {hash tag} of the prefix

    def __call__(self, part: bytes) -> bytes:
        """A key of the queue: `wait`, `failed`, `meta`, or a job by its id."""
        return self.base + b":" + part

    def ledger(self, month: str) -> bytes:
        """The hash that notes what was done in a month (2026-11): job and score -> action, run, time."""
        return self.ours + b":ledger:" + month.encode()

    @property
    def quarantine(self) -> bytes:
        """The sorted set of jobs in quarantine, with the score they had in `failed`."""
        return self.ours + b":quarantine"

    def set_aside(self, part: bytes) -> bytes:
        """Where a key of a job lies while the job is in quarantine."""
        return self.ours + b":quarantined:" + part

    def kept(self, one: Failure) -> bytes:
        """What a replay took out of a job, for who takes the replay back."""
        return self.ours + b":kept:" + one.field

    @property
    def paused(self) -> bytes:
        """Our note that we paused the queue: who, and when."""
        return self.ours + b":paused"


def shown(name: bytes) -> str:
    """Bytes as text that can be turned back: printable characters as they are, others %XX."""
    text = name.decode("utf-8", "surrogateescape")
    return _SHOWN.sub(_escape, text)


def named(text: str) -> bytes:
    """The bytes behind `shown` text."""
    name = text.encode()
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), name) if b"%" in name else name


def task_id(queue: bytes, job: bytes) -> str:
    """`queue:job`. BullMQ's own ids (1, 2, 3, ...) say nothing without their queue."""
    return f"{shown(queue).replace(':', '%3A')}:{shown(job)}"


def failure(text: str) -> Failure:
    """The occurrence behind a failure_id."""
    queue, colon, rest = text.partition(":")
    job, at, score = rest.rpartition("@")
    if not (colon and at and score):
        raise QueryError(
            f"'{text[:80]}' is no failure of BullMQ: those are queue:job@score. Take failure_id from a"
            " loaded frame."
        )
    return Failure(named(queue), named(job), score.encode())


def queue_of(text: str) -> bytes | None:
    """The queue of an id that names one at a time (`default@2026-11-22T07:00:00Z`); None for a failure's."""
    name, _, when = text.rpartition("@")
    if "T" not in when:
        return None
    try:
        datetime.fromisoformat(when.partition("/")[0])  # a state may follow
    except ValueError:
        return None
    return named(name)


def place(text: str) -> Failure:
    """The occurrence behind a failure_id; for the id of a queue what stands for it, its `meta`."""
    queue = queue_of(text)
    return failure(text) if queue is None else Failure(queue, b"meta", b"")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))
