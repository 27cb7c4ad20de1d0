"""Reads dead-letter queues: once, into a snapshot in memory that answers everything asked for afterwards.

A queue cannot be looked at without taking its messages and giving them back; quorum queues count that, and
drop what exceeds their delivery limit. So one read serves a whole investigation.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import COLUMNS, HEAVY, to_arrow
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import narrowed
from dlqanalysis.sources.rabbitmq.held import Hold, Limit
from dlqanalysis.sources.rabbitmq.link import LOST
from dlqanalysis.sources.rabbitmq.queues import Queues
from dlqanalysis.sources.rabbitmq.rows import record
from dlqanalysis.text import many

_AGE = 300.0  #: seconds that a snapshot answers for
#: queue -> what was said, for which limit, when: a refusal is not asked for twice
_REFUSED: dict[str, tuple[str, Limit | None, float]] = {}
_PATIENCE = 10.0  #: seconds to wait for a run that is acting on the queue


@dataclass(frozen=True, slots=True)
class _Snapshot:
    table: pa.Table
    notes: tuple[str, ...]
    cut: bool
    taken: float


class RabbitSource:
    """The source for the dead-letter queues of one vhost."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._snapshot: _Snapshot | None = None

    def __repr__(self) -> str:
        return f"RabbitSource({self.name} at {self._queues.address})"

    @property
    def name(self) -> str:
        """`rabbitmq:memos.dlq`, with the vhost where it is not the default one."""
        return self._queues.address.name

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The messages asked for, from one read of the queues that serves for five minutes."""
        taken = self._fresh()
        table, truncated, cut = narrowed(taken.table, selection)
        notes = [*taken.notes, *_told(taken.table, selection), *cut]
        drop = [name for name in HEAVY if name not in columns]
        return Read(table.drop_columns(drop), truncated or taken.cut, tuple(notes))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, as they were read: looking again would count as a delivery."""
        table = (self._snapshot or self._fresh()).table
        names = [n for n in table.column_names if n == "failure_id" or n in columns]
        wanted = pa.array(list(failure_ids), pa.string())
        return table.select(names).filter(pc.is_in(table["failure_id"], wanted))

    def reread(self) -> None:
        """Forget the snapshot, so that the next load reads the queues again."""
        self._snapshot = None

    def _fresh(self) -> _Snapshot:
        if self._snapshot is None or time.monotonic() - self._snapshot.taken > _AGE:
            with self._answering():
                self._snapshot = self._take()
        return self._snapshot

    def _take(self) -> _Snapshot:
        records: list[dict[str, Any]] = []
        notes = [
            f"Read at {datetime.now(UTC):%H:%M:%S}Z; later loads of this source show the same for 5 minutes"
            " (source.reread() forgets it)."
        ]
        cut = False
        try:
            for queue in self._queues.address.queues:
                facts = self._queues.facts(queue)
                held = self._queues.held(queue, facts.limit)
                if not self._queues.link.lock(queue, _PATIENCE):
                    raise ConnectError(
                        f"A run of dlqanalysis is acting on '{queue}' and holds its messages. Load again when"
                        " it has ended."
                    )
                try:
                    self._look(held)
                    messages = list(held.messages.values())
                finally:
                    held.release()  # first: whoever else wants them need not wait for us
                records += [record(m, facts.ttl) for m in messages]
                cut = cut or held.cut
                notes += self._notes(queue, facts.kind, held, facts.others)
        finally:
            self._queues.link.drop()
        table = to_arrow(records, COLUMNS, source=self.name)
        return _Snapshot(table, tuple(notes), cut, time.monotonic())

    def _look(self, held: Hold) -> None:
        """Hold the messages, unless one says that giving it back a few times more would cost it."""
        place = f"{self._queues.address}/{self._queues.address.vhost}/{held.queue}"
        said, limit, when = _REFUSED.get(place, ("", None, 0.0))
        republishes = self._queues.address.republishes
        if limit == held.limit and time.monotonic() - when < _AGE and not republishes:
            raise ConnectError(said)  # asking the queue again would count once more
        held.first()
        if held.worn is None or republishes:
            held.pull(enough=None if republishes else lambda held: held.worn is not None)
        if held.worn is not None and not republishes:
            sentence = self._refusal(held)
            _REFUSED[place] = sentence, held.limit, time.monotonic()
            raise ConnectError(sentence)

    def _refusal(self, held: Hold) -> str:
        if held.limit.known:
            return (
                f"'{held.queue}' was not read: a message of it was given back {_times(held.worn)}, and its delivery"
                f" limit is {held.limit.value}. Reading would soon drop messages. Raise the limit (a policy with"
                " delivery-limit), or add &near_limit=republish to the URL: it puts such messages to the end anew."
            )
        return (
            f"'{held.queue}' was not read: it is a quorum queue, a message of it was given back"
            f" {_times(held.worn)}, and its delivery limit is not known. {self._queues.advice(held.queue)}"
        )

    def _notes(self, queue: str, kind: str | None, held: Hold, others: int | None) -> Iterator[str]:
        if held.cut:
            yield (
                f"'{queue}' holds more than was read at most ({held.most:,} messages or 512 MB, the oldest"
                " first). Raise ?most= in the URL."
            )
        if held.counts and held.limit.value is not None:
            yield f"'{queue}' is a quorum queue: each read counts against its delivery limit of {held.limit.value}."
        elif held.counts and not held.limit.known:
            yield (
                f"'{queue}' is a quorum queue whose delivery limit is not known, so a second read will be"
                f" refused. {self._queues.advice(queue)}"
            )
        elif kind is None:
            yield (
                f"Type and arguments of '{queue}' are not known: set {self._queues.variable} to learn its"
                " time-to-live and limits."
            )
        if others:
            yield f"Not shown: {many(others, 'messages')} of '{queue}' that somebody else holds."

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except LOST as error:
            self._queues.link.drop()
            raise ConnectError(
                f"RabbitMQ at {self._queues.address} broke off ({type(error).__name__}). Nothing was lost;"
                " load again."
            ) from None

    def close(self) -> None:
        """Give connections back."""
        self._queues.close()


def _times(count: int | None) -> str:
    return "once" if count == 1 else f"{count} times"


def _told(table: pa.Table, selection: Selection) -> Iterator[str]:
    """What a filter by status leaves out without having failed."""
    for word, how in (("expired", "waited too long"), ("maxlen", "were pushed out by newer ones")):
        count = pc.sum(pc.equal(table["status"].cast(pa.string()), word)).as_py() or 0
        if count:
            yield (
                f"{count:,} messages {how} and never ran: their status is {word}, they are no failures."
                + (
                    ""
                    if not selection.status or word in selection.status
                    else f" status='{word}' shows them."
                )
            )
