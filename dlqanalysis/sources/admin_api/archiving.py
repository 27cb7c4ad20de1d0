"""Puts one failed task away through the admin API, and believes it only when its row says so."""

from collections.abc import Callable, Mapping

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Item, Receipt, State
from dlqanalysis.sources._http import Answer, Client, NoAnswer
from dlqanalysis.sources.admin_api.deployment import task_of, task_path
from dlqanalysis.sources.admin_api.evidence import (
    PUT_AWAY,
    READY,
    UNDER_WAY,
    objection,
    status_of,
)
from dlqanalysis.sources.admin_api.rows import Row, hash_of


def was_archived(row: Row | None) -> tuple[bool | None, str]:
    """Whether a row has been put away, and what says so."""
    if row is None:
        return None, "its row is gone: archived or deleted"
    status = status_of(row)
    if status in PUT_AWAY:
        return True, f"its status is {status}"
    return (None if status in UNDER_WAY else False), f"its status is {status or 'not shown'}"


class Archiving:
    """Called with an item and a run, archives it by one POST; a receipt with the state before and after."""

    def __init__(self, client: Client, tries: int, sleep: Callable[[float], None]) -> None:
        self._client, self._tries, self._sleep = client, tries, sleep

    def __call__(self, item: Item, run_id: str) -> Receipt:
        def receipt(state: State, detail: str) -> Receipt:
            return Receipt(failure_id=item.failure_id, state=state, detail=detail)

        for left in reversed(range(self._tries)):
            try:
                row, _ = task_of(self._client, item.failure_id)
            except ConnectError as error:
                return receipt(State.NOT_REACHED, f"not tried, it could not be looked at: {error}")
            why = objection(item, row)
            if row is not None and status_of(row) == "replayed":  # done with: that may be put away
                changed = hash_of(row) != item.content_hash
                why = "its content has changed. Load and plan again" if changed else ""
            if why:
                return receipt(State.SKIPPED, f"not tried: {why}")
            path = task_path(item.failure_id).replace("/tasks/", "/archive/", 1)
            try:
                answer = self._client.post(path, {}, f"{run_id}/{item.failure_id}")
            except NoAnswer as lost:
                if lost.sent:
                    return receipt(State.UNCERTAIN, f"asked, not answered: {lost}")
                return receipt(State.NOT_REACHED, f"nothing was sent: {lost}")
            wait = answer.retry_after()
            if answer.status != 429:
                return receipt(*self._judged(item, status_of(row or {}), answer))
            if not left or wait > self._client.longest_wait:
                return receipt(
                    State.NOT_REACHED,
                    f"too many requests (429); come back in {wait:.0f} s with a slower rate",
                )
            self._sleep(wait)
        raise AssertionError("the last try returns")

    def _judged(self, item: Item, before: str, answer: Answer) -> tuple[State, str]:
        said = f"the server said {answer.status}: {self._client.words(answer)}"
        if answer.status >= 500 or answer.status in (408, 499):
            return State.UNCERTAIN, said
        if answer.status >= 300:
            return State.REFUSED, said
        try:
            reply = answer.json()
        except ValueError:
            reply = None
        if isinstance(reply, Mapping) and reply.get("success") is False:
            return State.REFUSED, said
        try:
            row, _ = task_of(self._client, item.failure_id)
        except ConnectError as error:
            return State.UNCERTAIN, f"the server said yes, then: {error}"
        if was_archived(row)[0]:
            return State.SENT, f"its status was {before} and is {status_of(row or {})}"
        if row is not None and status_of(row) in READY:
            return State.UNCERTAIN, f"the server said yes, but its status is {before} as before"
        return State.UNCERTAIN, f"the server said yes, and {was_archived(row)[1]}"
