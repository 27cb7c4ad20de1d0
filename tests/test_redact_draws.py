"""What each draw of labelled texts keeps and loses now; docs/security.md has what it was at the first run of each."""

import re

import pytest

from dlqanalysis.redact import redact
from tests.redact_draws import DRAWS

_GOES, _STAYS = re.compile("\u00ab(.*?)\u00bb", re.S), re.compile("\u2039(.*?)\u203a", re.S)
_PLACEHOLDER = re.compile(r"<[a-z]+(?::[0-9a-f]{8})?>")


def texts(table):
    return [
        line.replace("\u00b7", "").replace(r"\n", "\n")
        for line in table.splitlines()
        if line.strip()
    ]


def found(text):
    """(values that leaked, values that went, values beside them that were lost, and that were kept)."""
    plain = _STAYS.sub(r"\1", _GOES.sub(r"\1", text))
    shown = _PLACEHOLDER.sub("\0", redact(plain))
    around = _STAYS.sub(r"\1", _GOES.sub("\0", text))
    leaked, gone = [], []
    for value in (_STAYS.sub(r"\1", value) for value in _GOES.findall(text)):
        parts = {value[at : at + 6] for at in range(max(1, len(value) - 5))}
        left = any(shown.count(part) > around.count(part) for part in parts)
        (leaked if left else gone).append(value)
    beside = _STAYS.findall(text)
    return leaked, gone, [v for v in beside if v not in shown], [v for v in beside if v in shown]


@pytest.mark.parametrize("name", list(DRAWS))
def test_a_draw_is_large(name):
    goes, stays = DRAWS[name]
    assert len(texts(goes)) + len(texts(stays)) >= 120
    assert sum(len(_GOES.findall(text)) for text in texts(goes)) >= 80


@pytest.mark.parametrize("name", list(DRAWS))
def test_what_is_marked_goes_and_what_stands_beside_it_stays(name):
    leaked, gone, lost, kept = [], [], [], []
    for text in texts(DRAWS[name][0]):
        for into, values in zip((leaked, gone, lost, kept), found(text), strict=True):
            into += values
    assert len(leaked) <= 0.025 * (len(leaked) + len(gone)), leaked
    assert len(lost) <= 0.04 * (len(lost) + len(kept)), lost


@pytest.mark.parametrize("name", list(DRAWS))
def test_what_diagnosis_needs_stays_as_it_is(name):
    stays = texts(DRAWS[name][1])
    changed = [(text, redact(text)) for text in stays if redact(text) != text]
    assert len(changed) <= 0.01 * len(stays), changed


def test_a_leak_in_part_and_a_loss_are_seen():
    leaked, gone, lost, kept = found(
        "id \u20397\u203a \u00ababcdefgh\u00bb password=\u00abx1y2z3\u00bb"
    )
    assert (leaked, gone, lost, kept) == (["abcdefgh"], ["x1y2z3"], [], ["7"])
    assert found("password=\u2039x1y2z3\u203a")[2] == ["x1y2z3"]
