"""Reads a `failed_tasks` table: read-only sessions, filters in SQL, columns instead of objects.

Filters travel as transaction-local settings, set with bound parameters and read back in the statement with
current_setting: a statement without parameters of its own can stream as COPY, which takes half the time and
a quarter of the memory of one with parameters.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.fingerprint import Gathering
from dlqanalysis.frame import HEAVY
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import DOTTED, last_part_sql
from dlqanalysis.sources._payload_state import payload_state
from dlqanalysis.sources.celery import stream
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.ask import answer
from dlqanalysis.sources.celery.table import Table, discover
from dlqanalysis.text import many

if TYPE_CHECKING:
    import pandas as pd
    import sqlalchemy as sa

    Statement = Callable[[bool], sa.Select]  # of whether columns are asked for as they are

_BETWEEN = "\x1f"  #: stands between the words of one setting; no name holds a unit separator
_TEXT = "text", "varchar", "bpchar"
_PLAIN = re.compile("[A-Za-z_]+")
#: a scan begins where the table begins, not where another one is just now: rows come in the order they were written,
#: which is nearly always that of their times, and need no sorting
_IN_ORDER = {"synchronize_seqscans": "off"}


class CeleryTable:
    """The source for one `failed_tasks` table."""

    def __init__(self, address: Address, road: str = "adbc") -> None:
        self.address = address
        self.road = road  #: "adbc" (columns), or "sqlalchemy" where ADBC cannot go
        self._table: Table | None = None

    def __repr__(self) -> str:
        return f"CeleryTable({self.name} in {self.address})"

    @property
    def name(self) -> str:
        """`celery:failed_tasks`; with the schema where the URL names one."""
        return self.address.name

    @property
    def table(self) -> Table:
        """The table as it was understood when first asked for."""
        if self._table is None:
            with self.session() as connection:
                self._table = discover(connection, self.address)
        return self._table

    @contextmanager
    def session(self) -> "Iterator[sa.Connection]":
        """A read-only connection; what goes wrong in it comes out as one clear sentence."""
        import psycopg
        import sqlalchemy as sa

        try:
            with self.address.reader.connect() as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, psycopg.Error) as error:
            raise self.address.trouble(error) from None

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for; every column of the frame that the table has, the heavy ones when named.

        Without the traceback comes `traceback_bytes`, its length: enough to choose representatives by.
        """
        table = self.table
        notes = list(table.notes)
        statement, settings = self._asked(selection, columns, notes)
        rows = self._fetch(statement, settings, notes)
        _refuse_ambiguous(rows, table)
        truncated = bool(selection.limit) and rows.num_rows > selection.limit
        if truncated:
            rows = rows.slice(0, selection.limit)  # streamed in the statement's order
            notes.append(
                f"Cut at {many(selection.limit, 'rows')}, the newest first. Raise limit=, or narrow the selection."
            )
        self._note_undated(table, selection, notes)
        return Read(self._framed(rows, table), truncated, tuple(notes))

    def parts(self, selection: Selection, notes: list[str]) -> Iterator[pa.Table]:
        """The same rows some ten thousand at a time, for what need not hold them all; notes are added as they arise."""
        table = self.table
        notes += table.notes
        statement, settings = self._asked(selection, (), notes)
        for rows in self._coming(statement, settings, notes):
            yield self._framed(rows, table)
        self._note_undated(table, selection, notes)

    def _asked(
        self, selection: Selection, columns: Sequence[str], notes: list[str]
    ) -> tuple["Statement", dict[str, str]]:
        """The statement for a selection, and the settings that carry its values."""
        import sqlalchemy as sa

        table = self.table
        names = [n for n in table.columns if n not in HEAVY or n in columns]
        more = []
        trace = table.columns.get("traceback")
        if trace and "traceback" not in names and trace.type in _TEXT:
            # needs no decompression, unlike anything else one could ask about a long text
            length = sa.func.octet_length(table.clause.c[trace.name])
            more.append(length.label("traceback_bytes"))
        lossy = table.everything.get("args_lossy")
        if lossy and lossy.type == "bool":
            more.append(table.clause.c.args_lossy)
        conditions, settings = _conditions(table, selection, notes)
        settings |= _IN_ORDER
        order: list[Any] = []
        if selection.limit:
            settings["dlq.limit"] = str(selection.limit + 1)  # one more, to know that it was cut
            order = [
                table.clause.c[table.columns["failed_at"].name].desc().nulls_last(),
                table.clause.c[table.columns["failure_id"].name].desc(),
            ]

        def statement(bare: bool) -> "sa.Select":
            rows = table.select_rows(names, bare).add_columns(*more).where(*conditions)
            if not order:
                return rows
            limit = sa.cast(sa.func.current_setting("dlq.limit"), sa.BigInteger)
            return rows.order_by(*order).limit(limit)

        return statement, settings

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of the rows that are still there."""
        import sqlalchemy as sa

        table = self.table
        names = ["failure_id", *(n for n in columns if n in table.columns and n != "failure_id")]
        have = table.columns["failure_id"]
        column = table.clause.c[have.name]
        wanted = _setting_words("dlq.ids")
        if have.type in (
            "int2",
            "int4",
            "int8",
            "uuid",
        ):  # compared in its own type, so that its index serves
            kind = {"int2": sa.SmallInteger, "int4": sa.Integer, "int8": sa.BigInteger}.get(
                have.type, sa.Uuid
            )
            wanted = sa.cast(wanted, sa.ARRAY(kind))
            failure_ids = [one for one in failure_ids if _is(have.type, one)]
        else:
            column = table.expression("failure_id")
        if not failure_ids:
            return pa.table({name: pa.array([], pa.string()) for name in names})

        def statement(bare: bool) -> "sa.Select":
            return table.select_rows(names, bare).where(column == sa.any_(wanted))

        return self._fetch(statement, {"dlq.ids": _BETWEEN.join(failure_ids)}, [])

    def ask(self, sql: str, parameters: Mapping[str, Any]) -> "pd.DataFrame":
        """The rows of a SELECT with `:name` parameters; it may call this table `failed_tasks` and its columns
        by the runbook's names."""
        with self.session() as connection:
            return answer(connection, self.table, sql, parameters)

    def _fetch(
        self, statement: "Statement", settings: Mapping[str, str], notes: list[str]
    ) -> pa.Table:
        """The statement's rows as Arrow; what their messages say in common is found while they come."""
        tables = []
        with Gathering() as gathering:
            for rows in self._coming(statement, settings, notes):
                tables.append(rows)
                if "exception_message" in rows.column_names:
                    gathering.add(rows["exception_message"])
            whole = pa.concat_tables(tables).unify_dictionaries()
            if "exception_message" in whole.column_names:
                gathering.remember(whole["exception_message"])
        return whole

    def _coming(
        self, statement: "Statement", settings: Mapping[str, str], notes: list[str]
    ) -> Iterator[pa.Table]:
        """The same as they come: by ADBC, else by SQLAlchemy."""
        if self.road == "adbc" and self.address.encoding.lower() in ("utf8", "utf-8"):
            tables = stream.by_adbc(self.address, statement(True), settings)
            try:
                first = next(tables)
            except stream.NoRoad as no:
                notes.append(f"Read through SQLAlchemy, which is slower: {no}")
            else:
                yield first
                yield from tables
                return
        with self.session() as connection:
            yield from stream.by_sqlalchemy(connection, statement(False), settings)

    def _note_undated(self, table: Table, selection: Selection, notes: list[str]) -> None:
        """Says how many failures have no time at all and are therefore in no time range."""
        import sqlalchemy as sa

        have = table.columns["failed_at"]
        if have.required or not (selection.since or selection.until):
            return
        others, settings = _conditions(table, replace(selection, since=None, until=None), [])
        statement = sa.select(sa.func.count().label("rows")).select_from(table.clause)
        statement = statement.where(table.clause.c[have.name].is_(None), *others)
        with self.session() as connection:
            counted = pa.concat_tables(stream.by_sqlalchemy(connection, statement, settings))
            count = counted["rows"][0].as_py()
        if count:
            notes.append(f"{many(count, 'more rows have')} no {have.name}: since=None shows them.")

    def _framed(self, rows: pa.Table, table: Table) -> pa.Table:
        """The rows with `source` and `payload_state`, and nothing but what the frame and load know."""
        there = set(rows.column_names)
        types = {table.columns[n].type for n in ("args", "kwargs") if n in table.columns}
        state = payload_state(
            rows["args"] if "args" in there else None,
            rows["kwargs"] if "kwargs" in there else None,
            rows.num_rows,
            json_valid=types <= {"json", "jsonb"},
            lossy=rows["args_lossy"] if "args_lossy" in there else None,
        )
        if "args_lossy" in there:
            rows = rows.drop_columns("args_lossy")
        one = pa.DictionaryArray.from_arrays(
            pa.nulls(rows.num_rows, pa.int32()).fill_null(0), pa.array([self.name])
        )
        return rows.append_column("source", one).append_column("payload_state", state)


