"""The admin API of a Celery system, `admin+https://host/api/v1/admin/dlq`.

Reads: DLQ_<NAME>_URL, DLQ_<NAME>_TOKEN. The hand: DLQ_<NAME>_HAND_TOKEN, else
DLQ_<NAME>_TOKEN; and DLQ_<NAME>_RESULTS_URL, where it learns that a replayed task succeeded.
"""

from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources._results import connect as connect_results
from dlqanalysis.sources.admin_api.client import open_client
from dlqanalysis.sources.admin_api.hand import AdminHand
from dlqanalysis.sources.admin_api.monitor import AdminMonitor
from dlqanalysis.sources.admin_api.source import AdminSource

__all__ = ["AdminHand", "AdminMonitor", "AdminSource", "open_hand", "open_monitor", "open_source"]

CAN = {
    "read": "its listing, page by page, checked against its statistics",
    "replay": "one request a task, its state read before and after",
    "archive": "one request a task where its OpenAPI document has POST /archive, its state read before and after",
    "outcome": "from the listing and the result backend",
    "settle": "from the task's state and count of replays",
    "monitor": "counts by queue from its statistics; its alerts and its health page",
}
CANNOT = {
    "restore": "the API has no way back from archived: set the status back in the table",
    "repair": "the API replays rows as they are: mend them in the table, or replay through the broker",
    "quarantine": "the API has no such place",
    "purge": "the API deletes nothing",
    "undo": "a published task cannot be called back",
}


def open_source(url: str, name: str = "admin") -> AdminSource:
    """A source for an admin+https URL, with the token of DLQ_<NAME>_TOKEN."""
    return AdminSource(
        open_client(url, setting(name, "TOKEN"), token_name=variable_of(name, "TOKEN"))
    )


def open_hand(url: str, name: str = "admin") -> AdminHand:
    """A hand for the same URL, with the token of DLQ_<NAME>_HAND_TOKEN, else the source's."""
    part = "HAND_TOKEN" if setting(name, "HAND_TOKEN") else "TOKEN"
    client = open_client(url, setting(name, part), token_name=variable_of(name, part))
    return AdminHand(client, results=connect_results(name))


def open_monitor(url: str, name: str = "admin") -> AdminMonitor:
    """What tells how the queue is, at the same URL, with the source's token."""
    return AdminMonitor(
        open_client(url, setting(name, "TOKEN"), token_name=variable_of(name, "TOKEN"))
    )
