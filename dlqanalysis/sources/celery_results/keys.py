"""Results in Redis: one string a task, `celery-task-meta-<id>`, read in bounded steps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Selection
from dlqanalysis.sources import _redis
from dlqanalysis.sources.celery_results.rows import from_json, unreadable

_STEP = 500  #: keys that one SCAN looks at, and values fetched at a time
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "*?[]^\\"})


class Keys:
    """The results of one Redis database."""

    def __init__(self, url: str, prefix: str) -> None:
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"
        database = parts.path.strip("/") or "0"
        self.name = f"results:redis/{database}"
        self._prefix = prefix
        self._redis = _redis.as_celery_has_it(url)

    def records(self, selection: Selection) -> Iterator[dict[str, Any]]:
        """Every result that failed, or cannot be read. SCAN may show a key twice; it is one row."""
        pattern = f"{self._prefix.translate(_SPECIAL)}*"
        seen: set[bytes] = set()
        cursor = 0
        while True:
            with self._answering():
                cursor, keys = self._redis.scan(cursor, match=pattern, count=_STEP)
            fresh = [key for key in dict.fromkeys(keys) if key not in seen]
            seen.update(fresh)
            for start in range(0, len(fresh), _STEP):
                yield from self._fetch(fresh[start : start + _STEP])
            if not cursor:
                return

    def some(self, task_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The results of these tasks."""
        keys = [f"{self._prefix}{task_id}".encode() for task_id in dict.fromkeys(task_ids)]
        for start in range(0, len(keys), _STEP):
            yield from self._fetch(keys[start : start + _STEP])

    def _fetch(self, keys: list[bytes]) -> Iterator[dict[str, Any]]:
        if not keys:
            return
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            pipe.mget(keys)  # a key of another type gives nothing
            for key in keys:
                pipe.pttl(key)
            values, *left = pipe.execute()
        now = datetime.now(UTC)
        for key, raw, milliseconds in zip(keys, values, left, strict=True):
            if raw is None:
                continue
            task_id = key[len(self._prefix.encode()) :].decode("utf-8", "backslashreplace")
            found = unreadable(task_id, raw) if raw[:1] == b"\x80" else from_json(task_id, raw)
            if found:
                if milliseconds >= 0:
                    found["expires_at"] = now + timedelta(milliseconds=milliseconds)
                yield found

    def notes(self) -> list[str]:
        return []

    @contextmanager
    def _answering(self) -> Iterator[None]:
        import redis

        try:
            yield
        except redis.RedisError as error:
            raise ConnectError(
                f"The result backend at {self.place} does not answer as it should ({type(error).__name__})."
                " Check host, password and database of the URL."
            ) from None

    def close(self) -> None:
        self._redis.close()
