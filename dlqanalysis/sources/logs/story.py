"""What became of each task that failed or was tried again, told by the lines of its log in order."""

from datetime import datetime
from typing import Any

import pyarrow as pa

from dlqanalysis.frame import SCHEMA, plain_type
from dlqanalysis.sources.logs.events import Event, exception, id_in_headers
from dlqanalysis.sources.logs.records import Record
from dlqanalysis.text import decoded

_COLUMNS = (
    "failure_id", "task_id", "task_name", "status", "exception_type", "exception_message", "retries",
    "first_failed_at", "failed_at", "worker",
)  # fmt: skip


class Story:
    """Rows by column, one a failure; and what is open: tasks that were tried again, without an end yet."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, "traceback_bytes")}
        self._row_of: dict[str, list[int]] = {}  # task_id -> its rows
        self._tried: dict[str, tuple[int, int, datetime | None]] = {}  # row, retries, first failed
        # hard time limits are told twice, in either order: by the pool, without the task, and with it
        self._nameless: list[int] = []  # rows of the pool's
        self._named = 0  # told with the task, and not yet by the pool

    def knows(self, task_id: str) -> bool:
        """Whether a task has failed or been tried again."""
        return task_id in self._row_of

    def add(self, record: Record, failure_id: str) -> None:
        """The next record, in the order of time."""
        event, task_id = record.event, record.event.task_id
        if event.kind == "succeeded":
            for row in self._row_of.pop(task_id or "", ()):
                self.columns["status"][row] = "succeeded"
            self._tried.pop(task_id or "", None)
            return
        limit = event.exception.startswith("TimeLimitExceeded")
        if limit and self._told_before(event):
            return
        trace = decoded(record.rest)
        if event.exception.startswith("NotRegistered"):
            task_id, trace = id_in_headers(record.rest), ""
        if event.kind == "rejected":
            trace = ""  # its traceback ends in a tuple
        kind, message = exception(event.exception, trace)
        row, retries, first = self._tried.pop(task_id or "", (-1, 0, record.when))
        values = {
            "failure_id": failure_id,
            "task_id": task_id,
            "task_name": event.task_name,
            "status": "retrying" if event.kind == "retry" else event.kind,
            "exception_type": kind,
            "exception_message": message,
            "retries": retries + (event.kind == "retry"),
            "first_failed_at": first,
            "failed_at": record.when,
            "worker": record.worker,
            "traceback_bytes": len(record.rest),
        }
        row = self._put(row, values)
        if limit and event.handler:
            self._nameless.append(row)
        self._named += limit and not event.handler
        if task_id and event.kind == "retry":
            self._tried[task_id] = (row, retries + 1, first)
        if task_id and row not in (rows := self._row_of.setdefault(task_id, [])):
            rows.append(row)

    def _told_before(self, event: Event) -> bool:
        """Whether a hard time limit is the other half of one that is a row already; that row gets its task."""
        if event.handler:
            self._named -= (known := self._named > 0)
            return known
        if not self._nameless:
            return False
        row = self._nameless.pop(0)
        self.columns["task_id"][row] = event.task_id
        self.columns["task_name"][row] = event.task_name
        _, retries, first = self._tried.pop(event.task_id or "", (-1, 0, None))
        self.columns["retries"][row] = retries
        self.columns["first_failed_at"][row] = first or self.columns["failed_at"][row]
        self._row_of.setdefault(event.task_id or "", []).append(row)
        return True

    def _put(self, row: int, values: dict[str, Any]) -> int:
        """A new row, or the row of the same task's last try, which this one takes the place of."""
        for name, value in values.items():
            if row < 0:
                self.columns[name].append(value)
            else:
                self.columns[name][row] = value
        return row if row >= 0 else len(self.columns["failure_id"]) - 1

    def table(self, source: str) -> pa.Table:
        """The rows as columns of the frame, with the length of each traceback."""
        rows = len(self.columns["failure_id"])
        arrays: dict[str, Any] = {}
        fixed = {"source": source, "payload_state": "missing"}
        for name, values in [*self.columns.items(), *((n, [v] * rows) for n, v in fixed.items())]:
            kind = pa.int64() if name == "traceback_bytes" else plain_type(name)
            array = pa.chunked_array([pa.array(values, kind)])
            arrays[name] = array.dictionary_encode() if SCHEMA.get(name) == "category" else array
        for name in ("queue", "args", "kwargs"):
            arrays[name] = pa.nulls(rows, pa.string())
        return pa.table(arrays)
