"""BullMQ's queues on Redis or Valkey: `bullmq+redis://host:6379/0?queues=critical,default&prefix=bull`.

Reads the failed jobs of BullMQ 4, 5 and 6; the hand puts them back, sets them aside or removes them.
"""

from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.hand import BullHand
from dlqanalysis.sources.bullmq.monitor import BullMonitor
from dlqanalysis.sources.bullmq.source import BullSource

__all__ = ["BullHand", "BullMonitor", "BullSource", "open_hand", "open_monitor", "open_source"]

CAN = {
    "read": "the failed set of each queue with scores, jobs as bytes, in pages",
    "replay": "one script a job: checks all, then moves; priority, lifo and parents kept",
    "repair": "other bytes as the job's data, in the step that replays it, if nobody changed them",
    "undo": "while no worker has taken the job: out of the line, into failed, as it was",
    "quarantine": "out of BullMQ's sight, whole",
    "restore": "from quarantine into failed, with logs and score",
    "archive": "removed after the run's snapshot",
    "purge": "removed after the run's snapshot",
    "pause": "workers take no new job of a queue",
    "unpause": "workers go on with all that waits",
    "outcome": "from the job, the completed and failed sets, and BullMQ's events",
    "settle": "from a ledger beside BullMQ's keys",
    "monitor": "depths, workers by CLIENT LIST, active and stalled jobs, Redis itself",
}
CANNOT = {
    "revoke": "BullMQ cannot stop a job that a worker runs; pause the queue, or undo its replay",
    "redirect": "another queue may have the id, and workers that complete unseen what they do not know",
}


def open_source(url: str, name: str = "bullmq") -> BullSource:
    """A source for a bullmq+redis URL."""
    return BullSource(Address.parse(url))


def open_hand(url: str, name: str = "bullmq") -> BullHand:
    """A hand for a bullmq+redis URL, with the user that stands in it."""
    return BullHand(Address.parse(url))


def open_monitor(url: str, name: str = "bullmq") -> BullMonitor:
    """A monitor for a bullmq+redis URL; the user of the source is enough."""
    return BullMonitor(Address.parse(url))
