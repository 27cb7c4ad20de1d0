"""How the dead-letter queue behind an admin API is now, in the server's own words. Reads with GET only."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dlqanalysis import readings
from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.sources._http import Client
from dlqanalysis.sources.admin_api import preflight
from dlqanalysis.sources.admin_api.deployment import Deployment
from dlqanalysis.sources.admin_api.source import AdminSource

if TYPE_CHECKING:
    import pandas as pd


class AdminMonitor:
    """The monitor of one deployment."""

    def __init__(self, client: Client) -> None:
        self._api, self._source = Deployment(client), AdminSource(client)

    def __repr__(self) -> str:
        return f"AdminMonitor({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self._api.name

    def depths(self) -> "pd.DataFrame":
        """One row a queue, from /stats; `(all)` where the server does not tell them apart."""
        stats = self._source.stats()
        oldest, counts = stats["oldest_failure"], stats["by_queue"]
        notes = []
        if not counts and stats["total_failed"] != 0:
            counts = {"(all)": stats["total_failed"]}
        if oldest and len(counts) > 1:
            notes.append(
                f"The oldest failure is of {oldest:%Y-%m-%d %H:%M}Z; {self.name} does not say of which queue."
            )
        at = datetime.now(UTC)
        found = readings.depths(
            {
                "source": self.name,
                "queue": queue,
                "state": "dead_lettered",
                "depth": depth,
                "oldest_at": oldest if len(counts) == 1 else None,
                "at": at,
            }
            for queue, depth in counts.items()
        )
        found.attrs["notes"] = notes
        return found

    def workers(self) -> "pd.DataFrame":
        """Nothing: the API knows no workers."""
        return readings.noted(
            readings.workers([]), f"{self.name} knows no workers: set DLQ_<NAME>_BROKER_URL."
        )

    def running(self) -> "pd.DataFrame":
        """Nothing: the API knows what failed, not what runs."""
        return readings.noted(
            empty(), f"{self.name} knows only what failed: set DLQ_<NAME>_BROKER_URL."
        )

    def health(self) -> list[Finding]:
        """The server's alert, the alert in its statistics, and the host's health page."""
        try:
            found, stats = [self._source.alerts()], self._source.stats()
        except ConnectError as error:
            return [Finding(name="admin_api", severity="critical", text=str(error))]
        if stats["alert"] is not None:
            said = stats["reason"] or ("an alert" if stats["alert"] else "no alert")
            severity = "warning" if stats["alert"] else "ok"
            text = f"{self.name} counts {stats['total_failed']} failed tasks: {said}"
            found.append(Finding(name="admin_stats", severity=severity, text=text))
        return [*found, *preflight.health(self._api.client, self._api.dialect)]

    def close(self) -> None:
        """Give connections back."""
        self._source.close()
