"""Dead letters of a Celery system, read through its admin API (`/api/v1/admin/dlq`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import COLUMNS, HEAVY
from dlqanalysis.model import Finding, Read, Selection
from dlqanalysis.redact import redact
from dlqanalysis.sources._http import Client
from dlqanalysis.sources.admin_api.deployment import Deployment, task_of
from dlqanalysis.sources.admin_api.listing import Listing
from dlqanalysis.sources.admin_api.rows import Row, framed, when
from dlqanalysis.text import many, written


class AdminSource:
    """Reads with GET only; the token is another than the hand's where you set both."""

    def __init__(self, client: Client) -> None:
        self._client, self._api = client, Deployment(client)
        self._traces: pa.Table | None = (
            None  # of the last read, for the representatives among its rows
        )

    def __repr__(self) -> str:
        return f"AdminSource({self.name})"

    @property
    def name(self) -> str:
        """`admin:host`, with port and path where they are not the usual ones."""
        return self._api.name

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for; the server's filters narrow, ours decide.

        Without the traceback comes `traceback_bytes`, its length: enough to choose representatives by.
        """
        listing = Listing(self._client, self._api.dialect, selection)
        with_traces = {"traceback", *columns}  # the list has them anyhow
        pages = [framed(rows, self.name, with_traces) for rows in listing]
        table = (
            pa.concat_tables(pages).unify_dictionaries()
            if pages
            else framed([], self.name, with_traces)
        )
        truncated = listing.truncated
        if selection.limit and table.num_rows > selection.limit:
            newest = pc.sort_indices(
                table, sort_keys=[("failed_at", "descending"), ("failure_id", "descending")]
            )
            table, truncated = table.take(newest[: selection.limit]), True
            listing.notes.append(
                f"Cut at {many(selection.limit, 'rows')}, the newest first. Raise limit=, or narrow the selection."
            )
        notes = [*listing.notes]
        if not self._api.dialect.documented:
            notes.append("The API shows no OpenAPI document: its field names are the usual ones.")
        if self._client.in_clear:
            notes.append("The token goes unencrypted over http. Use admin+https where you can.")
        if not truncated:
            notes += self._compared(selection, table)
        if "traceback" not in columns:
            self._traces = table.select(["failure_id", "traceback"])
            length = pc.binary_length(table["traceback"]).cast(pa.int32())
            table = table.drop_columns("traceback").append_column("traceback_bytes", length)
        return Read(table, truncated, tuple(notes))

    def _compared(self, selection: Selection, table: pa.Table) -> list[str]:
        """A note where the server's own count is another than ours, if the two are comparable."""
        if selection.status != ("failed",) or selection.until or selection.limit:
            return []
        if selection.task or selection.exception or len(selection.queue) > 1:
            return []
        try:
            stats = self.stats()
        except ConnectError as error:
            return [f"The server's own count could not be asked: {error}"]
        oldest = stats["oldest_failure"]
        if selection.since and not (oldest and oldest >= selection.since):
            return []
        if selection.queue:
            theirs, also = stats["by_queue"].get(selection.queue[0], 0), True
        else:
            theirs, also = stats["by_status"].get("failed"), False
            if theirs is None:
                theirs, also = stats["total_failed"], True
        if theirs is None or theirs == table.num_rows:
            return []
        why = " (it counts rows being replayed as well)" if also else ""
        return [
            f"The server counts {theirs:,} failed tasks{why}, its list has {table.num_rows:,}. Rows may"
            " have come or gone while reading; if it stays so, trust the list."
        ]

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of a few tasks as they are now; those gone are left out.

        raw are the answer's bytes. Tracebacks alone come from the last read where it had them all.
        """
        if list(columns) == ["traceback"] and (traces := self._remembered(failure_ids)):
            return traces
        wanted = [name for name in COLUMNS if name == "failure_id" or name in columns]
        parts = [framed([], self.name, HEAVY).select(wanted)]
        for failure_id in failure_ids:
            row, answer = task_of(self._client, failure_id)
            if row is not None:
                one = framed([row], self.name, HEAVY)
                if "raw" in wanted:
                    place = one.column_names.index("raw")
                    one = one.set_column(place, "raw", pa.array([answer.content], pa.binary()))
                parts.append(one.select(wanted))
        return pa.concat_tables(parts).unify_dictionaries()

    def _remembered(self, failure_ids: Sequence[str]) -> pa.Table | None:
        if self._traces is None:
            return None
        places = pc.index_in(pa.array(failure_ids, pa.string()), self._traces["failure_id"])
        return None if places.null_count else self._traces.take(places)

    def task(self, failure_id: str) -> Row:
        """One task as the server shows it."""
        row, _ = task_of(self._client, failure_id)
        if row is None:
            raise ConnectError(f"{self.name} has no failed task {failure_id} (404). Load again.")
        return row

    def stats(self) -> dict[str, Any]:
        """The server's own counts in one shape: total_failed, by_queue, by_task, by_status, oldest_failure
        (UTC), alert (bool or None), reason."""
        raw = self._client.get_json("/stats")
        return stats_of(raw if isinstance(raw, Mapping) else {})

    def alerts(self) -> Finding:
        """What the server's own alert says now."""
        raw = self._client.get_json("/alerts")
        raw = raw if isinstance(raw, Mapping) else {"alert": bool(raw)}
        fires = bool(raw.get("alert", raw.get("should_alert", False)))
        said = raw.get("message") or raw.get("reason") or raw.get("title") or ""
        return Finding(
            name="admin_alert",
            severity=("critical" if raw.get("severity") == "critical" else "warning")
            if fires
            else "ok",
            text=f"{self.name}: {redact(written(said)) if said else 'an alert' if fires else 'no alert'}",
            facts={k: v for k, v in raw.items() if isinstance(v, str | int | float | bool)},
        )

    def close(self) -> None:
        """Give connections back."""
        self._client.close()


def stats_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A /stats answer of either dialect in one shape."""
    state = raw.get("alert_status") if isinstance(raw.get("alert_status"), Mapping) else {}
    oldest: datetime | None = when(raw.get("oldest_failure"))
    total = raw.get("total_failed")
    return {
        "total_failed": total if isinstance(total, int) else None,
        "by_queue": _counts(raw, "by_queue", "failed_by_queue"),
        "by_task": _counts(raw, "by_task", "failed_by_task"),
        "by_status": _counts(raw, "by_status", "failed_by_status"),
        "oldest_failure": oldest,
        "alert": raw.get("alert_threshold_exceeded", state.get("should_alert")),
        "reason": raw.get("alert_message") or state.get("reason") or "",
    }


def _counts(raw: Mapping[str, Any], *names: str) -> dict[str, int]:
    found = next((raw[name] for name in names if isinstance(raw.get(name), Mapping)), {})
    return {str(name): count for name, count in found.items() if isinstance(count, int)}
