"""What became of failures: from the ledger, from the lists they may be in, and from a result backend."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from dlqanalysis.model import Outcome, Verdict
from dlqanalysis.sources.redis_list import ledger, walk
from dlqanalysis.sources.redis_list.keys import Token, named
from dlqanalysis.sources.redis_list.ledger import Note, Numbers
from dlqanalysis.sources.redis_list.rows import Reader

if TYPE_CHECKING:
    import redis

    from dlqanalysis.sources._results import Results
    from dlqanalysis.sources.redis_list.address import Address

_OTHER = {"quarantine": "it is in quarantine", "archive": "archived", "purge": "purged"}
_UNNOTED = "the ledger does not have it (any more): it was taken back (dlq.undo), or sent over two months ago"
_TAKEN = "a consumer took it, and a list does not tell what became of it"


def outcomes(
    client: "redis.Redis",
    address: "Address",
    results: "Results | None",
    key: bytes,
    items: Mapping[str, tuple[Token, str]],
) -> Iterator[Verdict]:
    """A verdict for each failure of one dead-letter list, given failure_id -> (occurrence, its task's id)."""
    notes = ledger.known(client, key, [str(token) for token, _ in items.values()])
    sent = {text: note for text, (token, _) in items.items() if (note := notes.get(str(token)))}
    replayed = {text: note for text, note in sent.items() if note.action == "replay"}
    ids = {text: items[text][1] for text in replayed}
    back = _Back(client, address, key, replayed.values(), set(ids.values()) - {""})
    waits = _waiting(client, address, replayed.values())
    states = results(sorted(set(ids.values()) - {""})) if results and replayed else {}
    failed = [one for one, state in states.items() if state == "FAILURE"]
    ended = results.ended(failed) if results else {}
    for text in items:
        note = sent.get(text)
        if note is None:
            outcome, why = Outcome.UNKNOWN, _UNNOTED
        elif note.action in _OTHER:
            outcome, why = Outcome.SUCCEEDED, _OTHER[note.action]
        elif states.get(ids[text]) == "SUCCESS":
            outcome, why = Outcome.SUCCEEDED, "the result backend says SUCCESS"
        elif back.bytes[note.sha1] > 0:
            back.bytes[note.sha1] -= 1
            outcome, why = Outcome.FAILED_AGAIN, "the same bytes are back in the dead-letter list"
        elif back.has(ids[text], note):
            outcome, why = (
                Outcome.FAILED_AGAIN,
                "a message with its id came to the dead-letter list",
            )
        elif waits[note.to, note.sha1] > 0:
            waits[note.to, note.sha1] -= 1
            outcome, why = Outcome.PENDING, f"waits in {note.to}"
        elif states.get(ids[text]) == "FAILURE" and not _old(ended.get(ids[text]), note):
            outcome, why = Outcome.FAILED_AGAIN, "the result backend says FAILURE"
        else:
            outcome, why = Outcome.UNKNOWN, _TAKEN
        yield Verdict(failure_id=text, outcome=outcome, detail=why)


def _old(ended: datetime | None, note: Note) -> bool:
    """Whether a result is the one that the task had before it was sent again; clocks may differ by a minute."""
    return ended is not None and ended.timestamp() < note.at / 1000 - 60


class _Back:
    """What came to a dead-letter list after these were sent: how many of the same bytes, and which ids."""

    def __init__(
        self,
        client: "redis.Redis",
        address: "Address",
        key: bytes,
        notes: Iterable[Note],
        ids: set[str],
    ) -> None:
        self.bytes: Counter[str] = Counter()
        self._ids: dict[str, int] = {}  # id -> the newest place of a message with it
        self._places: dict[str, int] = {}  # sha1 of what was the newest -> its place
        all_notes = list(notes)
        if not all_notes or client.type(key) != b"list":
            return
        most = {note.sha1: note.most for note in all_notes}
        marks = {note.newest for note in all_notes}
        numbers, reader = Numbers(client, key), Reader(paths=address.paths)
        for page in walk.whole(client, key, address.head_is_oldest):
            if page is None:
                self.bytes.clear()
                self._ids, self._places = {}, {}
                numbers = Numbers(client, key)
                continue
            first, elements = page
            sums = [hashlib.sha1(one).hexdigest() for one in elements]
            mine = [one for one in sums if one in most]
            for token in numbers.of(mine):
                self.bytes[token.sha1] += token.number > most[token.sha1]
            for n, (raw, digest) in enumerate(zip(elements, sums, strict=True)):
                if digest in marks:
                    self._places[digest] = first + n
                if ids and (task := reader.row(raw).get("task_id")) in ids:
                    self._ids[str(task)] = first + n

    def has(self, task_id: str, note: Note) -> bool:
        """Whether a message with this id is newer than all that was there when it was sent."""
        place = self._ids.get(task_id) if task_id else None
        return place is not None and place > self._places.get(note.newest, -1)


def _waiting(
    client: "redis.Redis", address: "Address", notes: Iterable[Note]
) -> Counter[tuple[str, str]]:
    """(list, sha1) -> how many of these bytes lie in a main list."""
    found: Counter[tuple[str, str]] = Counter()
    wanted: dict[str, set[str]] = {}
    for note in notes:
        wanted.setdefault(note.to, set()).add(note.sha1)
    for name, sums in wanted.items():
        if client.type(named(name)) != b"list":
            continue
        here: Counter[str] = Counter()
        for page in walk.whole(client, named(name), address.push_right):
            if page is None:
                here.clear()
                continue
            here.update(hashlib.sha1(one).hexdigest() for one in page[1])
        found.update({(name, one): here[one] for one in sums})
    return found
