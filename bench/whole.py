"""The whole road for a million failures: load, judge, group, count. Ours beside a plain and a careful notebook.

The notebooks do less: one regex a kind of value in place of the table, the message patterns of the rulebook in place
of its codes, classes and causes, and no reasons.
"""

import re
from collections.abc import Iterator
from typing import Any

from bench import data
from bench.beside import beside, have, table
from bench.goals import Section, at_least, at_most
from bench.grouping import CHAIN, substituted
from bench.load import copied, engine_of, read_sql
from dlqanalysis.classify.rules import builtin

ROWS, REPEAT, SLOW_ROWS = 1_000_000, 3, 20_000
OURS, COPY = "load, classify, fingerprint, groups", "psql COPY, same columns"
POLARS, DUCKDB = "polars: distinct texts first", "duckdb, fed by ADBC"
CAREFUL, NAIVE = "careful pandas: distinct texts first", "plain pandas: read_sql(*), row by row"
COLUMNS = "id, task_id, task_name, queue_name, args::text, kwargs::text, exception_type, exception_message, retries_attempted, max_retries, failed_at, status, worker, octet_length(traceback)"


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P1 and P2."""
    with data.postgres(rows) as url:
        found = beside({OURS: ours, COPY: copy, POLARS: by_polars}, repeat, url=url)
        if have("duckdb"):
            found |= beside({DUCKDB: by_duckdb}, max(1, repeat - 2), url=url)
        part = min(rows, SLOW_ROWS)
        slow = beside({CAREFUL: careful, NAIVE: naive}, 1, url=url, part=part)
    for name, one in slow.items():
        loaded, texts, done = one.answer
        found[name] = one._replace(seconds=loaded + (one.seconds - loaded) * texts / max(1, done))
    mine = found[OURS]

    def faster(name: str) -> float:
        return found[name].seconds / mine.seconds

    figures = [
        at_most("P1", "load, classify, fingerprint, groups / COPY of the same columns", 1 / faster(COPY), 1.5),
        at_least("P2", "plain pandas / ours", faster(NAIVE), 40),
        at_least("P2", "careful pandas / ours", faster(CAREFUL), 20),
        at_least("P2", "polars / ours", faster(POLARS), 2),
        at_most("P2", "memory of ours / plain pandas", mine.megabytes / found[NAIVE].megabytes, 0.06),
        at_most("P2", "memory of ours / polars", mine.megabytes / found[POLARS].megabytes, 0.6),
    ]  # fmt: skip
    if DUCKDB in found:
        figures.append(at_least("P2", "duckdb / ours", faster(DUCKDB), 5))
    lines = [
        f"{rows:,} failures, {mine.answer['groups']:,} groups, {mine.answer['unknown']:.1%} unknown;"
        f" the pandas notebooks load all, their texts are measured on {part:,} and scaled:",
        "",
        *table(found, OURS),
        "",
        f"of ours: {', '.join(f'{name} {taken:.2f} s' for name, taken in mine.answer['steps'].items())}",
    ]
    return Section(lines, figures, found)


def ours(url: str) -> Iterator[Any]:
    """What the first notebook does."""
    import time

    import dlqanalysis as dlq

    source = dlq.connect(url)
    few = dlq.load(
        source, since=None, limit=10
    )  # imports, the rulebook: the others have theirs too
    dlq.groups(few.pipe(dlq.classify).pipe(dlq.fingerprint))
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


def by_polars(url: str) -> Iterator[Any]:
    """ADBC, then each distinct text once, all of it in polars."""
    import polars as pl
    from adbc_driver_postgresql import dbapi

    rules = patterns()
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        yield
        cursor.execute(f"select {COLUMNS} from failed_tasks")
        failures = pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))
        texts = failures.select("exception_message").unique()
        group, rule = pl.col("exception_message"), pl.when(pl.lit(False)).then(pl.lit(""))
        for pattern, name in CHAIN[:-1]:
            group = group.str.replace_all(pattern.pattern, name)
        group = group.str.replace_all(r"\b[0-9]+\b", "<int>")
        for name, pattern in rules:
            hit = pl.col("exception_message").str.contains(f"(?i){pattern.pattern}")
            rule = rule.when(hit).then(pl.lit(name))
        texts = texts.with_columns(group=group, rule=rule.otherwise(pl.lit("")))
        failures = failures.join(texts, on="exception_message", nulls_equal=True)
        found = failures.group_by("exception_type", "group", "rule").agg(
            pl.len(), pl.col("id").max()
        )
        yield len(found)


def by_duckdb(url: str) -> Iterator[Any]:
    """The same question as one statement of duckdb's over what ADBC reads."""
    import duckdb
    from adbc_driver_postgresql import dbapi

    group, rules = "exception_message", []
    for pattern, name in CHAIN[:-1]:
        group = f"regexp_replace({group}, {quoted(pattern.pattern)}, '{name}', 'g')"
    group = rf"regexp_replace({group}, '\b[0-9]+\b', '<int>', 'g')"
    for name, pattern in patterns():
        rules.append(
            f"when regexp_matches(exception_message, {quoted(pattern.pattern)}, 'i') then '{name}'"
        )
    with dbapi.connect(url) as connection, connection.cursor() as cursor, duckdb.connect() as db:
        yield
        cursor.execute(f"select {COLUMNS} from failed_tasks")
        failures = cursor.fetch_arrow_table()
        db.register("failures", failures)
        db.execute(
            f"""with texts as (select distinct exception_message from failures),
            judged as (select exception_message, {group} as part, case {" ".join(rules)} else '' end as rule from texts)
            select exception_type, part, rule, count(*), max(id)
            from failures join judged using (exception_message) group by all"""
        )
        yield len(db.fetchall())


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """The message patterns of each built-in rule as one regex of Python's, in the rulebook's order."""
    found = []
    for rule in builtin():
        words = [_scoped(one) for table in rule.when for one in table.get("message", ())]
        if words:
            found.append((rule.name, re.compile("|".join(words), re.I)))
    return found


def _scoped(pattern: str) -> str:
    """A pattern whose flags hold for itself alone, so that it may stand among others."""
    flags = re.match(r"\(\?([a-z]+)\)", pattern)
    return f"(?{flags[1]}:{pattern[flags.end() :]})" if flags else f"(?:{pattern})"


def _first(rules: list[tuple[str, re.Pattern[str]]], text: str) -> str:
    return next((name for name, pattern in rules if pattern.search(text)), "")
