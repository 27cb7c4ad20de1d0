"""The hand of BullMQ: replays failed jobs, sets them aside or removes them, each in one checked step.

| action | does |
|---|---|
| replay | back to its queue: same job, same bytes, its priority, lifo and parent kept |
| quarantine | out of BullMQ's sight, whole; `restore` brings it back |
| archive, purge | removed; the run's snapshot has it whole |

Membership in `failed`, at the score that was read, decides: nothing is done twice, whoever else acts. A
ledger outside of BullMQ's keys tells afterwards what was done, by which run, for two months.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from dlqanalysis.errors import DLQError, RunError
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Finding, Item, Receipt, State, Verdict
from dlqanalysis.sources.bullmq import fate, jobs, pausing, preflight, raw, scripts
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.keys import Failure, Keys, failure, shown, task_id
from dlqanalysis.sources.bullmq.source import fetch, foreign

if TYPE_CHECKING:
    import redis

ACTIONS = ("replay", "quarantine", "archive", "purge")
_AT_ONCE = 200
_HASHED = ("task_id", "task_name", "queue", "args", "kwargs")
_SEALED = ("name", "data", "opts", "priority", "parentKey")  # what the script compares
_READ = (*jobs.FIELDS, "parentKey", "parent")
_BESIDE = (b"logs", b"dependencies", b"processed", b"failed", b"unsuccessful")
Fields = dict[str, bytes | None]


class BullHand:
    """Acts on failed jobs of one prefix in one Redis database."""

    capabilities = frozenset({*ACTIONS, "outcome", "settle", "pause"})

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: redis.Redis | None = None

    def __repr__(self) -> str:
        return f"BullHand({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    @property
    def client(self) -> "redis.Redis":
        """The connection, opened when first asked for; it never sends a command again by itself."""
        if self._client is None:
            self._client = self.address.connect(writes=True)
        return self._client

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Queues, workers, pauses, and what these jobs themselves give to think."""
        with self._clear():
            return preflight.findings(self.client, self.address, items)

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """failure_id, queue, job, score, kind, raw (the hash) and beside (logs and children, as DUMP), whole."""
        failures = [failure(text) for text in failure_ids]
        with self._clear():
            whole = fetch(self.client, [self._keys(one)(one.job) for one in failures])
            beside = self._beside(failures)
            bodies = [
                raw.encode(hash_) if kind == "hash" else None if kind == "none"
                else foreign(self.client, self._keys(one)(one.job), kind)
                for one, (hash_, kind) in zip(failures, whole, strict=True)
            ]  # fmt: skip
        frame = pd.DataFrame(
            {
                "failure_id": list(failure_ids),
                "queue": [shown(one.queue) for one in failures],
                "job": [shown(one.job) for one in failures],
                "score": [one.score.decode("ascii", "replace") for one in failures],
                "kind": [kind for _, kind in whole],
            },
            dtype="str",
        )
        binary = pd.ArrowDtype(pa.binary())
        frame["raw"] = pd.Series(pa.array(bodies, pa.binary()), dtype=binary)
        frame["beside"] = pd.Series(pa.array(beside, pa.binary()), dtype=binary)
        return frame

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Act on each item at most once; one receipt an item."""
        if action not in ACTIONS:
            raise RunError(f"{self.name} can {', '.join(ACTIONS)}, not {action}.")
        for start in range(0, len(items), _AT_ONCE):
            receipts, trouble = self._send(action, items[start : start + _AT_ONCE], run_id)
            yield from receipts
            if trouble:
                raise trouble

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """From the ledger: sent when it has the item, else it never happened."""
        failures = {item.failure_id: failure(item.failure_id) for item in items}
        with self._clear():
            known = fate.ledger(self.client, self._prefix, list(failures.values()))
        for item in items:
            if told := known.get(failures[item.failure_id]):
                yield _noted(item, told, run_id)
            else:
                yield _receipt(item, State.NOT_REACHED, "the ledger does not have it")

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """failed_again when it is in `failed` with another score; succeeded when completed or gone; else pending."""
        with self._clear():
            found = fate.outcomes(
                self.client, self._prefix, {text: failure(text) for text in items}, since
            )
        for failure_id, (outcome, detail) in found.items():
            yield Verdict(failure_id=failure_id, outcome=outcome, detail=detail)

    def pause(self, queue: str, why: str = "by hand") -> bool:
        """Workers take no new job of a queue. False when it was paused already."""
        with self._clear():
            return pausing.pause(self.client, self._queue(queue), f"{why}|{_now()}")

    def resume(self, queue: str) -> bool:
        """Workers go on with all that waits in a queue. False when it was not paused."""
        with self._clear():
            return pausing.resume(self.client, self._queue(queue))

    def restore(self, failure_ids: Sequence[str]) -> list[Receipt]:
        """Brings jobs back from quarantine into `failed`, as they were; sent, or skipped with the reason."""
        failures = [failure(text) for text in failure_ids]
        now, before = scripts.months()
        calls: list[scripts.Call] = []
        for one in failures:
            keys = self._keys(one)
            names = [
                keys(one.job), keys(b"failed"), keys.quarantine, keys.set_aside(one.job),
                keys.ledger(now), keys.ledger(before),
            ]  # fmt: skip
            calls.append(("restore", names, [one.job, one.score, _field(one)]))
        with self._clear():
            answers = scripts.run(self.client, calls) if calls else []
        found = []
        for failure_id, answer in zip(failure_ids, answers, strict=True):
            if isinstance(answer, Exception):
                raise self.address.trouble(answer)
            code, told = answer
            state = State.SENT if code == 1 else State.SKIPPED
            detail = {1: "", 0: "it is not in quarantine"}.get(
                code, f"the key {shown(told or b'')} is in the way"
            )
            found.append(Receipt(failure_id=failure_id, state=state, detail=detail))
        return found

    def close(self) -> None:
        """Give connections back."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> "BullHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _prefix(self) -> bytes:
        return self.address.prefix.encode()

    def _keys(self, one: Failure) -> Keys:
        return Keys(self._prefix, one.queue)

    def _queue(self, name: str) -> Keys:
        return Keys(self._prefix, name.encode())

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """What goes wrong with Redis comes out as one clear sentence."""
        import redis

        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise self.address.trouble(error) from None

    def _send(
        self, action: str, items: Sequence[Item], run_id: str
    ) -> tuple[list[Receipt], DLQError | None]:
        """Look at all, then act on all that are as planned. Receipts in the order of the items, and what
        has to be told after them."""
        failures = {item.failure_id: failure(item.failure_id) for item in items}
        with self._clear():
            fields = self._look(list(failures.values()))
        contents = _contents(failures, fields)
        receipts: dict[str, Receipt] = {}
        calls: dict[str, scripts.Call] = {}
        for item in items:
            one, have = failures[item.failure_id], fields[failures[item.failure_id]]
            now, whole = contents.get(item.failure_id, ("", False))
            if have is None:
                why = "its key is no job: look at it with TYPE"
                receipts[item.failure_id] = _receipt(item, State.REFUSED, why)
            elif now != item.content_hash:
                changed = "its content changed since it was read"
                if not any(have.values()):
                    changed = "its job is gone"
                receipts[item.failure_id] = _receipt(item, State.SKIPPED, changed)
            elif action == "replay" and not whole:
                why = jobs.unreadable_reason(have)
                receipts[item.failure_id] = _receipt(item, State.REFUSED, why)
            else:
                calls[item.failure_id] = self._call(action, one, have, run_id)
        queues = {failures[failure_id].queue for failure_id in calls}
        answers, rested, trouble = self._act(action, queues, list(calls.values()), run_id)
        by_id = {item.failure_id: item for item in items}
        for failure_id, answer in zip(calls, answers, strict=True):
            mine = failures[failure_id].queue in rested
            receipts[failure_id] = self._judged(by_id[failure_id], answer, run_id, mine)
        return [receipts[item.failure_id] for item in items], trouble

    def _act(
        self, action: str, queues: set[bytes], calls: list[scripts.Call], run_id: str
    ) -> tuple[list[Any], set[bytes], DLQError | None]:
        """The scripts' answers; with ?pause=yes the queues rest meanwhile: which did, and the trouble to tell
        when one could not be resumed."""
        import redis

        paused: list[Keys] = []
        trouble: DLQError | None = None
        try:
            if self.address.pause and action == "replay":
                with self._clear():
                    for queue in sorted(queues):
                        keys = Keys(self._prefix, queue)
                        if pausing.pause(self.client, keys, f"run {run_id}|{_now()}"):
                            paused.append(keys)
            try:
                answers = scripts.run(self.client, calls) if calls else []
            except (redis.ConnectionError, redis.TimeoutError) as error:
                answers = [error] * len(calls)
        finally:
            for keys in paused:
                try:
                    pausing.resume(self.client, keys)
                except (redis.RedisError, DLQError) as error:
                    name = shown(keys.queue)
                    trouble = RunError(
                        f"Queue {name} is STILL PAUSED: it could not be resumed"
                        f" ({type(error).__name__}). Call hand.resume('{name}')."
                    )
        return answers, {keys.queue for keys in paused}, trouble

    def _look(self, failures: Sequence[Failure]) -> dict[Failure, Fields | None]:
        """What each job says now; None where its key is no hash."""
        import redis

        asking = self.client.pipeline(transaction=False)
        for one in failures:
            asking.execute_command("HMGET", self._keys(one)(one.job), *_READ)
        found: dict[Failure, Fields | None] = {}
        for one, row in zip(failures, asking.execute(raise_on_error=False), strict=True):
            if isinstance(row, Exception):
                if not isinstance(row, redis.ResponseError) or "WRONGTYPE" not in str(row):
                    raise row
                found[one] = None
            else:
                found[one] = dict(zip(_READ, row, strict=True))
        return found

    def _call(self, action: str, one: Failure, have: Fields, run_id: str) -> scripts.Call:
        keys = self._keys(one)
        names = [keys(one.job), keys(b"failed"), *map(keys.ledger, scripts.months())]
        names += [keys(b"meta"), keys(b"events")]
        token = f"{action}|{run_id}|{_now()}"
        arguments: list[Any] = [
            one.job, one.score, token, _field(one), _seal(have), scripts.LEDGER_DAYS * 86400,
        ]  # fmt: skip
        if action != "replay":
            aside = keys.set_aside(one.job) if action == "quarantine" else b""
            return "remove", [*names, keys.quarantine], [*arguments, aside, have["deid"] or b""]
        places = (b"wait", b"paused", b"active", b"marker", b"prioritized", b"pc")
        push = "RPUSH" if jobs.lifo(have["opts"]) else "LPUSH"
        anew = int(self.address.reset_attempts)
        names += [keys(place) for place in places]
        return "replay", names, [*arguments, anew, push, *_parent(have)]

    def _judged(self, item: Item, answer: Any, run_id: str, rested: bool) -> Receipt:
        """A receipt for a script's answer. A queue that rested meanwhile is going on again."""
        import redis

        if isinstance(answer, redis.ConnectionError | redis.TimeoutError):
            why = f"asked, not answered: {type(answer).__name__}"
            return _receipt(item, State.UNCERTAIN, why)
        if isinstance(answer, Exception):  # scripts check before they write, so nothing happened
            return _receipt(item, State.REFUSED, str(self.address.trouble(answer)))
        code, told = int(answer[0]), answer[1]
        if code == 1:
            one = failure(item.failure_id)
            where = f"to {told.decode()}" if told else ""
            if len(answer) > 2 and answer[2] == b"1":
                where = "while its queue rested" if rested else f"{where}; the queue is paused"
            return _receipt(item, State.SENT, where, task_id(one.queue, one.job))
        if code == 2:
            return _noted(item, told.decode("utf-8", "replace"), run_id)
        place = shown(told) if isinstance(told, bytes) else ""
        state, text = {
            0: (State.SKIPPED, "it is not failed any more: somebody retried or removed it"),
            -1: (State.REFUSED, "its job is gone, only its id is left"),
            -2: (State.SKIPPED, f"it failed again since it was read (at {place})"),
            -3: (State.REFUSED, f"the key {place} is of a type that BullMQ does not make"),
            -4: (State.SKIPPED, "its content changed at this moment"),
            -5: (State.SKIPPED, "a worker holds it"),
            -6: (State.REFUSED, f"{place} of its children are not done: replay those first"),
            -7: (State.REFUSED, f"its parent {place} waits for it: replay it, or take the parent first"),
        }[code]  # fmt: skip
        return _receipt(item, state, text)

    def _beside(self, failures: Sequence[Failure]) -> list[bytes | None]:
        """The keys beside each job, as RESP: name, DUMP, name, DUMP, ...; None where there are none."""
        found: list[bytes | None] = []
        for start in range(0, len(failures), _AT_ONCE):
            part = failures[start : start + _AT_ONCE]
            asking = self.client.pipeline(transaction=False)
            for one in part:
                for name in _BESIDE:
                    asking.execute_command("DUMP", self._keys(one)(one.job) + b":" + name)
            dumps = asking.execute()
            for n in range(len(part)):
                mine = dumps[n * len(_BESIDE) : (n + 1) * len(_BESIDE)]
                pairs = [(name, dump) for name, dump in zip(_BESIDE, mine, strict=True) if dump]
                found.append(raw.bulks(x for pair in pairs for x in pair) if pairs else None)
        return found


