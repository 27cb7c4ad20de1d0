"""Counting and finding copies among a million loaded failures, beside asking Postgres for the same."""

from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.goals import Section, at_least, at_most
from bench.load import engine_of

ROWS, REPEAT = 1_000_000, 3
COUNTS, COPIES = "counts of the frame by task, type, hour", "duplicates of the frame"
_COUNT = """select task_name, exception_type, date_trunc('hour', failed_at), count(*) from failed_tasks
    group by 1, 2, 3"""
_COPIES = """select task_name, args, kwargs, count(*) from failed_tasks group by 1, 2, 3 having count(*) > 1"""


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P10."""
    counting = {COUNTS: counts, "the same by SQL": sql_counts}
    copying = {COPIES: copies, "GROUP BY payload in SQL": sql_copies,
               "read_sql, then pandas": pandas_copies}  # fmt: skip
    with data.postgres(rows) as url:
        counted = beside(counting, repeat, url=url)
        copied = beside(copying, max(1, repeat - 2), url=url)
    mine, sql, pandas = (one.seconds for one in copied.values())
    figures = [
        at_most("P10", "groupby of the frame by task, type, hour / SQL", counted[COUNTS].seconds / counted["the same by SQL"].seconds, 0.1),
        at_least("P10", "read_sql, then pandas / duplicates", pandas / mine, 10),
        at_most("P10", "duplicates / GROUP BY payload in SQL", mine / sql, 0.5),
    ]  # fmt: skip
    lines = [
        f"{rows:,} failures, loaded before:",
        "",
        *table(counted, COUNTS),
        "",
        "duplicates also tells entries from payloads, and which copy is the first:",
        "",
        *table(copied, COPIES),
    ]
    return Section(lines, figures, counted | copied)


def counts(url: str) -> Iterator[Any]:
    """A groupby of the loaded frame."""
    import dlqanalysis as dlq

    failures = dlq.load(url, since=None)
    yield
    by = ["task_name", "exception_type", failures["failed_at"].dt.floor("h")]
    yield int(failures.groupby(by, observed=True).size().gt(0).sum())


def copies(url: str) -> Iterator[Any]:
    """dlq.duplicates."""
    import dlqanalysis as dlq

    failures = dlq.load(url, since=None)
    assert dlq.duplicates
    yield
    yield len(dlq.duplicates(failures))


def _asked(url: str, statement: str) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(url) as connection:
        yield
        yield len(connection.execute(statement).fetchall())


def sql_counts(url: str) -> Iterator[Any]:
    """Pushed down."""
    yield from _asked(url, _COUNT)


def sql_copies(url: str) -> Iterator[Any]:
    """Pushed down: one row a payload."""
    yield from _asked(url, _COPIES)


def pandas_copies(url: str) -> Iterator[Any]:
    """What a notebook does."""
    import pandas as pd
    import sqlalchemy as sa

    engine = engine_of(url)
    yield
    columns = "id, task_id, task_name, args, kwargs"
    found = pd.read_sql(sa.text(f"select {columns} from failed_tasks"), engine)
    key = found["task_name"] + found["args"].map(str) + found["kwargs"].map(str)
    yield int(key.duplicated(keep=False).sum())
