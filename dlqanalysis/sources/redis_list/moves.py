"""Runs the script that moves: in chunks, again where an element was not where it had been, never twice."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dlqanalysis.sources.redis_list import walk
from dlqanalysis.sources.redis_list.ledger import DAYS, Note, asides, hashes, originals
from dlqanalysis.sources.redis_list.places import Places

if TYPE_CHECKING:
    import redis

    from dlqanalysis.sources.redis_list.keys import Token

_AT_ONCE, _BYTES = 100, 2**20  # elements, and bytes of them, in one step of Redis
_LOOKS = 4  #: how often a place is looked up again before the list is searched for the bytes
DONE, BEFORE, GONE, OTHERWISE, TYPE = 1, 2, 0, -2, -3  #: what the script answers
REFUSED = -4  #: Redis did not let it begin
Answer = tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One element that goes from a list to another, or away."""

    dead: bytes  #: the dead-letter list that it belongs to, whose ledger tells of it
    places: Places  #: of the list it lies in
    token: "Token"  #: what it is called there
    place: int
    raw: bytes
    to: bytes | None
    push: str  #: LPUSH or RPUSH
    field: str
    note: Note
    instead: bytes = b""
    needs: str = ""
    says: str = ""
    frees: str = ""
    quarantine: bytes = b""  #: the quarantine list whose hash tells of it
    aside: str = ""

    @property
    def way(self) -> tuple[bytes, bytes, bytes | None, str, bytes]:
        """What the moves of one step have in common."""
        return self.dead, self.places.key, self.to, self.push, self.quarantine


@cache
def text() -> str:
    """The script."""
    return (files("dlqanalysis.sources.redis_list") / "move.lua").read_text()


def run(client: "redis.Redis", moves: Sequence[Move]) -> list[Answer | Exception]:
    """What came of each, in order: the script's answer, or the error where it never came (after asking twice)."""
    import redis

    answers: dict[int, Answer] = {}
    open_ = [(n, move, move.place) for n, move in enumerate(moves)]
    for look in range(_LOOKS + 1):
        again = []
        for part in _parts(open_, 1 if look == _LOOKS else _AT_ONCE):
            try:
                told = _step(client, part, searching=look == _LOOKS)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                return [answers.get(n, error) for n in range(len(moves))]
            for one, answer in zip(part, told, strict=True):
                if answer[0] == GONE and look < _LOOKS:
                    again.append(one)
                else:
                    answers[one[0]] = answer
        open_ = []
        for (
            n,
            move,
            _,
        ) in again:  # somebody took others out meanwhile: it lies elsewhere now, or is gone
            if found := move.places.find([move.token]).get(move.token):
                open_.append((n, move, found.place))
            else:
                answers[n] = (GONE, "")
    return [answers[n] for n in range(len(moves))]


def _parts(
    moves: Sequence[tuple[int, Move, int]], most: int
) -> Iterator[list[tuple[int, Move, int]]]:
    """Neighbours that go the same way, few and small enough for one step."""
    part: list[tuple[int, Move, int]] = []
    size = 0
    for one in moves:
        length = len(one[1].raw) + len(one[1].instead)
        if part and (one[1].way != part[0][1].way or len(part) >= most or size + length > _BYTES):
            yield part
            part, size = [], 0
        part.append(one)
        size += length
    if part:
        yield part


def _step(
    client: "redis.Redis", part: Sequence[tuple[int, Move, int]], searching: bool
) -> list[Answer]:
    """One call of the script. A lost answer is asked for once more: the ledger knows what was done."""
    import redis

    first, places = part[0][1], part[0][1].places
    source = places.key
    target = source if first.to is None else first.to
    keys = [source, target, *hashes(first.dead), asides(first.quarantine), originals(first.dead)]
    grave = b"dlqanalysis:" + secrets.token_bytes(16)
    push = "NONE" if first.to is None else first.push
    arguments: list[Any] = [push, DAYS * 86400, grave, int(places.head)]
    for _, move, place in part:
        where = "" if searching else walk.index(place, places.head)
        arguments += [
            move.field, move.note.text(), where, move.raw, move.instead, move.needs, move.says,
            move.frees, move.aside,
        ]  # fmt: skip
    call: Callable[[], Any] = lambda: client.eval(text(), len(keys), *keys, *arguments)  # noqa: E731
    try:
        try:
            told = call()
        except (redis.ConnectionError, redis.TimeoutError):
            told = call()
    except redis.ResponseError as error:  # its first write was refused, so nothing happened
        return [(REFUSED, str(error))] * len(part)
    if int(told[0][0]) == TYPE:
        return [(TYPE, told[0][1].decode("utf-8", "replace"))] * len(part)
    done = (move.token for (_, move, _), one in zip(part, told, strict=True) if int(one[0]) == DONE)
    places.took(done)
    return [(int(code), what.decode("utf-8", "replace")) for code, what in told]