def _contents(
    failures: Mapping[str, Failure], fields: Mapping[Failure, Fields | None]
) -> dict[str, tuple[str, bool]]:
    """failure_id -> content hash of the job as it is now, and whether a worker can run it; by the source's
    own mapping. Nothing for those that are no hash.
    """
    found = {}
    for queue in {one.queue for one in failures.values()}:
        ids = [text for text, one in failures.items() if one.queue == queue and fields[one]]
        ones = [failures[text] for text in ids]
        values = {name: [(fields[one] or {}).get(name) for one in ones] for name in jobs.FIELDS}
        table = jobs.columns(queue, [one.job for one in ones], [one.score for one in ones], values)
        rows = zip(*(table[name].to_pylist() for name in _HASHED), strict=True)
        whole = [state == "complete" for state in table["payload_state"].to_pylist()]
        found |= {
            text: (content_hash(*row), good)
            for text, row, good in zip(ids, rows, whole, strict=True)
        }
    return found


def _seal(have: Fields) -> str:
    """What of a job must not change between our look and the script, as the script computes it."""
    values = [have[name] for name in _SEALED]
    parts = [b"-" if value is None else b"%d:%s" % (len(value), value) for value in values]
    return hashlib.sha1(b"".join(parts)).hexdigest()


def _parent(have: Fields) -> tuple[bytes, bytes]:
    """(queue key, id) of a job's parent; empty where there is none."""
    key = have["parentKey"] or b""
    if not key:
        return b"", b""
    try:
        told = json.loads(have["parent"] or b"{}")
        place, name = str(told["queueKey"]).encode(), str(told["id"]).encode()
        if place + b":" + name == key:
            return place, name
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    place, _, name = key.rpartition(b":")
    return place, name


def _field(one: Failure) -> bytes:
    return one.job + b"\x1f" + one.score


def _noted(item: Item, token: str, run_id: str) -> Receipt:
    """A receipt for what the ledger tells."""
    action, run, when = fate.told(token)
    if run == run_id:
        one = failure(item.failure_id)
        return _receipt(item, State.SENT, f"done at {when}", task_id(one.queue, one.job))
    return _receipt(item, State.SKIPPED, f"run {run} did it before ({action} at {when})")


def _receipt(item: Item, state: State, detail: str, sent_id: str = "") -> Receipt:
    return Receipt(failure_id=item.failure_id, state=state, sent_id=sent_id, detail=detail)


def _now() -> int:
    return int(time.time() * 1000)
