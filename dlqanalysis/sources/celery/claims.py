"""The claim of a failed_tasks row: a committed line in a table of our own, in the same database.

`dlqanalysis_claims` is shared by everybody who replays from this database, whatever journal they keep. A row
is locked and compared with the plan, claimed, and its status changed, in one transaction, before anything is
published; a claim that came to nothing is taken back in one as well.
"""

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import content_hash
from dlqanalysis.model import SETTLED, Item, Receipt, State
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.table import Table, discover

_CONTENT = (
    "task_id",
    "task_name",
    "queue",
    "args",
    "kwargs",
)  #: what a content hash covers, in order
#: columns beyond the frame's that make a message more faithful, where the table has them
_EXTRA = ("headers", "body", "content_type", "priority")
_KEY_TYPES = {
    "int2": sa.BigInteger,
    "int4": sa.BigInteger,
    "int8": sa.BigInteger,
    "uuid": postgresql.UUID(as_uuid=False),
}


_RANK = ("started", "failed", "success")
#: how task_executions may say that a task ended: in the runbook's words or in Celery's own states
_ENDED = {"success": "success", "succeeded": "success", "failed": "failed", "failure": "failed"}


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours to send: its content, and the status it had."""

    item: Item
    sent_id: str
    content: Mapping[str, Any]
    extra: Mapping[str, Any] = field(repr=False)


class Claims:
    """The rows of one failed_tasks table and the claims on them, over a session that may write."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.name = address.name
        self._engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(address.session(read_only=False)),
            pool_pre_ping=True,
            hide_parameters=True,
        )
        weakref.finalize(self, self._engine.dispose)
        with self.transaction() as db:
            self.table: Table = discover(db, address)
            self.marks = _claims_table(self.table.schema)
            exists = sa.inspect(db).has_table(self.marks.name, schema=self.table.schema)
        if not exists:
            self._create()

    def _create(self) -> None:
        try:
            self.marks.create(self._engine, checkfirst=True)
        except sa.exc.DBAPIError as error:
            # Two who create the same table in the same moment collide in the catalogue: on its name, on its row
            # type or on an index there, each with a SQLSTATE of its own. What counts is that it is there now.
            with self.transaction() as db:
                if sa.inspect(db).has_table(self.marks.name, schema=self.table.schema):
                    return
            if getattr(error.orig, "sqlstate", "") != "42501":
                raise self._address.trouble(error) from None
            ddl = str(sa.schema.CreateTable(self.marks).compile(self._engine)).strip()
            raise ConnectError(
                f"This user may not create {self.marks.fullname}, where replays are claimed. Let the"
                f" table's owner run: {' '.join(ddl.split())}; GRANT SELECT, INSERT, UPDATE, DELETE ON"
                f" {self.marks.fullname} TO {self._engine.url.username or 'this user'}."
            ) from None

    def lacking(self) -> str:
        """What this user may not do and a replay has to, with what to run; empty where it may do all of it."""
        name = self._engine.dialect.identifier_preparer.format_table
        marks, rows = name(self.marks), name(self.table.clause)
        with self.transaction() as db:
            user = db.scalar(sa.select(sa.func.current_user()))
            may = sa.func.has_table_privilege
            lacks = [
                right
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
                if not db.scalar(sa.select(may(marks, right)))
            ]
            steps = [f"GRANT {', '.join(lacks)} ON {marks} TO {user}"] if lacks else []
            if not db.scalar(sa.select(sa.func.has_any_column_privilege(rows, "UPDATE"))):
                steps.append(f"GRANT UPDATE ON {rows} TO {user}")
        if not steps:
            return ""
        return f"{user} may not claim or mark rows. Let the tables' owner run: {'; '.join(steps)}."

    def take(
        self, items: Sequence[Item], run_id: str, new_ids: Mapping[str, str]
    ) -> tuple[list[Claim], list[Receipt]]:
        """Claim what is still as the plan saw it; a skipped receipt with the reason for the rest."""
        taken: list[Claim] = []
        skipped: list[Receipt] = []
        with self.transaction() as db:
            rows = {row["failure_id"]: row for row in self.locked(db, items)}
            there = self.there(db, [i.failure_id for i in items if i.failure_id not in rows])
            for item in items:
                row = rows.get(item.failure_id)
                why = self.why_not(item, row, item.failure_id in there)
                if not why and not self._insert(db, item, run_id, new_ids[item.failure_id]):
                    why = self._held_by(db, item)
                if why or row is None:
                    skipped.append(
                        Receipt(failure_id=item.failure_id, state=State.SKIPPED, detail=why)
                    )
                    continue
                content = {name: row[name] for name in _CONTENT}
                extra = {name: row[f"extra_{name}"] for name in _EXTRA if f"extra_{name}" in row}
                taken.append(Claim(item, new_ids[item.failure_id], content, extra))
            if taken and "replaying" in self.table.statuses:
                self.set_status(db, [c.item.failure_id for c in taken], "replaying")
        return taken, skipped

    def publishing(self, failure_id: str, run_id: str) -> bool:
        """Note that this very row is about to be published; False when its claim is no longer this run's."""
        mine = sa.and_(
            self._one(failure_id), self.marks.c.run_id == run_id, self.marks.c.state == "claimed"
        )
        with self.transaction() as db:
            noted = self.marks.update().where(mine).values(state="publishing")
            return db.execute(noted).rowcount == 1

    def sent(self, failure_id: str, sent_id: str) -> None:
        """Note that the broker has it: the claim is `sent`, the row is `replayed`."""
        values: dict[str, Any] = {}
        table = self.table
        if table.has("status"):
            values[table.columns["status"].name] = self._status("replayed")
        if table.has("replayed_at"):
            naive = table.columns["replayed_at"].type != "timestamptz"
            now = sa.func.timezone("UTC", sa.func.now()) if naive else sa.func.now()
            values[table.columns["replayed_at"].name] = now
        if "replayed_task_id" in table.everything:
            values["replayed_task_id"] = sent_id
        if "replay_count" in table.everything:
            column = table.clause.c.replay_count
            values["replay_count"] = sa.func.coalesce(column, 0) + 1
        with self.transaction() as db:
            if values:
                db.execute(table.clause.update().where(self._is([failure_id])).values(values))
            db.execute(self.marks.update().where(self._one(failure_id)).values(state="sent"))

    def release(self, failure_ids: Iterable[str], run_id: str) -> None:
        """Give claims of this run back: nothing was sent, the rows are as they were."""
        ids = list(failure_ids)
        if not ids:
            return
        with self.transaction() as db:
            mine = sa.and_(
                self.marks.c.source_table == self.table.name,
                self.marks.c.failure_id.in_(ids),
                self.marks.c.run_id == run_id,
                self.marks.c.state.in_(["claimed", "publishing"]),
            )
            freed = list(
                db.scalars(self.marks.delete().where(mine).returning(self.marks.c.failure_id))
            )
            if freed and "replaying" in self.table.statuses:
                self.set_status(db, freed, "failed", only="replaying")

    def state(self, failure_ids: Iterable[str]) -> dict[str, tuple[str, str, str]]:
        """failure_id -> (run_id, sent_id, claimed | publishing | sent) of the claims there are."""
        c = self.marks.c
        wanted = sa.select(c.failure_id, c.run_id, c.sent_id, c.state).where(
            c.source_table == self.table.name, c.failure_id.in_(list(failure_ids))
        )
        with self.transaction() as db:
            return {row[0]: (row[1], row[2], row[3]) for row in db.execute(wanted)}

    def rows(self, failure_ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """The rows as they are now, every column as text."""
        columns = [
            sa.cast(self.table.clause.c[name], sa.Text).label(name)
            for name in self.table.everything
        ]
        with self.transaction() as db:
            return list(db.execute(sa.select(*columns).where(self._is(failure_ids))).mappings())

    def seen(self, sent_ids: Sequence[str]) -> dict[str, str]:
        """sent_id -> success | failed | started, as task_executions and failed_tasks tell it."""
        found: dict[str, str] = {}
        ids = list(sent_ids)
        with self.transaction() as db:
            if sa.inspect(db).has_table("task_executions", schema=self.table.schema):
                columns = (sa.column("task_id"), sa.column("status"))
                runs = sa.table("task_executions", *columns, schema=self.table.schema)
                asked = sa.select(runs.c.task_id, sa.cast(runs.c.status, sa.Text))
                for task_id, status in db.execute(asked.where(runs.c.task_id.in_(ids))):
                    word = _ENDED.get(str(status).lower(), "started")
                    found[task_id] = max(found.get(task_id, "started"), word, key=_RANK.index)
            if self.table.has("task_id"):
                task_id = self.table.clause.c[self.table.columns["task_id"].name]
                for (again,) in db.execute(sa.select(task_id).where(task_id.in_(ids))):
                    found[str(again)] = "failed"
        return found

    def errors(self, sent_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """sent_id -> exception type and message of the row that its failure made."""
        names = ("task_id", "exception_type", "exception_message")
        if not sent_ids or not all(self.table.has(name) for name in names):
            return {}
        columns = [self.table.clause.c[self.table.columns[name].name] for name in names]
        with self.transaction() as db:
            asked = sa.select(*columns).where(columns[0].in_(list(sent_ids)))
            return {str(one): (kind or "", text or "") for one, kind, text in db.execute(asked)}

    def close(self) -> None:
        self._engine.dispose()

    # ---- pieces ------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except sa.exc.SQLAlchemyError as error:
            raise self._address.trouble(error) from None
        except psycopg.Error as error:
            raise self._address.trouble(error) from None

    def _is(self, failure_ids: Sequence[str]) -> sa.ColumnElement[bool]:
        """The rows with these ids, by the key's own type so that its index is used."""
        column = self.table.columns["failure_id"]
        kind = _KEY_TYPES.get(column.type, sa.Text)
        key = self.table.clause.c[column.name]
        ids: list[Any] = list(failure_ids)
        if kind is sa.BigInteger:
            ids = [int(value) for value in ids if value.lstrip("-").isdigit()]
        left = (
            sa.cast(key, sa.Text)
            if column.type not in _KEY_TYPES and column.type != "text"
            else key
        )
        return left == sa.any_(sa.cast(ids, postgresql.ARRAY(kind)))

    def locked(self, db: sa.Connection, items: Sequence[Item]) -> list[Mapping[str, Any]]:
        """The rows, locked; those that somebody else holds just now are left out."""
        query = self.table.select_rows(("failure_id", *_CONTENT, "status", "replayed_at"))
        for name in _EXTRA:
            if name in self.table.everything:
                query = query.add_columns(self.table.clause.c[name].label(f"extra_{name}"))
        query = query.where(self._is([item.failure_id for item in items]))
        rows = db.execute(query.with_for_update(skip_locked=True)).mappings()
        return [dict(row) for row in rows]

    def there(self, db: sa.Connection, failure_ids: Sequence[str]) -> set[str]:
        if not failure_ids:
            return set()
        query = self.table.select_rows(("failure_id",)).where(self._is(failure_ids))
        return set(db.scalars(query))

    def why_not(
        self, item: Item, row: Mapping[str, Any] | None, there: bool, archive: bool = False
    ) -> str:
        if row is None:
            return "somebody else is working on the row" if there else "the row is gone"
        status = str(row["status"] or "")
        if status.lower() in SETTLED and not (archive and status.lower() == "replayed"):
            return f"its status is {status} now"
        if row["replayed_at"] is not None and not archive:
            return "it was replayed meanwhile"
        if content_hash(*(row[name] for name in _CONTENT)) != item.content_hash:
            return "its content changed since the plan was made"
        return ""

    def _insert(self, db: sa.Connection, item: Item, run_id: str, sent_id: str) -> bool:
        """Whether the claim is ours now."""
        values = {
            "source_table": self.table.name,
            "failure_id": item.failure_id,
            "run_id": run_id,
            "sent_id": sent_id,
            "state": "claimed",
        }
        insert = postgresql.insert(self.marks).values(values).on_conflict_do_nothing()
        return db.scalar(insert.returning(self.marks.c.run_id)) is not None

    def _held_by(self, db: sa.Connection, item: Item) -> str:
        c = self.marks.c
        row = db.execute(
            sa.select(c.run_id, c.state, c.sent_id).where(self._one(item.failure_id))
        ).first()
        if row is None:
            return "somebody else was working on the row"
        if row.state == "sent":
            return f"run {row.run_id} already sent it as {row.sent_id}"
        return f"run {row.run_id} has claimed it"

    def _one(self, failure_id: str) -> sa.ColumnElement[bool]:
        c = self.marks.c
        return sa.and_(c.source_table == self.table.name, c.failure_id == failure_id)

    def set_status(
        self, db: sa.Connection, failure_ids: Sequence[str], word: str, only: str | None = None
    ) -> None:
        column = self.table.columns["status"].name
        update = self.table.clause.update().where(self._is(failure_ids))
        if only is not None:
            update = update.where(self.table.expression("status") == only)
        db.execute(update.values({column: self._status(word)}))

    def _status(self, word: str) -> sa.ColumnElement[Any]:
        """A status word as the column holds it; an enum takes a literal of unknown type."""
        text = self.table.word(word)
        if self.table.columns["status"].words:
            return sa.literal_column("'" + text.replace("'", "''") + "'")
        return sa.literal(text)


def _claims_table(schema: str) -> sa.Table:
    return sa.Table(
        "dlqanalysis_claims",
        sa.MetaData(),
        sa.Column("source_table", sa.Text, primary_key=True),
        sa.Column("failure_id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("sent_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),  # claimed, then sent
        sa.Column("claimed_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now()),
        schema=schema,
    )
