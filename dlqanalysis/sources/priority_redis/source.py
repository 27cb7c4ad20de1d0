"""Dead letters of the Redis priority queue, read from its lists: every element, also what is no JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import pyarrow as pa

from dlqanalysis.frame import COLUMNS, HEAVY
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import narrowed
from dlqanalysis.sources._priority import PRIORITIES, Entry, framed, hidden, naive, offset, shown
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.priority_redis.address import Address
from dlqanalysis.sources.priority_redis.entries import listed, tasks
from dlqanalysis.sources.priority_redis.keys import Keys, priority_of
from dlqanalysis.text import many


class PriorityRedisSource:
    """The lists dlq:high, dlq:normal and dlq:low of one Redis database. Reads with LRANGE, HMGET, PEXPIRETIME."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.keys = Keys(address.prefix)
        self.link = Link(address)

    def __repr__(self) -> str:
        return f"PriorityRedisSource({self.name})"

    @property
    def name(self) -> str:
        """`priority:host:6379/0`."""
        return self.address.name

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for; raw are the element's bytes."""
        priorities = [p for p in PRIORITIES if not selection.queue or p in selection.queue]
        entries, known, notes = self._all(priorities)
        zone, said = self._zone(entries, known)
        table = framed(entries, self.name, zone, {*columns, *HEAVY}, _dated(known))
        if selection.status:
            notes += hidden(table["status"].to_pylist())
        table, truncated, more = narrowed(table, selection)
        unreadable = sum(state == "unreadable" for state in table["payload_state"].to_pylist())
        if unreadable:
            notes.append(
                f"{many(unreadable, 'unreadable entries')}, no JSON or without a payload that is: kept as found,"
                " not to be replayed."
            )
        names = zip(table["task_id"].to_pylist(), table["expires_at"].to_pylist(), strict=True)
        expired = sum(task is not None and moment is None for task, moment in names)
        if expired:
            notes.append(
                f"{expired:,} of {table.num_rows:,} entries have no dlq:task copy (any more): the system's own"
                " retry does not find them; a replay through Redis does."
            )
        dropped = [name for name in HEAVY if name not in columns and name != "traceback"]
        return Read(table.drop_columns(dropped), truncated, (*notes, *said, *more))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of the failures that are still there."""
        wanted = [name for name in COLUMNS if name == "failure_id" or name in columns]
        chosen = set(failure_ids)
        priorities = [p for p in PRIORITIES if p in set(map(priority_of, failure_ids))]
        entries, known, _ = self._all(priorities)
        zone, _ = self._zone(entries, known)
        mine = [one for one in entries if one[0] in chosen]
        return framed(mine, self.name, zone, HEAVY, _dated(known)).select(wanted)

    def _all(
        self, priorities: Sequence[str]
    ) -> tuple[list[tuple[str, Entry]], dict[str, dict[str, Any]], list[str]]:
        with self.link.clear():
            entries, notes = listed(self.link.client, self.keys, priorities)
            return entries, tasks(self.link.client, self.keys, entries), notes

    def _zone(
        self, entries: Sequence[tuple[str, Entry]], known: Mapping[str, Mapping[str, Any]]
    ) -> tuple[tzinfo, list[str]]:
        """The zone of times without one: the URL's, else as measured by what expires; and what to say of it."""
        options = self.address.options
        if options.zone:
            return options.zone, []
        times = {key: naive(entry.value("failed_at")) for key, entry in entries}
        bare = {key: time for key, time in times.items() if time and time.tzinfo is None}
        if not bare:
            return UTC, []
        measured: Counter[tzinfo | None] = Counter()
        for key, time in bare.items():
            if expiry := known.get(key, {}).get("expiry"):
                failed = datetime.fromtimestamp(expiry / 1000, UTC) - options.ttl
                measured[offset(time, failed)] += 1
        zone, votes = measured.most_common(1)[0] if measured else (None, 0)
        # what expires after another time than ttl= measures any zone, each entry its own
        if zone is None or votes * 2 <= measured.total():
            return UTC, [
                "failed_at has no zone and nothing here tells it: taken for UTC. Say ?tz=Europe/Berlin in"
                " the URL if the system's clock is another."
            ]
        doubt = " Not all agree: say ?tz= in the URL." if len(measured) > 1 else ""
        return zone, [
            f"failed_at has no zone; by what expires {options.ttl.days} days after it, it is in"
            f" {shown(zone)}.{doubt}"
        ]

    def close(self) -> None:
        """Give connections back."""
        self.link.close()


def _dated(known: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is known of tasks, with the expiry as a moment."""
    return {
        key: {**one, "expires_at": datetime.fromtimestamp(one["expiry"] / 1000, UTC)}
        if "expiry" in one
        else dict(one)
        for key, one in known.items()
    }
