"""Every condition of the built-in rulebook decides something, and the check says so where one does not."""

import re

import pytest

from dlqanalysis.classify import book
from dlqanalysis.classify.rules import builtin, parse
from tests.shadows import shadowed, texts


@pytest.fixture(autouse=True)
def unquoted(monkeypatch):
    """What a verdict quotes costs most of the time here, and nobody reads it."""
    monkeypatch.setattr(book, "quote", lambda reasons, text: "")


def test_no_condition_is_taken_by_an_earlier_rule():
    assert shadowed(builtin()) == []


FIRST = '[[rule]]\nname = "first"\nclass = "data"\nwhy = "First"\n'
SECOND = '\n[[rule]]\nname = "second"\nclass = "transient"\nwhy = "Second"\n'


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ('any.exception = ["*Lost"]', 'any.exception = ["NodeLost", "NodeAway"]', ("exception", "NodeLost", "first")),
        ('any.code = ["A_*"]', 'any.code = ["A_B", "B_A"]', ("code", "A_B", "first")),
        ("any.message = ['lost']", "any.message = ['node (?:lost|is lost)', 'gone']", ("message", "node (?:lost|is lost)", "first")),
        ('any.mssql = ["12?"]', 'any.mssql = ["121", "12"]', ("mssql", "121", "first")),
        ("any.message = ['lost']", "any.message = ['never']\nunless = [{ message = ['never'] }]", ("message", "never", "")),
    ],
)  # fmt: skip
def test_a_shadowed_condition_is_found(first, second, found):
    assert shadowed(parse(f"{FIRST}{first}\n{SECOND}{second}\n", "here")) == [("second", *found)]


@pytest.mark.parametrize(
    "pattern",
    [r"\bno (?:\w+ ){0,2}rows? (?:found|left)$", r"a\S+ .{0,80}b", r"[^x\d]+7{2,3}", r"^(?-i:[A-Z]+)\.\d*$", "x|y+"],
)  # fmt: skip
def test_the_texts_of_a_pattern_are_found_by_it(pattern):
    made = texts(pattern)
    assert made
    assert all(re.search(pattern, text) for text in made)
