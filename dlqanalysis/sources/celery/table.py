"""A `failed_tasks` table as it is: which of its columns are which of the frame's, and how they are read.

The source and the hand share it, so that both read the same text of a row and agree on its content hash.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING

from dlqanalysis.errors import ConnectError, SchemaError, SettingsError, did_you_mean
from dlqanalysis.frame import COLUMNS, SCHEMA
from dlqanalysis.sources._names import NAMES

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dlqanalysis.sources.celery.address import Address

REQUIRED = ("failure_id", "task_name", "failed_at")
#: columns whose absence changes what can be concluded: the reader is told
NOTEWORTHY = {
    "status": "every row counts as a failure, and the status filter is not applied",
    "task_id": "failures cannot be joined with other systems",
    "args": "payloads are incomplete and cannot be replayed",
    "kwargs": "payloads are incomplete and cannot be replayed",
    "exception_type": "verdicts rest on the message alone",
    "exception_message": "verdicts rest on the exception type alone",
    "traceback": "causes are read from type and message alone",
    "queue": "failures cannot be told apart by queue",
}
CONTENT = ("failure_id", "task_id", "task_name", "queue", "args", "kwargs")  #: what a replay sends
_TEXT_TYPES = frozenset({"text", "varchar", "bpchar", "char", "name", "citext"})
_INTEGERS = frozenset({"int2", "int4", "int8"})
_TIMES = frozenset({"timestamptz", "timestamp", "date"})
CALENDAR = "0001-01-01 00:00:00+00", "9999-12-31 00:00:00+00"  #: the times that are times here


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of the table."""

    name: str
    type: str  #: its base type as pg_type says it: text, jsonb, timestamptz, int8, uuid, ...
    words: tuple[str, ...] = ()  #: the labels of an enum
    required: bool = False  #: NOT NULL
    unique: bool = False  #: by an index of its own


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of failed tasks: made by `discover`, true for the moment it was made."""

    schema: str
    name: str
    columns: Mapping[str, Column]  #: frame column -> table column
    everything: Mapping[str, Column]  #: all its readable columns, by their own names
    statuses: tuple[str, ...] = ()  #: the status words it may hold (or was seen to hold)
    closed: bool = False  #: no other status words are possible (enum or check constraint)
    meanings: Mapping[str, str] = field(default_factory=dict)  #: our word -> its word, from the URL
    notes: tuple[str, ...] = ()

    @cached_property
    def clause(self) -> "sa.TableClause":
        """The table for a SQLAlchemy statement, quoted where it needs to be."""
        import sqlalchemy as sa

        columns = [sa.column(name) for name in self.everything]
        return sa.table(self.name, *columns, schema=self.schema)

    def word(self, status: str) -> str:
        """The table's own word for a status: as said in the URL, else the same word in its spelling."""
        word = self.meanings.get(status, status)
        if word in self.statuses:
            return word
        alike = [known for known in self.statuses if known.lower() == word.lower()]
        if alike:
            return alike[0]
        if self.closed:
            raise SettingsError(
                f"'{word}' is no status of {self.name}, which knows {', '.join(self.statuses)}. Ask for one"
                f" of these, or say which one it is with ?status={status}:WORD in the URL."
            )
        return word

    def expression(self, column: str, bare: bool = False) -> "sa.ColumnElement":
        """A frame column as SQL: text as text, times in UTC, a null for a time no calendar here can hold.

        `bare`: as the table has it, where Arrow makes the same of it later, at a tenth of what it costs the server.
        """
        import sqlalchemy as sa

        have = self.columns[column]
        value = self.clause.c[have.name]
        number = have.type in _INTEGERS and SCHEMA[column] != "Int32"
        if bare and (number or have.type == "timestamptz"):
            return value
        if SCHEMA[column] == "datetime64[us, UTC]":
            if have.type != "timestamptz":  # naive times are UTC
                value = sa.func.timezone("UTC", sa.cast(value, sa.TIMESTAMP))
            bounds = [sa.cast(sa.literal(bound), sa.TIMESTAMP(timezone=True)) for bound in CALENDAR]
            return sa.case((value.between(*bounds), value))
        if SCHEMA[column] == "Int32":
            if have.type == "int4":
                return value
            bounded = sa.func.least(sa.func.greatest(value, -(2**31)), 2**31 - 1)
            # both leave nulls out: without a case, what nobody counted would be the least number there is
            return sa.cast(sa.case((value.is_not(None), bounded)), sa.Integer)
        if have.type == "bytea":
            return value if column == "raw" else sa.func.encode(value, "escape")
        return sa.cast(value, sa.Text) if have.type != "text" else value

    def has(self, column: str) -> bool:
        """Whether a column of the frame has a column here."""
        return column in self.columns

    def select_rows(self, columns: Iterable[str] = CONTENT, bare: bool = False) -> "sa.Select":
        """SELECT of these columns of the frame under the frame's names; missing ones come as null text.

        Add `.where(table.expression("failure_id") == bindparam)` or what is needed.
        """
        import sqlalchemy as sa

        null = sa.cast(sa.null(), sa.Text)
        parts = [
            (self.expression(name, bare) if name in self.columns else null).label(name)
            for name in columns
        ]
        return sa.select(*parts).select_from(self.clause)


