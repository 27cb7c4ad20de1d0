"""A weekly report over ten million failures in Postgres, and the numbers of it alone: the million of the other benches
ten times, each time an hour earlier. Runs when it is named (`make bench ONLY=ten_million`): it wants 15 GB of disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from bench import data
from bench.beside import beside
from bench.goals import Section, at_least, at_most
from bench.growth import SUMMARY, Found, grown, summary, table

SIZES, TIMES = (100_000, 1_000_000), 10
REPORT = "weekly report"


def run(sizes: tuple[int, ...] = SIZES, repeat: int = 1) -> Section:
    """The section, P14 to ten million."""
    found: Found = []
    for rows in sizes:
        with data.postgres(rows) as url:
            found += [(SUMMARY, rows, beside({SUMMARY: summary}, repeat, url=url)[SUMMARY])]
    rows = TIMES * sizes[-1]
    with data.larger(sizes[-1], TIMES) as url:
        most = beside(
            {SUMMARY: summary, REPORT: report}, repeat, url=f"{url}&statement_timeout=60m"
        )
    found.append((SUMMARY, rows, most[SUMMARY]))
    figures, fits = grown(found)
    found.append((REPORT, rows, most[REPORT]))
    told = most[REPORT].answer
    figures += [
        at_least("P14", "rows that the weekly report was measured on", rows, 10_000_000),
        at_most("P14", f"weekly report over {rows:,} rows in Postgres, MB in all processes", told["megabytes"], 1000),
        at_most("P14", "failures that the report does not count", abs(told["rows"] - rows), 0),
    ]  # fmt: skip
    return Section(
        [*table(found), "", f"Fits: {'; '.join(fits)}. The report's memory is the most that the asking"
         f" process and its kernel had at once, what they share counted once: {told['megabytes']:,.0f} MB."],
        figures,
        {f"{n}, {rows:,}": one for n, rows, one in found},
    )  # fmt: skip


def report(url: str) -> Iterator[Any]:
    """dlq.report.weekly over all of it, as a summary; gives the most memory that this process and its kernel had at once."""
    import os
    import tempfile

    from dlqanalysis import report

    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLQ_BENCH_URL"] = url
        os.environ["DLQ_HOME"] = folder
        yield
        with together() as most:
            made = report.weekly("bench", since="", out=folder, summary=True)
        yield {"rows": made["numbers"]["failures"], "megabytes": max(most)}


@contextmanager
def together() -> Iterator[list[float]]:
    """MB that this process and those it started have, looked at ten times a second. What they share, such as the code
    of libraries, is counted once (PSS): the largest of each alone would count it twice, and at different times."""
    import psutil

    seen, over = [0.0], Event()

    def look() -> None:
        while not over.wait(0.1):
            mine = psutil.Process()
            total = 0
            for one in [mine, *mine.children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss
                except psutil.NoSuchProcess:
                    continue
            seen.append(total / 2**20)

    looking = Thread(target=look, daemon=True)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()
