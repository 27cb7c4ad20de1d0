"""Celery's queues on Redis: four lists a queue, one a priority step, and a hash of what workers took. Reads only."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Finding
from dlqanalysis.sources._redis_health import keeps
from dlqanalysis.sources.celery_broker.address import Address
from dlqanalysis.text import many

if TYPE_CHECKING:
    import redis

_MARK = "\x06\x16"  #: kombu's separator, in names of lists and in bindings
_STEPS = ("", *(f"{_MARK}{step}" for step in (3, 6, 9)))
_MOST_SPLIT = 1_000  #: taken messages that are looked at to tell their queues ...
_MOST_BYTES = 32 * 2**20  #: ... when together they are no larger than this
_TIMES = (
    "timestamp",
    "sent_at",
    "enqueued_at",
    "published_at",
)  #: headers that tell when it was sent

#: one row of readings.DEPTHS without source and at
Row = dict[str, Any]


class RedisQueues:
    """The queues of one database."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def rows(self, named: Iterable[str], consumers: Mapping[str, int] | None) -> list[Row]:
        """A row a queue that waits, and a row a queue of what workers took and have not acknowledged.

        `named` are queues that workers take from, `consumers` how many do; None where nobody answered.
        """
        with self._client() as client:
            bound = self._bindings(client)
            names = sorted({*named, *self.address.queues, *bound.values()})
            rows = [
                {
                    "queue": queue,
                    "state": "waiting",
                    "depth": depth,
                    "consumers": None if consumers is None else consumers.get(queue, 0),
                    "oldest_at": self._sent_at(client, queue) if depth else None,
                }
                for queue, depth in self._waiting(client, names)
            ]
            taken, since = self._taken(client, bound)
            rows += [
                {"queue": queue, "state": "unacked", "depth": depth, "oldest_at": since.get(queue)}
                for queue, depth in sorted(taken.items(), key=lambda pair: str(pair[0]))
            ]
        return rows

    def findings(self, now: datetime) -> list[Finding]:
        """Does it answer, can it lose tasks, and does it give tasks out a second time."""
        with self._client() as client:
            client.ping()
            text = f"{self.address.place} answers."
            found = [
                Finding(name="broker", severity="ok", text=text),
                *keeps(client, self.address.place),
            ]
            oldest = client.zrange(self._key("unacked_index"), 0, 0, withscores=True)
            late = (now - self.address.visibility).timestamp()
            count = int(client.zcount(self._key("unacked_index"), "-inf", late))
        if oldest:
            found.append(self._unacked(count, now - _moment(oldest[0][1])))
        return found

    def _unacked(self, count: int, age: timedelta) -> Finding:
        limit = self.address.visibility
        facts = {"late": count, "oldest_seconds": int(age.total_seconds())}
        if not count:
            text = f"Workers have held what they took for at most {_minutes(age)}, less than the visibility timeout of {_minutes(limit)}."
            return Finding(name="unacked", severity="ok", text=text, facts=facts)
        text = (
            f"{many(count, 'taken tasks are')} unacknowledged for longer than the visibility timeout of {_minutes(limit)}:"
            " Redis gives them out again, so they may run twice. See dlq.running, and raise visibility_timeout"
            " above the longest task and countdown (here: ?visibility_timeout=)."
        )
        return Finding(name="unacked", severity="warning", text=text, facts=facts)

    def _bindings(self, client: "redis.Redis") -> dict[tuple[str, str], str]:
        """(exchange, routing key) -> queue, as kombu notes them; without the queues of control and events."""
        start = self._key("_kombu.binding.")
        found = {}
        for key in client.scan_iter(match=_literal(start) + "*", count=1000):
            exchange = _text(key).removeprefix(start)
            if exchange.endswith("pidbox") or exchange == "celeryev":
                continue
            for member in client.smembers(key):  # type: ignore[union-attr]
                route, _, queue = (*_text(member).split(_MARK), "", "")[:3]
                if queue:
                    found[exchange, route] = queue
        return found

    def _waiting(self, client: "redis.Redis", names: list[str]) -> Iterator[tuple[str, int | None]]:
        pipe = client.pipeline(transaction=False)
        for name in names:
            for step in _STEPS:
                pipe.llen(self._key(name + step))
        told = pipe.execute(raise_on_error=False)
        for place, name in enumerate(names):
            lengths = told[len(_STEPS) * place : len(_STEPS) * (place + 1)]
            # a key of another kind has no length that would be a depth
            yield name, sum(lengths) if all(isinstance(n, int) for n in lengths) else None

    def _sent_at(self, client: "redis.Redis", queue: str) -> datetime | None:
        """When the next message of each list was sent, where it says so: the earliest."""
        firsts = (client.lindex(self._key(queue + step), -1) for step in _STEPS)
        times = [at for raw in firsts if raw is not None and (at := _time_of(raw))]  # type: ignore[arg-type]
        return min(times, default=None)

    def _taken(
        self, client: "redis.Redis", bound: Mapping[tuple[str, str], str]
    ) -> tuple[Counter[str | None], dict[str | None, datetime]]:
        """Queue -> how many workers took and when the first was; under None where it is too much to look."""
        key = self._key("unacked")
        count = int(client.hlen(key))  # type: ignore[arg-type]
        taken: Counter[str | None] = Counter()
        since: dict[str | None, datetime] = {}
        if not count:
            return taken, since
        if count > _MOST_SPLIT or int(client.memory_usage(key) or 0) > _MOST_BYTES:  # type: ignore[arg-type]
            first = client.zrange(self._key("unacked_index"), 0, 0, withscores=True)
            return Counter({None: count}), {None: _moment(first[0][1])} if first else {}
        scores = dict(client.zrange(self._key("unacked_index"), 0, -1, withscores=True))
        for tag, raw in client.hgetall(key).items():  # type: ignore[union-attr]
            queue = self._queue_of(raw, bound)
            taken[queue] += 1
            if tag in scores:
                at = _moment(scores[tag])
                since[queue] = min(at, since.get(queue, at))
        return taken, since

    def _queue_of(self, raw: bytes, bound: Mapping[tuple[str, str], str]) -> str | None:
        try:
            _, exchange, route = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        return bound.get((str(exchange), str(route)), str(route))

    def _key(self, name: str) -> str:
        return f"{self.address.prefix}{name}"

    def _client(self) -> "_Careful":
        return _Careful(self.address)


