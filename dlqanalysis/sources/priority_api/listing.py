"""The lists of the API as they are now, whole: asked for from their beginning, with a limit that takes all.

The published server cuts at `limit` before it skips `offset`, so that its second page is always empty. One
answer from the beginning is also one moment of the list.
"""

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote

from dlqanalysis.errors import ConnectError, QueryError, SchemaError
from dlqanalysis.sources._counts import depth_of
from dlqanalysis.sources._http import Answer, Client
from dlqanalysis.sources._json_text import elements, members, value
from dlqanalysis.sources._priority import PRIORITIES, Entry, naive, offset
from dlqanalysis.sources.priority_api.client import REDIS_ROAD
from dlqanalysis.text import written

_LISTS = ("items", "results", "data", "tasks", "entries")
_FIRST = 500
_MOST = 200_000  # entries of one list
_PAGES = 400
_LONG = 200  # characters of an id


@dataclass
class Listed:
    """The entries of one priority, newest first as the server shows them."""

    priority: str
    entries: list[Entry] = field(default_factory=list)
    total: int | None = None  #: how many the server says there are
    cut: bool = False
    notes: list[str] = field(default_factory=list)

    def named(self) -> list[tuple[str, Entry]]:
        """(failure_id, entry), oldest first; the second of several equal ones is numbered."""
        found, seen = [], dict[str, int]()
        for entry in reversed(self.entries):
            key = failure_id(entry)
            seen[key] = seen.get(key, 0) + 1
            found.append((key if seen[key] == 1 else f"{key}#{seen[key]}", entry))
        return found


def listed(client: Client, priority: str) -> Listed:
    """One priority's list; ConnectError that names the other road when the server cannot list."""
    found = Listed(priority)
    size = _FIRST
    while True:
        try:
            entries, total = _page(client, priority, size, 0)
        except ConnectError as error:
            if not found.entries:
                raise
            found.cut = True
            found.notes.append(f"{priority}: only its newest {len(found.entries):,} came: {error}")
            return found
        found.entries, found.total = entries, total
        if len(entries) < size or size >= _MOST:
            break
        size = min(_MOST, max(2 * size, (total or 0) + 100))
    if total is not None and total > len(found.entries):
        _more(client, found, size)
    return found


def _more(client: Client, found: Listed, size: int) -> None:
    """The rest of a list whose server gives fewer than asked for: page by page, as far as they fit together."""
    cap = len(found.entries)
    for _ in range(_PAGES):
        have = len(found.entries)
        if not have or have >= (found.total or 0):
            break
        page, _ = _page(client, found.priority, size, have - 1)
        if not page or page[0].raw != found.entries[-1].raw:
            break
        found.entries += page[1:]
        if len(found.entries) == have:
            break
    left = (found.total or 0) - len(found.entries)
    if left > 0:
        found.cut = cap % 50 == 0 and cap > 0
        why = "it cuts its answers" if found.cut else "it leaves out what it cannot read"
        found.notes.append(
            f"{found.priority}: the server counts {found.total:,} entries and shows {len(found.entries):,}"
            f" ({why}). To see all, {REDIS_ROAD}."
        )


def _page(client: Client, priority: str, size: int, skip: int) -> tuple[list[Entry], int | None]:
    path = f"/{priority}"
    answer = client.get(path, {"limit": size, "offset": skip}, also=(500,))
    shown = f"GET {client.place}{path}"
    if answer.status == 500:
        raise ConnectError(
            f"{shown} fails on its side (500: {client.words(answer)}). The published version of this API"
            f" cannot list, and its retry says success and does nothing: {REDIS_ROAD}."
        )
    if answer.status >= 400:
        raise ConnectError(
            f"{shown} was refused ({answer.status}: {client.words(answer)}). Check the path in the URL: it"
            f" ends where /stats and /high begin, usually {client.api.usual_path}."
        )
    texts, total = items_in(client, answer, shown)
    return [Entry.of(priority, one.encode()) for one in texts], total


def items_in(client: Client, answer: Answer, shown: str) -> tuple[list[str], int | None]:
    """The JSON texts of a list answer's items, bare or wrapped, and its total where it tells one."""
    try:
        body, total = answer.content.decode("utf-8").strip(), None
        for _ in range(2):
            if not body.startswith("{"):
                break
            parts = members(body)
            said = depth_of(value(parts.get("total")))
            total = said if said is not None else total
            body = next((parts[name] for name in _LISTS if name in parts), "")
        if body.startswith("["):
            return elements(body), total
    except ValueError:
        pass
    client.parsed(answer, shown)  # the sentence for what is no JSON
    raise SchemaError(
        f"{shown} has no list, nor one under {', '.join(_LISTS)}. Check that the URL ends where /high begins."
    )


def failure_id(entry: Entry) -> str:
    """`high:task-123@2026-11-20T10:15:00`: priority, task and the time it failed, as the server writes them."""
    task, failed = entry.task_id, entry.part("failed_at")
    if not task:
        import hashlib

        return f"{entry.priority}:@{hashlib.sha1(entry.raw).hexdigest()[:16]}"
    moment = written(value(failed)) if failed else ""
    return f"{entry.priority}:{_quoted(task)}@{_quoted(moment)}"


def task_of(failure: str) -> tuple[str, str]:
    """(priority, task id) behind a failure_id; an empty task id where the entry names none."""
    priority, colon, rest = failure.partition(":")
    task, at, _ = rest.partition("@")
    if priority not in PRIORITIES or not colon or not at:
        raise QueryError(
            f"'{failure[:80]}' is no failure of this queue: those are high:task@time. Take failure_id from a"
            " loaded frame."
        )
    return priority, unquote(task)


def _quoted(word: str) -> str:
    return quote(word[:_LONG], safe="-_.~:+/ ")


@dataclass(frozen=True)
class Stats:
    """What the server counts, and its clock."""

    counts: dict[str, int]
    total: int | None
    zone: Any  #: of its clock, by its timestamp beside the Date header; None where they tell none
    health: str


def stats(client: Client) -> Stats:
    """GET /stats in one shape."""
    shown = f"GET {client.place}/stats"
    answer = client.get("/stats", also=(500,))
    if answer.status >= 400:
        raise ConnectError(f"{shown} was refused ({answer.status}: {client.words(answer)}).")
    told = client.parsed(answer, shown)
    if not isinstance(told, dict):
        raise SchemaError(f"{shown} is no object. Check that the URL ends where /stats begins.")
    queues = told.get("queues") if isinstance(told.get("queues"), dict) else told
    said = {p: depth_of(queues.get(p)) for p in PRIORITIES}
    counts = {p: number for p, number in said.items() if number is not None}
    total = depth_of(told.get("total_items"))
    return Stats(
        counts,
        total if total is not None else sum(counts.values()) if counts else None,
        zone_of(answer, told.get("timestamp")),
        written(told.get("health") or "")[:40],
    )


def zone_of(answer: Answer, timestamp: Any) -> Any:
    """The zone of the server's clock: its own time in the answer beside the answer's Date, which is UTC."""
    written = naive(timestamp)
    try:
        sent = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    if written is None or written.tzinfo is not None or sent.tzinfo is None:
        return None
    return offset(written, sent)
