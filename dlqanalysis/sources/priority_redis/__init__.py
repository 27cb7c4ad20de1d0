"""The Redis priority queue with dead-letter lists, at Redis itself: `priority+redis://host:6379/0`.

Reads dlq:high, dlq:normal and dlq:low; the hand puts entries back, sets them aside or removes them.
"""

from dlqanalysis.sources.priority_redis.address import Address
from dlqanalysis.sources.priority_redis.hand import PriorityRedisHand
from dlqanalysis.sources.priority_redis.monitor import PriorityRedisMonitor
from dlqanalysis.sources.priority_redis.source import PriorityRedisSource

__all__ = [
    "PriorityRedisHand",
    "PriorityRedisMonitor",
    "PriorityRedisSource",
    "open_hand",
    "open_monitor",
    "open_source",
]

CAN = {
    "read": "the three lists as bytes, in pages; when each entry's copy expires",
    "replay": "one script an entry: checks all, then moves it to its own priority's list",
    "repair": "the repaired entry's payload goes; an undo gives the original back",
    "quarantine": "out of the system's sight, whole",
    "archive": "kept whole beside the system's keys",
    "purge": "removed by its bytes after the run's snapshot",
    "restore": "from quarantine or archive back to its list",
    "undo": "a replayed task that no worker has begun goes back to its list",
    "outcome": "from the task's own status, and from a new entry of it",
    "settle": "from a ledger beside the system's keys",
    "monitor": "depths from the lists; who waits for tasks from Redis' clients",
}
CANNOT = {
    "pause": "the system has no such switch: stop its workers",
    "unpause": "the system has no such switch: start its workers",
    "revoke": "a task that a worker holds stands in no list",
}


def open_source(url: str, name: str = "priority") -> PriorityRedisSource:
    """A source for a priority+redis URL."""
    return PriorityRedisSource(Address.parse(url))


def open_hand(url: str, name: str = "priority") -> PriorityRedisHand:
    """A hand for a priority+redis URL, with the user that stands in it."""
    return PriorityRedisHand(Address.parse(url))


def open_monitor(url: str, name: str = "priority") -> PriorityRedisMonitor:
    """A monitor for a priority+redis URL."""
    return PriorityRedisMonitor(Address.parse(url))
