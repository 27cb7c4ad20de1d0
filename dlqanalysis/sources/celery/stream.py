"""Two roads from a statement to Arrow columns: ADBC (binary COPY, no object a row), and SQLAlchemy."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.frame import arrow_type, plain_type
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.table import CALENDAR

if TYPE_CHECKING:
    import sqlalchemy as sa

_FIRST, _LAST = (
    int(datetime.fromisoformat(end).timestamp() * 1e6) for end in CALENDAR
)  #: microseconds since 1970
_ROWS = 10_000  #: how many rows at a time on the slow road
_EXTRA = {"traceback_bytes": pa.int32(), "args_lossy": pa.bool_(), "rows": pa.int64()}


class NoRoad(Exception):
    """ADBC is not there or cannot take this connection; SQLAlchemy may. Its text is for the reader."""


def by_adbc(
    address: Address, statement: "sa.Select", settings: Mapping[str, str]
) -> Iterator[pa.Table]:
    """The statement's rows as they come, some ten thousand at a time, at least one table; columns of few words are
    encoded while the server goes on sending."""
    try:
        from adbc_driver_postgresql import dbapi
    except (ImportError, OSError):
        raise NoRoad("adbc-driver-postgresql cannot be imported.") from None
    try:
        connection = dbapi.connect(address.session())
    except (dbapi.Error, OSError):  # psycopg could, or we were not here
        raise NoRoad("ADBC could not connect.") from None
    try:
        with connection, connection.cursor() as cursor, ThreadPoolExecutor(1) as worker:
            for pair in settings.items():
                cursor.execute("SELECT pg_catalog.set_config($1, $2, true)", list(pair))
                cursor.fetchall()
            cursor.execute(text_of(statement))
            reader = cursor.fetch_record_batch()
            before = worker.submit(_typed, reader.schema.empty_table())
            for batch in reader:
                coming = worker.submit(_typed, batch)
                yield before.result()
                before = coming
            yield before.result()
    except (dbapi.Error, OSError, pa.ArrowException) as error:
        raise address.trouble(error) from None


def by_sqlalchemy(
    connection: "sa.Connection", statement: "sa.Select", settings: Mapping[str, str]
) -> Iterator[pa.Table]:
    """The same rows and types through SQLAlchemy, some thousand at a time."""
    import sqlalchemy as sa

    if settings:
        sets = [
            sa.func.pg_catalog.set_config(name, value, True) for name, value in settings.items()
        ]
        connection.execute(sa.select(*sets)).all()
    result = connection.execution_options(stream_results=True).execute(statement)
    names = list(result.keys())
    none = pa.table({name: pa.array([], _plain(name)) for name in names})
    yield _typed(none)
    for rows in result.partitions(_ROWS):
        columns = zip(*rows, strict=True)
        arrays = [
            pa.array(column, _plain(name)) for name, column in zip(names, columns, strict=True)
        ]
        yield _typed(pa.RecordBatch.from_arrays(arrays, names))


def text_of(statement: "sa.Select") -> str:
    """The statement as SQL for a driver without SQLAlchemy: identifiers quoted, no values but our own."""
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect(paramstyle="named")  # the default style doubles every %
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _plain(name: str) -> pa.DataType:
    return _EXTRA.get(name) or plain_type(name)


def _typed(batch: Any) -> pa.Table:
    """A batch in the frame's types, with 64-bit offsets; columns of few words as dictionaries."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        want = _EXTRA.get(name) or arrow_type(name)
        if pa.types.is_dictionary(want):
            columns[name] = column.cast(pa.string()).dictionary_encode()
        elif pa.types.is_timestamp(want):
            columns[name] = _on_calendar(column.cast(want))
        else:
            want = pa.large_string() if want == pa.string() else want
            columns[name] = column if column.type == want else column.cast(want)
    return pa.table(columns)


def _on_calendar(times: Any) -> Any:
    """Times, null where no calendar here can hold them: infinity comes as one of these."""
    ends = pc.min_max(times.cast(pa.int64())).as_py()
    if ends["min"] is None or (ends["min"] >= _FIRST and ends["max"] <= _LAST):
        return times
    numbers = times.cast(pa.int64())
    held = pc.and_(pc.greater_equal(numbers, _FIRST), pc.less_equal(numbers, _LAST))
    return pc.if_else(held, numbers, None).cast(times.type)
