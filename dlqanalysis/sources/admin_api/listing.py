"""The list of failed tasks, page by page until it is complete, filtered again on this side."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Selection
from dlqanalysis.sources._http import Client
from dlqanalysis.sources._narrow import is_named
from dlqanalysis.sources.admin_api.dialect import Dialect
from dlqanalysis.sources.admin_api.rows import Row, field, key, rows_in, when
from dlqanalysis.text import many

_MOST_ROWS = 2_000_000  # a server that never ends is not read for ever
_STEPS_BACK = 5
_ALMOST_SORTED = timedelta(hours=1)  # a list sorted by id is newest first, but for neighbours


class Listing:
    """The rows of a selection, in lists as pages come in. Read it once; then `truncated` and `notes` are known.

    Pages overlap by one row, because rows that leave the list meanwhile (somebody replays) move later
    ones forward, unseen between two pages: then it steps one page back.
    """

    def __init__(self, client: Client, dialect: Dialect, selection: Selection) -> None:
        self.truncated = False
        self.notes: list[str] = []
        self._client, self._dialect, self._selection = client, dialect, selection
        self._size = dialect.page
        self._seen: set[str] = set()
        self._matched = 0
        self._undated = 0
        self._newest_first = True
        self._last: Any = None

    def __iter__(self) -> Iterator[list[Row]]:
        offset = frontier = odd = twice = stepped_back = 0
        first_of_all = ""
        while True:
            rows, total, not_objects = self._page(offset)
            odd += not_objects
            frontier = max(frontier, offset)
            keys = [key(row) for row in rows]
            if offset and (not rows or keys[0] not in self._seen):
                stepped_back += 1
                if stepped_back <= _STEPS_BACK:
                    offset = max(0, offset - self._size)
                    continue
                if not rows:
                    break
            if offset and first_of_all and keys[0] == first_of_all and len(self._seen) > 1:
                full = len(rows) >= self._size or len(rows) % 50 == 0  # its own cap, perhaps
                if full or (total or 0) > len(self._seen):
                    self._cut(
                        f"The server ignores `offset`: only its first {len(rows):,} rows can be read."
                        " Filter by queue or status, or read the table itself."
                    )
                break
            first_of_all = first_of_all or (keys[0] if keys else "")
            new = [row for row, name in zip(rows, keys, strict=True) if name not in self._seen]
            self._seen.update(keys)
            if matching := [row for row in new if self._matches(row)]:
                single = {key(row): row for row in reversed(matching)}  # of one id the first stays
                twice += len(matching) - len(single)
                self._matched += len(single)
                yield list(reversed(single.values()))
            at_the_end = not new and (offset >= frontier or len(rows) < 2)
            if at_the_end or self._done(new):
                break
            offset += max(len(rows) - 1, 0)
        if stepped_back > _STEPS_BACK:
            self.notes.append(
                "The list kept changing while it was read: rows may be missing. Read again when nobody"
                " replays."
            )
        if odd:
            self.notes.append(f"Left out: {many(odd, 'entries')} of the list, no objects.")
        if twice:
            self.notes.append(
                f"{many(twice, 'rows have')} the id of an earlier row and stay out: this API names both by one id."
            )
        if self._undated:
            self.notes.append(
                f"{many(self._undated, 'rows have')} no readable failed_at (left out by since and until)."
            )

    def _page(self, offset: int) -> tuple[list[Row], int | None, int]:
        """One page; asks for smaller ones, and without filters, where the server refuses what it gets."""
        filters = self._filters()
        while True:
            params = {**filters, "limit": self._size, "offset": offset}
            answer = self._client.get("/tasks", params)
            if answer.status not in (400, 422):
                break
            if self._size > 50 and "limit" in self._client.words(answer):
                self._size = 100 if self._size > 100 else 50
            elif filters:
                filters = {}
            else:
                raise ConnectError(
                    f"{self._client.place} refuses to list tasks ({answer.status}:"
                    f" {self._client.words(answer)}). This API speaks a dialect that is"
                    " not known here: read the table itself."
                )
        if answer.status >= 400:
            return rows_in(self._client.get_json("/tasks", params))  # the sentence for 404 and 405
        return rows_in(self._client.parsed(answer, f"GET {self._client.place}/tasks"))

    def _filters(self) -> dict[str, str]:
        """What the server can narrow without losing rows. Task names it matches in ways of its own, so
        they are matched here; of several queues or statuses it takes only one."""
        filters: dict[str, str] = {}
        for names, values in (
            (self._dialect.queue_filters, self._selection.queue),
            (self._dialect.status_filters, self._selection.status),
        ):
            if len(values) == 1:
                filters |= dict.fromkeys(names, values[0])
        return filters

    def _matches(self, row: Row) -> bool:
        want = self._selection
        failed_at = when(field(row, "failed_at"))
        if failed_at is None and (want.since or want.until):
            self._undated += 1
            return False
        return (
            (not want.since or failed_at >= want.since)
            and (not want.until or failed_at < want.until)
            and (not want.queue or field(row, "queue") in want.queue)
            and (not want.status or field(row, "status") in (None, *want.status))
            and (not want.task or is_named(field(row, "task_name"), want.task))
            and (not want.exception or is_named(field(row, "exception_type"), want.exception))
        )

    def _done(self, new: list[Row]) -> bool:
        """Whether no later row can matter; only where the list has been newest first all the way."""
        for row in new:
            failed_at = when(field(row, "failed_at"))
            if failed_at is None or (self._last is not None and failed_at > self._last):
                self._newest_first = False
                break
            self._last = failed_at
        want = self._selection
        if self._newest_first and self._last is not None:
            if want.limit and self._matched > want.limit:
                return True
            if want.since and self._last < want.since - _ALMOST_SORTED:
                return True
        if len(self._seen) >= _MOST_ROWS:
            self._cut(
                f"Only the first {_MOST_ROWS:,} rows were read. Narrow it by queue or status."
            )
            return True
        return False

    def _cut(self, note: str) -> None:
        self.truncated = True
        self.notes.append(note)
