"""From ten thousand failures to ten million: time and memory of the whole road, and of a summary that holds no rows.

Ten million are a view that shows the million ten times, moved in time; only the summary is asked for them.
"""

from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import Result, beside
from bench.whole import ours as whole

SIZES, TIMES = (10_000, 100_000, 1_000_000), 10
_ONCE = """select {number} * {rows} + id as id, task_id, task_name, queue_name, args, kwargs, exception_type,
    exception_message, traceback, retries_attempted, max_retries,
    failed_at - {number} * interval '7 minutes' as failed_at, status, worker from failed_tasks"""


def run(sizes: tuple[int, ...] = SIZES, repeat: int = 1) -> list[str]:
    """The lines of the section."""
    found: list[tuple[str, int, Result]] = []
    for rows in sizes:
        with data.postgres(rows) as url:
            ways = {"load, classify, fingerprint, groups": whole, "summary of it": summary}
            found += [(n, rows, one) for n, one in beside(ways, repeat, url=url).items()]
            if rows == sizes[-1]:
                _view(url, rows)
                more = f"{url}&table=many&statement_timeout=60m"
                ten = beside({"summary of it": summary}, 1, url=more)
                found += [(n, TIMES * rows, one) for n, one in ten.items()]
    return [
        "| way | failures | s | s for a million | peak MB |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {rows:,} | {one.seconds:.2f} | {one.seconds * 1e6 / rows:.2f} | {one.megabytes:,.0f} |"
            for name, rows, one in sorted(found, key=lambda row: (row[0], row[1]))
        ),
    ]


def summary(url: str) -> Iterator[Any]:
    """dlq.summary, and what a weekly report counts in it."""
    import dlqanalysis as dlq

    source = dlq.connect(url)
    assert dlq.summary and dlq.classify and dlq.fingerprint and dlq.groups
    yield
    failures = dlq.summary(source, since=None).pipe(dlq.classify).pipe(dlq.fingerprint)
    dlq.coverage(failures), dlq.timeline(failures)
    yield len(dlq.groups(failures))


def _view(url: str, rows: int) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        parts = [_ONCE.format(number=number, rows=rows) for number in range(TIMES)]
        connection.execute(f"create or replace view many as {' union all '.join(parts)}")