def _refuse_ambiguous(rows: pa.Table, table: Table) -> None:
    """A view or a table without a key may show one id twice; a failure needs one of its own."""
    have = table.columns["failure_id"]
    if have.unique and have.required:
        return
    ids = rows["failure_id"]
    if ids.null_count or pc.count_distinct(ids).as_py() < len(ids):
        raise SchemaError(
            f"{table.name}.{have.name} is no key: some of its values stand twice or are missing. Name a unique"
            " column in the URL: ?map=failure_id:COLUMN"
        )


def _conditions(
    table: Table, selection: Selection, notes: list[str]
) -> tuple[list[Any], dict[str, str]]:
    """WHERE conditions, and the settings that carry their values."""
    import sqlalchemy as sa

    conditions: list[Any] = []
    settings: dict[str, str] = {}
    dated = table.columns["failed_at"]
    raw = table.clause.c[dated.name]
    for name, when in (("since", selection.since), ("until", selection.until)):
        if when is None:
            continue
        settings[f"dlq.{name}"] = when.isoformat()
        bound = sa.cast(sa.func.current_setting(f"dlq.{name}"), sa.TIMESTAMP(timezone=True))
        if dated.type != "timestamptz":  # the column stays bare, so that its index serves
            bound = sa.func.timezone("UTC", bound)
        conditions.append(raw >= bound if name == "since" else raw < bound)
    for column, words in (
        ("queue", selection.queue),
        ("task_name", selection.task),
        ("exception_type", selection.exception),
        ("status", selection.status),
    ):
        if not words:
            continue
        if not table.has(column):
            if column == "status" and words == ("failed",):
                continue  # the table's notes say so
            raise SettingsError(
                f"{table.name} has no {column}, so it cannot be filtered by it. Leave the filter out, or say"
                f" which column it is: ?map={column}:COLUMN in the URL."
            )
        if column == "status":
            words = tuple(dict.fromkeys(table.word(word) for word in words))
            unseen = [word for word in words if table.statuses and word not in table.statuses]
            if unseen:
                notes.append(
                    f"No row has status {', '.join(unseen)}. {table.name} holds {', '.join(table.statuses)}."
                    f" If one of these means it, say so in the URL: ?status={unseen[0]}:WORD."
                )
        value = table.expression(column)
        if column == "status" and all(_PLAIN.fullmatch(word) for word in words):
            # said in the statement itself: a setting would be read again for each row of the table
            conditions.append(sa.or_(*(value == sa.literal(word) for word in words)))
            continue
        settings[f"dlq.{column}"] = _BETWEEN.join(words)
        wanted = sa.any_(_setting_words(f"dlq.{column}"))
        condition = value == wanted
        if column in DOTTED:
            condition = sa.or_(condition, last_part_sql(value) == wanted)
        conditions.append(condition)
    for name, text in settings.items():
        if not text.replace(_BETWEEN, "").isprintable():  # NUL and lone surrogates among them
            raise SettingsError(f"The filter {name[4:]} holds characters that no name has.")
    return conditions, settings


def _setting_words(name: str) -> "sa.ColumnElement":
    """An SQL array of the words that a setting carries."""
    import sqlalchemy as sa

    setting = sa.func.current_setting(name)
    return sa.func.string_to_array(setting, _BETWEEN, type_=sa.ARRAY(sa.Text))


def _is(kind: str, text: str) -> bool:
    """Whether a failure_id can be one of this column's: others match nothing, and need no error."""
    try:
        if kind == "uuid":
            return bool(UUID(text))
        bits = {"int2": 15, "int4": 31, "int8": 63}[kind]
        return -(2**bits) <= int(text) < 2**bits
    except ValueError:
        return False
