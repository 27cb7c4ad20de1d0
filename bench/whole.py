"""The whole road for a million failures: load, judge, group, count. Ours beside a plain and a careful notebook.

The notebooks do less: one regex a kind of value in place of the table, the message patterns of the rulebook in place
of its codes, classes and causes, and no reasons.
"""

import re
from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.grouping import CHAIN, substituted
from bench.load import copied, engine_of, read_sql
from dlqanalysis.rules import builtin

ROWS, REPEAT, SLOW_ROWS = 1_000_000, 3, 10_000
COLUMNS = "id, task_id, task_name, queue_name, args::text, kwargs::text, exception_type, exception_message, retries_attempted, max_retries, failed_at, status, worker, octet_length(traceback)"


def run(rows: int = ROWS, repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    with data.postgres(rows) as url:
        found = beside(
            {"load, classify, fingerprint, groups": ours, "psql COPY, same columns": copy},
            repeat,
            url=url,
        )
        part = min(rows, SLOW_ROWS)
        slow = beside(_NOTEBOOKS, 1, url=url, part=part)
    for name, one in slow.items():
        loaded, texts, done = one.answer
        found[name] = one._replace(seconds=loaded + (one.seconds - loaded) * texts / max(1, done))
    mine = found["load, classify, fingerprint, groups"]
    return [
        f"{rows:,} failures, {mine.answer['groups']:,} groups, {mine.answer['unknown']:.1%} unknown;"
        f" the notebooks measured on {part:,} texts and scaled:",
        "",
        *table(found, "load, classify, fingerprint, groups"),
        "",
        f"of ours: {', '.join(f'{name} {taken:.2f} s' for name, taken in mine.answer['steps'].items())}",
    ]


def ours(url: str) -> Iterator[Any]:
    """What the first notebook does."""
    import time

    import dlqanalysis as dlq

    source = dlq.connect(url)
    for verb in (dlq.load, dlq.classify, dlq.fingerprint, dlq.groups):
        assert verb
    yield
    steps, begun = {}, time.perf_counter()

    def step(name: str) -> None:
        nonlocal begun
        now = time.perf_counter()
        steps[name], begun = now - begun, now

    failures = dlq.load(source, since=None)
    step("load")
    failures = dlq.classify(failures)
    step("classify")
    failures = dlq.fingerprint(failures)
    step("fingerprint")
    groups = dlq.groups(failures)
    step("groups")
    unknown = float((failures["failure_class"] == "unknown").mean())
    yield {"groups": len(groups), "unknown": unknown, "steps": steps}


def copy(url: str) -> Iterator[Any]:
    """What the server and the wire need for them."""
    yield from copied(url, COLUMNS)


def careful(url: str, part: int) -> Iterator[Any]:
    """A notebook that loads few columns and works on distinct messages (here: the first `part` of them)."""
    import time

    import pandas as pd
    import sqlalchemy as sa

    engine = engine_of(url)
    rules = patterns()
    yield
    begun = time.perf_counter()
    failures = pd.read_sql(sa.text(f"select {COLUMNS} from failed_tasks"), engine)
    codes, texts = pd.factorize(failures["exception_message"])
    failures.groupby(["exception_type", codes], observed=True)["id"].agg(["size", "max"])
    loaded = time.perf_counter() - begun
    some = texts[:part]
    groups = [substituted(text, CHAIN) for text in some]
    classes = [_first(rules, text) for text in some]
    assert len(groups) == len(classes)
    yield loaded, len(texts), len(some)


def naive(url: str, part: int) -> Iterator[Any]:
    """A notebook as most are: everything loaded, each row by itself (here: the first `part` rows)."""
    import time

    rules = patterns()
    reading = read_sql(url, "*")
    next(reading)
    yield
    begun = time.perf_counter()
    failures = next(reading)
    loaded = time.perf_counter() - begun
    some = failures.iloc[:part].copy()
    some["group"] = some["exception_message"].apply(lambda text: substituted(text, CHAIN))
    some["class"] = some["exception_message"].apply(lambda text: _first(rules, text))
    some.groupby(["exception_type", "group"])["id"].agg(["size", "max"])
    yield loaded, len(failures), len(some)


_NOTEBOOKS = {
    "careful pandas: distinct texts first": careful,
    "plain pandas: read_sql(*), row by row": naive,
}


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """The message patterns of each built-in rule as one regex of Python's, in the rulebook's order."""
    found = []
    for rule in builtin():
        words = [one for table in rule.when for one in table.get("message", ())]
        if words:
            found.append(
                (
                    rule.name,
                    re.compile("|".join(f"(?:{one.replace('(?i)', '')})" for one in words), re.I),
                )
            )
    return found


def _first(rules: list[tuple[str, re.Pattern[str]]], text: str) -> str:
    return next((name for name, pattern in rules if pattern.search(text)), "")
