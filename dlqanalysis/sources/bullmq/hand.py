"""The hand of BullMQ: each item in one checked step of Redis, which happens whole or not at all.

| action | does |
|---|---|
| replay | back to its queue: same job, same bytes (or an item's `payload` as its data), priority, lifo and parent kept |
| undo | a replay is taken back while no worker has taken the job |
| quarantine | out of BullMQ's sight, whole; `restore` brings it back |
| archive, purge | removed; the run's snapshot has it whole |
| pause, unpause | workers take nothing more from a queue (an item's `queue`), or go on |

Membership in `failed`, at the score that was read, decides: nothing is done twice, whoever else acts. A
ledger outside of BullMQ's keys tells afterwards what was done, by which run, for two months.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from dlqanalysis.errors import DLQError, RunError
from dlqanalysis.model import Finding, Item, Outcome, Receipt, State, Verdict
from dlqanalysis.sources._redis import answers
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.bullmq import calls, fate, jobs, look, pausing, preflight, raw, scripts
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.keys import Failure, Keys, failure, named, place, queue_of, shown
from dlqanalysis.sources.bullmq.source import fetch, foreign

if TYPE_CHECKING:
    import redis

QUEUES = ("pause", "unpause")
ACTIONS = ("replay", "undo", "quarantine", "restore", "archive", "purge", *QUEUES)
_AT_ONCE = 200
_BESIDE = (b"logs", b"dependencies", b"processed", b"failed", b"unsuccessful")


class BullHand:
    """Acts on failed jobs of one prefix in one Redis database."""

    capabilities = frozenset({*ACTIONS, "outcome", "settle", "repair"})
    #: items sent together where no outcome is waited for: the ledger tells of each what was done, also after a crash;
    #: Redis is busy with those of one script (`scripts.TOGETHER`) for some 10 ms
    at_once = 1_000

    def __init__(self, address: Address) -> None:
        self.address = address
        self.link = Link(address, writes=True)

    def __repr__(self) -> str:
        return f"BullHand({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Queues, workers, pauses, and what these jobs themselves give to think."""
        with self.link.clear() as client:
            return preflight.findings(client, self.address, items)

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """failure_id, queue, job, score, kind, raw (the hash) and beside (logs and children, as DUMP), whole.

        For the id of a queue, its `meta`.
        """
        failures = [place(text) for text in failure_ids]
        names = [self._keys(one)(one.job) for one in failures]
        with self.link.clear() as client:
            whole = fetch(client, names)
            beside = self._beside(client, failures)
            bodies = [
                raw.encode(hash_) if kind == "hash" else None if kind == "none"
                else foreign(client, name, kind)
                for name, (hash_, kind) in zip(names, whole, strict=True)
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
        for start in range(0, len(items), self.at_once):
            part = items[start : start + self.at_once]
            if action in QUEUES:
                receipts, trouble = self._send_queues(action, part, run_id), None
            else:
                receipts, trouble = self._send(action, part, run_id)
            yield from receipts
            if trouble:
                raise trouble

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """From the ledger: sent when it has the item, else it never happened; an undo did not where the ledger
        has what it was to take back."""
        places = {item.failure_id: _noted_at(item) for item in items}
        with self.link.clear() as client:
            known = fate.ledger(client, self._prefix, list(places.values()))
        for item in items:
            told = known.get(places[item.failure_id])
            if not told:
                yield calls.receipt(item, State.NOT_REACHED, "the ledger does not have it")
            elif item.undoes and fate.told(told)[1] == item.undoes:
                why = f"the ledger has what run {item.undoes} did, and nobody took it back"
                yield calls.receipt(item, State.NOT_REACHED, why)
            else:
                yield calls.noted(item, told, run_id)

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """failed_again when it is in `failed` with another score, succeeded when it completed, pending while it
        waits or runs; unknown when it is gone and no event tells why."""
        failures = {text: failure(text) for text in items}
        with self.link.clear() as client:
            found = fate.outcomes(client, self._prefix, failures, since)
            again = [
                failures[text] for text, (how, _) in found.items() if how == Outcome.FAILED_AGAIN
            ]
            errors = look.errors(client, self._prefix, again)
        for failure_id, (outcome, detail) in found.items():
            kind, message = errors.get(failures[failure_id], ("", ""))
            yield Verdict(
                failure_id=failure_id, outcome=outcome, detail=detail,
                exception_type=kind, exception_message=message,
            )  # fmt: skip

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def __enter__(self) -> "BullHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _prefix(self) -> bytes:
        return self.address.prefix.encode()

    def _keys(self, one: Failure) -> Keys:
        return Keys(self._prefix, one.queue)

    def _send_queues(self, action: str, items: Sequence[Item], run_id: str) -> list[Receipt]:
        """Queues are paused or unpaused, each in one step."""
        asked = [calls.of_queue(action, self._prefix, item, run_id) for item in items]
        return [
            calls.judged(action, self.address, item, answer, run_id)
            for item, answer in zip(items, self._run(asked), strict=True)
        ]

    def _send(
        self, action: str, items: Sequence[Item], run_id: str
    ) -> tuple[list[Receipt], DLQError | None]:
        """Look at all, then act on all that are as planned. Receipts in the order of the items, and what
        has to be told after them."""
        failures = {item.failure_id: failure(item.failure_id) for item in items}
        with self.link.clear() as client:
            fields = look.look(client, self._prefix, list(failures.values()))
        fits = self._as_planned(action, items, failures, fields)
        asked = {
            item.failure_id: calls.of_job(
                action,
                self.address,
                item,
                one := failures[item.failure_id],
                fields[one] or {},
                run_id,
            )
            for item in items
            if item.failure_id not in fits
        }
        queues = {failures[failure_id].queue for failure_id in asked}
        answers, rested, trouble = self._act(action, queues, list(asked.values()), run_id)
        by_id = dict(zip(asked, answers, strict=True))
        receipts = [
            fits[item.failure_id]
            if item.failure_id in fits
            else calls.judged(
                action, self.address, item, by_id[item.failure_id], run_id,
                failures[item.failure_id].queue in rested,
            )
            for item in items
        ]  # fmt: skip
        return receipts, trouble

    def _as_planned(
        self,
        action: str,
        items: Sequence[Item],
        failures: Mapping[str, Failure],
        fields: Mapping[Failure, look.Fields | None],
    ) -> dict[str, Receipt]:
        """Receipts of the items that are left alone, since they are not as they were read."""
        if action in ("undo", "restore"):
            return {}  # the ledger and the scripts know what these were
        found: dict[str, Receipt] = {}
        contents = look.contents(fields)
        repaired = {
            failures[item.failure_id]: {**have, "data": item.payload}
            for item in items
            if item.payload is not None and (have := fields[failures[item.failure_id]]) is not None
        }
        runs = {one: good for one, (_, good) in (contents | look.contents(repaired)).items()}
        for item in items:
            one = failures[item.failure_id]
            have = fields[one]
            if have is None:
                why = "its key is no job: look at it with TYPE"
                found[item.failure_id] = calls.receipt(item, State.REFUSED, why)
            elif contents[one][0] != item.content_hash:
                why = (
                    "its content changed since it was read"
                    if any(have.values())
                    else "its job is gone"
                )
                found[item.failure_id] = calls.receipt(item, State.SKIPPED, why)
            elif action == "replay" and not runs[one]:
                why = jobs.unreadable_reason(repaired.get(one, have))
                found[item.failure_id] = calls.receipt(item, State.REFUSED, why)
        return found

    def _run(self, asked: list[scripts.Call]) -> list[Any]:
        """The scripts' answers; an answer that stays lost is its error."""
        import redis

        try:
            return scripts.run(self.link.client, asked) if asked else []
        except (redis.ConnectionError, redis.TimeoutError) as error:
            return [error] * len(asked)

    def _act(
        self, action: str, queues: set[bytes], asked: list[scripts.Call], run_id: str
    ) -> tuple[list[Any], set[bytes], DLQError | None]:
        """The scripts' answers; with ?pause=yes the queues rest meanwhile: which did, and the trouble to tell
        when one could not go on."""
        resting: dict[bytes, str] = {}
        try:
            if self.address.pause and action == "replay":
                with self.link.clear() as client:
                    for queue in sorted(queues):
                        # noted before it is asked: a pause whose answer never came is ended, too
                        who = resting[queue] = pausing.who(run_id)
                        if not pausing.rest(client, Keys(self._prefix, queue), who):
                            del resting[queue]
            answers = self._run(asked)
        except BaseException:
            if trouble := self._wake(resting):
                raise trouble from None
            raise
        return answers, set(resting), self._wake(resting)

    def _wake(self, resting: Mapping[bytes, str]) -> DLQError | None:
        """Queues that rested go on; the trouble to tell when one could not."""
        import redis

        trouble: DLQError | None = None
        for queue, who in resting.items():
            try:
                pausing.go_on(self.link.client, Keys(self._prefix, queue), who)
            except (redis.RedisError, DLQError) as error:
                trouble = RunError(
                    f"Queue {shown(queue)} is STILL PAUSED: it could not be unpaused"
                    f" ({type(error).__name__}). Unpause it: a plan with action='unpause' for it."
                )
        return trouble

    def _beside(self, client: "redis.Redis", failures: Sequence[Failure]) -> list[bytes | None]:
        """The keys beside each job, as RESP: name, DUMP, name, DUMP, ...; None where there are none."""
        found: list[bytes | None] = []
        for start in range(0, len(failures), _AT_ONCE):
            jobs = [self._keys(one)(one.job) for one in failures[start : start + _AT_ONCE]]
            there = _told(client, [("EXISTS", *(job + b":" + n for n in _BESIDE)) for job in jobs])
            having = [job for job, count in zip(jobs, there, strict=True) if count]
            asked = [("DUMP", job + b":" + name) for job in having for name in _BESIDE]
            dumps = iter(_told(client, asked))
            for count in there:
                mine = [(name, next(dumps)) for name in _BESIDE] if count else []
                pairs = [pair for pair in mine if pair[1]]
                found.append(raw.bulks(x for pair in pairs for x in pair) if pairs else None)
        return found


def _told(client: "redis.Redis", commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    found = answers(client, commands)
    for one in found:
        if isinstance(one, Exception):
            raise one
    return found


def _noted_at(item: Item) -> fate.Place:
    """Where the ledger would note an item."""
    if queue_of(item.failure_id) is not None:
        return named(item.queue), item.failure_id.encode()
    one = failure(item.failure_id)
    return one.queue, one.field
