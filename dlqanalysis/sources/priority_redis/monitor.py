"""How the queues are now, from Redis: depths of what waits, is delayed and is dead-lettered."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.redact import redact
from dlqanalysis.sources._priority import PRIORITIES, Entry, when
from dlqanalysis.sources._redis_health import keeps
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.priority_redis import preflight
from dlqanalysis.sources.priority_redis.address import Address
from dlqanalysis.sources.priority_redis.keys import Keys
from dlqanalysis.text import decoded

_LATE = timedelta(minutes=15)  # it looks every few minutes


class PriorityRedisMonitor:
    """Reads with LLEN, LINDEX, ZCARD, HGET and CLIENT LIST."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.keys = Keys(address.prefix)
        self.link = Link(address)

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    def depths(self) -> pd.DataFrame:
        """One row a priority and state: waiting, dead_lettered; and delayed, for all priorities together."""
        rows: list[dict[str, Any]] = []
        with self.link.clear():
            for priority in PRIORITIES:
                dead = self.keys.dead(priority)
                oldest = self.link.client.lindex(dead, -1)
                zone = self.address.options.zone
                rows += [
                    self._row(
                        priority, "waiting", self.link.client.llen(self.keys.queue(priority))
                    ),
                    self._row(priority, "dead_lettered", self.link.client.llen(dead))
                    | {
                        "oldest_at": when(Entry.of(priority, oldest).value("failed_at"), zone)
                        if oldest and zone
                        else None
                    },
                ]
            rows.append(self._row("retry", "delayed", self.link.client.zcard(self.keys.waiting)))
        return readings.depths(rows)

    def workers(self) -> pd.DataFrame:
        """None: the system keeps no record of its workers."""
        with self.link.clear():
            said = [finding.text for finding in preflight.workers(self.link.client)]
        return readings.noted(
            readings.workers([]), f"{self.name} keeps no record of its workers. {' '.join(said)}"
        )

    def running(self) -> pd.DataFrame:
        """None: a task that a worker holds stands in no list."""
        return readings.noted(empty(), f"{self.name} has no list of the tasks that workers hold.")

    def health(self) -> list[Finding]:
        """Whether it answers and keeps what it holds, whether somebody waits for tasks while there are some, and when the system's own
        monitor last looked."""
        with self.link.clear():
            self.link.client.ping()
            depth = sum(self.link.client.llen(self.keys.queue(p)) for p in PRIORITIES)
            found = [
                Finding(name="redis", severity="ok", text=f"{self.name} answers."),
                *keeps(self.link.client, self.address),
            ]
            for finding in preflight.workers(self.link.client):
                if depth or finding.severity == "ok":
                    found.append(finding)
            return [*found, *self._watcher()]

    def _watcher(self) -> Iterator[Finding]:
        """What the system's own monitor left: with ?tz= also whether that is long ago."""
        import redis

        try:
            last = self.link.client.hget(self.keys.metrics, "last_check")
        except redis.ResponseError:
            return  # this user may not see it
        if last is None:
            text = "The system's own monitor has left no figures (metrics:dlq): do not count on its alerts."
            yield Finding(name="watcher", severity="ok", text=text)
            return
        written = decoded(last)[:40]
        zone = self.address.options.zone
        moment = when(written, zone) if zone else None
        late = moment is not None and datetime.now(UTC) - moment > _LATE
        told = f"The system's own monitor last looked at {redact(written)}, by its clock"
        yield Finding(
            name="watcher",
            severity="warning" if late else "ok",
            text=f"{told}: its alerts do not come. Start it again." if late else f"{told}.",
        )

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def _row(self, queue: str, state: str, depth: int) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {"source": self.name, "queue": queue, "state": state, "depth": depth, "at": now}
