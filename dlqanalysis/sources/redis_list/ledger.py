"""What was done to which occurrence, by which run: hashes of Redis, one a dead-letter list and month.

They lie outside the lists' names (`dlqanalysis:list:<key>:...`) and are written by the script that moves,
in the same step. A field is `sha1:n`, or `sha1:n<run` for taking back what that run did. Entries are kept
for two months.
"""

import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dlqanalysis.sources.redis_list.keys import Token, shown

if TYPE_CHECKING:
    import redis

DAYS = 62
_AT_ONCE = 500


class Note(NamedTuple):
    """One entry: what was done, by which run, when (milliseconds), to which list, as which bytes."""

    action: str
    run: str
    at: int
    to: str = ""  #: the list it went to, as `shown`; empty where it was removed
    sha1: str = ""  #: of the bytes that went, which a repair makes other than the failure's
    most: int = 0  #: the highest number that these bytes had in the dead-letter list then
    newest: str = ""  #: sha1 of the newest element of the dead-letter list then, of those that stay
    why: str = ""  #: what it is known as, for who looks into the quarantine

    def text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(list(self))

    @classmethod
    def read(cls, text: bytes | str | None) -> "Note | None":
        """The entry behind a text; None for none."""
        return cls(*json.loads(text)) if text else None

    @property
    def when(self) -> str:
        """`2026-11-22 07:30:00Z`."""
        return f"{datetime.fromtimestamp(self.at / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def hashes(key: bytes, now: float | None = None) -> tuple[bytes, bytes]:
    """The ledger that is written this month, and the one of the month before."""
    today = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    base = b"dlqanalysis:list:" + key + b":ledger:"
    return base + f"{today:%Y-%m}".encode(), base + f"{year}-{month:02}".encode()


def asides(key: bytes) -> bytes:
    """The hash that tells of each element in quarantine where it came from, when, and by which run."""
    return b"dlqanalysis:list:" + key + b":quarantined"


def originals(key: bytes) -> bytes:
    """The hash with the bytes that a repair replaced."""
    return b"dlqanalysis:list:" + key + b":originals"


def back(token: Token, run: str) -> str:
    """The field that tells that what a run did to an occurrence was taken back."""
    return f"{token}<{run}"


def read(client: "redis.Redis", key: bytes, fields: Sequence[str]) -> dict[str, str]:
    """Field -> entry, of those that the ledger has."""
    found: dict[str, str] = {}
    for start in range(0, len(fields), _AT_ONCE):
        part = list(fields[start : start + _AT_ONCE])
        asking = client.pipeline(transaction=False)
        for name in hashes(key):
            asking.hmget(name, part)
        now, before = asking.execute()
        for field, *texts in zip(part, now, before, strict=True):
            if text := texts[0] or texts[1]:
                found[field] = text.decode()
    return found


class Numbers:
    """Gives each element its number among those with the same bytes, past those that the ledger has.

    `acting`: others may act at the same time, so that a ledger that is not there yet may be soon.
    """

    def __init__(
        self,
        client: "redis.Redis",
        key: bytes,
        notes: list[str] | None = None,
        acting: bool = False,
    ) -> None:
        import redis

        self._client, self._key = client, key
        self._last: dict[str, int] = {}
        try:
            self._empty = not client.exists(*hashes(key)) and not acting
        except redis.exceptions.NoPermissionError:
            if notes is None:
                raise
            self._empty = True
            notes.append(
                f"The ledger of {shown(key)} cannot be read, so identical messages may be numbered anew:"
                " let the reader read dlqanalysis:list:*."
            )

    def of(self, sums: Iterable[str]) -> list[Token]:
        """The occurrences of the next elements, given their sha1s, the oldest first."""
        tokens = [self._next(one) for one in sums]
        if self._empty:
            return tokens
        taken = read(self._client, self._key, [str(token) for token in tokens])
        while any(str(token) in taken for token in tokens):
            # whoever has a taken number gets the next one, and so do all with these bytes after it
            last: dict[str, int] = {}
            for place, token in enumerate(tokens):
                number = max(token.number, last.get(token.sha1, 0) + 1)
                while str(Token(token.sha1, number)) in taken:
                    number += 1
                last[token.sha1] = number
                tokens[place] = Token(token.sha1, number)
            self._last.update(last)
            unasked = [str(token) for token in tokens]
            more = read(self._client, self._key, unasked)
            if not more.keys() - taken.keys():
                break
            taken |= more
        return tokens

    def _next(self, sha1: str) -> Token:
        number = self._last[sha1] = self._last.get(sha1, 0) + 1
        return Token(sha1, number)


def known(client: "redis.Redis", key: bytes, fields: Sequence[str]) -> dict[str, Any]:
    """Field -> Note, of those that the ledger has."""
    return {field: Note.read(text) for field, text in read(client, key, fields).items()}


def set_aside(
    client: "redis.Redis", quarantine: bytes, failure_ids: Sequence[str]
) -> dict[str, str]:
    """failure_id -> entry, of those that lie in a quarantine list."""
    found = client.hmget(asides(quarantine), list(failure_ids)) if failure_ids else []
    pairs = zip(failure_ids, found, strict=True)
    return {name: text.decode() for name, text in pairs if text is not None}


def replaced(client: "redis.Redis", key: bytes, fields: Sequence[str]) -> dict[str, bytes]:
    """Occurrence -> the bytes that it had before its repair, while they are kept."""
    found = client.hmget(originals(key), list(fields)) if fields else []
    return {name: raw for name, raw in zip(fields, found, strict=True) if raw is not None}
