"""An API that tells of BullMQ queues, `queue+https://host/api/v1`: metrics, health, and pauses where it has them.

Reads: DLQ_<NAME>_URL (or DLQ_<NAME>_MONITOR_URL) and DLQ_<NAME>_TOKEN, an API key or a JWT. The hand:
DLQ_<NAME>_HAND_TOKEN, else DLQ_<NAME>_TOKEN. It has no failures: those are in Redis (bullmq+redis://).
"""

from typing import NoReturn

from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources.queue_api.client import open_client
from dlqanalysis.sources.queue_api.hand import QueueHand
from dlqanalysis.sources.queue_api.monitor import QueueMonitor

__all__ = ["QueueHand", "QueueMonitor", "open_hand", "open_monitor", "open_source"]

CAN = {
    "monitor": "counts of each queue, the API's own health, its log where it has that route; workers and running jobs"
    " it does not tell",
    "pause": "one request a queue where the API has that route, proved by reading the queue again",
    "unpause": "one request a queue where the API has that route, proved by reading the queue again",
    "settle": "from the queue itself, where the API shows whether it is paused",
}
CANNOT = {
    "read": "the API counts failed jobs and shows none: read them from its Redis, bullmq+redis://",
    "replay": "the API has no such route: replay from its Redis, bullmq+redis://",
    "purge": "its clean deletes any failed jobs, as many as it likes: purge by plan from its Redis",
    "outcome": "the API tells of no single job",
}


def open_source(url: str, name: str = "queue") -> NoReturn:
    """The API shows no failures: says where they are."""
    raise SettingsError(
        "A queue API counts failed jobs but shows none. Set DLQ_<NAME>_URL to the Redis behind it"
        " (bullmq+redis://host/0?queues=...), and DLQ_<NAME>_MONITOR_URL to this one for dlq.depths."
    )


def open_monitor(url: str, name: str = "queue") -> QueueMonitor:
    """What tells of the queues, with the key of DLQ_<NAME>_TOKEN. Connects when it is first asked."""
    return QueueMonitor(
        open_client(url, setting(name, "TOKEN"), token_name=variable_of(name, "TOKEN"))
    )


def open_hand(url: str, name: str = "queue") -> QueueHand:
    """The hand that pauses and unpauses, with the key of DLQ_<NAME>_HAND_TOKEN, else the monitor's."""
    part = "HAND_TOKEN" if setting(name, "HAND_TOKEN") else "TOKEN"
    return QueueHand(open_client(url, setting(name, part), token_name=variable_of(name, part)))
