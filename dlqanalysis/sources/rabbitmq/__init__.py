"""RabbitMQ dead-letter queues, `amqp://user:password@host/vhost?queue=memos.dlq`.

Reads: DLQ_<NAME>_URL, and DLQ_<NAME>_MANAGEMENT_URL for types, limits and times-to-live. The hand:
DLQ_<NAME>_HAND_URL, else DLQ_<NAME>_URL; and DLQ_<NAME>_RESULTS_URL, where it learns that a task succeeded.
"""

from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources._results import connect as connect_results
from dlqanalysis.sources.rabbitmq.address import Address
from dlqanalysis.sources.rabbitmq.hand import RabbitHand
from dlqanalysis.sources.rabbitmq.monitor import RabbitMonitor
from dlqanalysis.sources.rabbitmq.queues import Queues
from dlqanalysis.sources.rabbitmq.source import RabbitSource

__all__ = [
    "RabbitHand",
    "RabbitMonitor",
    "RabbitSource",
    "open_hand",
    "open_monitor",
    "open_source",
]

CAN = {
    "read": "one look at the whole queue under a short lock, refused near its delivery limit; everything is given"
    " back",
    "replay": "one channel transaction: publish to its first queue and acknowledge",
    "repair": "a new body, whole or as args and kwargs, goes in the same transaction; headers are kept",
    "reroute": "to the queue that the profile's [routes] names for its task, as plan and journal have it",
    "quarantine": "moved to a queue beside the dead-letter queue",
    "restore": "moved back from the queue beside it, under the id it had",
    "purge": "acknowledged after the run's snapshot",
    "outcome": "from the dead-letter queue and the result backend",
    "settle": "still in the dead-letter queue, or not",
    "monitor": "depths of the vhost's queues, alarms, memory and disk from the management API; else depths of the"
    " dead-letter queues",
}
CANNOT = {
    "undo": "a message in a queue cannot be taken out by name",
    "archive": "a queue is no archive: the snapshot of a purge is",
}


def open_source(url: str, name: str = "rabbitmq") -> RabbitSource:
    """The source at a URL, whatever its name. Connects when it is first read."""
    return RabbitSource(_queues(url, name))


def open_hand(url: str, name: str = "rabbitmq") -> RabbitHand:
    """The hand for the same URL, or for one with credentials that may write."""
    return RabbitHand(_queues(url, name), connect_results(name))


def open_monitor(url: str, name: str = "rabbitmq") -> RabbitMonitor:
    """What tells how the queues are, at the same URL. Takes no message and no lock."""
    return RabbitMonitor(_queues(url, name))


def _queues(url: str, name: str) -> Queues:
    variable = variable_of(name, "MANAGEMENT_URL")
    return Queues(Address.parse(url, setting(name, "MANAGEMENT_URL")), variable)
