"""How the queues are now, from Redis: depths of what waits, is delayed and is dead-lettered."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.sources._priority import PRIORITIES, Entry, when
from dlqanalysis.sources.priority_redis import preflight
from dlqanalysis.sources.priority_redis.address import Address
from dlqanalysis.sources.priority_redis.keys import Keys

if TYPE_CHECKING:
    import redis


class PriorityRedisMonitor:
    """Reads with LLEN, LINDEX, ZCARD and CLIENT LIST."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.keys = Keys(address.prefix)
        self._client: redis.Redis | None = None

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    @property
    def client(self) -> "redis.Redis":
        """The connection, opened when first asked for."""
        if self._client is None:
            self._client = self.address.connect(writes=False)
        return self._client

    def depths(self) -> pd.DataFrame:
        """One row a priority and state: waiting, dead_lettered; and delayed, for all priorities together."""
        rows: list[dict[str, Any]] = []
        with self._clear():
            for priority in PRIORITIES:
                dead = self.keys.dead(priority)
                oldest = self.client.lindex(dead, -1)
                zone = self.address.options.zone
                rows += [
                    self._row(priority, "waiting", self.client.llen(self.keys.queue(priority))),
                    self._row(priority, "dead_lettered", self.client.llen(dead))
                    | {
                        "oldest_at": when(Entry.of(priority, oldest).value("failed_at"), zone)
                        if oldest and zone
                        else None
                    },
                ]
            rows.append(self._row("retry", "delayed", self.client.zcard(self.keys.waiting)))
        return readings.depths(rows)

    def workers(self) -> pd.DataFrame:
        """None: the system keeps no record of its workers."""
        nothing = readings.workers([])
        with self._clear():
            said = [finding.text for finding in preflight.workers(self.client)]
        nothing.attrs["notes"] = [f"{self.name} keeps no record of its workers. {' '.join(said)}"]
        return nothing

    def running(self) -> pd.DataFrame:
        """None: a task that a worker holds stands in no list."""
        nothing = empty()
        nothing.attrs["notes"] = [f"{self.name} has no list of the tasks that workers hold."]
        return nothing

    def health(self) -> list[Finding]:
        """Whether it answers, and whether somebody waits for tasks while there are some."""
        with self._clear():
            self.client.ping()
            depth = sum(self.client.llen(self.keys.queue(p)) for p in PRIORITIES)
            found = [Finding(name="redis", severity="ok", text=f"{self.name} answers.")]
            for finding in preflight.workers(self.client):
                if depth or finding.severity == "ok":
                    found.append(finding)
        return found

    def close(self) -> None:
        """Give connections back."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _row(self, queue: str, state: str, depth: int) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {"source": self.name, "queue": queue, "state": state, "depth": depth, "at": now}

    @contextmanager
    def _clear(self) -> Iterator[None]:
        import redis

        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise self.address.trouble(error) from None
