"""Walks through a queue's failed set, the oldest first, in pages of bounded size, while others change it."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from dlqanalysis.sources.bullmq.jobs import FIELDS, Stacks
from dlqanalysis.sources.bullmq.keys import Keys, shown
from dlqanalysis.text import decoded

if TYPE_CHECKING:
    import redis

_FIRST, _MOST = 16, 500  # jobs a page: the first, and the largest
_BYTES = 2 * 2**20  # what a page should have at most; jobs of a megabyte come two at a time
_STEPS = 20_000  # of SCAN, a thousand keys each
_TRIES = 10  # for ids and fields of the same moment; then the fields are asked for by name
_MOVES = 1_000  # how often the place is found again after others took jobs out
_ALL = (*FIELDS, "stacktrace")
_LONG = ("data", "stacktrace", "failedReason", "opts", "name")  # what makes a page large
Page = tuple[list[bytes], list[bytes], dict[str, list[bytes | None]], Stacks, list[bool]]


class Pages:
    """Iterates over (ids, scores, values of FIELDS, stacks, whether the key is no hash).

    SORT_RO brings the fields of a whole page in one command; where it is missing or refused, HMGET does.
    When jobs leave the set between two pages, the walk goes on from the last score it saw, so that none
    that stays is missed and none comes twice.
    """

    def __init__(
        self,
        client: "redis.Redis",
        keys: Keys,
        low: bytes | None = None,
        high: bytes | None = None,
        last: int | None = None,
        traces: bool = False,
    ) -> None:
        self._client, self._keys = client, keys
        self._failed = keys(b"failed")
        self._low, self._high, self._last, self._traces = low, high, last, traces
        self._sorts = b"*" not in keys.base
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Page]:
        import redis

        try:
            kind = self._ask("TYPE", self._failed)
            if kind == b"none":
                return
            if kind != b"zset":
                key = decoded(self._failed)
                self.notes.append(f"{key} is a {kind.decode()}, not BullMQ's sorted set: not read.")
                return
            yield from self._walk()
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            self.notes.append("The failed set became something else while it was read.")

    def _walk(self) -> Iterator[Page]:
        rank = self._ask("ZCOUNT", self._failed, "-inf", b"(" + self._low) if self._low else 0
        if self._last is not None:
            end = b"(" + self._high if self._high else b"+inf"
            rank = max(rank, self._ask("ZCOUNT", self._failed, "-inf", end) - self._last)
        high = float(self._high) if self._high else None
        size, moves = _FIRST, 0
        seen: set[tuple[bytes, bytes]] = set()  # what has the last score
        before: tuple[bytes, bytes] | None = None
        with ThreadPoolExecutor(1) as ahead:  # one page comes while the one before is thought about
            coming = ahead.submit(self._page, rank, size)
            while True:
                # a page begins with the last one of the page before: is the place still the same?
                members, fields = coming.result()
                if before and (not members or members[0] != before) and moves < _MOVES:
                    moves += 1
                    rank = self._ask("ZCOUNT", self._failed, "-inf", b"(" + before[1])
                    before = None
                    coming = ahead.submit(self._page, rank, size)
                    continue
                if moves == _MOVES:
                    moves += 1
                    self.notes.append(
                        f"Queue {shown(self._keys.queue)} changes faster than it can be read: some"
                        " failures may be missing."
                    )
                if not members:
                    return
                last = len(members) < size + bool(before)
                last = last or (high is not None and float(members[-1][1]) >= high)
                fresh = [n for n, one in enumerate(members) if one not in seen]
                if high is not None:
                    fresh = [n for n in fresh if float(members[n][1]) < high]
                length = sum(sum(map(len, filter(None, fields[name]))) for name in _LONG)
                if not last:
                    before = members[-1]
                    rank += size
                    seen = self._remembered(seen, members)
                    size = max(1, min(_MOST, size * 4, int(len(members) * _BYTES / max(length, 1))))
                    coming = ahead.submit(self._page, rank - 1, size + 1)
                if fresh:
                    yield self._chosen(members, fields, fresh)
                if last:
                    return

    def _remembered(
        self, seen: set[tuple[bytes, bytes]], members: list[tuple[bytes, bytes]]
    ) -> set[tuple[bytes, bytes]]:
        """What may come again when the place is lost: what has the last score."""
        last = members[-1][1]
        if members[0][1] != last:
            seen = set()
        return seen | {one for one in members if one[1] == last}

    def _page(self, start: int, size: int) -> tuple[list[tuple[bytes, bytes]], dict[str, Any]]:
        """Members with scores, and their fields. Both are asked for at once; when somebody came in
        between, so that the ids differ, once more."""
        import redis

        asked = ["ZRANGE", self._failed, start, start + size - 1, "WITHSCORES"]
        for _ in range(_TRIES if self._sorts else 0):
            asking = self._client.pipeline(transaction=False)
            asking.execute_command(*asked)
            asking.execute_command(*self._sort(start, size))
            found, values = asking.execute(raise_on_error=False)
            if isinstance(values, redis.ResponseError):
                self._sorts = False  # Redis below 7, or a user who may not use patterns
                break
            for answer in (found, values):
                if isinstance(answer, Exception):
                    raise answer
            members = _pairs(found)
            step = 1 + len(_ALL)
            if [job for job, _ in members] == values[::step]:
                return members, {n: values[i::step] for i, n in enumerate(_ALL, 1)}
        members = _pairs(self._ask(*asked))
        asking = self._client.pipeline(transaction=False)
        for job, _ in members:
            asking.execute_command("HMGET", self._keys(job), *_ALL)
        rows = [
            [None] * len(_ALL) if isinstance(row, redis.ResponseError) else row
            for row in asking.execute(raise_on_error=False)
        ]
        return members, {name: [row[n] for row in rows] for n, name in enumerate(_ALL)}

    def _sort(self, start: int, size: int) -> list[Any]:
        gets: list[Any] = []
        for name in _ALL:
            gets += ["GET", self._keys(b"*->" + name.encode())]
        return ["SORT_RO", self._failed, "BY", "nosort", "LIMIT", start, size, "GET", "#", *gets]

    def _chosen(
        self, members: list[tuple[bytes, bytes]], fields: dict[str, Any], rows: list[int]
    ) -> Page:
        if len(rows) < len(members):
            members = [members[n] for n in rows]
            fields = {name: [values[n] for n in rows] for name, values in fields.items()}
        empty = [
            n
            for n, name in enumerate(fields["name"])
            if not name and not any(fields[other][n] for other in _ALL)
        ]
        odd = [False] * len(members)
        if empty:
            asking = self._client.pipeline(transaction=False)
            for n in empty:
                asking.execute_command("TYPE", self._keys(members[n][0]))
            for n, kind in zip(empty, asking.execute(), strict=True):
                odd[n] = kind not in (b"hash", b"none")
        stacks = Stacks.of(fields.pop("stacktrace"), self._traces)
        return [job for job, _ in members], [score for _, score in members], fields, stacks, odd

    def _ask(self, *command: Any) -> Any:
        return self._client.execute_command(*command)


def find_queues(
    client: "redis.Redis", prefix: bytes, part: bytes = b"failed", kind: str = "zset"
) -> tuple[list[bytes], bool]:
    """The queues of a prefix that have a failed set (or another key of a kind), and whether all keys could be
    looked at."""
    start, end = prefix + b":", b":" + part
    pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^-" else bytes([c]) for c in start)
    found, cursor = set(), 0
    for _ in range(_STEPS):
        cursor, keys = client.scan(cursor, match=pattern + b"*" + end, count=1000, _type=kind)
        for key in keys:
            found.add(key.removeprefix(start).removesuffix(end))
        if not int(cursor):
            return sorted(found), True
    return sorted(found), False


def unheard_of(client: "redis.Redis", prefix: bytes, queues: Iterable[bytes]) -> list[str]:
    """A note for each queue that this Redis has nothing of: a typo would read as if nothing had failed."""
    return [
        f"There is no queue {shown(queue)} under the prefix {shown(prefix)}. Check ?queues= and ?prefix= of the URL."
        for queue in queues
        if {client.type(Keys(prefix, queue)(part)) for part in (b"meta", b"failed")} == {b"none"}
    ]


def no_queue(prefix: bytes) -> str:
    """What to know where no queue was named and none was found: a typo would read as if nothing had failed."""
    return f"There is no queue under the prefix {shown(prefix)}: none has run yet, or ?prefix= or the database has a typo."


def _pairs(flat: list[Any]) -> list[tuple[bytes, bytes]]:
    if flat and isinstance(flat[0], tuple | list):
        return [(job, score) for job, score in flat]
    return list(zip(flat[::2], flat[1::2], strict=True))
