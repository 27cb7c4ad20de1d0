"""Judging a million failures by the rulebook: whole columns beside one failure after the other, and str.contains."""

from collections.abc import Callable, Iterator
from typing import Any

from bench.beside import beside, table
from bench.goals import Section, at_least, at_most
from bench.messages import errors, without_numbers
from bench.whole import patterns

ROWS, REPEAT, SLOW_ROWS = 1_000_000, 3, 10_000
OURS, POLARS = "classify", "polars, when/then on all rows"
ALONE, LOOP = (
    "the same rulebook, one failure after the other",
    "a loop: the first pattern that matches",
)
CONTAINS, WORDS = "str.contains for each rule", "classify, all messages differ by a word"
#: four sets on which a row must get among others what it gets alone
SETS: dict[str, Callable[[int], list[tuple[str, str]]]] = {
    "kinds": errors,
    "statuses": lambda rows: [
        ("requests.HTTPError", f"{n % 500 + 100} answer for id {n}: status={n % 500 + 99} code {n % 1000}") for n in range(rows)
    ],
    "words": lambda rows: [("Error", text) for text in without_numbers(rows)],
    "cut": lambda rows: [(kind, text[: len(text) // 2]) for kind, text in errors(rows, seed=11)],
}  # fmt: skip


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P6."""
    part = min(rows, SLOW_ROWS)
    found = beside({OURS: ours, POLARS: by_polars}, repeat, rows=rows)
    slow = beside({ALONE: one_by_one, LOOP: first_match, CONTAINS: contains}, 1, rows=part)
    slow = {name: one._replace(seconds=one.seconds * rows / part) for name, one in slow.items()}
    some = rows // 4
    words = beside({WORDS: by_word}, 1, rows=some)[WORDS]
    words_loop = beside({LOOP: first_match_by_word}, 1, rows=part)[LOOP]
    differ = {}
    for name in SETS:
        one, among = (beside({"": way}, 1, rows=part, name=name)[""] for way in (each, same))
        differ[name] = sum(a != b for a, b in zip(one.answer, among.answer, strict=True))
    mine = found[OURS].seconds
    figures = [
        at_most("P6", "rows whose answer is not that of the row alone, on four sets", sum(differ.values()), 0),
        at_least("P6", "a loop of the rulebook's patterns / classify", slow[LOOP].seconds / mine, 40),
        at_least("P6", "the same rulebook row by row / classify", slow[ALONE].seconds / mine, 40),
        at_least("P6", "polars, when/then / classify", found[POLARS].seconds / mine, 2),
        at_least("P6", "all differ by a word: the loop / classify", words_loop.seconds / part / (words.seconds / some), 20),
    ]  # fmt: skip
    words = words._replace(seconds=words.seconds * rows / some)
    lines = [
        f"{rows:,} failures. One after the other and str.contains: {part:,} of them, scaled; of {part:,} rows of each"
        f" set, those whose answer differs from the row's alone: {differ}. The loop, polars and str.contains have"
        f" {len(patterns())} message patterns and give a name, but no codes, causes and reasons.",
        "",
        *table(found | slow | {WORDS: words}, OURS),
    ]
    return Section(lines, figures, found | slow | {WORDS: words})


def _frame(found: list[tuple[str, str]]) -> Any:
    import pandas as pd

    kinds, texts = zip(*found, strict=True)
    return pd.DataFrame({"exception_type": kinds, "exception_message": texts}).astype("str")


def ours(rows: int) -> Iterator[Any]:
    """dlq.classify."""
    import dlqanalysis as dlq

    frame = _frame(errors(rows))
    dlq.classify(frame.head(10))
    yield
    yield len(dlq.classify(frame))


def by_word(rows: int) -> Iterator[Any]:
    """dlq.classify where nothing collapses."""
    import dlqanalysis as dlq

    frame = _frame([("Error", text) for text in without_numbers(rows)])
    dlq.classify(frame.head(10))
    yield
    yield len(dlq.classify(frame))


def by_polars(rows: int) -> Iterator[Any]:
    """One pattern a rule, the first that matches, by polars."""
    import polars as pl

    frame, chain = _frame(errors(rows)), pl.when(pl.lit(False)).then(pl.lit(""))
    for name, pattern in patterns():
        hit = pl.col("exception_message").str.contains(f"(?i){pattern.pattern}")
        chain = chain.when(hit).then(pl.lit(name))
    texts = pl.from_pandas(frame)
    yield
    yield len(texts.select(rule=chain.otherwise(pl.lit(""))))


def same(rows: int, name: str) -> Iterator[Any]:
    """What classify says of a set's rows, among all of them."""
    import dlqanalysis as dlq

    frame = _frame(SETS[name](rows))
    yield
    found = dlq.classify(frame)[["failure_class", "rule"]].astype("str")
    yield found.agg("|".join, axis=1).to_list()


def each(rows: int, name: str) -> Iterator[Any]:
    """What the rulebook says of each of them alone: the text as it is, nothing masked, nothing remembered."""
    from dlqanalysis.classify.rules import rulebook
    from dlqanalysis.signals import signals

    found, book = SETS[name](rows), rulebook()
    yield
    told = [book.judge(signals(kind, text), "", "") for kind, text in found]
    yield [f"{one.rule.failure_class}|{one.rule.name}" if one else "unknown|" for one in told]


def one_by_one(rows: int) -> Iterator[Any]:
    """The same rulebook, a row at a time, with nothing remembered."""
    from dlqanalysis.classify.rules import rulebook
    from dlqanalysis.signals import signals

    found, book = errors(rows), rulebook()
    yield
    matches = [book.judge(signals(kind, text)) for kind, text in found]
    yield len(matches)


def first_match(rows: int) -> Iterator[Any]:
    """What a notebook has: for each row the first pattern that is found."""
    yield from _first_match([text for _, text in errors(rows)])


def first_match_by_word(rows: int) -> Iterator[Any]:
    """The same where nothing matches."""
    yield from _first_match(without_numbers(rows))


def _first_match(texts: list[str]) -> Iterator[Any]:
    rules = patterns()
    yield
    found = [next((name for name, one in rules if one.search(text)), "") for text in texts]
    yield len(found)


def contains(rows: int) -> Iterator[Any]:
    """A careful notebook: one str.contains a rule, on rows that have no class yet."""
    frame, rules = _frame(errors(rows)), patterns()
    yield
    frame["rule"] = ""
    for name, pattern in rules:
        left = frame.index[frame["rule"] == ""]
        hit = frame.loc[left, "exception_message"].str.contains(pattern)
        frame.loc[left[hit.to_numpy(bool)], "rule"] = name
    yield int((frame["rule"] != "").sum())
