"""What the API shows of one entry now: the only thing that tells whether a retry happened."""

from dataclasses import dataclass
from urllib.parse import quote

from dlqanalysis.sources._http import Client
from dlqanalysis.sources._json_text import members, value
from dlqanalysis.sources._priority import DONE, UNDER_WAY, Entry
from dlqanalysis.sources.priority_api.listing import failure_id, listed, task_of
from dlqanalysis.text import written


@dataclass(frozen=True)
class Look:
    """One entry at one moment."""

    entry: Entry | None  #: None when it is not there
    later: Entry | None = None  #: another entry of the same task
    status: str = ""  #: of its task, where the server tells it
    copies: int = 0  #: how many entries of this task there are, where the list was read
    sure: bool = True  #: False when it is not there as far as the server shows, which is not all

    @property
    def moved(self) -> str:
        """What shows that the task runs or ran: its state, or that it failed anew; empty for nothing."""
        if self.later is not None:
            return "it failed again already"
        return f"its task is {self.status}" if self.status in (*UNDER_WAY, *DONE) else ""


def look(client: Client, failure: str, *, whole: bool = False) -> Look:
    """The entry by its task, and by its list where that shows it not (or `whole` asks for it)."""
    priority, task = task_of(failure)
    status, other = "", None
    if task and "/" not in task:  # a slash ends the server's path
        answer = client.get(f"/task/{quote(task, safe='')}", also=(500, 503))
        other, status = _shown(answer.content, priority) if answer.status == 200 else (None, "")
        if other is not None and not whole and failure_id(other) == failure:
            return Look(other, status=status)
    found = listed(client, priority)
    named = found.named()
    mine = next((entry for key, entry in named if key == failure), None)
    same = [entry for _, entry in named if task and entry.task_id == task]
    others = [one for one in (other, *same) if one is not None and newer(one, failure)]
    later = others[0] if mine is None and others else None
    if mine is not None:
        status = status or written(mine.value("current_status") or "").lower()
    return Look(mine, later, status, len(same), sure=not found.cut)


def _shown(content: bytes, priority: str) -> tuple[Entry | None, str]:
    """The entry in an answer of /task, and its task's state; nothing for what is no such answer."""
    try:
        parts = members(content.decode("utf-8"))
        if value(parts.get("found")) is False:
            return None, ""
        place = value(parts.get("priority"))
        inner = next(
            (parts[name] for name in ("dlq_entry", "entry", "item", "task") if name in parts),
            content.decode("utf-8"),
        )
        entry = Entry.of(place if isinstance(place, str) else priority, inner.encode())
        if not entry.readable or not entry.task_id:
            return None, ""
        about = parts.get("task_metadata", "")
        known = value(members(about).get("status")) if about.startswith("{") else None
        status = known or entry.value("current_status") or ""
        return entry, written(status).lower()
    except ValueError:
        return None, ""


def newer(entry: Entry, failure: str) -> bool:
    """Whether an entry failed after the one of this id; times of one server compare as texts."""
    return failure_id(entry).partition("@")[2] > failure.partition("@")[2].partition("#")[0]
