"""Loading a million failures from Postgres: ours beside pandas.read_sql, ADBC alone, and psql's COPY to /dev/null.

COPY is what the server and the wire need for the same columns: nobody reads faster over one connection.
"""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.goals import Section, at_least, at_most
from dlqanalysis.demo import servers

ROWS, REPEAT = 1_000_000, 3
LEAN = ("id, task_id, task_name, queue_name, args::text, kwargs::text, exception_type, exception_message,"
        " retries_attempted, max_retries, failed_at, status, worker")  # fmt: skip


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P3 and P4."""
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
    default, copied_lean = lean["default load"], lean["psql COPY, same columns"]
    read_lean = lean["pandas.read_sql, same columns"]
    whole, copied_whole = full["load with all tracebacks"], full["psql COPY of everything"]
    read = full["pandas.read_sql of everything"]
    figures = [
        at_most("P3", "default load / COPY of its columns", default.seconds / copied_lean.seconds, 1.1),
        at_most("P3", "load with all tracebacks / COPY", whole.seconds / copied_whole.seconds, 1.1),
        at_least("P3", "read_sql / default load", read_lean.seconds / default.seconds, 5),
        at_least("P3", "read_sql / load with all tracebacks", read.seconds / whole.seconds, 5),
        at_most("P3", "memory of default load / read_sql", default.megabytes / read_lean.megabytes, 0.27),
        at_most("P3", "memory of load with all tracebacks / read_sql", whole.megabytes / read.megabytes, 0.27),
        at_most("P4", "default load / COPY of all columns", default.seconds / copied_whole.seconds, 0.25),
        at_most("P4", "default load / read_sql of all columns", default.seconds / read.seconds, 0.05),
        at_most("P4", "memory of default load / read_sql of all columns", default.megabytes / read.megabytes, 0.04),
    ]  # fmt: skip
    lines = [
        f"{rows:,} failures; rows: {answers or 'the same in every way'}",
        "",
        *table(lean, "default load"),
        "",
        *table(full, "load with all tracebacks"),
        "",
        f"COPY of the default load's columns takes {copied_lean.seconds / copied_whole.seconds:.2f} of COPY of all: P4's"
        " bound was set for a load of id, times, task, type and message alone.",
    ]
    return Section(lines, figures, lean | full)


def ours(url: str) -> Iterator[Any]:
    """dlq.load as it comes: no tracebacks but of representatives."""
    import dlqanalysis as dlq

    source = dlq.connect(url)
    dlq.load(source, since=None, limit=10)  # imports: the others have theirs too
    yield
    yield len(dlq.load(source, since=None))


def ours_full(url: str) -> Iterator[Any]:
    """dlq.load with every traceback."""
    import dlqanalysis as dlq

    source = dlq.connect(url)
    dlq.load(source, since=None, limit=10)
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


def copied(url: str, columns: str, count: bool = False) -> Iterator[Any]:
    """psql's COPY of these columns in binary to /dev/null; gives the number of rows, or of bytes when `count`."""
    psql = shutil.which("psql") or str(servers.postgres_binaries() / "psql")
    call = [psql, url, "-qXtA", "-c"]
    statement = f"copy (select {columns} from failed_tasks) to stdout (format binary)"
    counting = [*call, "select count(*) from failed_tasks"]
    answer = (
        _bytes([*call, statement])
        if count
        else int(subprocess.run(counting, check=True, capture_output=True).stdout)
    )
    yield
    subprocess.run([*call, statement], check=True, stdout=subprocess.DEVNULL)
    yield answer


def _bytes(call: list[str]) -> int:
    """What a command writes, thrown away and counted."""
    with subprocess.Popen(call, stdout=subprocess.PIPE) as process:
        assert process.stdout
        return sum(map(len, iter(lambda: process.stdout.read(1 << 20), b"")))
