"""Where the API is: `priority+http://host:5002?tz=Europe/Berlin`, and what its sentences say.

| option | means |
|---|---|
| tz | the zone of the times that the server writes without one; default: measured by its clock |
| ttl | how long the server keeps what it retries from, default 7d |
| reset_attempts | yes: a replayed task gets all its attempts again; default: one run and no more |
"""

from typing import Any

from dlqanalysis.sources._http import Api, Client
from dlqanalysis.sources._priority import Options, options

PRIORITY = Api(
    scheme="priority",
    title="a priority queue's API",
    usual_path="/api/dlq",
    begins="/stats and /high",
    right="the right to read and retry dead letters",
)
REDIS_ROAD = "read and replay through its Redis instead: priority+redis://host:6379/0"


def open_client(
    url: str, token: str | None = None, *, token_name: str = "DLQ_PRIORITY_TOKEN", **others: Any
) -> tuple[Client, Options]:
    """A client for the URL, and the URL's options; timeout, tries, longest_wait and sleep are for the client."""
    place, _, query = url.partition("?")
    client = Client(PRIORITY, place, token, token_name=token_name, **others)
    pairs = (pair.partition("=") for pair in filter(None, query.split("&")))
    return client, options({name: value for name, _, value in pairs})
