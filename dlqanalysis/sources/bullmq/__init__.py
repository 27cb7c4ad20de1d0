"""BullMQ's queues on Redis or Valkey: `bullmq+redis://host:6379/0?queues=critical,default&prefix=bull`.

Reads the failed jobs of BullMQ 4, 5 and 6; the hand puts them back, sets them aside or removes them.
"""

from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.hand import BullHand
from dlqanalysis.sources.bullmq.source import BullSource

__all__ = ["BullHand", "BullSource", "open_hand", "open_source"]


def open_source(url: str, name: str = "bullmq") -> BullSource:
    """A source for a bullmq+redis URL."""
    return BullSource(Address.parse(url))


def open_hand(url: str, name: str = "bullmq") -> BullHand:
    """A hand for a bullmq+redis URL, with the user that stands in it."""
    return BullHand(Address.parse(url))