#: a column of the frame -> the runbook's name for it, and its SQL type where a table lacks it
RUNBOOK = {
    "task_id": ("task_id", "text"),
    "task_name": ("task_name", "text"),
    "queue": ("queue_name", "text"),
    "args": ("args", "text"),
    "kwargs": ("kwargs", "text"),
    "exception_type": ("exception_type", "text"),
    "exception_message": ("exception_message", "text"),
    "traceback": ("traceback", "text"),
    "retries": ("retries_attempted", "integer"),
    "failed_at": ("failed_at", "timestamptz"),
    "replayed_at": ("replayed_at", "timestamptz"),
}


def under_runbook_names(table: Table) -> "sa.Select":
    """The table with the columns that runbook queries expect, and its other columns as they are.

    Columns stay bare wherever they can, so that indexes go on serving.
    """
    import sqlalchemy as sa

    clause = table.clause
    parts: dict[str, sa.ColumnElement] = {"id": clause.c[table.columns["failure_id"].name]}
    for column, (name, kind) in RUNBOOK.items():
        if column not in table.columns:
            parts[name] = sa.literal_column(f"CAST(NULL AS {kind})")
            continue
        have = table.columns[column]
        value = clause.c[have.name]
        if kind == "timestamptz" and have.type != "timestamptz":
            value = sa.func.timezone("UTC", sa.cast(value, sa.TIMESTAMP))
        elif kind == "text" and have.type not in (*_TEXT_TYPES, "json", "jsonb"):
            value = sa.cast(value, sa.Text)
        parts[name] = value
    status = table.columns.get("status")
    parts["status"] = (
        sa.cast(clause.c[status.name], sa.Text) if status else sa.literal_column("'failed'")
    )
    for name in table.everything:
        parts.setdefault(name, clause.c[name])
    if "replayed_task_id" not in parts:
        parts["replayed_task_id"] = sa.literal_column("CAST(NULL AS text)")
    return sa.select(*(value.label(name) for name, value in parts.items())).select_from(clause)


