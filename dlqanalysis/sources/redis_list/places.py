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
        self._known: dict[Token, int] = {}
        self.most: dict[str, int] = {}  #: sha1 -> the highest number seen with these bytes
        self.newest = ""  #: sha1 of the newest element seen

    def find(self, tokens: Iterable[Token]) -> dict[Token, Found]:
        """Those of these that are there."""
        wanted = list(tokens)
        hinted = [token for token in wanted if token in self._known]
        places = [self._known[token] for token in hinted]
        raws = walk.at(self._client, self.key, self.head, places)
        found = {
            token: Found(place, raw)
            for token, place, raw in zip(hinted, places, raws, strict=True)
            if raw is not None and hashlib.sha1(raw).hexdigest() == token.sha1
        }
        if len(found) < len(wanted):
            return self._walk(set(wanted))
        return found

    def took(self, places: Iterable[int]) -> None:
        """This hand took out what lay at these places: what lies beyond comes nearer."""
        gone = sorted(places)
        if gone:
            away = set(gone)
            self._known = {
                token: place - bisect_left(gone, place)
                for token, place in self._known.items()
                if place not in away
            }

    def _numbers(self) -> "Numbers | _Plain":
        return Numbers(self._client, self.key, acting=True) if self._dead else _Plain()

    def _walk(self, wanted: set[Token]) -> dict[Token, Found]:
        """One look at the whole list; remembers also what was asked for before."""
        following = wanted | self._known.keys()
        sums = {token.sha1 for token in following}
        numbers = self._numbers()
        found: dict[Token, Found] = {}
        self._known = {}
        for page in walk.whole(self._client, self.key, self.head):
            if page is None:
                found, self._known = {}, {}
                numbers = self._numbers()
                continue
            first, elements = page
            digests = [hashlib.sha1(one).hexdigest() for one in elements]
            self.newest = digests[-1] if digests else self.newest
            rows = [n for n, digest in enumerate(digests) if digest in sums]
            for n, token in zip(rows, numbers.of(digests[n] for n in rows), strict=True):
                self.most[token.sha1] = token.number
                if token in following:
                    self._known[token] = first + n
                if token in wanted:
                    found[token] = Found(first + n, elements[n])
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
