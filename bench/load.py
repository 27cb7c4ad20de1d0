"""Loading a million failures from Postgres: ours beside pandas.read_sql, ADBC alone, and psql's COPY to /dev/null.

COPY is what the server and the wire need for the same columns: nobody reads faster over one connection.
"""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import beside, table
from dlqanalysis.demo import servers

ROWS, REPEAT = 1_000_000, 3
LEAN = ("id, task_id, task_name, queue_name, args::text, kwargs::text, exception_type, exception_message,"
        " retries_attempted, max_retries, failed_at, status, worker")  # fmt: skip


def run(rows: int = ROWS, repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    with data.postgres(rows) as url:
        lean = beside(
            {
                "default load": ours,
                "psql COPY, same columns": copy_lean,
                "ADBC alone, same columns": adbc,
                "pandas.read_sql, same columns": read_sql_lean,
            },
            repeat,
            url=url,
        )
        full = beside(
            {
                "load with all tracebacks": ours_full,
                "psql COPY of everything": copy_full,
                "pandas.read_sql of everything": read_sql_full,
            },
            max(1, repeat - 2),
            url=url,
        )
    answers = {name: one.answer for name, one in (lean | full).items() if one.answer != rows}
    default, whole = lean["default load"], full["psql COPY of everything"]
    everything = full["pandas.read_sql of everything"]
    return [
        f"{rows:,} failures; rows: {answers or 'the same in every way'}",
        "",
        *table(lean, "default load"),
        "",
        *table(full, "load with all tracebacks"),
        "",
        f"The default load takes {default.seconds / whole.seconds:.2f} x COPY of everything (goal 0.25),"
        f" {default.seconds / everything.seconds:.3f} x read_sql of everything (0.05), with"
        f" {default.megabytes / everything.megabytes:.3f} x its memory (0.04).",
    ]


def ours(url: str) -> Iterator[Any]:
    """dlq.load as it comes: no tracebacks but of representatives."""
    import dlqanalysis as dlq

    source = dlq.connect(url)
    yield
    yield len(dlq.load(source, since=None))


def ours_full(url: str) -> Iterator[Any]:
    """dlq.load with every traceback."""
    import dlqanalysis as dlq

    source = dlq.connect(url)
    yield
    yield len(dlq.load(source, since=None, columns=["traceback"]))


def adbc(url: str) -> Iterator[Any]:
    """ADBC to pandas, nothing else."""
    import pandas as pd
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        yield
        cursor.execute(f"select {LEAN} from failed_tasks")
        yield len(cursor.fetch_arrow_table().to_pandas(types_mapper=pd.ArrowDtype))


def read_sql_lean(url: str) -> Iterator[Any]:
    """What most notebooks have, without tracebacks."""
    yield from _rows(read_sql(url, LEAN))


def read_sql_full(url: str) -> Iterator[Any]:
    """What most notebooks have."""
    yield from _rows(read_sql(url, "*"))


def _rows(reading: Iterator[Any]) -> Iterator[Any]:
    yield next(reading)
    yield len(next(reading))


def engine_of(url: str) -> Any:
    """SQLAlchemy over psycopg."""
    import sqlalchemy as sa

    return sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=sa.pool.NullPool
    )


def read_sql(url: str, columns: str) -> Iterator[Any]:
    """pandas over SQLAlchemy and psycopg."""
    import pandas as pd
    import sqlalchemy as sa

    engine = engine_of(url)
    yield
    yield pd.read_sql(sa.text(f"select {columns} from failed_tasks"), engine)


def copy_lean(url: str) -> Iterator[Any]:
    """The same columns as the default load, thrown away."""
    yield from copied(url, LEAN)


def copy_full(url: str) -> Iterator[Any]:
    """The table, thrown away."""
    yield from copied(url, "*")


def copied(url: str, columns: str) -> Iterator[Any]:
    """psql's COPY of these columns in binary to /dev/null; gives the number of rows."""
    psql = shutil.which("psql") or str(servers.postgres_binaries() / "psql")
    call = [psql, url, "-qXtA", "-c"]
    counted = subprocess.run(
        [*call, "select count(*) from failed_tasks"], check=True, capture_output=True
    )
    statement = f"copy (select {columns} from failed_tasks) to stdout (format binary)"
    yield
    subprocess.run([*call, statement], check=True, stdout=subprocess.DEVNULL)
    yield int(counted.stdout)
