"""Where the API is: `queue+https://host/api/v1`, and what its sentences say."""

import re
from dataclasses import replace
from typing import Any

from dlqanalysis.sources._http import Api, Client

QUEUE = Api(
    scheme="queue",
    title="a queue API",
    usual_path="/api/v1",
    begins="/queue/metrics and /healthz",
    right="a scope or permission that may read queues (and write them, for a pause)",
    header="X-API-Key:",
)
_JWT = re.compile(r"(?:Bearer )?eyJ[\w-]+\.[\w-]+\.[\w-]*")
REDIS_ROAD = "through its Redis: bullmq+redis://host/0?queues=..."


def open_client(
    url: str, token: str | None = None, *, token_name: str = "DLQ_QUEUE_TOKEN", **options: Any
) -> Client:
    """A client for the URL. A token that is a JWT goes as bearer token, any other as API key."""
    bearer = bool(token and _JWT.fullmatch(token.strip()))
    api = replace(QUEUE, header="Authorization: Bearer") if bearer else QUEUE
    return Client(api, url.removesuffix("/queue/metrics"), token, token_name=token_name, **options)
