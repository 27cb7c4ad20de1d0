"""Payload texts: read once, never evaluated, exact."""

import json

import pandas as pd
import pytest

from dlqanalysis.payload import UNREADABLE, fields_at, flat, lookup, same_content, value_of

TEXTS = [
    '{"a": 1}', '{"a": "x"}', '{"a": null}', '{"a": true}', '{"a": 1.50}', '{"a": {"b": 2}}',
    '{"a": 12345678901234567890123}', '{"a": 9007199254740993}', '{"a": 1e5}', '{"a": 1e-7}',
    '{"a": -0}', '{"a": "-0"}', '{"a": "3e5"}', '{"a": "[x"}', '{"a": [1]}', '{"a": ""}',
    '{"a": "\\u00e9\\n"}', '{"a": 1, "a": 2}', '{"b": {"a": 5}}', '[1, 2]', '{bad', "", None,
    "{'a': __import__('os').system('true')}",
]  # fmt: skip


@pytest.mark.parametrize("path", ["a", "a.b", "b.a", "0", "1", "x-y", "a.0"])
def test_a_column_of_fields_is_what_each_text_says(path):
    expected = [
        None if text is None or value_of(text) is UNREADABLE else lookup(json.loads(text), path)
        for text in TEXTS
    ]
    found = fields_at(pd.Series(TEXTS, dtype="str"), path)
    assert [None if pd.isna(value) else value for value in found] == expected


def test_fields_of_no_rows():
    assert len(fields_at(pd.Series(dtype="str"), "a")) == 0


@pytest.mark.parametrize(
    ("name", "left", "right", "same"),
    [
        ("order of keys", '{"a": 1, "b": {"c": 2, "d": 3}}', '{"b": {"d": 3, "c": 2}, "a": 1}', True),
        ("white space", '{"a": [1, 2]}', '{ "a":[1,2] }', True),
        ("order of a list", '{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ("values swapped", '{"a": 12, "b": 34}', '{"a": 14, "b": 32}', False),
        ("values exchanged", '{"a": 1, "b": 2}', '{"a": 2, "b": 1}', False),
        ("number and text", '{"a": 1}', '{"a": "1"}', False),
        ("white space in a text", '{"a": "x y"}', '{"a": "xy"}', False),
        ("no JSON", "{bad", " {bad", False),
    ],
)  # fmt: skip
def test_same_content(name, left, right, same):
    first, second = same_content(pd.Series([left, right], dtype="str"))
    assert bool(first == second and first >= 0) is same, name


def test_same_content_in_pieces_is_the_same_content():
    texts = pd.Series([f'{{"id": {i % 70}, "of": {i % 7}}}' for i in range(500)], dtype="str")
    groups = pd.Series(same_content(texts)).groupby(texts.to_numpy()).nunique()
    assert (groups == 1).all()
    assert len(groups) == len(set(same_content(texts)))


def test_a_text_that_is_missing_has_no_content():
    assert list(same_content(pd.Series([None, None], dtype="str"))) == [-1, -1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, {}),  # deeper than we look
        ({"rows": [1, 2, 3]}, {"kwargs.rows.length": "3"}),
        ({}, {}),
        (None, {"kwargs": "null"}),
    ],
)
def test_flat(value, expected):
    assert flat(value, "kwargs") == expected


def test_lone_surrogates_are_texts_that_a_frame_can_hold():
    """JSON may escape what UTF-8 has no bytes for: as a value, as a field's name."""
    value = json.loads('{"s": "\\ud800", "\\udc00": 1}')
    found = flat(value, "kwargs")
    assert found == {"kwargs.s": "\\ud800", "kwargs.\\udc00": "1"}
    assert lookup(value, "s") == "\\ud800"


def test_a_hostile_payload_is_bounded():
    assert len(flat({str(number): number for number in range(10_000)})) == 200
    assert max(map(len, flat({"a" * 10_000: "b" * 10_000}).values())) <= 120
    assert value_of("[" * 100_000) is UNREADABLE
