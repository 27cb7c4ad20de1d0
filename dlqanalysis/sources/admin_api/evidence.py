"""What a task's row says about a replay: whether it may begin, and whether it happened."""

import re
from collections.abc import Mapping
from typing import Any

from dlqanalysis.model import Item
from dlqanalysis.sources.admin_api.rows import Row, failure_id, field, hash_of, replay_count
from dlqanalysis.text import written

READY = ("failed", "failure", "error", "dead", "dead_letter")
DONE = ("replayed", "succeeded", "success", "completed")
UNDER_WAY = ("replaying", "pending_replay", "queued", "requeued", "running", "started", "retrying")
PUT_AWAY = ("archived", "resolved", "discarded", "ignored", "quarantined")

_NEW_ID = ("new_task_id", "replayed_task_id", "replay_task_id")

#: Words of a `success: false` that leave open whether the task was published before it. The published
#: API publishes, then writes its row, and answers any failure of either with the same shape.
_AFTER_PUBLISHING = re.compile(
    r"psycopg|asyncpg|sqlalche|sqlite|database|commit|deadlock|serialize access|rollback|session"
    r"|timed? ?out|reset by peer|broken pipe|closed the connection|connection closed|closed unexpectedly"
    r"|unexpectedly closed",
    re.IGNORECASE,
)


def status_of(row: Row) -> str:
    """The row's status in lower case; empty where the server shows none."""
    return str(field(row, "status") or "").strip().lower()


def new_id(answer: Any) -> str:
    """The id under which the task runs now, where an answer or a row tells it."""
    if not isinstance(answer, Mapping):
        return ""
    return next((written(answer[name]) for name in _NEW_ID if answer.get(name)), "")


def objection(item: Item, row: Row | None) -> str:
    """Why an item must not be replayed now, or nothing. `row` is its row as it is at this moment."""
    if row is None:
        return "it is gone from the dead-letter queue"
    if failure_id(row) != item.failure_id:
        return f"the server shows another row ({written(failure_id(row))[:40]}) under this id"
    status = status_of(row)
    if status in DONE:
        return f"somebody has replayed it meanwhile (status {status})"
    if status in UNDER_WAY:
        return (
            f"its status is {status}: somebody replays it now, or the server broke off doing so. Look for"
            " the task at the workers before you set it back to failed"
        )
    if status in PUT_AWAY:
        return f"it has been put away (status {status})"
    if status and status not in READY:
        return f"its status is '{status[:40]}', of which it is not known that it may be replayed"
    if hash_of(row) != item.content_hash:
        return "its content has changed since the plan was made. Load and plan again"
    return ""


def happened(before: Row | None, after: Row | None) -> tuple[bool | None, str]:
    """Whether a replay happened, from the row before it (where known) and now: yes, no, or None; and why."""
    if after is None:
        return None, "its row is gone: replayed, archived or deleted"
    status, count, was = status_of(after), replay_count(after), replay_count(before)
    if status in DONE:
        if was is not None and count is not None and count <= was:
            return None, f"status {status}, but replay_count is {count} as before"
        shown = "" if count is None else f", replay_count {count}"
        return True, f"the server shows status {status}{shown}"
    if status in UNDER_WAY:
        return None, f"its status is {status}: the server began and has not ended"
    if status in PUT_AWAY:
        return None, f"its status is {status}"
    if count is None:
        return None, f"its status is {status or 'not shown'}, and the server shows no replay_count"
    if count == 0 or count == was:
        return False, f"status {status or 'not shown'}, replay_count {count} as before"
    if was is None:
        return None, f"status {status}, replay_count {count}; what it was before is not known"
    return None, (
        f"status {status}, but replay_count grew from {was} to {count}: the server began, and may have"
        " published before it failed"
    )


def leaves_open(words: str) -> bool:
    """Whether the words of a refusal leave open that the task was published before."""
    return bool(_AFTER_PUBLISHING.search(words))
