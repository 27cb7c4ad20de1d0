"""The tree of errors: what its docstring draws is what it is, and a notebook shows one sentence."""

import inspect
import re

import pytest

from dlqanalysis import errors
from dlqanalysis.errors import DLQError, did_you_mean

TREE = [
    thing
    for _, thing in inspect.getmembers(errors, inspect.isclass)
    if issubclass(thing, Exception) and thing.__module__ == errors.__name__
]


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+Error|DLQError|NotConfirmed)\b", line):
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            drawn[match[2]] = path[depth - 1] if depth else "Exception"
    assert drawn == {thing.__name__: thing.__mro__[1].__name__ for thing in TREE}


@pytest.mark.parametrize("kind", TREE)
def test_a_notebook_shows_the_sentence_and_no_traceback(kind):
    from IPython.core.interactiveshell import InteractiveShell

    shown: list[str] = []
    shell = InteractiveShell()
    shell._showtraceback = lambda etype, value, stb: shown.extend(stb)
    try:
        raise kind("Set DLQ_CELERY_URL to its URL.")
    except DLQError:
        shell.showtraceback()
    assert shown == [f"{kind.__name__}: Set DLQ_CELERY_URL to its URL."]


@pytest.mark.parametrize(
    ("word", "known", "sentence"),
    [
        ("exeption_type", ["exception_type", "task_name"], "Did you mean 'exception_type'?"),
        ("zzz", ["b", "a"], "Known: a, b."),
        ("zzz", iter(["b", "a"]), "Known: a, b."),
        ("queue", ["queue"], "Did you mean 'queue'?"),
    ],
)
def test_did_you_mean(word, known, sentence):
    assert did_you_mean(word, known) == sentence
