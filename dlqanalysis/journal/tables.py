"""Where the journal is kept: its tables, how they are made, and transactions whose errors are sentences."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from dlqanalysis.errors import PERCENT, JournalError
from dlqanalysis.redact import redact
from dlqanalysis.text import storable

_META = sa.MetaData()
_PATIENCE = 30  #: seconds that a new file, or an open transaction, may be in a colleague's hands
_PATIENT = sa.text(
    "SELECT set_config('idle_in_transaction_session_timeout', :idle, true), set_config('lock_timeout', :lock, true)"
)
_SECRET = ("password", "sslpassword")  #: libpq's, which a URL may name behind its ?
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

RUNS = sa.Table(
    "dlq_runs",
    _META,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("plan_id", sa.Text, nullable=False),
    sa.Column("plan_digest", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("operator", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("held_back", sa.Integer, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
)
ITEMS = sa.Table(
    "dlq_items",
    _META,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("failure_id", sa.Text, nullable=False),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("task_name", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, server_default=""),
    sa.Column("target", sa.Text, nullable=False, server_default=""),
    sa.Column("work", sa.Text, nullable=False, server_default=""),
    sa.Index("dlq_items_failure", "failure_id"),
)
_ADDED = {  # to journals of versions before 1.0
    "key": "ALTER TABLE dlq_items ADD COLUMN key TEXT NOT NULL DEFAULT ''",
    "target": "ALTER TABLE dlq_items ADD COLUMN target TEXT NOT NULL DEFAULT ''",
    "work": "ALTER TABLE dlq_items ADD COLUMN work TEXT NOT NULL DEFAULT ''",
}
ENTRIES = sa.Table(
    "dlq_entries",
    _META,
    sa.Column("seq", _ID, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("failure_id", sa.Text, nullable=False),  # empty for what concerns the whole run
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column(
        "chain", sa.Text, nullable=False
    ),  # sha256 of the run's previous chain and this entry
    sa.Index("dlq_entries_run", "run_id", "seq"),
)
CLAIMS = sa.Table(
    "dlq_claims",
    _META,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("failure_id", sa.Text, primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
)


class Transaction:
    """One transaction whose database errors become a JournalError."""

    def __init__(self, engine: sa.Engine, place: str) -> None:
        self._context = engine.begin()
        self._place = place

    def __enter__(self) -> sa.Connection:
        try:
            return self._context.__enter__()
        except sa.exc.SQLAlchemyError as error:
            raise self._sentence(error) from None

    def __exit__(self, *raised: Any) -> None:
        try:
            self._context.__exit__(*raised)
        except sa.exc.SQLAlchemyError as error:
            raise self._sentence(error) from None
        if isinstance(raised[1], sa.exc.SQLAlchemyError):
            raise self._sentence(raised[1]) from None

    def _sentence(self, error: Exception) -> JournalError:
        return JournalError(
            f"The journal at {self._place} failed: {short(error)}. Nothing is sent while it cannot"
            " be written; mend it, then dlq.resume the run."
        )


def address(url: str) -> tuple[sa.URL, str]:
    """The database behind a URL, and what may be shown of it: a password may stand in two places of a URL."""
    try:
        where = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # whose words may quote a part of the password
        raise JournalError(
            "DLQ_JOURNAL_URL cannot be read. Write sqlite:////folder/journal.sqlite or"
            f" postgresql://user:password@host:5432/database, {PERCENT}"
        ) from None
    return where, where.difference_update_query(_SECRET).render_as_string(hide_password=True)


def create(engine: sa.Engine) -> None:
    """The tables, where they are not there yet; journals of older versions get what they lack."""
    try:
        _META.create_all(engine)
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError) as error:
        # a colleague made the same tables in the same moment; anything else fails again
        if isinstance(error, sa.exc.OperationalError) and "already exists" not in str(error):
            raise
        _META.create_all(engine)
    for name in _ADDED.keys() - _columns(engine):
        try:
            with engine.begin() as db:
                db.exec_driver_sql(_ADDED[name])
        except (sa.exc.ProgrammingError, sa.exc.OperationalError):
            if name not in _columns(engine):
                raise


def _columns(engine: sa.Engine) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns(ITEMS.name)}


def options(where: sa.URL) -> dict[str, Any]:
    """How an engine for this database is made."""
    if where.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 30, "isolation_level": None}}
    return {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}


def add(db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with a value for each name of the first one. SQLAlchemy's own way looks at each value of each row, which
    costs twice what it takes to write them."""
    if not rows:
        return
    insert = table.insert().inline().compile(dialect=db.dialect, column_keys=list(rows[0]))
    if names := insert.positiontup:
        db.exec_driver_sql(str(insert), [tuple(map(row.__getitem__, names)) for row in rows])
    else:
        db.exec_driver_sql(str(insert), list(map(dict, rows)))


def durable(connection: Any, _: Any) -> None:
    """A committed entry survives a power cut; readers do not block the writer."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:
            # this one statement does not wait for a colleague who opens the same new file
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous=FULL").close()


def patient(connection: sa.Connection) -> None:
    """A colleague whose machine went to sleep within a transaction holds nobody up for long: the server ends that
    transaction, and who waits for it is told in time where it does not. For this transaction only: behind a pooler
    the session is somebody else's next."""
    connection.execute(_PATIENT, {"idle": f"{_PATIENCE}s", "lock": f"{2 * _PATIENCE}s"})


def immediate(connection: sa.Connection) -> None:
    """Take the write lock at once, so that two operators wait for each other instead of failing."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def short(error: Exception) -> str:
    """The first line of what a database said."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


def for_database(text: str) -> str:
    """A text that every database keeps and every frame takes: lone surrogates and NUL as escapes. What stands in
    a message or an answer of others may hold both."""
    return storable(text).replace("\0", "\\x00")


def said(detail: Mapping[str, Any]) -> dict[str, Any]:
    """A detail whose sentences are redacted: what systems and people say may hold a secret; ids do not."""
    told = {
        n: for_database(value) if isinstance(value, str) else value for n, value in detail.items()
    }
    return told | {n: _redacted(told[n]) for n in ("because", "detail", "why") if n in told}


@lru_cache(1024)
def _redacted(text: str) -> str:
    """Thousands of items are told in the same few sentences."""
    return redact(text)
