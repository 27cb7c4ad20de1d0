"""The HTTP API of a Redis priority queue with dead letters, `priority+http://host:5002`.

Reads: DLQ_<NAME>_URL, and DLQ_<NAME>_TOKEN where the API wants one. The hand: DLQ_<NAME>_HAND_TOKEN, else
DLQ_<NAME>_TOKEN. Where its Redis can be reached, `priority+redis://host:6379/0` does more, and surely.
"""

from typing import Any

from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources.priority_api.client import open_client
from dlqanalysis.sources.priority_api.hand import PriorityApiHand
from dlqanalysis.sources.priority_api.monitor import PriorityApiMonitor
from dlqanalysis.sources.priority_api.source import PriorityApiSource

__all__ = [
    "PriorityApiHand",
    "PriorityApiMonitor",
    "PriorityApiSource",
    "open_hand",
    "open_monitor",
    "open_source",
]

CAN = {
    "read": "each priority's list whole, compared with the server's own count",
    "replay": "one request a task, believed only when its entry has left the list",
    "outcome": "from new entries of the same task; the API tells no success",
    "settle": "from the lists: what is still there was not sent; what is gone stays uncertain unless it shows",
    "monitor": "dead letters by priority, and the server's own health",
}
_REDIS = "connect its Redis, priority+redis://"
CANNOT = {
    "quarantine": f"the API has no such place: {_REDIS}",
    "archive": f"the API has no such place: {_REDIS}",
    "restore": f"the API takes nothing back: {_REDIS}",
    "undo": f"the API takes nothing back: {_REDIS}",
    "repair": f"the API sends what it has: {_REDIS}",
    "purge": f"the API's own purge lets the server choose by age, without a preview: {_REDIS} and purge by plan",
    "pause": "the API has no such switch: stop the workers",
    "unpause": "the API has no such switch: start the workers",
    "revoke": "the API knows only dead letters",
}


def open_source(url: str, name: str = "priority") -> PriorityApiSource:
    """A source for a priority+http or priority+https URL."""
    return PriorityApiSource(*_opened(url, name, "TOKEN"))


def open_hand(url: str, name: str = "priority") -> PriorityApiHand:
    """A hand for the same URL, with the token of DLQ_<NAME>_HAND_TOKEN, else the source's."""
    part = "HAND_TOKEN" if setting(name, "HAND_TOKEN") else "TOKEN"
    return PriorityApiHand(*_opened(url, name, part))


def open_monitor(url: str, name: str = "priority") -> PriorityApiMonitor:
    """A monitor for the same URL."""
    return PriorityApiMonitor(_opened(url, name, "TOKEN")[0])


def _opened(url: str, name: str, part: str) -> Any:
    variable = variable_of(name, part)
    return open_client(url, setting(name, part), token_name=variable)
