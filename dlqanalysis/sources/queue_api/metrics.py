"""The API's metrics in both of their shapes, as queues with counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlqanalysis.errors import ConnectError
from dlqanalysis.sources._counts import depth_of
from dlqanalysis.sources._http import Client
from dlqanalysis.text import storable

PATH = "/queue/metrics"
_NAMES = ("name", "queue", "queueName")
_PAUSED = ("isPaused", "paused", "is_paused")
_COUNTS = ("counts", "jobCounts")
_ABOUT = (*_NAMES, *_PAUSED, *_COUNTS, "timestamp", "time", "id")


@dataclass(slots=True)
class Queue:
    """One queue as the API tells it: `counts` by state (None for what is no number), paused or None."""

    name: str
    counts: dict[str, int | None] = field(default_factory=dict)
    paused: bool | None = None

    @property
    def status(self) -> str:
        """paused, running, or unknown where the API does not say."""
        return {True: "paused", False: "running", None: "unknown"}[self.paused]


def queues(client: Client) -> dict[str, Queue]:
    """Name -> queue, as they are now; ConnectError when the answer is none that is known."""
    answer = client.get_json(PATH)
    found: dict[str, Queue] = {}
    for entry in _listed(answer, client):
        queue = _queue(entry)
        if queue.name not in found:
            found[queue.name] = queue
    return found


def _listed(answer: Any, client: Client) -> list[Mapping[str, Any]]:
    """The queues of a bare list, of {queues: [...]} or {data: [...]}, or of {name: {...}}."""
    for name in ("queues", "data"):
        if isinstance(answer, Mapping) and name in answer:
            answer = answer[name]
    if isinstance(answer, Mapping):
        answer = [
            {"name": name, **value} for name, value in answer.items() if isinstance(value, Mapping)
        ]
    entries = answer if isinstance(answer, list) else [None]
    good = [entry for entry in entries if isinstance(entry, Mapping) and _name(entry)]
    if len(good) < len(entries):
        raise ConnectError(
            f"{client.place} answers {PATH} with something that is no list of queues with names. Check the path in"
            " the URL, and that it is this kind of API."
        )
    return good


def _queue(entry: Mapping[str, Any]) -> Queue:
    """One queue, flat {name, waiting, ...} or nested {name, counts: {...}, isPaused}."""
    counts = next((entry[name] for name in _COUNTS if isinstance(entry.get(name), Mapping)), None)
    told = counts if counts is not None else entry
    paused = next((entry[name] for name in _PAUSED if isinstance(entry.get(name), bool)), None)
    found: dict[str, int | None] = {}
    for name, value in list(told.items())[:100]:
        if isinstance(value, bool) or (told is entry and name in _ABOUT and name != "paused"):
            continue
        if isinstance(value, int | float | str | None):
            found[storable(str(name))] = depth_of(value)
    return Queue(_name(entry), found, paused)


def _name(entry: Mapping[str, Any]) -> str:
    found = next((entry[name] for name in _NAMES if isinstance(entry.get(name), str)), "")
    return storable(found)
