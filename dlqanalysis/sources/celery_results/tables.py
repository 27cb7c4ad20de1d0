"""Results in Postgres: SQLAlchemy's celery_taskmeta, and django-celery-results. Read-only sessions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from dlqanalysis.errors import ConnectError, SchemaError
from dlqanalysis.model import Selection
from dlqanalysis.sources.celery_results.rows import FAILED, row, status_of, unreadable, when

_PAGE = 2_000
_SESSION = "-c default_transaction_read_only=on -c statement_timeout=120s -c TimeZone=UTC"
_KNOWN = ("celery_taskmeta", "django_celery_results_taskresult")
_COLUMNS = (
    "task_id", "status", "result", "date_done", "traceback", "name", "args", "kwargs", "worker",
    "retries", "queue", "task_name", "task_args", "task_kwargs",
)  # fmt: skip


class Tables:
    """The result tables of one database."""

    def __init__(self, url: str, table: str | None, expires: timedelta | None) -> None:
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.hostname}:{parts.port or 5432}{parts.path}"
        self.name = f"results:{table or 'celery'}"
        self._url, self._table, self._expires = url, table, expires

    def records(self, selection: Selection) -> Iterator[dict[str, Any]]:
        """The results that failed; times are compared here as well as in the statement."""
        from psycopg import sql

        words = selection.status or FAILED
        states = [state for state in FAILED if status_of(state) in {status_of(w) for w in words}]
        for table, columns in self._there():
            where, values = [sql.SQL("status = ANY(%s)")], [states]
            for bound, compare in ((selection.since, ">="), (selection.until, "<")):
                if bound and "date_done" in columns:
                    naive = columns["date_done"] == "timestamp without time zone"
                    moment = bound.replace(tzinfo=None) if naive else bound
                    condition = sql.SQL("(date_done IS NULL OR date_done {} %s)")
                    where.append(condition.format(sql.SQL(compare)))
                    values.append(moment)
            yield from self._rows(table, columns, sql.SQL(" AND ").join(where), values)

    def some(self, task_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The results of these tasks."""
        from psycopg import sql

        for table, columns in self._there():
            where = sql.SQL("task_id = ANY(%s) AND status = ANY(%s)")
            yield from self._rows(table, columns, where, [list(task_ids), list(FAILED)])

    def _there(self) -> list[tuple[str, dict[str, str]]]:
        """The tables that are there, and the type of each column that we know."""
        wanted = [self._table] if self._table else list(_KNOWN)
        asked = (
            "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid)"
        )
        found: dict[str, dict[str, str]] = {}
        with self._session() as db:
            for table, column, kind in db.execute(asked, [wanted]):
                found.setdefault(table, {})
                if column in _COLUMNS:
                    found[table][column] = kind
        for table, columns in found.items():
            if not {"task_id", "status", "result"} <= columns.keys():
                raise SchemaError(
                    f"{table} is no table of results: task_id, status or result is missing. Name another with"
                    " ?table=."
                )
        if not found:
            raise SchemaError(
                f"There is no {' and no '.join(wanted)} on the search path of {self.place}. Name the table with"
                " ?table=, or its schema with ?options=-csearch_path%3DNAME."
            )
        return [(table, found[table]) for table in wanted if table in found]

    def _rows(
        self, table: str, columns: Mapping[str, str], where: Any, values: list[Any]
    ) -> Iterator[dict[str, Any]]:
        from psycopg import sql
        from psycopg.rows import dict_row

        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table), where
        )
        with self._session() as db, db.cursor("dlq_results", row_factory=dict_row) as cursor:
            cursor.itersize = _PAGE
            for found in cursor.execute(query, values):
                record = _record(found)
                if self._expires and record.get("failed_at"):
                    record["expires_at"] = record["failed_at"] + self._expires
                yield record

    def notes(self) -> list[str]:
        if self._expires:
            return []
        return [
            "When results expire is not known: say ?expires= (Celery's result_expires, such as 1d)."
        ]

    @contextmanager
    def _session(self) -> Iterator[Any]:
        import psycopg

        try:
            given = psycopg.conninfo.conninfo_to_dict(self._url)
            options = f"{given.get('options') or ''} {_SESSION}".strip()
            defaults = {"connect_timeout": 10, "application_name": "dlqanalysis"}
            with psycopg.connect(**{**defaults, **given, "options": options}) as db:
                yield db
        except psycopg.Error as error:
            state = getattr(error, "sqlstate", None) or type(error).__name__
            raise ConnectError(
                f"The result backend at {self.place} refused ({state}). Check the URL, and that its user may"
                " SELECT from the table of results."
            ) from None

    def close(self) -> None:
        """Sessions last as long as a read."""


def _record(found: Mapping[str, Any]) -> dict[str, Any]:
    """A row of either table. SQLAlchemy keeps bytes, JSON or pickled; Django text."""
    task_id = str(found["task_id"])
    raw = found["result"]
    raw = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw or b"")
    meta = {
        "status": found["status"],
        "traceback": found.get("traceback"),
        "date_done": found.get("date_done"),
        "name": found.get("name") or found.get("task_name"),
        "worker": found.get("worker"),
        "retries": found.get("retries"),
        "queue": found.get("queue"),
    }
    parts = {
        name: _part(found.get(name) if name in found else found.get(f"task_{name}"))
        for name in ("args", "kwargs")
    }
    try:
        meta["result"] = json.loads(raw) if raw and raw[:1] != b"\x80" else None
        broken = raw[:1] == b"\x80"
    except (ValueError, RecursionError):
        broken = True
    if not broken:
        return row(task_id, meta, parts, raw)
    known = row(task_id, meta, parts, raw)
    return known | {
        "payload_state": "unreadable",
        "exception_message": unreadable(task_id, raw)["exception_message"],
        "failed_at": when(found.get("date_done")),
    }


def _part(found: Any) -> str | None:
    """args or kwargs as JSON text; bytes of another kind as a JSON text that says so."""
    if found is None or found == "" or found == b"":
        return None
    if isinstance(found, str):
        return found.strip()
    try:
        return bytes(found).decode("utf-8").strip()
    except UnicodeDecodeError:
        return '"a pickle, which is not loaded"'
