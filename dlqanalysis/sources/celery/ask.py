"""Answers a named query: `failed_tasks` stands for the table at hand, the result is a frame with plain dtypes."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import QueryError, did_you_mean
from dlqanalysis.sources.celery.stream import text_of
from dlqanalysis.sources.celery.table import Table, under_runbook_names

_OURS = re.compile(r"\bfailed_tasks\b")
_WITH = re.compile(r"\s*WITH\s+(RECURSIVE\s+)?", re.IGNORECASE)
_STR = pd.StringDtype(na_value=np.nan)
#: type oid -> dtype. Everything else becomes text.
_DTYPES: dict[int, Any] = {
    16: "boolean", 20: "Int64", 21: "Int64", 23: "Int64", 26: "Int64",
    700: "Float64", 701: "Float64", 1700: "Float64",
    1114: "datetime64[us, UTC]", 1184: "datetime64[us, UTC]", 1082: "datetime64[us]", 1186: "timedelta64[us]",
}  # fmt: skip


def answer(connection: Any, table: Table, sql: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of one SELECT over a session that only reads."""
    import psycopg
    import sqlalchemy as sa

    if _OURS.search(sql):
        sql = _over(text_of(under_runbook_names(table)), sql)
    try:
        result = connection.execute(sa.text(sql), dict(parameters))
        described = result.cursor.description  # gone after the last row
        rows = result.all()
    except sa.exc.SQLAlchemyError as error:
        wrong = getattr(error, "orig", None)
        if isinstance(wrong, psycopg.errors.UndefinedTable):
            raise _no_table(connection, wrong) from None
        if isinstance(wrong, psycopg.errors.CharacterNotInRepertoire):
            raise
        if isinstance(wrong, psycopg.errors.UndefinedColumn | psycopg.errors.DataError):
            first = str(wrong).splitlines()[0]
            raise QueryError(
                f"Postgres says: {first}. Check the parameters, or write the query for your own tables"
                " into the folder that DLQ_QUERIES names."
            ) from None
        raise
    names = [column.name for column in described]
    columns = list(zip(*rows, strict=True)) or [() for _ in names]
    frame = {
        name: _series(values, column.type_code)
        for name, values, column in zip(names, columns, described, strict=True)
    }
    return pd.DataFrame(frame)


def _over(table: str, sql: str) -> str:
    """The query with the table before it; not materialized, so that the query's filters reach its indexes."""
    ours = f"failed_tasks AS NOT MATERIALIZED (\n{_escaped(table)}\n)"
    if begun := _WITH.match(sql):
        return f"WITH {begun[1] or ''}{ours}, {sql[begun.end() :]}"
    return f"WITH {ours}\n{sql}"


def _escaped(sql: str) -> str:
    """A column's name may hold a colon, which is no parameter."""
    return re.sub(r"(?<!:):(?=\w)", r"\\:", sql)


def _series(values: Any, oid: int) -> pd.Series:
    dtype = _DTYPES.get(oid, _STR)
    if dtype is _STR:
        values = [None if value is None else str(value) for value in values]
    elif str(dtype).startswith("datetime64"):
        zone = "UTC" in dtype
        return pd.Series(pd.to_datetime(list(values), utc=zone, errors="coerce")).astype(dtype)
    elif dtype == "Float64":
        values = [None if value is None else float(value) for value in values]
    series = pd.Series(list(values), dtype=dtype)
    return series.astype("int64") if dtype == "Int64" and not series.isna().any() else series


def _no_table(connection: Any, wrong: Exception) -> QueryError:
    found = re.search(r'"([^"]+)"', str(wrong))
    name = found[1] if found else "a table"
    connection.rollback()
    there = connection.exec_driver_sql(
        "SELECT relname FROM pg_catalog.pg_class WHERE relkind IN ('r','p','v','m','f')"
        " AND pg_catalog.pg_table_is_visible(oid) AND relname !~ '^(pg_|sql_)'"
    ).scalars()
    hint = did_you_mean(name, list(there)[:30])
    return QueryError(
        f"This query reads {name}, which this database does not have. {hint} Write the query for your own"
        " tables into the folder that DLQ_QUERIES names."
    )
