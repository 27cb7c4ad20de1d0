"""The states of tasks in a Celery result backend on Redis, for hands that want to know what became of them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.profile import setting

if TYPE_CHECKING:
    import redis


class Results:
    """Called with task ids, gives id -> state (SUCCESS, FAILURE, ...) of those that have a result."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def __call__(self, task_ids: Sequence[str]) -> Mapping[str, str]:
        import redis

        if not task_ids:
            return {}
        try:
            found = self._client.mget([f"celery-task-meta-{task_id}" for task_id in task_ids])
        except redis.RedisError:
            return {}  # it does not answer just now: outcomes stay open
        states = {i: _state(raw) for i, raw in zip(task_ids, found, strict=True)}
        return {task_id: state for task_id, state in states.items() if state}

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def connect(name: str) -> Results | None:
    """The result backend that DLQ_<NAME>_RESULTS_URL names, or None."""
    url = setting(name, "RESULTS_URL")
    if not url:
        return None
    import redis

    variable = f"DLQ_{name.upper().replace('-', '_')}_RESULTS_URL"
    if not url.startswith(("redis://", "rediss://")):
        raise SettingsError(f"{variable} is read from Redis only: redis:// or rediss://.")
    client = redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5)
    try:
        client.ping()
    except redis.RedisError as error:
        with closing(client):
            raise ConnectError(
                f"The result backend does not answer ({type(error).__name__}). Check {variable}, or unset"
                " it: outcomes are then read elsewhere."
            ) from None
    return Results(client)


def _state(raw: "bytes | str | None") -> str:
    """The state of a result; one that is no JSON (a pickle, say) is not read."""
    try:
        return str(json.loads(raw).get("status", "")) if raw else ""
    except (ValueError, AttributeError, RecursionError):
        return ""
