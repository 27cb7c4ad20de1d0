"""Where chosen elements of one list lie: found by one walk, and followed while this hand takes others out."""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from dlqanalysis.sources.redis_list import walk
from dlqanalysis.sources.redis_list.keys import Token
from dlqanalysis.sources.redis_list.ledger import Numbers

if TYPE_CHECKING:
    import redis


class Found(NamedTuple):
    """An element of a list: its distance from the oldest end, and its bytes."""

    place: int
    raw: bytes


class Places:
    """Occurrences of one list -> where they lie. A place is a hint: the script that moves looks again."""

    def __init__(
        self, client: "redis.Redis", key: bytes, head_is_oldest: bool, dead: bool = True
    ) -> None:
        self._client, self.key, self.head = client, key, head_is_oldest
        self._dead = dead  #: numbers go past those that the ledger has, as in the source
        self._known: dict[Token, int] = {}  #: where each lay when the list was walked
        self._gone: list[int] = []  #: sorted: where those lay that this hand took out since
        self._followed: set[Token] = set()
        self.most: dict[str, int] = {}  #: sha1 -> the highest number seen with these bytes
        self.newest = ""  #: sha1 of the newest element seen that is to stay

    def follow(self, tokens: Iterable[Token]) -> None:
        """Remember these too at the next walk: they will be asked for."""
        self._followed.update(tokens)

    def find(self, tokens: Iterable[Token]) -> dict[Token, Found]:
        """Those of these that are there."""
        wanted = list(tokens)
        hinted = [token for token in wanted if token in self._known]
        places = [self._now(self._known[token]) for token in hinted]
        raws = walk.at(self._client, self.key, self.head, places)
        found = {
            token: Found(place, raw)
            for token, place, raw in zip(hinted, places, raws, strict=True)
            if raw is not None and hashlib.sha1(raw).hexdigest() == token.sha1
        }
        if len(found) < len(wanted):
            return self._walk(set(wanted))
        return found

    def took(self, tokens: Iterable[Token]) -> None:
        """This hand took these out: what lies beyond comes nearer."""
        gone = [self._known.pop(token) for token in tokens if token in self._known]
        self._gone = sorted([*self._gone, *gone])

    def _now(self, place: int) -> int:
        return place - bisect_left(self._gone, place)

    def _numbers(self) -> "Numbers | _Plain":
        return Numbers(self._client, self.key, acting=True) if self._dead else _Plain()

    def _walk(self, wanted: set[Token]) -> dict[Token, Found]:
        """One look at the whole list; remembers also what was asked for before."""
        following = wanted | self._known.keys() | self._followed
        self._followed = set()
        sums = {token.sha1 for token in following}
        numbers = self._numbers()
        found: dict[Token, Found] = {}
        self._known, self._gone, self.newest = {}, [], ""
        for page in walk.whole(self._client, self.key, self.head):
            if page is None:
                found, self._known, self.newest = {}, {}, ""
                numbers = self._numbers()
                continue
            first, elements = page
            digests = [hashlib.sha1(one).hexdigest() for one in elements]
            stays = dict(enumerate(digests))
            rows = [n for n, digest in enumerate(digests) if digest in sums]
            for n, token in zip(rows, numbers.of(digests[n] for n in rows), strict=True):
                self.most[token.sha1] = token.number
                if token in following:
                    self._known[token] = first + n
                    del stays[n]
                if token in wanted:
                    found[token] = Found(first + n, elements[n])
            self.newest = stays[max(stays)] if stays else self.newest
        return found


class _Plain:
    """Numbers in order: for lists that no ledger is about."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def of(self, sums: Iterable[str]) -> list[Token]:
        found = []
        for one in sums:
            self._last[one] = self._last.get(one, 0) + 1
            found.append(Token(one, self._last[one]))
        return found
