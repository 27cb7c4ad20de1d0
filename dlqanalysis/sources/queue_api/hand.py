"""The hand that pauses queues and lets them go on, one request each, and looks whether it is so."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

import pandas as pd

from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.frame import from_records
from dlqanalysis.model import Finding, Item, Outcome, Receipt, State, Verdict
from dlqanalysis.sources._http import Answer, Client, NoAnswer
from dlqanalysis.sources.queue_api import metrics
from dlqanalysis.sources.queue_api.client import REDIS_ROAD

_NO_PROOF = "the API does not show whether the queue is paused"
_ROUTES = {"pause": "pause", "unpause": "resume"}  #: our word -> the API's


class QueueHand:
    """Pauses and unpauses. It never drains and never cleans: those delete jobs."""

    capabilities = frozenset({"pause", "unpause", "settle"})

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def name(self) -> str:
        """The same as the monitor's: `queue:host`."""
        return self._client.place

    def __repr__(self) -> str:
        return f"QueueHand({self.name})"

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """The queues must be there. Whether the API has the route shows only when it is used."""
        try:
            found = metrics.queues(self._client)
        except ConnectError as error:
            return [Finding(name="queue API", severity="critical", text=str(error), blocks=True)]
        gone = sorted({item.queue for item in items} - set(found))
        told = [
            Finding(
                name="route",
                severity="ok",
                text=f"Some versions of this API cannot pause: it then refuses, and nothing changes. Do it {REDIS_ROAD}.",
            )
        ]
        if gone:
            text = f"{self.name} has no queue {', '.join(gone[:5])}: those are left out."
            told.append(Finding(name="queues", severity="warning", text=text))
        if found and all(queue.paused is None for queue in found.values()):
            text = (
                f"{self.name} does not show whether a queue is paused: its word is all there will be. See that"
                " active falls to 0."
            )
            told.append(Finding(name="proof", severity="warning", text=text))
        return told

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """These queues as they are now."""
        found = metrics.queues(self._client)
        there = [(one, found.get(one.rpartition("@")[0])) for one in failure_ids]
        return from_records(
            {
                "source": self.name,
                "failure_id": failure_id,
                "queue": queue.name,
                "status": queue.status,
                "raw": json.dumps(queue.counts, sort_keys=True),
            }
            for failure_id, queue in there
            if queue is not None
        )

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Pause or unpause each item's queue, once; a queue that is so already is skipped."""
        if action not in _ROUTES:
            raise RunError(f"{self.name} can pause and unpause, not {action}.")
        found = metrics.queues(self._client)
        for item in items:
            if item.queue not in found:
                yield Receipt(
                    failure_id=item.failure_id,
                    state=State.SKIPPED,
                    detail="there is no such queue now",
                )
            elif found[item.queue].paused is (action == "pause"):
                yield Receipt(
                    failure_id=item.failure_id,
                    state=State.SKIPPED,
                    detail=f"it is {action}d already",
                )
            else:
                state, detail = self._asked(action, item.queue, run_id)
                yield Receipt(failure_id=item.failure_id, state=state, detail=detail)

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """By the queue itself: it is no longer as it was planned for, or it is; uncertain where the API does not
        show it. Whether it was this run or somebody else cannot be told, and does not matter."""
        found = metrics.queues(self._client)
        for item in items:
            now = found[item.queue].status if item.queue in found else "unknown"
            then = item.failure_id.rpartition("/")[2]
            state = State.NOT_REACHED if now == then else State.SENT
            detail = f"the queue was {then}, and is {now} now"
            if "unknown" in (now, then):
                state, detail = State.UNCERTAIN, f"{_NO_PROOF}: look at its workers"
            yield Receipt(failure_id=item.failure_id, state=state, detail=detail)

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """None: a pause has no outcome but itself."""
        for failure_id in items:
            yield Verdict(failure_id=failure_id, outcome=Outcome.UNKNOWN, detail="a pause has none")

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def __enter__(self) -> "QueueHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(self, action: str, queue: str, run_id: str) -> tuple[State, str]:
        """One request, and what the queue says after it."""
        route = f"/queue/{_ROUTES[action]}/{quote(queue, safe='')}"
        try:
            answer = self._client.post(route, {}, run_id)
        except NoAnswer as lost:
            if not lost.sent:
                return State.NOT_REACHED, f"nothing was sent: {lost}"
            return self._seen(action, queue, State.UNCERTAIN, f"asked, not answered: {lost}")
        if answer.status in (404, 405):
            return State.REFUSED, f"this API has no route to {action} a queue. Do it {REDIS_ROAD}"
        if answer.status == 429:
            wait = answer.retry_after()
            return State.NOT_REACHED, f"too many requests (429); come back in {wait:.0f} s"
        if answer.status >= 500 or answer.status in (408, 499):
            said = f"the API failed ({answer.status}: {self._client.words(answer)})"
            return self._seen(action, queue, State.UNCERTAIN, said)
        if answer.status >= 300:
            return State.REFUSED, self._refusal(answer)
        if not _says_yes(answer):
            said = f"the API said {answer.status}, but not yes: {self._client.words(answer)}"
            return self._seen(action, queue, State.UNCERTAIN, said)
        return self._seen(action, queue, State.SENT, f"the API says so; {_NO_PROOF}")

    def _seen(self, action: str, queue: str, else_: State, said: str) -> tuple[State, str]:
        """The state that the queue shows, read anew; `else_` where it does not show."""
        try:
            now = metrics.queues(self._client).get(queue)
        except ConnectError as error:
            return else_, f"{said}; it could not be looked at: {error}"
        if now is None or now.paused is None:
            return else_, said
        if now.paused is (action == "pause"):
            return State.SENT, f"read again: the queue is {now.status}"
        if else_ is State.SENT:
            return State.REFUSED, f"the API said yes, but read again the queue is {now.status}"
        return else_, f"{said}; read again the queue is {now.status}"

    def _refusal(self, answer: Answer) -> str:
        hint = f": {self._client.token_name} may not" if answer.status in (401, 403) else ""
        return f"refused ({answer.status}: {self._client.words(answer)}){hint}"


def _says_yes(answer: Answer) -> bool:
    """Whether an answer without an error status is no error all the same, nor a page of somebody in between."""
    if not answer.content.strip():
        return True
    try:
        told = answer.json()
    except ValueError:
        return False
    return not isinstance(told, Mapping) or not (told.get("error") or told.get("success") is False)
