"""How many failures wait in a failed_tasks table, by queue, from one aggregate query. Reads only."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dlqanalysis import readings
from dlqanalysis.errors import DLQError
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.sources.celery.read import CeleryTable

if TYPE_CHECKING:
    import pandas as pd


class TableMonitor:
    """The monitor of one failed_tasks table."""

    def __init__(self, source: CeleryTable) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"TableMonitor({self.name} in {self._source.address})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self._source.name

    def depths(self) -> "pd.DataFrame":
        """One row a queue: how many failures wait, and since when. A queue that is not noted is `(none)`."""
        import sqlalchemy as sa

        table = self._source.table
        queue = table.expression("queue") if table.has("queue") else sa.cast(sa.null(), sa.Text)
        queue = sa.func.nullif(queue, "")
        oldest = sa.func.min(table.expression("failed_at"))
        query = sa.select(queue.label("queue"), sa.func.count(), oldest).select_from(table.clause)
        query = query.group_by(sa.literal_column("1")).order_by(sa.literal_column("1"))
        if table.has("status"):
            query = query.where(table.expression("status") == table.word("failed"))
        with self._source.session() as connection:
            found = connection.execute(query).all()
        return readings.depths(self._row(*row) for row in found)

    def _row(self, queue: Any, depth: Any, oldest: Any) -> dict[str, Any]:
        return {
            "source": self.name,
            "queue": queue or "(none)",
            "state": "dead_lettered",
            "depth": depth,
            "oldest_at": oldest,
            "at": datetime.now(UTC),
        }

    def workers(self) -> "pd.DataFrame":
        """Nothing: a table knows no workers."""
        return readings.noted(
            readings.workers([]), f"{self.name} knows no workers: set DLQ_<NAME>_BROKER_URL."
        )

    def running(self) -> "pd.DataFrame":
        """Nothing: a table knows what failed, not what runs."""
        return readings.noted(
            empty(), f"{self.name} knows only what failed: set DLQ_<NAME>_BROKER_URL."
        )

    def health(self) -> list[Finding]:
        """Whether the database answers and the table is understood."""
        try:
            notes = self._source.table.notes
        except DLQError as error:
            return [Finding(name="postgres", severity="critical", text=str(error))]
        text = f"Postgres at {self._source.address} answers; {self.name} is understood."
        return [Finding(name="postgres", severity="ok", text=text, facts={"notes": list(notes)})]

    def close(self) -> None:
        """Nothing is kept open."""
