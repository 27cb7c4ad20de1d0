"""Dead letters of the Redis priority queue, read through its HTTP API."""

from collections.abc import Sequence
from datetime import UTC, tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import COLUMNS, HEAVY, arrow_type
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._http import Client
from dlqanalysis.sources._narrow import narrowed
from dlqanalysis.sources._priority import (
    PRIORITIES,
    Entry,
    Options,
    framed,
    hidden,
    naive,
    shown,
)
from dlqanalysis.sources.priority_api.client import REDIS_ROAD
from dlqanalysis.sources.priority_api.listing import Listed, Stats, listed, stats, task_of


class PriorityApiSource:
    """Reads with GET only; raw are the exact bytes that the server sent for an entry."""

    def __init__(self, client: Client, options: Options) -> None:
        self._client, self._options = client, options

    def __repr__(self) -> str:
        return f"PriorityApiSource({self.name})"

    @property
    def name(self) -> str:
        """`priority:host:5002`, with the path where it is not the usual one."""
        return self._client.place

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for. The server's own filters are not used: they look at a part only."""
        priorities = [p for p in PRIORITIES if not selection.queue or p in selection.queue]
        lists = [listed(self._client, priority) for priority in priorities]
        notes = [note for one in lists for note in one.notes]
        try:
            counted: Stats | None = stats(self._client)
            notes += _compared(lists, counted)
        except ConnectError as error:
            counted = None
            notes.append(f"The server's own count could not be asked: {error}")
        entries = [named for one in lists for named in one.named()]
        zone, said = self._zone([entry for _, entry in entries], counted)
        table = self._table(entries, zone)
        if selection.status:
            notes += hidden(table["status"].to_pylist())
        if self._client.in_clear and self._client.has_token:
            notes.append("The token goes unencrypted over http. Use priority+https where you can.")
        table, truncated, more = narrowed(table, selection)
        dropped = [name for name in ("raw",) if name not in columns]
        cut = truncated or any(one.cut for one in lists)
        return Read(table.drop_columns(dropped), cut, (*notes, *said, *more))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of the failures that the lists still have."""
        wanted = [name for name in COLUMNS if name == "failure_id" or name in columns]
        chosen = set(failure_ids)
        asked = {task_of(one)[0] for one in failure_ids}
        lists = [listed(self._client, priority) for priority in PRIORITIES if priority in asked]
        entries = [named for one in lists for named in one.named() if named[0] in chosen]
        zone = self._options.zone
        if zone is None and lists:
            zone = stats(self._client).zone
        return self._table(entries, zone or UTC).select(wanted)

    def _table(self, entries: Sequence[tuple[str, Entry]], zone: tzinfo) -> pa.Table:
        """All columns; expires_at is failed_at and the time that the server keeps its copy."""
        table = framed(entries, self.name, zone, HEAVY)
        ttl = pa.scalar(self._options.ttl, pa.duration("us"))
        failed = table["failed_at"].cast(arrow_type("failed_at"))
        place = table.column_names.index("expires_at")
        return table.set_column(place, "expires_at", pc.add(failed, ttl))

    def _zone(self, entries: Sequence[Entry], counted: Stats | None) -> tuple[tzinfo, list[str]]:
        """The zone of times without one, and what to say of it."""
        if self._options.zone:
            return self._options.zone, []
        times = (naive(entry.value("failed_at")) for entry in entries)
        if all(time is None or time.tzinfo for time in times):
            return UTC, []
        if counted and counted.zone:
            return counted.zone, [
                f"failed_at has no zone: it is the server's local time, which is {shown(counted.zone)} by its"
                " timestamp beside its Date header. Say ?tz=Europe/Berlin in the URL where the workers' clock"
                " is another, or summer time changed since."
            ]
        return UTC, [
            "failed_at has no zone and the server's clock tells none: taken for UTC. Say ?tz=Europe/Berlin in"
            " the URL if it is another."
        ]

    def close(self) -> None:
        """Give connections back."""
        self._client.close()


def _compared(lists: Sequence[Listed], counted: Stats) -> list[str]:
    """Notes where the server's own counts are others than its lists."""
    notes = []
    for one in lists:
        theirs = counted.counts.get(one.priority)
        if theirs is not None and theirs != len(one.entries) and not one.notes:
            notes.append(
                f"{one.priority}: the server counts {theirs:,} entries, its list has {len(one.entries):,}."
                " Some may have come or gone while reading, or cannot be read by the server: to be sure,"
                f" {REDIS_ROAD}."
            )
    if not any(one.entries for one in lists) and not any(counted.counts.values()):
        notes.append(
            "The server shows no entry and counts none. A published variant of this API says so whatever"
            f" there is: to be sure, {REDIS_ROAD}."
        )
    return notes
