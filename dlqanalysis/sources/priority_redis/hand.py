"""The hand of the Redis priority queue: each action is one script that checks first and moves then.

| action | does |
|---|---|
| replay | back to `tasks:` of its own priority, with its task's type, payload, limits and key; repaired where asked |
| quarantine, archive | out of the system's sight, whole; `restore` brings it back |
| purge | removed; the run's snapshot has it |
| undo | takes a replay back that no worker has begun |

That the entry's very bytes are in their list decides, so that nothing is done twice, whoever else acts. A ledger
outside of the system's keys tells afterwards what was done, by which run, for two months.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa

from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.model import Finding, Item, Receipt, State, Verdict
from dlqanalysis.sources._priority import PRIORITIES, Entry, hash_of
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.priority_redis import calls, fate, preflight, scripts
from dlqanalysis.sources.priority_redis.address import Address
from dlqanalysis.sources.priority_redis.entries import listed
from dlqanalysis.sources.priority_redis.keys import Keys, priority_of

ACTIONS = ("replay", "quarantine", "archive", "purge", "undo", "restore")
_BACK = ("undo", "restore")
_GONE = "it is not there any more: somebody took it out"
_SILENCES = 3  # uncertain answers in a row, after which the rest is not tried


class PriorityRedisHand:
    """Acts on the entries of one Redis database."""

    capabilities = frozenset({*ACTIONS, "repair", "outcome", "settle"})

    def __init__(self, address: Address) -> None:
        self.address = address
        self.keys = Keys(address.prefix)
        self.link = Link(address, writes=True)
        self._entries: dict[str, Entry] = {}  # as last seen; the script looks again

    def __repr__(self) -> str:
        return f"PriorityRedisHand({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Scripts, role, lists, whether somebody waits for tasks, and what these entries give to think."""
        with self.link.clear():
            self._look([item.failure_id for item in items])
            return preflight.findings(
                self.link.client, self.address, self.keys, items, self._entries
            )

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """failure_id, place (the list, quarantine, archive, or gone), raw: the entry's bytes."""
        for failure_id in failure_ids:  # as they are now, not as they were seen
            self._entries.pop(failure_id, None)
        with self.link.clear():
            self._look(failure_ids)
            aside = fate.aside(self.link.client, self.keys, failure_ids)
        places, raws = [], []
        for failure_id in failure_ids:
            entry = self._entries.get(failure_id)
            place, raw = aside.get(failure_id, ("gone", None))
            places.append(f"dlq:{entry.priority}" if entry else place)
            raws.append(entry.raw if entry else raw)
        frame = pd.DataFrame({"failure_id": list(failure_ids), "place": places}, dtype="str")
        frame["raw"] = pd.Series(
            pa.array(raws, pa.binary()).to_pylist(), dtype=pd.ArrowDtype(pa.binary())
        )
        return frame

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Act on each item at most once; one receipt an item, as soon as it is known."""
        if action not in ACTIONS:
            raise RunError(f"{self.name} can {', '.join(ACTIONS)}, not {action}.")
        silences, why = 0, ""
        try:
            if action not in _BACK:
                with self.link.clear():
                    self._look([item.failure_id for item in items])
        except ConnectError as error:
            why = f"the lists could not be looked at: {error}"
        for item in items:
            if why or silences >= _SILENCES:
                said = why or f"{silences} in a row had no answer. Is Redis well?"
                yield _receipt(item, State.NOT_REACHED, f"not tried: {said}")
                continue
            receipt = self._one(action, item, run_id)
            silences = silences + 1 if receipt.state == State.UNCERTAIN else 0
            yield receipt

    def _one(self, action: str, item: Item, run_id: str) -> Receipt:
        """One item's receipt: what is in its way, or what its script says."""
        import redis

        token = f"{action}|{run_id}|{int(time.time() * 1000)}"
        try:
            call = self._call(action, item, run_id, token)
        except (redis.RedisError, OSError) as error:
            why = f"not tried, it could not be looked at: {self.address.trouble(error)}"
            return _receipt(item, State.NOT_REACHED, why)
        if isinstance(call, Receipt):
            return call
        try:
            code, told = scripts.run(self.link.client, call)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            why = f"asked, not answered: {type(error).__name__}"
            return _receipt(item, State.UNCERTAIN, why)
        except redis.ResponseError as error:  # scripts check before they write: nothing happened
            return _receipt(item, State.REFUSED, str(self.address.trouble(error)))
        return self._judged(item, action, code, told, run_id)

    def _call(self, action: str, item: Item, run_id: str, token: str) -> "scripts.Call | Receipt":
        """The script to run for an item, or a receipt for why there is none."""
        if action == "restore":
            return calls.restore(self.keys, item, token)
        if action == "undo":
            taken = fate.taken(self.link.client, self.keys, item)
            if taken is None:
                why = f"run {item.undoes} keeps nothing of it to take back"
                return _receipt(item, State.SKIPPED, why)
            return calls.undo(self.keys, item, taken, token)
        entry = self._entries.get(item.failure_id)
        if entry is None:
            return self._missing(item, run_id)
        if hash_of(entry) != item.content_hash:
            return _receipt(item, State.SKIPPED, "its content changed since it was read")
        if action != "replay":
            return calls.remove(self.keys, item, entry, token, action, self._copy(entry))
        new = entry
        if item.payload is not None:
            new = Entry.of(entry.priority, item.payload)
        if why := _objection(entry, new):
            return _receipt(item, State.REFUSED, why)
        options, copy = self.address.options, self._copy(entry)
        return calls.replay(self.keys, item, entry, new, token, run_id, options, copy)

    def _copy(self, entry: Entry) -> bytes:
        """The bytes of the system's own copy where it is of this very failure; else nothing."""
        import redis

        if not entry.task_id:
            return b""
        try:
            copy = self.link.client.get(self.keys.copy(entry.task_id))
        except redis.ResponseError:
            return b""  # a key of another type: the script says so
        if copy is None:
            return b""
        same = Entry.of(entry.priority, copy)
        whole = same.task_id == entry.task_id and same.part("failed_at") == entry.part("failed_at")
        return copy if copy == entry.raw or whole else b""

    def _missing(self, item: Item, run_id: str) -> Receipt:
        """A receipt for what is not in its list: the ledger may know why."""
        told = fate.ledger(self.link.client, self.keys, [item.failure_id]).get(item.failure_id)
        if told:
            return _noted(item, told, run_id)
        return _receipt(item, State.SKIPPED, _GONE)

    def _judged(self, item: Item, action: str, code: int, told: str, run_id: str) -> Receipt:
        if code == 1:
            self._entries.pop(item.failure_id, None)
            return _receipt(item, State.SENT, f"to {told}" if told else "", item.task_id)
        if code == 2:
            return _noted(item, told, run_id)
        gone = "it is neither in quarantine nor in the archive" if action in _BACK else _GONE
        state, text = {
            0: (State.SKIPPED, gone),
            -3: (State.REFUSED, f"the key {told} is of another type, or in the way"),
            -5: (State.SKIPPED, f"its task is under way ({told})"),
            -6: (State.SKIPPED, f"its task is done ({told})"),
            -9: (State.SKIPPED, f"run {told} set it aside, not {item.undoes}"),
        }[code]
        return _receipt(item, state, text)

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """From the ledger: sent when it has the item under this run, else it never happened."""
        with self.link.clear():
            known = fate.ledger(self.link.client, self.keys, [item.failure_id for item in items])
            back = fate.given_back(self.link.client, self.keys, [item.failure_id for item in items])
        for item in items:
            notes = [known.get(item.failure_id, ""), back.get(item.failure_id, "")]
            mine = [note for note in notes if fate.told(note)[1] == run_id]
            if mine:
                yield _noted(item, mine[0], run_id)
            else:
                why = "the ledger does not have it under this run"
                yield _receipt(item, State.NOT_REACHED, why)

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """succeeded when its task says so; failed_again when it has a new entry; else pending or unknown."""
        with self.link.clear():
            found = fate.outcomes(self.link.client, self.keys, items)
        yield from found

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def __enter__(self) -> "PriorityRedisHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, failure_ids: Sequence[str]) -> None:
        """Remember the entries of these failures; the lists are read only for those not known yet."""
        unknown = {one for one in failure_ids if one not in self._entries}
        wanted = {priority_of(one) for one in unknown}
        if unknown:
            found, _ = listed(self.link.client, self.keys, [p for p in PRIORITIES if p in wanted])
            self._entries |= {key: entry for key, entry in found if key in unknown}


def _objection(entry: Entry, new: Entry) -> str:
    """Why an entry cannot be a task again; empty when it can."""
    if not new.readable:
        return "what is to go is no JSON object: repair it, or set it aside"
    if not entry.task_id and not new.task_id:
        return "it names no task"
    if entry.task_id and new.task_id != entry.task_id:
        return f"what is to go is of another task ({new.task_id[:40]})"
    if not new.value("task_name"):
        return "it names no type of task"
    if not (new.payload or "").startswith("{"):
        return "its payload is no JSON object"
    return ""


def _noted(item: Item, token: str, run_id: str) -> Receipt:
    """A receipt for what the ledger tells."""
    action, run, when = fate.told(token)
    if run == run_id:
        return _receipt(item, State.SENT, f"done at {when}", item.task_id)
    return _receipt(item, State.SKIPPED, f"run {run} did it before ({action} at {when})")


def _receipt(item: Item, state: State, detail: str, sent_id: str = "") -> Receipt:
    return Receipt(failure_id=item.failure_id, state=state, sent_id=sent_id, detail=detail)
