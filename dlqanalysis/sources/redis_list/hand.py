"""The hand of Redis lists: moves exactly the chosen elements, each at most once, whoever else acts.

| action | does |
|---|---|
| replay | to the main list, byte for byte, or as its repair says |
| quarantine | to the quarantine list; a hash beside it tells where it came from |
| archive, purge | removed; the run's snapshot has the bytes |
| undo | what a run sent and nobody took goes from the main list back to its dead-letter list |
| restore | from the quarantine list back to its dead-letter list |

Each is one script with an entry in a ledger. That the element lies in its list decides, the entry explains.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa

from dlqanalysis.errors import RunError
from dlqanalysis.model import Finding, Item, Receipt, State, Verdict
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.redis_list import fate, ledger, moves, preflight
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.keys import Token, named, parsed, shown
from dlqanalysis.sources.redis_list.ledger import Note, back
from dlqanalysis.sources.redis_list.moves import Move
from dlqanalysis.sources.redis_list.places import Places
from dlqanalysis.sources.redis_list.rows import parsed as message

if TYPE_CHECKING:
    from dlqanalysis.sources._results import Results

FORWARD = ("replay", "quarantine", "archive", "purge")
BACK = {"undo": "replay", "restore": "quarantine"}  #: what takes back -> what it takes back
_AT_ONCE = 200
Receipts = dict[str, Receipt]


class ListHand:
    """Acts on the dead-letter lists of one Redis database."""

    capabilities = frozenset({*FORWARD, *BACK, "repair", "outcome", "settle"})

    def __init__(self, address: Address, results: "Results | None" = None) -> None:
        self.address, self._results = address, results
        self.link = Link(address, writes=True)
        self._places: dict[tuple[bytes, bool], Places] = {}

    def __repr__(self) -> str:
        return f"ListHand({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Lists of the right type, a server that may be written to and forgets nothing, who waits already."""
        lists = _by_list(item.failure_id for item in items)
        for key, tokens in lists.items():
            self._of(key, dead=True).follow(tokens.values())
        with self.link.clear():
            return preflight.findings(self.link.client, self.address, sorted(lists))

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """failure_id, list (where it lies now; empty for what is in none), raw (its bytes)."""
        rows: dict[str, tuple[str, bytes | None]] = {}
        with self.link.clear():
            for key, tokens in _by_list(failure_ids).items():
                found = self._of(key, dead=True).find(tokens.values())
                rows |= {
                    text: (shown(key), found[token].raw)
                    for text, token in tokens.items()
                    if token in found
                }
                rest = {text: token for text, token in tokens.items() if token not in found}
                known = ledger.known(self.link.client, key, [str(token) for token in rest.values()])
                for text, token in rest.items():
                    note = known.get(str(token))
                    if note and note.to and (one := self._sent([(text, note)]).get(text)):
                        rows[text] = note.to, one.raw
        frame = pd.DataFrame({"failure_id": list(failure_ids)}, dtype="str")
        frame["list"] = pd.Series([rows.get(t, ("", None))[0] for t in failure_ids], dtype="str")
        raws = pa.array([rows.get(text, ("", None))[1] for text in failure_ids], pa.binary())
        frame["raw"] = pd.Series(raws, dtype=pd.ArrowDtype(pa.binary()))
        return frame

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Act on each item at most once; one receipt an item."""
        if action not in (*FORWARD, *BACK):
            raise RunError(f"{self.name} can {', '.join((*FORWARD, *BACK))}, not {action}.")
        for start in range(0, len(items), _AT_ONCE):
            part = items[start : start + _AT_ONCE]
            receipts: Receipts = {}
            with self.link.clear():
                planned = self._planned(action, part, run_id, receipts)
                answers = moves.run(self.link.client, [move for _, move in planned])
            for (item, move), answer in zip(planned, answers, strict=True):
                receipts[item.failure_id] = self._judged(action, item, move, answer, run_id)
            yield from (receipts[item.failure_id] for item in part)

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """From the ledger: sent when it has the item, else it never happened."""
        fields: dict[str, tuple[bytes, str]] = {}
        by_list: dict[bytes, list[str]] = {}
        for item in items:
            key, token = parsed(item.failure_id)
            field = back(token, item.undoes) if item.undoes else str(token)
            fields[item.failure_id] = key, field
            by_list.setdefault(key, []).append(field)
        with self.link.clear():
            known = {key: ledger.known(self.link.client, key, of) for key, of in by_list.items()}
        for item in items:
            key, field = fields[item.failure_id]
            if note := known[key].get(field):
                yield _noted(item, note, run_id)
            else:
                yield _receipt(item, State.NOT_REACHED, "the ledger does not have it")

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """pending while it waits in the main list; failed_again when it is back in the dead-letter list;
        unknown once a consumer has taken it, unless a result backend says more."""
        for key, tokens in _by_list(items).items():
            mine = {text: (token, items[text]) for text, token in tokens.items()}
            with self.link.clear():
                found = list(
                    fate.outcomes(self.link.client, self.address, self._results, key, mine)
                )
            yield from found

    def close(self) -> None:
        """Give connections back."""
        self.link.close()
        if self._results is not None:
            self._results.close()

    def __enter__(self) -> "ListHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _of(self, key: bytes, dead: bool) -> Places:
        """The places of a list, remembered. What is pushed into a main list goes in at its newest end."""
        if (key, dead) not in self._places:
            head = self.address.head_is_oldest if dead else self.address.push_right
            self._places[key, dead] = Places(self.link.client, key, head, dead)
        return self._places[key, dead]

    def _planned(
        self, action: str, items: Sequence[Item], run_id: str, receipts: Receipts
    ) -> list[tuple[Item, Move]]:
        """What the script is to move, in order; receipts for what it need not be asked about."""
        by_id = {item.failure_id: item for item in items}
        planned: dict[str, Move] = {}
        for key, tokens in _by_list(by_id).items():
            mine = {text: (by_id[text], token) for text, token in tokens.items()}
            if action in BACK:
                planned |= self._backward(action, key, mine, run_id, receipts)
            else:
                planned |= self._forward(action, key, mine, run_id, receipts)
        return [(item, planned[item.failure_id]) for item in items if item.failure_id in planned]

    def _forward(
        self,
        action: str,
        key: bytes,
        mine: Mapping[str, tuple[Item, Token]],
        run_id: str,
        receipts: Receipts,
    ) -> dict[str, Move]:
        known = ledger.known(self.link.client, key, [str(token) for _, token in mine.values()])
        places = self._of(key, dead=True)
        found = places.find(token for _, token in mine.values() if str(token) not in known)
        to, refusal = self._target(action, key)
        push = "RPUSH" if self._pushes_right(action) else "LPUSH"
        planned = {}
        for text, (item, token) in mine.items():
            here = found.get(token)
            if note := known.get(str(token)):
                receipts[text] = _noted(item, note, run_id)
            elif here is None:
                why = f"it is not in {shown(key)} any more: somebody took or removed it"
                receipts[text] = _receipt(item, State.SKIPPED, why)
            elif why := refusal or self._objection(action, item, to, here.raw):
                receipts[text] = _receipt(item, State.REFUSED, why)
            else:
                instead = item.payload if action == "replay" and item.payload is not None else b""
                if instead == here.raw:
                    instead = b""
                sha1 = hashlib.sha1(instead).hexdigest() if instead else token.sha1
                note = Note(
                    action, run_id, _now(), shown(to) if to else "", sha1,
                    0 if instead else places.most.get(token.sha1, token.number), places.newest,
                    " ".join(filter(None, (item.task_name, item.fingerprint))),
                )  # fmt: skip
                planned[text] = Move(
                    dead=key, places=places, token=token, place=here.place, raw=here.raw, to=to,
                    push=push, field=str(token), note=note, instead=instead,
                    quarantine=self.address.quarantine_of(key),
                    aside=text if action == "quarantine" else "",
                )  # fmt: skip
        return planned

    def _backward(
        self,
        action: str,
        key: bytes,
        mine: Mapping[str, tuple[Item, Token]],
        run_id: str,
        receipts: Receipts,
    ) -> dict[str, Move]:
        quarantine = self.address.quarantine_of(key)
        fields = {text: back(token, item.undoes) for text, (item, token) in mine.items()}
        known = ledger.known(self.link.client, key, list(fields.values()))
        texts = (
            ledger.read(self.link.client, key, [str(token) for _, token in mine.values()])
            if action == "undo"
            else ledger.set_aside(self.link.client, quarantine, list(mine))
        )
        entries = ledger.known(self.link.client, key, [str(token) for _, token in mine.values()])
        removed = {name for name, note in entries.items() if note.action in ("archive", "purge")}
        open_: list[tuple[str, Note]] = []
        for text, (item, token) in mine.items():
            note = Note.read(texts.get(str(token) if action == "undo" else text))
            if before := known.get(fields[text]):
                receipts[text] = _noted(item, before, run_id)
            elif note is None or (note.run, note.action) != (item.undoes, BACK[action]):
                why = f"run {item.undoes or '(none)'} did not {BACK[action]} it, or that was taken back"
                if str(token) in removed:
                    why = f"run {item.undoes} removed it: only that run's snapshot has it"
                receipts[text] = _receipt(item, State.SKIPPED, why)
            else:
                open_.append((text, note))
        found = self._sent(open_)
        replaced = ledger.replaced(self.link.client, key, [str(mine[text][1]) for text, _ in open_])
        push = "LPUSH" if self.address.head_is_oldest else "RPUSH"
        planned = {}
        for text, note in open_:
            item, token = mine[text]
            repaired = note.sha1 != token.sha1
            if text not in found:
                gone = (
                    "a consumer has taken it already" if action == "undo" else "somebody moved it"
                )
                receipts[text] = _receipt(item, State.SKIPPED, f"it is not in {note.to}: {gone}")
            elif repaired and str(token) not in replaced:
                why = "the bytes before its repair are kept for two months only: its run's snapshot has them"
                receipts[text] = _receipt(item, State.REFUSED, why)
            else:
                here = found[text]
                place, raw, name, places = here.place, here.raw, here.token, here.places
                needs = str(token) if action == "undo" else text
                planned[text] = Move(
                    dead=key, places=places, token=name, place=place, raw=raw, to=key, push=push,
                    field=fields[text], note=Note(action, run_id, _now(), shown(key), token.sha1),
                    instead=replaced[str(token)] if repaired else b"", needs=needs,
                    says=texts[needs], frees=str(token), quarantine=quarantine, aside=text,
                )  # fmt: skip
        return planned

    def _sent(self, notes: Sequence[tuple[str, Note]]) -> "dict[str, _Here]":
        """failure_id -> where the element lies that a run put there, of those that still do."""
        wanted: dict[str, list[tuple[str, Token]]] = {}
        counts: dict[tuple[str, str], int] = {}
        for text, note in notes:
            number = counts[note.to, note.sha1] = counts.get((note.to, note.sha1), 0) + 1
            wanted.setdefault(note.to, []).append((text, Token(note.sha1, number)))
        found: dict[str, _Here] = {}
        for name, ones in wanted.items():
            places = self._of(named(name), dead=False)
            there = places.find(token for _, token in ones)
            found |= {
                text: _Here(places, token, *there[token]) for text, token in ones if token in there
            }
        return found

    def _target(self, action: str, key: bytes) -> tuple[bytes | None, str]:
        """Where an action moves to, and why it cannot."""
        if action == "replay":
            to = self.address.main_of(key)
            why = f"nothing says which list the consumers of {shown(key)} take from: add &main= to the URL"
            return to, "" if to else why
        if action == "quarantine":
            to = self.address.quarantine_of(key)
            return to, "it lies in quarantine already: restore it" if to == key else ""
        return None, ""

    def _objection(self, action: str, item: Item, to: bytes | None, raw: bytes) -> str:
        """Why an element that is there is not to go; empty when it may."""
        if action != "replay" or to is None:
            return ""
        if item.queue != shown(to):
            return (
                f"the plan sends it to {item.queue}, this hand to {shown(to)}: give source and hand the"
                " same main="
            )
        _, _, state = message(raw if item.payload is None else item.payload)
        return "" if state == "complete" else f"its payload is {state}: repair or quarantine it"

    def _pushes_right(self, action: str) -> bool:
        return self.address.push_right if action == "replay" else self.address.head_is_oldest

    def _judged(
        self, action: str, item: Item, move: Move, answer: "moves.Answer | Exception", run_id: str
    ) -> Receipt:
        if isinstance(answer, Exception):
            why = f"asked, not answered: {type(answer).__name__}"
            return _receipt(item, State.UNCERTAIN, why)
        code, told = answer
        if code == moves.DONE:
            where = f"to {shown(move.to)}" if move.to else "removed"
            where += ", repaired" if move.instead and action == "replay" else ""
            return _receipt(item, State.SENT, where, item.task_id)
        if code == moves.BEFORE and (note := Note.read(told)):
            return _noted(item, note, run_id)
        if code == moves.TYPE:
            why = f"{told} is not of the type that it should be: look at it with TYPE"
            return _receipt(item, State.REFUSED, why)
        if code == moves.REFUSED:
            why = str(self.address.trouble(RuntimeError(told)))
            return _receipt(item, State.REFUSED, why)
        gone = {
            "undo": "a consumer has taken it already",
            "restore": "it is not in quarantine any more",
        }.get(action, "somebody took or removed it at this moment")
        changed = "somebody took it back at this moment"
        return _receipt(item, State.SKIPPED, changed if code == moves.OTHERWISE else gone)


class _Here(NamedTuple):
    """Where an element lies that this hand's runs have moved."""

    places: Places
    token: Token
    place: int
    raw: bytes


def _by_list(failure_ids: Iterable[str]) -> dict[bytes, dict[str, Token]]:
    """List -> failure_id -> occurrence, in the order given."""
    found: dict[bytes, dict[str, Token]] = {}
    for text in failure_ids:
        key, token = parsed(text)
        found.setdefault(key, {})[text] = token
    return found


def _noted(item: Item, note: Note, run_id: str) -> Receipt:
    """A receipt for what the ledger tells."""
    if note.run == run_id:
        return _receipt(item, State.SENT, f"done at {note.when}", item.task_id)
    return _receipt(
        item, State.SKIPPED, f"run {note.run} did it before ({note.action} at {note.when})"
    )


def _receipt(item: Item, state: State, detail: str, sent_id: str = "") -> Receipt:
    return Receipt(failure_id=item.failure_id, state=state, sent_id=sent_id, detail=detail)


def _now() -> int:
    return int(time.time() * 1000)
