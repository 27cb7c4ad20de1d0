"""Judging a million failures by the rulebook: whole columns beside one failure after the other, and str.contains."""

from collections.abc import Iterator
from typing import Any

from bench.beside import beside, table
from bench.messages import errors, without_numbers

ROWS, REPEAT, SLOW_ROWS = 1_000_000, 3, 10_000


def run(rows: int = ROWS, repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    part = min(rows, SLOW_ROWS)
    found = beside({"classify": ours}, repeat, rows=rows)
    alone = "classify, one failure after the other"
    slow = beside({alone: one_by_one, "str.contains for each rule": contains}, 1, rows=part)
    slow = {name: one._replace(seconds=one.seconds * rows / part) for name, one in slow.items()}
    words = beside({"classify, all messages differ by a word": by_word}, 1, rows=rows // 4)
    words = {name: one._replace(seconds=one.seconds * 4) for name, one in words.items()}
    among = beside({"same": same}, 1, rows=part)["same"].answer
    differ = sum(one != other for one, other in zip(slow[alone].answer, among, strict=True))
    return [
        f"{rows:,} failures. One after the other and str.contains: {part:,} of them, scaled; rows whose answer differs: {differ}."
        " str.contains gives a class, but no codes, causes and reasons.",
        "",
        *table(found | slow | words, "classify"),
    ]


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


def same(rows: int) -> Iterator[Any]:
    """What classify says of the first rows among all of them."""
    import dlqanalysis as dlq

    frame = _frame(errors(rows))
    yield
    yield dlq.classify(frame)["rule"].astype("str").to_list()


def one_by_one(rows: int) -> Iterator[Any]:
    """The same rulebook, a row at a time, with nothing remembered."""
    from dlqanalysis.rules import rulebook
    from dlqanalysis.signals import signals

    found, book = errors(rows), rulebook()
    yield
    matches = [book.judge(signals(kind, text)) for kind, text in found]
    yield [match.rule.name if match else "" for match in matches]


def contains(rows: int) -> Iterator[Any]:
    """A careful notebook: one str.contains a rule, on rows that have no class yet."""
    from bench.whole import patterns

    frame, rules = _frame(errors(rows)), patterns()
    yield
    frame["rule"] = ""
    for name, pattern in rules:
        left = frame.index[frame["rule"] == ""]
        hit = frame.loc[left, "exception_message"].str.contains(pattern)
        frame.loc[left[hit.to_numpy(bool)], "rule"] = name
    yield int((frame["rule"] != "").sum())
