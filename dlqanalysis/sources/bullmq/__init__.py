"""BullMQ's queues on Redis or Valkey: `bullmq+redis://host:6379/0?queues=critical,default&prefix=bull`.

Reads the failed jobs of BullMQ 4, 5 and 6; the hand puts them back, sets them aside or removes them.
"""

from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.hand import BullHand
from dlqanalysis.sources.bullmq.source import BullSource

__all__ = ["BullHand", "BullSource", "open_hand", "open_source"]

CAN = {
    "read": "the failed set of each queue with scores, jobs as bytes, in pages",
    "replay": "one script a job: checks all, then moves; priority, lifo and parents kept",
    "quarantine": "out of BullMQ's sight, whole",
    "archive": "removed after the run's snapshot",
    "purge": "removed after the run's snapshot",
    "pause": "workers take no new job of a queue",
    "outcome": "from the job, the completed and failed sets",
    "settle": "from a ledger beside BullMQ's keys",
}
CANNOT = {"undo": "a worker may have begun a replayed job at once; pause the queue first"}


def open_source(url: str, name: str = "bullmq") -> BullSource:
    """A source for a bullmq+redis URL."""
    return BullSource(Address.parse(url))


def open_hand(url: str, name: str = "bullmq") -> BullHand:
    """A hand for a bullmq+redis URL, with the user that stands in it."""
    return BullHand(Address.parse(url))
