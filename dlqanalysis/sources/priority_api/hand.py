"""Replays one task at a time through POST /retry, and believes no word of it: only what the lists show after.

The published server says success for any task and does nothing, or takes the entry out and loses the task. So
each item is looked at before and after, the first one of a run before any other is tried, and what cannot be
seen is uncertain. Never /retry-all and never /purge, where the server chooses.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pandas as pd

from dlqanalysis.errors import DLQError, RunError
from dlqanalysis.model import Finding, Item, Outcome, Receipt, State, Verdict
from dlqanalysis.sources._http import Answer, Client, NoAnswer
from dlqanalysis.sources._priority import (
    DONE,
    PRIORITIES,
    UNDER_WAY,
    Entry,
    Options,
    hash_of,
    naive,
)
from dlqanalysis.sources.priority_api import preflight
from dlqanalysis.sources.priority_api.client import REDIS_ROAD
from dlqanalysis.sources.priority_api.evidence import Look, look, newer
from dlqanalysis.sources.priority_api.listing import failure_id, listed, stats, task_of
from dlqanalysis.text import written

_SILENCES = 3  # uncertain answers in a row, after which the rest of a batch is not tried
_LOOKS = (0.0, 0.3, 1.0)  # seconds before each look after a retry
_LOST = "the run's snapshot has the entry; put it back through Redis when nobody has the task"


class PriorityApiHand:
    """Writes by POST /retry, one task each, after a look at its entry at that very moment."""

    capabilities = frozenset({"replay", "outcome", "settle"})

    def __init__(
        self,
        client: Client,
        options: Options,
        *,
        tries: int = 3,
        quiet: float = 60.0,
        patience: timedelta = timedelta(minutes=5),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._options = client, options
        self._tries, self._quiet, self._patience = tries, quiet, patience
        self._sleep, self._clock = sleep, clock
        self._opened = clock()
        self._asked: dict[str, float] = {}  # when a POST for a failure went out
        self._proven: set[str] = set()  # runs in which a retry was seen to move something

    def __repr__(self) -> str:
        return f"PriorityApiHand({self.name})"

    @property
    def name(self) -> str:
        """The same place name as the source's."""
        return self._client.place

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Health, lists, counts, and what this API's retry is known to lose."""
        return preflight.findings(self._client, self._options, items)

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """failure_id, place (the list, or gone) and raw (the entry's JSON text) as they are now."""
        asked = {task_of(one)[0] for one in failure_ids}
        now: dict[str, Entry] = {}
        for priority in PRIORITIES:
            if priority in asked:
                now |= dict(listed(self._client, priority).named())
        found = [now.get(one) for one in failure_ids]
        return pd.DataFrame(
            {
                "failure_id": list(failure_ids),
                "place": [f"dlq:{one.priority}" if one else "gone" for one in found],
                "raw": [one.raw.decode() if one else None for one in found],
            },
            dtype="str",
        )

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Replay each item at most once; one receipt an item as soon as it is known.

        Raises RunError, after a receipt for each item, when the first retry of a run shows that the server says
        success and does nothing.
        """
        if action != "replay":
            raise RunError(f"{self.name} can replay, not {action}: {REDIS_ROAD}.")
        silences, lie, stop = 0, "", ""
        for item in items:
            if lie:
                why = "not tried: the first retry of this run did nothing"
                yield _receipt(item, State.SKIPPED, why)
                continue
            if stop:
                yield _receipt(item, State.NOT_REACHED, stop)
                continue
            receipt, lied = self._replay(item, run_id)
            silences = silences + 1 if receipt.state == State.UNCERTAIN else 0
            if receipt.state == State.SENT:
                self._proven.add(run_id)
            elif lied and run_id not in self._proven:
                lie = receipt.detail
            elif receipt.state == State.NOT_REACHED:  # it is the API that is not well, not the item
                stop = receipt.detail
            elif silences >= _SILENCES:
                stop = f"not tried: {silences} in a row had no answer. Is the API well?"
            yield receipt
        if lie:
            raise RunError(f"{self.name} retries nothing: {lie}. To replay, {REDIS_ROAD}.")

    def _replay(self, item: Item, run_id: str) -> tuple[Receipt, bool]:
        """A receipt, and whether the server said success while nothing moved."""
        waited = 0
        while True:
            try:
                before = look(self._client, item.failure_id, whole=run_id not in self._proven)
            except DLQError as error:
                why = f"not tried, it could not be looked at: {error}"
                return _receipt(item, State.NOT_REACHED, why), False
            if why := _objection(item, before):
                return _receipt(item, State.SKIPPED, f"not tried: {why}"), False
            entry = before.entry
            assert entry is not None  # or there was an objection
            body = {
                "task_id": entry.value("task_id"),
                "reset_attempts": self._options.reset_attempts,
            }
            self._asked[item.failure_id] = self._clock()
            try:
                answer = self._client.post("/retry", body, f"{run_id}/{item.failure_id}")
            except NoAnswer as lost:
                if lost.sent:
                    why = f"asked, not answered: {lost}"
                    return _receipt(item, State.UNCERTAIN, why), False
                return _receipt(item, State.NOT_REACHED, f"nothing was sent: {lost}"), False
            if answer.status != 429:
                return self._judged(item, before, answer)
            wait, waited = answer.retry_after(), waited + 1
            if waited >= self._tries or wait > self._client.longest_wait:
                why = (
                    f"too many requests (429), asked {waited} times; come back in {wait:.0f} s with a slower"
                    " rate"
                )
                return _receipt(item, State.NOT_REACHED, why), False
            self._sleep(wait)

    def _judged(self, item: Item, before: Look, answer: Answer) -> tuple[Receipt, bool]:
        """A receipt for an answer, by what the server shows after it."""
        said = f"the server said {answer.status}: {self._client.words(answer)}"
        good = answer.status < 300 and _says_success(answer)
        try:
            after = self._after(item, patient=good)
        except DLQError as error:
            return _receipt(item, State.UNCERTAIN, f"{said}; then: {error}"), False
        state, told = _shown(before, after, answer.status, good)
        sent_id = item.task_id if state == State.SENT else ""
        lied = good and state == State.REFUSED
        return _receipt(item, state, f"{said}{told}", sent_id), lied

    def _after(self, item: Item, *, patient: bool) -> Look:
        """A look after a retry; some more where a server that said success may need a moment."""
        for wait in _LOOKS if patient else _LOOKS[:1]:
            if wait:
                self._sleep(wait)
            found = look(self._client, item.failure_id)
            if found.entry is None or found.moved:
                break
        return found

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """sent where the server shows that the task runs or ran; not_reached where its entry is as it was,
        `quiet` seconds after the request (or after this hand was opened); else still uncertain.
        """
        for item in items:
            try:
                now = look(self._client, item.failure_id, whole=True)
            except DLQError as error:
                yield _receipt(item, State.UNCERTAIN, f"it could not be looked at: {error}")
                continue
            left = self._quiet - (self._clock() - self._asked.get(item.failure_id, self._opened))
            if now.moved:
                yield _receipt(item, State.SENT, now.moved, item.task_id)
            elif now.entry is None:
                why = f"its entry is gone and nothing shows its task: it runs, is done, or is lost; {_LOST}"
                yield _receipt(item, State.UNCERTAIN, why)
            elif left > 0:
                why = f"its entry is still there; settle again in {math.ceil(left)} s, it may still come"
                yield _receipt(item, State.UNCERTAIN, why)
            else:
                yield _receipt(item, State.NOT_REACHED, "its entry is where it was")

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """failed_again when a task has a new entry in any list; the API tells no success: pending, and unknown
        once `patience` has gone by since `since`.
        """
        entries = [one for p in PRIORITIES for one in listed(self._client, p).named()]
        here = dict(entries)
        of_task: dict[str, list[Entry]] = {}
        for _, entry in entries:
            of_task.setdefault(entry.task_id, []).append(entry)
        zone = self._zone()
        waiting = datetime.now(UTC) - since < self._patience
        for failure, task in items.items():
            later = [
                one
                for one in of_task.get(task, ())
                if newer(one, failure) or _failed_since(one, since, zone)
            ]
            message = ""
            if failure in here:
                outcome, detail = Outcome.PENDING, "its entry is where it was"
                status = written(here[failure].value("current_status") or "").lower()
                if status in DONE:
                    outcome, detail = Outcome.SUCCEEDED, f"its task is {status}"
            elif later:
                entry = max(later, key=failure_id)
                outcome, detail = Outcome.FAILED_AGAIN, f"it is back as {failure_id(entry)}"
                message = written(entry.value("exception_message") or "")
            elif waiting:
                outcome, detail = Outcome.PENDING, "no new entry so far"
            else:
                outcome, detail = Outcome.UNKNOWN, "no new entry, and this API tells no success"
            yield Verdict(
                failure_id=failure, outcome=outcome, detail=detail, exception_message=message
            )

    def _zone(self) -> tzinfo:
        """Of the server's times that have none."""
        with suppress(DLQError):  # without statistics its clock is taken for UTC
            return self._options.zone or stats(self._client).zone or UTC
        return UTC

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def __enter__(self) -> "PriorityApiHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _failed_since(entry: Entry, since: datetime, zone: tzinfo) -> bool:
    """Whether an entry failed after a moment by its time, read as late as it can be: in the hour that a clock is set
    back it is a smaller text than one before."""
    time_of = naive(entry.value("failed_at"))
    if time_of is None:
        return False
    if time_of.tzinfo is None:
        time_of = time_of.replace(tzinfo=zone, fold=1)
    try:
        return time_of.astimezone(UTC) >= since
    except OverflowError:
        return False