class _Careful:
    """A connection for one look; errors of Redis become sentences."""

    def __init__(self, address: Address) -> None:
        if address.server is None:
            raise ConnectError(f"{address.place} is no Redis.")
        self._server = address.server

    def __enter__(self) -> "redis.Redis":
        self._client = self._server.connect(writes=False)
        return self._client

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        import redis

        self._client.close()
        if isinstance(error, redis.RedisError):
            raise self._server.trouble(error) from None


def _time_of(raw: bytes) -> datetime | None:
    """When a message says that it was sent; Celery itself does not write it down."""
    try:
        message = json.loads(raw)
        places = [message.get("properties") or {}, message.get("headers") or {}]
        told = [place[name] for place in places for name in _TIMES if place.get(name)]
        return _moment(told[0]) if told else None
    except (ValueError, RecursionError, AttributeError, TypeError):
        return None


def _moment(told: Any) -> datetime:
    """A time of seconds or milliseconds since 1970, or ISO text; ValueError for anything else."""
    if isinstance(told, str):
        at = datetime.fromisoformat(told)
        if at.tzinfo is None:
            raise ValueError("no zone")
        return at.astimezone(UTC)
    seconds = float(told)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("no time")
    try:
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
    except (OverflowError, OSError):
        raise ValueError("no time") from None


def _literal(text: str) -> str:
    """A text as a pattern that matches only itself."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in text)


def _text(raw: Any) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)


def _minutes(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes / 60:.1f} hours" if minutes >= 120 else f"{minutes:.0f} minutes"
