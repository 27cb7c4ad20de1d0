"""What became of failures: from the ledger, from the sets they are in, and from BullMQ's own events."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dlqanalysis.model import Outcome
from dlqanalysis.sources.bullmq import scripts
from dlqanalysis.sources.bullmq.keys import Failure, Keys

if TYPE_CHECKING:
    import redis

_AT_ONCE = 200
_EVENTS, _EVENT_PAGES = 1000, 20  # BullMQ keeps about ten thousand
_ENDS = {
    b"completed": (Outcome.SUCCEEDED, "completed, and removed as removeOnComplete says"),
    b"failed": (Outcome.FAILED_AGAIN, "it failed again, and BullMQ has removed it (removeOnFail)"),
    b"removed": (Outcome.UNKNOWN, "somebody removed it"),
}
# a drained queue leaves the same nothing as removeOnComplete: only the event tells success
_GONE = (Outcome.UNKNOWN, "its job is gone, and BullMQ's events do not say that it completed")
_OTHER = {"quarantine": "it is in quarantine", "archive": "archived", "purge": "purged"}


def told(token: str) -> tuple[str, str, str]:
    """(action, run, time) of an entry of the ledger."""
    action, _, rest = token.partition("|")
    run, _, milliseconds = rest.rpartition("|")
    when = (
        datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds.isdecimal() else None
    )
    return action, run, f"{when:%Y-%m-%d %H:%M:%S}Z" if when else "?"


Place = tuple[bytes, bytes]  #: a queue, and what its ledger calls the thing


def ledger(client: "redis.Redis", prefix: bytes, places: Sequence[Place]) -> dict[Place, str]:
    """What the ledger has of each, where it has any."""
    found = {}
    months = scripts.months()
    for start in range(0, len(places), _AT_ONCE):
        part = places[start : start + _AT_ONCE]
        asking = client.pipeline(transaction=False)
        for queue, field in part:
            for month in months:
                asking.execute_command("HGET", Keys(prefix, queue).ledger(month), field)
        answers = asking.execute()
        for one, now, before in zip(part, answers[::2], answers[1::2], strict=True):
            if token := now or before:
                found[one] = token.decode("utf-8", "replace")
    return found


def outcomes(
    client: "redis.Redis", prefix: bytes, failures: Mapping[str, Failure], since: datetime
) -> dict[str, tuple[Outcome, str]]:
    """failure_id -> outcome and what it was seen by."""
    found: dict[str, tuple[Outcome, str]] = {}
    gone: dict[bytes, dict[bytes, str]] = {}
    notes = ledger(client, prefix, [(one.queue, one.field) for one in failures.values()])
    ids = list(failures)
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        asking = client.pipeline(transaction=False)
        for text in part:
            one = failures[text]
            keys = Keys(prefix, one.queue)
            asking.execute_command("ZSCORE", keys(b"failed"), one.job)
            asking.execute_command("ZSCORE", keys(b"completed"), one.job)
            asking.execute_command("EXISTS", keys(one.job))
        answers = asking.execute()
        for n, text in enumerate(part):
            one = failures[text]
            failed, completed, there = answers[3 * n : 3 * n + 3]
            action = told(notes.get((one.queue, one.field), ""))[0]
            if action in _OTHER:
                found[text] = Outcome.SUCCEEDED, _OTHER[action]
            elif failed is not None and float(failed) == float(one.score):
                found[text] = Outcome.PENDING, "it is where it was"
            elif failed is not None:
                found[text] = Outcome.FAILED_AGAIN, f"it failed again at {_when(failed)}"
            elif completed is not None:
                found[text] = Outcome.SUCCEEDED, f"completed at {_when(completed)}"
            elif there:
                found[text] = Outcome.PENDING, "waiting or running"
            else:
                gone.setdefault(one.queue, {})[one.job] = text
    for queue, names in gone.items():
        ends = _ends(client, Keys(prefix, queue)(b"events"), names.keys(), since)
        for job, text in names.items():
            found[text] = _ENDS.get(ends.get(job, b""), _GONE)
    return found


def _ends(client: "redis.Redis", stream: bytes, names: Any, since: datetime) -> dict[bytes, bytes]:
    """The last event for each job, among the newest ones, that tells an end, or that it waits: what was before
    that belongs to an earlier failure."""
    found: dict[bytes, bytes] = {}
    end, first = "+", f"{int(since.timestamp() * 1000)}"
    for _ in range(_EVENT_PAGES):
        page = client.execute_command("XREVRANGE", stream, end, first, "COUNT", _EVENTS)
        for _, values in page:
            event = _dict(values)
            job = event.get(b"jobId")
            what = event.get(b"event", b"")
            if job in names and job not in found and (what in _ENDS or what == b"waiting"):
                found[job] = what
        if len(page) < _EVENTS or len(found) == len(names):
            break
        end = "(" + page[-1][0].decode()
    return found


def _dict(values: Any) -> dict[bytes, bytes]:
    return values if isinstance(values, dict) else dict(zip(values[::2], values[1::2], strict=True))


def _when(score: Any) -> str:
    try:
        return f"{datetime.fromtimestamp(float(score) / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):
        return str(score)