def _objection(item: Item, now: Look) -> str:
    """Why an item is not tried; empty for one that is as it was planned."""
    if now.entry is None:
        return now.moved or "its entry is gone: somebody retried or removed it"
    if not now.entry.task_id:
        return f"its entry names no task, and this API retries by task: {REDIS_ROAD}"
    if hash_of(now.entry) != item.content_hash:
        return "its content changed since it was read"
    if now.copies > 1:
        return f"{now.copies} entries are of this task, and this API retries by task: {REDIS_ROAD}"
    return now.moved if now.status in (*UNDER_WAY, *DONE) else ""


def _shown(before: Look, after: Look, status: int, good: bool) -> tuple[State, str]:
    """What became of an item that was asked for, by two looks at it and the status of the answer between them."""
    # 502, 504 and the like are a proxy's word: the server behind it may still be at it
    late = status > 500 or status in (408, 499)
    declined = 300 <= status < 500 and not late  # the server's word that it was not this request
    if after.entry is None and not after.sure:
        return State.UNCERTAIN, "; its entry is not in the part of the list that the server shows"
    moved = after.moved if after.entry is None or after.status != before.status else ""
    if moved:
        listed_on = "" if after.entry is None else ", though its entry is still listed"
        who = "; somebody else retried it meanwhile" if declined else ""
        return State.SKIPPED if declined else State.SENT, f"; {moved}{listed_on}{who}"
    if after.entry is None:
        if good:
            return State.SENT, "; its entry left the list; where it is now this API does not show"
        if status == 404:
            return State.SKIPPED, "; somebody took it meanwhile"
        why = f"; its entry is gone and nothing shows its task, which may be lost: {_LOST}"
        return State.UNCERTAIN, why
    if good:
        return State.REFUSED, ", and nothing changed"
    if late:
        return State.UNCERTAIN, "; its entry is where it was, and may still go"
    expired = f"; the server's copy of it has expired: {REDIS_ROAD}" if status == 404 else ""
    return State.REFUSED, f"{expired}; its entry is where it was"


def _says_success(answer: Answer) -> bool:
    """Whether an answer is a JSON object that does not say no."""
    try:
        told: Any = answer.json()
    except ValueError:
        return False
    if not isinstance(told, Mapping) or told.get("error") or told.get("success") is False:
        return False
    return str(told.get("status", "success")).lower() not in ("error", "failed", "failure")


def _receipt(item: Item, state: State, detail: str, sent_id: str = "") -> Receipt:
    return Receipt(failure_id=item.failure_id, state=state, sent_id=sent_id, detail=detail)