def discover(connection: "sa.Connection", address: "Address") -> Table:
    """The table at an address, with its columns understood; a clear error where one cannot be."""
    oid, schema, kind = _find(connection, address)
    columns = _columns(connection, oid)
    readable = {c.name: c for c in columns if c.name not in (hidden := _hidden(connection, oid))}
    if not readable:
        user = address.conninfo.get("user", "this user")
        raise ConnectError(
            f"{user} may not read {schema}.{address.table}. Ask for"
            f" GRANT SELECT ON {schema}.{address.table} TO {user}."
        )
    chosen, notes = match(readable, address.columns, address.table)
    if hidden:
        notes.append(f"No permission to read {', '.join(sorted(hidden))}: left out.")
    if connection.exec_driver_sql("SELECT row_security_active(%s::oid)", (oid,)).scalar():
        notes.append(f"Row-level security decides which rows of {address.table} this user sees.")
    table = Table(
        schema=schema,
        name=address.table,
        columns=chosen,
        everything=readable,
        meanings=address.statuses,
        notes=tuple(notes),
    )
    return _with_statuses(connection, table, oid, kind)


def match(
    there: Mapping[str, Column], said: Mapping[str, str], table: str
) -> tuple[dict[str, Column], list[str]]:
    """Frame column -> table column, by what the URL says and else by name; and notes on what is missing."""
    chosen: dict[str, Column] = {}
    taken = set(said.values())
    notes: list[str] = []
    lacking: list[str] = []
    for column, name in said.items():
        if column not in NAMES:
            raise SettingsError(
                f"map={column}:{name}: '{column}' is no column of the frame. {did_you_mean(column, NAMES)}"
            )
        if name not in there:
            raise SchemaError(
                f"map={column}:{name}: {table} has no column '{name}'. {did_you_mean(name, there)}"
            )
        _refuse_type(column, there[name], table)
        chosen[column] = there[name]
    for column, (plain, loose) in NAMES.items():
        if column in chosen:
            continue
        sure = [n for n in plain if n in there and n not in taken]
        maybe = [n for n in loose if n in there and n not in taken and _fits(column, there[n])]
        if sure:
            _refuse_type(column, there[sure[0]], table)
            name = sure[0]
        elif len(maybe) == 1:
            name = maybe[0]
            if column in REQUIRED or column in ("exception_type", "exception_message"):
                notes.append(f"{column} is read from {table}.{name}.")
        elif maybe and column in REQUIRED:
            raise SchemaError(
                f"{table} has several columns that may be {column}: {', '.join(maybe)}. Say which in the"
                f" URL: ?map={column}:{maybe[0]}"
            )
        elif column in REQUIRED:
            lacking.append(column)
            continue
        else:
            if column in NOTEWORTHY:
                which = (
                    f"several columns may be {column} ({', '.join(maybe)})"
                    if maybe
                    else f"no {column}"
                )
                notes.append(
                    f"{table} has {which}: {NOTEWORTHY[column]}. ?map={column}:COLUMN in the URL says which."
                )
            continue
        chosen[column] = there[name]
        taken.add(name)
    if not ({"exception_type", "exception_message"} & set(chosen)):
        lacking.append("exception_message")  # exception_type would do as well
    if lacking:  # all at once: one after the other would be as many tries
        left = sorted(set(there) - {have.name for have in chosen.values()})
        raise SchemaError(
            f"{table} has no column that is known for {', '.join(lacking)}. It has {', '.join(left)}. Say which is"
            f" which in the URL: ?map={','.join(f'{column}:COLUMN' for column in lacking)}"
        )
    return {name: chosen[name] for name in COLUMNS if name in chosen}, notes


def _fits(column: str, have: Column) -> bool:
    if SCHEMA[column] == "datetime64[us, UTC]":
        return have.type in _TIMES
    if SCHEMA[column] == "Int32":
        return have.type in _INTEGERS
    if column == "raw":
        return have.type in ("bytea", *_TEXT_TYPES)
    return have.type not in _TIMES and have.type != "bool"


def _refuse_type(column: str, have: Column, table: str) -> None:
    if not _fits(column, have):
        wanted = {"datetime64[us, UTC]": "a timestamp", "Int32": "an integer"}.get(
            SCHEMA[column], "text"
        )
        raise SchemaError(
            f"{table}.{have.name} is {have.type}, and {column} wants {wanted}. Name another column in the URL"
            f" (?map={column}:COLUMN), or read a view that casts it (?table=VIEW)."
        )


