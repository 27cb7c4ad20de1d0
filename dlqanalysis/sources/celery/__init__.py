"""Celery with a Postgres table of failed tasks, `postgresql://host/database?table=failed_tasks`.

Reads: DLQ_<NAME>_URL. The hand: DLQ_<NAME>_HAND_URL, DLQ_<NAME>_BROKER_URL, DLQ_<NAME>_RESULTS_URL.
"""

from typing import TYPE_CHECKING

from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.monitor import TableMonitor
from dlqanalysis.sources.celery.read import CeleryTable

if TYPE_CHECKING:
    from dlqanalysis.sources.celery.hand import CeleryHand

__all__ = ["CeleryTable", "TableMonitor", "open_hand", "open_monitor", "open_source"]

CAN = {
    "read": "rows of the table, without their tracebacks unless asked; read-only session",
    "replay": "claims the row, publishes with a confirm under a new id, marks the row",
    "repair": "other args or kwargs go under the new id; the row stays as it was, linked to it",
    "reroute": "to the queue that the profile's [routes] names for its task, as plan and journal have it",
    "archive": "marks the row as archived and notes what its status was",
    "restore": "gives an archived row the status it had, where nobody changed it since",
    "monitor": "how many failures wait, by queue, from one aggregate query",
    "outcome": "from task_executions, new failures and the result backend",
    "settle": "from the claim, the broker's ledger and the result backend",
}
CANNOT = {
    "undo": "a published task cannot be called back; revoke it in Celery while it waits",
    "quarantine": "a row is in nobody's way; archive it",
    "purge": "the table is the record: its owner deletes rows",
}


def open_source(url: str, name: str = "celery") -> CeleryTable:
    """The source at a URL, whatever its name. Connects when it is first read."""
    return CeleryTable(Address.parse(url))


def open_hand(url: str, name: str = "celery") -> "CeleryHand":
    """The hand: the table at this URL, and the broker of DLQ_<NAME>_BROKER_URL."""
    from dlqanalysis.sources.celery.hand import (
        CeleryHand,
    )  # who only reads needs no broker's client

    return CeleryHand.connect(url, name=name)


def open_monitor(url: str, name: str = "celery") -> TableMonitor:
    """What tells how many failures wait, at the same URL. Reads only."""
    return TableMonitor(CeleryTable(Address.parse(url)))
