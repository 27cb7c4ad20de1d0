"""What became of what was sent, as its system tells it, noted in the journal once it is final."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dlqanalysis.fingerprint import fingerprint
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.model import Hand, Outcome, Verdict

FINAL = (Outcome.SUCCEEDED, Outcome.FAILED_AGAIN)


class Found(NamedTuple):
    """What a system says of one sent item now."""

    outcome: Outcome
    came_back_as: str  #: the fingerprint of what failed again, where the system says it
    detail: str


def measure(
    hand: Hand, journal: Journal, run_id: str, ids: Mapping[str, str], since: datetime
) -> dict[str, Found]:
    """failure_id -> what its system says of it now."""
    if not ids or "outcome" not in hand.capabilities:
        return {}
    verdicts = list(hand.outcomes(ids, since - timedelta(minutes=1)))
    prints = _fingerprints(verdicts)
    final = [verdict for verdict in verdicts if verdict.outcome in FINAL]
    if final:
        journal.record(
            run_id,
            [
                (
                    verdict.failure_id,
                    "outcome",
                    {
                        "outcome": str(verdict.outcome),
                        "detail": verdict.detail,
                        "fingerprint": prints.get(verdict.failure_id, ""),
                    },
                )
                for verdict in final
            ],
        )
    return {
        v.failure_id: Found(v.outcome, prints.get(v.failure_id, ""), v.detail) for v in verdicts
    }


def _fingerprints(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """failure_id -> fingerprint of the new failure, for those whose system says how they failed."""
    told = [v for v in verdicts if v.outcome == Outcome.FAILED_AGAIN and v.exception_type]
    if not told:
        return {}
    made = fingerprint(
        from_records(
            {
                "failure_id": v.failure_id,
                "exception_type": v.exception_type,
                "exception_message": v.exception_message,
            }
            for v in told
        )
    )
    return dict(zip(made["failure_id"], made["fingerprint"].astype("str"), strict=True))
