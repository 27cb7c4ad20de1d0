"""Where the journal is kept: its tables, how they are made, and transactions whose errors are sentences."""

import sqlite3
import time
from typing import Any

import sqlalchemy as sa

from dlqanalysis.errors import JournalError

_META = sa.MetaData()
_PATIENCE = 30  #: seconds that a new file may be in a colleague's hands
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
    sa.Index("dlq_items_failure", "failure_id"),
)
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


def create(engine: sa.Engine) -> None:
    """The tables, where they are not there yet; journals of older versions get what they lack."""
    try:
        _META.create_all(engine)
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError) as error:
        # a colleague made the same tables in the same moment; anything else fails again
        if isinstance(error, sa.exc.OperationalError) and "already exists" not in str(error):
            raise
        _META.create_all(engine)
    known = {column["name"] for column in sa.inspect(engine).get_columns(ITEMS.name)}
    if "key" not in known:  # a journal of version 0.1
        with engine.begin() as db:
            db.exec_driver_sql(f"ALTER TABLE {ITEMS.name} ADD COLUMN key TEXT NOT NULL DEFAULT ''")


def options(where: sa.URL) -> dict[str, Any]:
    """How an engine for this database is made."""
    if where.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 30, "isolation_level": None}}
    return {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}


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


def immediate(connection: sa.Connection) -> None:
    """Take the write lock at once, so that two operators wait for each other instead of failing."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def short(error: Exception) -> str:
    """The first line of what a database said."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
