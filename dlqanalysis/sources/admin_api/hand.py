"""Replays one failed task at a time through the admin API. Never in bulk, never with force, never twice."""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.model import Finding, Item, Outcome, Receipt, Selection, State, Verdict
from dlqanalysis.sources._http import Answer, Client, NoAnswer
from dlqanalysis.sources.admin_api import preflight
from dlqanalysis.sources.admin_api.archiving import Archiving, was_archived
from dlqanalysis.sources.admin_api.deployment import Deployment, task_of
from dlqanalysis.sources.admin_api.dialect import ID_FIELDS
from dlqanalysis.sources.admin_api.evidence import (
    DONE,
    READY,
    UNDER_WAY,
    happened,
    leaves_open,
    new_id,
    objection,
    status_of,
)
from dlqanalysis.sources.admin_api.listing import Listing
from dlqanalysis.sources.admin_api.rows import Row, failure_id, field, number, task_id
from dlqanalysis.text import written

_ALREADY = re.compile(r"already\b.*\brepl|\breplayed already", re.IGNORECASE)
_SILENCES = 3  # uncertain answers in a row, after which the rest of a batch is not tried
_ONE_BY_ONE = 100  # more rows than this are read by pages


class AdminHand:
    """Writes by POST /replay and POST /archive, one row each, after a look at the row at that very moment.

    `results` may tell the Celery states (SUCCESS, FAILURE, ...) of task ids: the API itself knows no
    success, so without it an outcome is failed_again, pending or unknown.
    """

    capabilities = frozenset({"replay", "archive", "outcome", "settle"})

    def __init__(
        self,
        client: Client,
        *,
        results: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
        tries: int = 3,
        quiet: float = 60.0,
        patience: timedelta = timedelta(minutes=5),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._results, self._api = client, results, Deployment(client)
        self._tries, self._quiet, self._patience = tries, quiet, patience
        self._sleep, self._clock = sleep, clock
        self._opened = clock()
        self._asked: dict[str, float] = {}  # when a POST for a failure went out
        self._before: dict[str, Row] = {}  # and its row just before
        self._learnt = ""  # the id's name, from a refusal where no document tells it

    def __repr__(self) -> str:
        return f"AdminHand({self.name})"

    @property
    def name(self) -> str:
        """The same place name as the source's."""
        return self._api.name

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Token, health, endpoint and field names, and the server's own dry run where its schema has one."""
        return preflight.findings(self._client, self._api.dialect, items)

    def dry_run(self, items: Sequence[Item]) -> list[Finding]:
        """The server's own selection beside ours; nothing is asked unless its schema has dry_run."""
        return preflight.dry_run(self._client, self._api.dialect, items)

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """failure_id, status and raw (JSON text) of the rows as they are now; status `gone` where there is none."""
        found = self._rows(failure_ids)
        return pd.DataFrame(
            {
                "failure_id": list(failure_ids),
                "status": [status_of(row) if (row := found[i]) else "gone" for i in failure_ids],
                "raw": [written(found[i]) if found[i] else None for i in failure_ids],
            },
            dtype="str",
        )

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterable[Receipt]:
        """Replay or archive each item at most once; one receipt an item as soon as it is known."""
        if action == "archive":
            if not self._api.dialect.archives:
                why = f"{self.name} shows no POST /archive in an OpenAPI document: archive in the table"
                return [_receipt(item, State.REFUSED, why) for item in items]  # nothing is in doubt
            archiving = Archiving(self._client, self._tries, self._sleep)
            return self._send(items, run_id, archiving)
        if action != "replay":
            raise RunError(
                f"{self.name} can replay and archive, not {action}. Use the table or the broker for it."
            )
        return self._send(items, run_id, self._replay)

    def _send(
        self, items: Sequence[Item], run_id: str, act: Callable[[Item, str], Receipt]
    ) -> Iterator[Receipt]:
        silences, stop = 0, ""
        for item in items:
            if stop:
                yield _receipt(item, State.NOT_REACHED, stop)
                continue
            receipt = act(item, run_id)
            silences = silences + 1 if receipt.state == State.UNCERTAIN else 0
            if receipt.state == State.NOT_REACHED:  # it is the API that is not well, not the item
                stop = receipt.detail
            elif silences >= _SILENCES:
                stop = f"not tried: {silences} in a row had no answer. Is the API well?"
            yield receipt

    def _replay(self, item: Item, run_id: str) -> Receipt:
        waited, learning = 0, False
        while True:
            try:
                row, _ = task_of(self._client, item.failure_id)
            except ConnectError as error:
                why = f"not tried, it could not be looked at: {error}"
                return _receipt(item, State.NOT_REACHED, why)
            if why := objection(item, row):
                return _receipt(item, State.SKIPPED, f"not tried: {why}")
            self._before[item.failure_id], self._asked[item.failure_id] = row, self._clock()
            try:
                answer = self._client.post(
                    "/replay", self._body(row), f"{run_id}/{item.failure_id}"
                )
            except NoAnswer as lost:
                if lost.sent:
                    return _receipt(item, State.UNCERTAIN, f"asked, not answered: {lost}")
                return _receipt(item, State.NOT_REACHED, f"nothing was sent: {lost}")
            if answer.status == 422 and not learning and self._learns(answer):
                learning = True
                continue
            if answer.status != 429:
                return self._judged(item, row, answer)
            wait, waited = answer.retry_after(), waited + 1
            if waited >= self._tries or wait > self._client.longest_wait:
                why = (
                    f"too many requests (429), asked {waited} times; come back in {wait:.0f} s with a"
                    " slower rate"
                )
                return _receipt(item, State.NOT_REACHED, why)
            self._sleep(wait)

    def _body(self, row: Row) -> dict[str, Any]:
        """The row's own number under the name this deployment has for it; `force` only as false, if it must be there."""
        value = number(row)
        if self._api.dialect.id_type == "string":
            value = str(value)
        elif self._api.dialect.id_type == "integer" and re.fullmatch(r"\d{1,18}", str(value)):
            value = int(value)
        body = {self._api.dialect.id_field or self._learnt or ID_FIELDS[0]: value}
        return body | ({"force": False} if self._api.dialect.force_required else {})

    def _learns(self, answer: Answer) -> bool:
        """Takes the id's name from a 422 (`loc: [body, task_id]`), which has done nothing, where no document told it."""
        if self._api.dialect.id_field:
            return False
        try:
            detail = answer.json()["detail"]
            missing = {entry["loc"][-1] for entry in detail if entry["loc"][0] == "body"}
        except (ValueError, LookupError, TypeError):
            return False
        name = next((name for name in ID_FIELDS if name in missing), "")
        if not name or name == self._learnt:
            return False
        self._learnt = name
        return True

    def _judged(self, item: Item, before: Row, answer: Answer) -> Receipt:
        """A receipt for an answer. Success is believed only when the row has moved as well."""
        words = self._client.words(answer)
        said = f"the server said {answer.status}: {words}"
        if answer.status >= 500 or answer.status in (408, 499):
            return _receipt(item, State.UNCERTAIN, said)
        if answer.status in (200, 400, 409) and _ALREADY.search(words):
            return _receipt(item, State.SKIPPED, f"somebody replayed it at this moment ({words})")
        if answer.status >= 300:
            return _receipt(item, State.REFUSED, said)
        try:
            reply = answer.json()
        except ValueError:
            reply = None
        if not isinstance(reply, Mapping):
            return _receipt(item, State.UNCERTAIN, f"{said}; that is no answer of this API")
        if reply.get("success") is False or (reply.get("error") and not reply.get("success")):
            if leaves_open(words):
                return _receipt(
                    item, State.UNCERTAIN, f"{said}; it may have been published before that"
                )
            return _receipt(item, State.REFUSED, said)
        return self._confirmed(item, before, reply)

    def _confirmed(self, item: Item, before: Row, reply: Mapping[str, Any]) -> Receipt:
        sent_id = new_id(reply)
        try:
            after, _ = task_of(self._client, item.failure_id)
        except ConnectError as error:
            if sent_id:
                return _receipt(item, State.SENT, "its row could not be looked at again", sent_id)
            return _receipt(item, State.UNCERTAIN, f"the server said yes, then: {error}")
        did, evidence = happened(before, after)
        if did is False or (did is None and after is not None and status_of(after) in READY):
            return _receipt(
                item,
                State.UNCERTAIN,
                f"the server said yes, but its row has not moved: {evidence}",
                sent_id,
            )
        return _receipt(item, State.SENT, evidence, sent_id or new_id(after))

    def settle(self, items: Sequence[Item], run_id: str) -> Iterable[Receipt]:
        """sent where the row says replayed; not_reached where it surely did not happen, so that a resume
        may send it; else still uncertain.

        A server may still be busy with a request whose answer was lost, so that "it did not happen" is
        said only `quiet` seconds after the request, or after this hand was opened.
        """
        for item in items:
            try:
                row, _ = task_of(self._client, item.failure_id)
            except ConnectError as error:
                yield _receipt(item, State.UNCERTAIN, f"it could not be looked at: {error}")
                continue
            if item.action == "archive":
                did, evidence = was_archived(row)
            else:
                did, evidence = happened(self._before.get(item.failure_id), row)
            since = self._clock() - self._asked.get(item.failure_id, self._opened)
            if did is False and since < self._quiet:
                left = math.ceil(self._quiet - since)
                did, evidence = None, f"{evidence}; settle again in {left} s, it may still come"
            state = {True: State.SENT, False: State.NOT_REACHED, None: State.UNCERTAIN}[did]
            yield _receipt(item, state, evidence, new_id(row) if did else "")

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterable[Verdict]:
        """What became of sent items: a new failed row with the new id, or its old row failed anew, is failed_again.

        Success is known only from `results`, or where the server shows the new task. Else pending, and
        unknown once `patience` has gone by since `since` without a new failure.
        """
        known = self._results([i for i in items.values() if i]) if self._results else {}
        recent = Selection(since=since - timedelta(minutes=10), status=())  # clocks differ
        new = {
            name: row
            for rows in Listing(self._client, self._api.dialect, recent)
            for row in rows
            if (name := task_id(row))  # not every row tells Celery's id
        }
        left = [
            i for i, sent in items.items() if sent not in new and known.get(sent) not in _STATES
        ]
        rows = self._rows(left)
        waiting = datetime.now(UTC) - since < self._patience
        for failure, sent_id in items.items():
            if sent_id in new:
                what = written(field(new[sent_id], "exception_type") or "no exception told")[:80]
                place = written(failure_id(new[sent_id]))
                yield Verdict(
                    failure_id=failure,
                    outcome=Outcome.FAILED_AGAIN,
                    detail=f"it is back as failure {place} ({what})",
                    exception_type=written(field(new[sent_id], "exception_type")),
                    exception_message=written(field(new[sent_id], "exception_message")),
                )
            elif (state := known.get(sent_id)) in _STATES:
                yield Verdict(failure_id=failure, outcome=_STATES[state], detail=f"state {state}")
            else:
                outcome, detail = _fate(rows[failure], waiting)
                yield Verdict(failure_id=failure, outcome=outcome, detail=detail)

    def _rows(self, failure_ids: Sequence[str]) -> dict[str, Row | None]:
        """The rows as they are now, None where there is none; many at once by pages."""
        found: dict[str, Row | None] = {}
        if len(failure_ids) > _ONE_BY_ONE:
            wanted = set(failure_ids)
            for rows in Listing(self._client, self._api.dialect, Selection(status=())):
                found |= {i: row for row in rows if (i := failure_id(row)) in wanted}
        for failure in failure_ids:
            if failure not in found:
                found[failure], _ = task_of(self._client, failure)
        return found

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def __enter__(self) -> "AdminHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_STATES = {"SUCCESS": Outcome.SUCCEEDED, "FAILURE": Outcome.FAILED_AGAIN}


def _fate(row: Row | None, waiting: bool) -> tuple[Outcome, str]:
    status = status_of(row) if row else "gone"
    if status in READY:
        return Outcome.FAILED_AGAIN, f"its row says {status} again"
    if status in DONE and status != "replayed":
        return Outcome.SUCCEEDED, f"its row says {status}"
    if status in UNDER_WAY or waiting:
        return Outcome.PENDING, f"its row says {status}; no new failure so far"
    return Outcome.UNKNOWN, f"its row says {status}; no new failure, and this API tells no success"


def _receipt(item: Item, state: State, detail: str, sent_id: str = "") -> Receipt:
    return Receipt(failure_id=item.failure_id, state=state, sent_id=sent_id, detail=detail)
