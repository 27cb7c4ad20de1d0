"""Walks through a list from its oldest end, in pages of bounded size, while others change it.

Places are distances from the oldest end: they stay while producers push at the other one. When somebody
takes elements out between two pages, the walk finds its place again by an element that stands only once
in both; where there is none it begins anew.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

_FIRST, _MOST = 16, 500  # elements a page: the first, and the largest
_BYTES = 2**20  # what a page should have at most
_MOVES, _RESTARTS = 1_000, 5
MOVING = "list {key} changes faster than it can be read: some failures may be missing"


class Restart(Exception):
    """The place was lost: forget what came, it comes again from the beginning."""


class Walk:
    """Gives (place of the first, elements) page by page, the oldest first. `ahead`: one page comes while the one
    before is thought about; not for who acts on what a page said."""

    def __init__(
        self, client: "redis.Redis", key: bytes, head_is_oldest: bool, ahead: bool = False
    ) -> None:
        self._client, self._key, self._head = client, key, head_is_oldest
        self._ahead = ahead

    def __iter__(self) -> Iterator[tuple[int, list[bytes]]]:
        with ThreadPoolExecutor(1) as pool:
            yield from self._pages(pool if self._ahead else None)

    def _pages(self, pool: ThreadPoolExecutor | None) -> Iterator[tuple[int, list[bytes]]]:
        place, size, moves = 0, _FIRST, 0
        length = self._client.llen(self._key)  # what comes later need not be waited for
        before: list[bytes] = []
        coming = None
        while True:
            overlap = 1 if before else 0  # a page begins with the last one of the page before
            page = coming.result() if coming else self._range(place - overlap, size + overlap)
            coming = None
            if before and page[:1] != before[-1:]:
                moves += 1
                place, before = self._again(place, before, moves)
                continue
            fresh = page[overlap:]
            if not fresh:
                return
            last = len(fresh) < size or place + len(fresh) >= length
            bytes_ = max(sum(map(len, fresh)), 1)
            size = max(1, min(_MOST, size * 4, len(fresh) * _BYTES // bytes_))
            if pool and not last:
                coming = pool.submit(self._range, place + len(fresh) - 1, size + 1)
            yield place, fresh
            if last:
                return
            place += len(fresh)
            before = fresh

    def _range(self, place: int, size: int) -> list[bytes]:
        if size < 1:
            return []
        if self._head:
            found: Any = self._client.lrange(self._key, place, place + size - 1)
            return list(found)
        found = self._client.lrange(self._key, -(place + size), -(place + 1))
        return list(reversed(found))

    def _again(self, place: int, before: list[bytes], moves: int) -> tuple[int, list[bytes]]:
        """Where the first unread element lies now, and what was read before it up to one that is there."""
        start = max(0, place - 4 * _MOST)
        window = self._range(start, place - start)
        there, here = Counter(window), Counter(before)
        for n in range(len(before) - 1, -1, -1):
            if here[before[n]] == there[before[n]] == 1 and moves < _MOVES:
                return start + window.index(before[n]) + 1, before[: n + 1]
        if not window and not start:
            return 0, []
        raise Restart


def whole(
    client: "redis.Redis", key: bytes, head_is_oldest: bool, ahead: bool = False
) -> Iterator[tuple[int, list[bytes]] | None]:
    """The pages of a list; None says: forget what came, it begins anew. A list that never keeps still ends
    with the pages that were read, and an empty one at place -1."""
    for _ in range(_RESTARTS):
        try:
            yield from Walk(client, key, head_is_oldest, ahead)
            return
        except Restart:
            yield None
    try:
        yield from Walk(client, key, head_is_oldest, ahead)
    except Restart:
        yield -1, []


def at(
    client: "redis.Redis", key: bytes, head_is_oldest: bool, places: Sequence[int]
) -> list[bytes | None]:
    """The elements at some places."""
    asking = client.pipeline(transaction=False)
    for place in places:
        asking.lindex(key, index(place, head_is_oldest))
    return asking.execute() if places else []


def index(place: int, head_is_oldest: bool) -> int:
    """A place as Redis counts it."""
    return place if head_is_oldest else -(place + 1)
