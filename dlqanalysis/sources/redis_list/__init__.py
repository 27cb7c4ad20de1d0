"""Dead-letter queues that are Redis lists, `list+redis://host:6379/0?keys=tokpulse:dlq:*`.

Messages of any bytes; JSON ones are understood. The hand moves chosen ones to the list that consumers take
from, sets them aside, removes them, and takes back what nobody has taken yet.
"""

from dlqanalysis.sources._results import connect as connect_results
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.hand import ListHand
from dlqanalysis.sources.redis_list.monitor import ListMonitor
from dlqanalysis.sources.redis_list.source import ListSource

__all__ = ["ListHand", "ListMonitor", "ListSource", "open_hand", "open_monitor", "open_source"]

CAN = {
    "read": "every element of the lists that keys= names, from the oldest end, in small pages",
    "monitor": "lengths of dead-letter, main and quarantine lists",
    "replay": "one script moves chosen elements to the main list, byte for byte",
    "repair": "the repaired bytes go to the main list in the step that removes the broken ones",
    "quarantine": "moved to the quarantine list; a hash beside it tells where each came from",
    "archive": "removed after the run's snapshot",
    "purge": "removed after the run's snapshot",
    "undo": "what a run sent and no consumer has taken goes back to its dead-letter list",
    "restore": "from the quarantine list back to the dead-letter list",
    "outcome": "waiting, or back in the dead-letter list; done only where a result backend says so",
    "settle": "from a ledger that the moving script writes",
}
CANNOT = {
    "pause": "a list has no pause: stop its consumers",
    "unpause": "a list has no pause: start its consumers",
    "revoke": "an element that a consumer took is in no list any more",
}


def open_source(url: str, name: str = "redis") -> ListSource:
    """A source for a list+redis URL."""
    return ListSource(Address.parse(url))


def open_hand(url: str, name: str = "redis") -> ListHand:
    """A hand for a list+redis URL; DLQ_<NAME>_RESULTS_URL is where it learns that a task succeeded."""
    return ListHand(Address.parse(url), connect_results(name))


def open_monitor(url: str, name: str = "redis") -> ListMonitor:
    """A monitor for a list+redis URL."""
    return ListMonitor(Address.parse(url))
