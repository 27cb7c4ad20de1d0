"""How the queue is now, as its API tells: dead letters by priority, and its own health."""

from datetime import UTC, datetime

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.sources._http import Client
from dlqanalysis.sources._priority import PRIORITIES
from dlqanalysis.sources.priority_api import preflight
from dlqanalysis.sources.priority_api.listing import stats


class PriorityApiMonitor:
    """Reads GET /stats and /health."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self._client.place

    def depths(self) -> pd.DataFrame:
        """One row a priority: dead_lettered. What waits, the API does not tell."""
        counted, now = stats(self._client), datetime.now(UTC)
        found = readings.depths(
            {
                "source": self.name,
                "queue": priority,
                "state": "dead_lettered",
                "depth": counted.counts.get(priority),
                "at": now,
            }
            for priority in PRIORITIES
        )
        found.attrs["notes"] = [
            f"{self.name} does not tell how many tasks wait: priority+redis:// does."
        ]
        return found

    def workers(self) -> pd.DataFrame:
        """None: the API knows no workers."""
        return readings.noted(readings.workers([]), f"{self.name} tells nothing of its workers.")

    def running(self) -> pd.DataFrame:
        """None: the API knows only dead letters."""
        return readings.noted(empty(), f"{self.name} tells nothing of what runs.")

    def health(self) -> list[Finding]:
        """What the server says of itself."""
        return list(preflight.health(self._client))

    def close(self) -> None:
        """Give connections back."""
        self._client.close()
