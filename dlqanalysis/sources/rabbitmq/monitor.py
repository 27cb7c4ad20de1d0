"""How the queues of a vhost are now: asked of the management API, or by passive declare. Takes no message."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dlqanalysis import readings
from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.sources import _amqp
from dlqanalysis.sources.rabbitmq.link import LOST
from dlqanalysis.sources.rabbitmq.queues import Queues

if TYPE_CHECKING:
    import pandas as pd

_FEW = 0.1  #: share of memory or disk above the alarm that is little


class RabbitMonitor:
    """The monitor of one vhost."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def __repr__(self) -> str:
        return f"RabbitMonitor({self.name} at {self._queues.address})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self._queues.address.name

    def depths(self) -> "pd.DataFrame":
        """Waiting and unacknowledged messages of every queue of the vhost; those of the URL are dead_lettered.

        Without the management API: the ready messages of the queues of the URL.
        """
        with self._asking():
            return self._depths()

    def _depths(self) -> "pd.DataFrame":
        rows, notes = [], []
        if self._queues.management:
            for told in self._queues.management.queues():
                rows += self._states(told)
        else:
            notes.append(
                f"Only the dead-letter queues are known, and not what is unacknowledged: set"
                f" {self._queues.variable} to see every queue of the vhost."
            )
            for queue in self._queues.address.queues:
                depth = self._queues.link.depth(queue)
                if depth is None:
                    notes.append(f"There is no queue '{queue}'. Check ?queue= and the vhost.")
                    continue
                rows.append(self._row(queue, "dead_lettered", depth[0], depth[1]))
        found = readings.depths(rows)
        found.attrs["notes"] = notes
        return found

    def _states(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        name = str(told.get("name"))
        if told.get("exclusive") or name.startswith("dlqanalysis.lock."):
            return []  # replies and locks: nobody's work
        if name.startswith(_amqp.DELAYING):
            ready = told.get("messages_ready")
            return [self._row(name, "delayed", ready, told.get("consumers"))] if ready else []
        waiting = "dead_lettered" if name in self._queues.address.queues else "waiting"
        consumers = told.get("consumers")
        head = told.get("head_message_timestamp")
        oldest = datetime.fromtimestamp(head, UTC) if isinstance(head, int) and head else None
        return [
            self._row(name, waiting, told.get("messages_ready"), consumers, oldest),
            self._row(name, "unacked", told.get("messages_unacknowledged"), consumers),
        ]

    def _row(
        self,
        queue: str,
        state: str,
        depth: int | None,
        consumers: int | None,
        oldest: datetime | None = None,
    ) -> dict[str, Any]:
        return {
            "source": self.name,
            "queue": queue,
            "state": state,
            "depth": depth,
            "consumers": consumers,
            "oldest_at": oldest,
            "at": datetime.now(UTC),
        }

    def workers(self) -> "pd.DataFrame":
        """Nothing: a broker knows consumers, not workers."""
        return readings.noted(
            readings.workers([]),
            f"{self.name} knows consumers, not workers: ask Celery's own broker URL for them.",
        )

    def running(self) -> "pd.DataFrame":
        """Nothing: what workers hold is shown by count only, as unacked in `depths`."""
        return readings.noted(empty(), f"{self.name} does not tell which tasks run, only how many.")

    def health(self) -> list[Finding]:
        """Whether the broker answers; alarms, memory, disk and connections where the management API is set."""
        try:
            with self._asking():
                return self._health()
        except ConnectError as error:
            return [Finding(name="rabbitmq", severity="critical", text=str(error))]

    def _health(self) -> list[Finding]:
        version = ".".join(str(part) for part in self._queues.link.version)
        text = f"RabbitMQ {version} at {self._queues.address} answers."
        found = [Finding(name="rabbitmq", severity="ok", text=text)]
        if not self._queues.management:
            text = f"Alarms, memory and disk are not known: set {self._queues.variable}."
            return [*found, Finding(name="management", severity="ok", text=text)]
        for node in self._queues.management.nodes():
            found += _node(node)
        totals = self._queues.management.totals()
        count = totals.get("connections")
        text = f"{'An unknown number of' if count is None else count} connections are open."
        return [*found, Finding(name="connections", severity="ok", text=text, facts=totals)]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """No connection stays open between two questions: a monitor is often asked once and forgotten."""
        try:
            yield
        except LOST as error:
            raise ConnectError(
                f"RabbitMQ at {self._queues.address} broke off ({type(error).__name__}). Ask again."
            ) from None
        finally:
            self._queues.link.drop()

    def close(self) -> None:
        """Give connections back."""
        self._queues.close()


def _node(node: dict[str, Any]) -> list[Finding]:
    name, found = str(node.get("name")), []
    for what, alarm, used, most in (
        ("memory", "mem_alarm", node.get("mem_used"), node.get("mem_limit")),
        ("disk", "disk_free_alarm", node.get("disk_free_limit"), node.get("disk_free")),
    ):
        left = 1 - used / most if isinstance(used, int) and isinstance(most, int) and most else None
        severity, text = "ok", f"{name} has {what} left."
        if node.get(alarm):
            severity = "critical"
            text = f"{name} is out of {what}: RabbitMQ takes no messages. Free some, or add more."
        elif left is not None and left < _FEW:
            severity, text = "warning", f"{name} has {left:.0%} of its {what} left before an alarm."
        facts = {"left": left} if left is not None else {}
        found.append(Finding(name=f"{what} {name}", severity=severity, text=text, facts=facts))
    return found