#: the journal's and the hand's own tables: a team may keep them in the same database
_OURS = re.compile(r"dlq_(?:runs|items|entries|claims)$|dlqanalysis_")


def _find(connection: "sa.Connection", address: "Address") -> tuple[int, str, str]:
    find = """
        SELECT c.oid, n.nspname, c.relkind FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = %(table)s
          AND CASE WHEN %(schema)s::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
              ELSE n.nspname = %(schema)s::text END"""
    asked = {"table": address.table, "schema": address.schema}
    found = connection.exec_driver_sql(find, asked).first()
    if found:
        return found[0], found[1], found[2]
    others = connection.exec_driver_sql("""
        SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema)'
        ORDER BY 1, 2""").all()
    where = f"in schema {address.schema}" if address.schema else "on the search path"
    sentence = f"There is no table {address.table} {where} of {address}."
    same = [s for s, t in others if t == address.table]
    if same:
        raise SchemaError(
            f"{sentence} There is one in schema {same[0]}: add ?schema={same[0]} to the URL."
        )
    theirs = dict.fromkeys(t for _, t in others if not _OURS.match(t))
    alike = [t for t in theirs if re.search("fail|dead|dlq|letter", t, re.IGNORECASE)]
    alike = sorted(alike, key=lambda t: -SequenceMatcher(None, t, address.table).ratio())[:5]
    if alike:
        raise SchemaError(
            f"{sentence} These look alike: {', '.join(alike)}. Name one in the URL: ?table={alike[0]}"
        )
    known = did_you_mean(address.table, [*theirs][:20]) if theirs else "It has no tables."
    raise SchemaError(f"{sentence} {known} Name it in the URL: ?table=NAME")


def _columns(connection: "sa.Connection", oid: int) -> list[Column]:
    rows = connection.exec_driver_sql(
        """
        SELECT a.attname, coalesce(base.typname, t.typname), a.attnotnull,
               ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
                     WHERE e.enumtypid = coalesce(base.oid, t.oid) ORDER BY e.enumsortorder),
               EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique
                       AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type base ON t.typtype = 'd' AND base.oid = t.typbasetype
        WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum""",
        (oid,),
    )
    return [Column(name=n, type=t, required=r, words=tuple(w), unique=u) for n, t, r, w, u in rows]


def _hidden(connection: "sa.Connection", oid: int) -> set[str]:
    rows = connection.exec_driver_sql(
        """
        SELECT a.attname FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
          AND NOT pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')""",
        (oid,),
    )
    return {name for (name,) in rows}


def _with_statuses(connection: "sa.Connection", table: Table, oid: int, kind: str) -> Table:
    """The table with its status words: from the enum, the check constraint, or the rows themselves."""
    import sqlalchemy as sa

    if not table.has("status"):
        return table
    column = table.columns["status"]
    if column.words:
        return replace(table, statuses=column.words, closed=True)
    checks = connection.exec_driver_sql(
        """
        SELECT pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
        WHERE k.conrelid = %s AND k.contype = 'c' AND a.attname = %s""",
        (oid, column.name),
    ).scalars()
    for check in checks:
        words = [word.replace("''", "'") for word in re.findall(r"'((?:[^']|'')*)'", check)]
        # as Postgres writes `IN (...)`; anything else, such as <> or LIKE, closes nothing
        if words and re.match(r"CHECK \(\(+[^()]*\)?(::\w+)? = ANY \(", check):
            return replace(table, statuses=tuple(words), closed=True)
    seen = connection.execute(
        sa.select(table.expression("status").label("status")).distinct().limit(50)
    ).scalars()
    return replace(table, statuses=tuple(sorted(word for word in seen if word is not None)))


def missing(columns: Sequence[str], table: Table) -> list[str]:
    """Which of these columns of the frame the table does not have."""
    return [name for name in columns if name not in table.columns and name != "source"]
