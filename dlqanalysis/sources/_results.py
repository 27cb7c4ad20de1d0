"""The states of tasks in a Celery result backend on Redis, for hands that want to know what became of them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources import _redis

if TYPE_CHECKING:
    import redis


class Results:
    """Called with task ids, gives id -> state (SUCCESS, FAILURE, ...) of those that have a result."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def __call__(self, task_ids: Sequence[str]) -> Mapping[str, str]:
        return self._told(task_ids, "status")

    def ended(self, task_ids: Sequence[str]) -> Mapping[str, datetime]:
        """When each of these came to its end, where its result says so: under its old id a task that was replayed has
        its old result until it has a new one."""
        told = self._told(task_ids, "date_done").items()
        return {task_id: moment for task_id, text in told if (moment := _when(text))}

    def _told(self, task_ids: Sequence[str], name: str) -> dict[str, str]:
        import redis

        if not task_ids:
            return {}
        try:
            found = self._client.mget([f"celery-task-meta-{task_id}" for task_id in task_ids])
        except redis.RedisError:
            return {}  # it does not answer just now: outcomes stay open
        parts = {i: _part(raw, name) for i, raw in zip(task_ids, found, strict=True)}
        return {task_id: part for task_id, part in parts.items() if part}

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def connect(name: str) -> Results | None:
    """The result backend that DLQ_<NAME>_RESULTS_URL names, or None."""
    url = setting(name, "RESULTS_URL")
    if not url:
        return None
    import redis

    variable = variable_of(name, "RESULTS_URL")
    if not url.startswith(("redis://", "rediss://")):
        raise SettingsError(f"{variable} is read from Redis only: redis:// or rediss://.")
    client = _redis.as_celery_has_it(url)
    try:
        client.ping()
    except redis.RedisError as error:
        with closing(client):
            raise ConnectError(
                f"The result backend does not answer ({type(error).__name__}). Check {variable}, or unset"
                " it: outcomes are then read elsewhere."
            ) from None
    return Results(client)


def _part(raw: "bytes | str | None", name: str) -> str:
    """A part of a result as text; one that is no JSON (a pickle, say) is not read."""
    try:
        return str(json.loads(raw).get(name) or "") if raw else ""
    except (ValueError, AttributeError, RecursionError):
        return ""


def _when(text: str) -> datetime | None:
    """A moment; Celery writes naive times in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
