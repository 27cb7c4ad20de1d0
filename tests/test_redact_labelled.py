"""How much redaction finds and how much it leaves, on a labelled set; docs/security.md has the figures."""

import re
from collections import Counter

import pytest

from dlqanalysis.redact import redact
from tests.redact_cases import BLIND, cases
from tests.redact_labelled import GOES, STAYS, leaks

_MARKED = re.compile("«(.*?)»")


@pytest.fixture(scope="module")
def found():
    """Each text that holds a secret or personal data, redacted."""
    return [(kind, text, value, redact(text)) for kind, text, value in GOES]


def test_the_set_is_large_and_its_values_are_whole():
    assert len(GOES) >= 400 and len(STAYS) >= 400
    assert len({kind for kind, _, _ in GOES}) >= 60 and len({kind for kind, _, _ in STAYS}) >= 40
    for kind, text, value in [*GOES, *STAYS]:
        assert value in text or value in text.encode().decode("unicode_escape"), (kind, text)


def test_a_leak_is_seen_even_in_part():
    assert leaks("hunter2-s3cr3t", "password=<secret>-s3cr3t") and leaks("1234", "pin 1234")
    assert not leaks("hunter2-s3cr3t", "password=<secret>")


def test_of_what_must_go_98_percent_go(found):
    missed = [(kind, text) for kind, text, value, shown in found if leaks(value, shown)]
    assert len(missed) <= 0.02 * len(found), missed


def test_no_kind_is_missed_as_a_whole(found):
    kinds = Counter(kind for kind, *_ in found)
    missed = Counter(kind for kind, _, value, shown in found if leaks(value, shown))
    assert not [kind for kind, count in missed.items() if count == kinds[kind]]


def test_of_what_diagnosis_needs_99_percent_of_texts_stay_as_they_are():
    lost = [(kind, text, redact(text)) for kind, text, _ in STAYS if redact(text) != text]
    assert len(lost) <= 0.01 * len(STAYS), lost


def test_what_nobody_thought_of_is_found_less_often():
    values = [
        (value, redact(_MARKED.sub(r"\1", case)))
        for case in cases(BLIND)
        for value in _MARKED.findall(case)
    ]
    missed = [value for value, shown in values if leaks(value, shown)]
    assert len(values) >= 50 and len(missed) <= 7, missed


def test_a_second_pass_changes_nothing(found):
    for _, _, _, shown in found:
        assert redact(shown) == shown
