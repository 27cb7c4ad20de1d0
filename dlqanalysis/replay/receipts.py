"""A hand's receipts, each in the journal before anybody acts on it."""

import time
from collections.abc import Iterable, Iterator, Sequence

from dlqanalysis.journal import Journal
from dlqanalysis.model import Receipt, State

_QUICK = 0.002  #: seconds; who answers faster has most likely done many in one step
_HELD = 0.02  #: seconds that a receipt waits at most for others that come as quickly


def noted(
    receipts: Iterable[Receipt],
    journal: Journal,
    run_id: str,
    frees: Sequence[str] = (),
    prefix: str = "",
) -> Iterator[Receipt]:
    """The receipts, once they are written; those that come in one breath share a transaction.

    One that the hand took its time for is written at once: a crash during the next call then leaves no doubt
    about it. The items of all of them are `sending` in the journal already.
    """
    source, held, since = iter(receipts), list[Receipt](), 0.0
    while True:
        asked = time.monotonic()
        try:
            receipt = next(source, None)
        except BaseException:
            yield from _write(held, journal, run_id, frees, prefix)
            raise
        now = time.monotonic()
        since = since if held else now
        if receipt is not None:
            held.append(receipt)
        if receipt is None or now - asked >= _QUICK or now - since >= _HELD:
            yield from _write(held, journal, run_id, frees, prefix)
            held = []
        if receipt is None:
            return


def _write(
    held: list[Receipt], journal: Journal, run_id: str, frees: Sequence[str], prefix: str
) -> list[Receipt]:
    if held:
        journal.record(
            run_id, [(one.failure_id, _event(one.state), _detail(one, prefix)) for one in held], frees
        )  # fmt: skip
    return held


def _event(state: State) -> str:
    return "unsent" if state == State.NOT_REACHED else str(state)


def _detail(receipt: Receipt, prefix: str) -> dict[str, str]:
    return {"sent_id": receipt.sent_id, "detail": f"{prefix}{receipt.detail}"}
