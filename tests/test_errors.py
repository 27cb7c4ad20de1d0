"""The tree of errors: what its docstring draws is what it is, and a notebook shows one sentence."""

import inspect
import re
from datetime import UTC, datetime

import pytest

import dlqanalysis as dlq
from dlqanalysis import errors
from dlqanalysis.errors import DLQError, SchemaError, did_you_mean

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


def test_the_wrong_kind_of_thing_is_one_sentence_with_the_next_step():
    rows = [{"source": "celery:failed_tasks", "failure_id": "1", "task_name": "t", "queue": "q", "args": "[]",
             "kwargs": "{}", "exception_type": "ConnectionError", "exception_message": "refused",
             "failed_at": datetime.now(UTC)}]  # fmt: skip
    failures = dlq.from_records(rows).pipe(dlq.classify).pipe(dlq.fingerprint)
    journal = dlq.Journal()
    plan = dlq.plan(failures, journal, reason="INC-1", limit=1)
    with pytest.raises(errors.RunError, match=r"no hand was given.*to=dlq.connect_hand"):
        dlq.replay(plan, to="celery", journal=journal, confirm=plan.id)
    with pytest.raises(errors.NotConfirmed, match=r"there is no plan. Make one"):
        dlq.replay(failures, to=None, journal=journal, confirm=plan.id)
    with pytest.raises(errors.SettingsError, match=r"None is no source. Give a name"):
        dlq.load(None)
    with pytest.raises(AttributeError, match=r"Did you mean 'load'\?"):
        dlq.laod  # noqa: B018


@pytest.mark.parametrize(
    "ask",
    [
        lambda it: dlq.classify(it),
        lambda it: dlq.fingerprint(it),
        lambda it: dlq.groups(it),
        lambda it: dlq.counts(it),
        lambda it: dlq.timeline(it),
        lambda it: dlq.lift(it, within="0" * 16),
        lambda it: dlq.onsets(it),
        lambda it: dlq.duplicates(it),
        lambda it: dlq.misfits(it),
        lambda it: dlq.plan(it, reason="INC-42"),
        lambda it: dlq.redact_frame(it),
        lambda it: dlq.story(it),
    ],
)
@pytest.mark.parametrize("it", ["celery", None, [1, 2]])
def test_what_is_no_frame_is_told_by_a_sentence(ask, it):
    with pytest.raises(
        DLQError, match=r"A frame is needed here, not (str|NoneType|list)\..*dlq\.load"
    ):
        ask(it)


@pytest.mark.parametrize(
    ("lacks", "verb"),
    [("failure_class", "classify"), ("rule", "classify"), ("fingerprint", "fingerprint")],
)
def test_a_column_that_a_verb_adds_names_the_verb(lacks, verb):
    frame = dlq.from_records([]).pipe(dlq.classify).pipe(dlq.fingerprint).drop(columns=lacks)
    with pytest.raises(SchemaError, match=rf"has no {lacks}\. Run failures\.pipe\(dlq\.{verb}\)"):
        dlq.story(frame)


@pytest.mark.parametrize("within", [None, 3, {"a": 1}, ["0" * 16]])
def test_lift_says_how_a_group_is_named(within):
    frame = dlq.from_records([]).pipe(dlq.fingerprint)
    with pytest.raises(SchemaError, match="within says which group"):
        dlq.lift(frame, within=within)
