"""Repairs: the payload says what it is to say, and no byte outside of the changed values is another."""

import copy
import json
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError
from dlqanalysis.plan.repair import _same, spliced

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
STYLES = st.sampled_from([{}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}])


def frame(*payloads, column="raw"):
    return dlq.from_records([{column: one, "task_name": "t"} for one in payloads])


def mended(raw, change, **options):
    [row] = dlq.repair(frame(raw), change, **options).to_dict("records")
    return row["repaired"], row["difference"], row["because"]


@given(VALUES, VALUES, STYLES)
@settings(max_examples=300, deadline=None)
def test_any_change_gives_what_was_asked_for(before, after, style):
    text = json.dumps(before, **style)
    new, edits = spliced(text, json.loads(text), after)
    assert _same(json.loads(new), after)
    assert bool(edits) == (not _same(json.loads(text), after))
    place = delta = 0
    for edit in edits:  # what lies between the edits stands there still
        assert edit.begin >= place
        assert new[place + delta : edit.begin + delta] == text[place : edit.begin]
        delta += len(edit.text) - (edit.end - edit.begin)
        place = edit.end
    assert new[place + delta :] == text[place:]


@given(VALUES, VALUES, st.data(), STYLES)
@settings(max_examples=200, deadline=None)
def test_a_change_deep_inside_changes_only_the_bytes_of_that_value(value, put, data, style):
    whole = {"a": [value, {"x": value, "n": 1}], "z": value}
    text = json.dumps(whole, **style)
    after = copy.deepcopy(whole)
    where = data.draw(st.sampled_from(["n", "x"]))
    after["a"][1][where] = put
    new, edits = spliced(text, json.loads(text), after)
    assert _same(json.loads(new), json.loads(json.dumps(after)))
    begin = text.index('"a"')
    assert new.startswith(text[:begin])
    tail = text[text.rindex('"z"') :]
    assert new.endswith(tail) and all(edit.end <= len(text) - len(tail) for edit in edits)


@pytest.mark.parametrize(
    ("raw", "change", "repaired"),
    [
        (b'{"n": 12345678901234567890123, "retryCount" :3 }', {"retryCount": 0},
         b'{"n": 12345678901234567890123, "retryCount" :0 }'),
        (b'{"f":0.1234567890123456789,"g":1e400,"h":1.50,"x":1}', {"x": 2},
         b'{"f":0.1234567890123456789,"g":1e400,"h":1.50,"x":2}'),
        (b'{"v":NaN,"i":-Infinity,"x":1}', {"x": 2}, b'{"v":NaN,"i":-Infinity,"x":2}'),
        (b'{"s":"\\u00e9\\/\\ud800","e":"\xc3\xa9","x":1}', {"x": "\u00e9"},
         b'{"s":"\\u00e9\\/\\ud800","e":"\xc3\xa9","x":"\xc3\xa9"}'),
        (b'{"a":1,"b":[],"c":{},"x":1}', {"x": {"y": []}}, b'{"a":1,"b":[],"c":{},"x":{"y":[]}}'),
        (b'{"type":"webhook","x":0,"type":"order"}', {"type": "other"},
         b'{"type":"webhook","x":0,"type":"other"}'),
        (b'{"x":1}', {"x": 1.0}, b'{"x":1.0}'),
        (b'{"x":1}', {"x": True}, b'{"x":true}'),
        (b'{}', {"x": 1}, b'{"x":1}'),
        (b'{ }', {"x": 1}, b'{"x":1 }'),
        (b'{"a": 1, "b": 2}', {"c": 3}, b'{"a": 1, "b": 2, "c": 3}'),
        (b'{\n  "a": 1\n}', {"c": 3}, b'{\n  "a": 1,\n  "c": 3\n}'),
        (b'\t{"a":"x\\ny"}\r\n', {"a": "z"}, b'\t{"a":"z"}\r\n'),
    ],
)  # fmt: skip
def test_what_is_not_changed_keeps_its_bytes(raw, change, repaired):
    found, difference, because = mended(raw, lambda said: {**said, **change})
    assert (found, because) == (repaired, "") and difference


@pytest.mark.parametrize(
    ("raw", "without", "repaired"),
    [
        (b'{"a":1,"b":2,"c":3}', "a", b'{"b":2,"c":3}'),
        (b'{"a":1, "b":2, "c":3}', "b", b'{"a":1, "c":3}'),
        (b'{"a":1, "b":2, "c":3 }', "c", b'{"a":1, "b":2 }'),
        (b'{"a":1,"b":2,"a":3}', "a", b'{"b":2}'),  # an earlier one would come out from behind
        (b'{ "a" : 1 }', "a", b"{  }"),
    ],
)
def test_a_name_goes_with_its_comma(raw, without, repaired):
    found, difference, _ = mended(raw, lambda said: {n: v for n, v in said.items() if n != without})
    assert found == repaired and difference.startswith(f"-{without}: ")


@pytest.mark.parametrize(
    ("before", "after", "repaired"),
    [
        (b"[1, 2, 3]", [1, 3], b"[1, 3]"),
        (b"[1, 2, 3]", [2, 3], b"[2, 3]"),
        (b"[1, 2, 3]", [1, 2, 9, 3], b"[1, 2, 9, 3]"),
        (b"[1.0,2]", [0, 1.0, 2], b"[0,1.0,2]"),
        (b"[ ]", [1, 2], b"[1,2 ]"),
        (b"[1e400,[],5]", [float("inf"), [], 6], b"[1e400,[],6]"),
    ],
)
def test_elements_come_and_go(before, after, repaired):
    assert mended(before, lambda said: after)[0] == repaired


def refuses(said):
    raise KeyError("retryCount")


@pytest.mark.parametrize(
    ("raw", "change", "because"),
    [
        (b'{"a":', lambda m: {}, "cannot be read as JSON"),
        (b'\xef\xbb\xbf{"a":1}', lambda m: {}, "cannot be read as JSON"),
        (b"[" * 200_000, lambda m: [], "cannot be read as JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", lambda m: {}, "cannot be read as JSON"),
        (b'{"a":"caf\xe9"}', lambda m: {}, "no UTF-8"),
        (None, lambda m: m, "dlq.details(source, rows) fetches it"),
        (b'{"a":1}', refuses, "change raised KeyError: mend the function"),
        (b'{"a":1}', lambda m: m.update(a=2), "change gave nothing"),
        (b'{"a":1}', lambda m: m, "change left it as it is"),
        (b'{"a":1}', lambda m: {"a": math.nan}, "cannot be written as JSON"),
        (b'{"a":1}', lambda m: {"a": {1, 2}}, "cannot be written as JSON"),
        (b'{"a":1}', lambda m: {1: 2}, "use text for names"),
        (b'{"a":"\xc3\xa9"}', lambda m: {"a": "\ud800"}, "cannot be written as JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_repaired_says_why(raw, change, because):
    found, difference, why = mended(raw, change)
    assert found is pd.NA or found is None or found != found
    assert difference == "" and because in why


def test_the_difference_is_a_line_that_hides_secrets():
    raw = b'{"retryCount":3,"user":{"password":"hunter2","mail":"ann@example.com"},"old":[1],"note":"a\\nb"}'

    def change(said):
        said["retryCount"] = 0
        said["user"]["password"] = "correct horse"
        said["user"]["mail"] = "bob@example.com"
        del said["old"]
        return {**said, "note": "c" * 500}

    _, difference, _ = mended(raw, change)
    assert difference.startswith("retryCount: 3 -> 0; user.password: ")
    assert "-old: [1]" in difference and "\n" not in difference and len(difference) < 500
    for secret in ("hunter2", "correct horse", "ann@example.com", "bob@"):
        assert secret not in difference
    assert "hunter2" in mended(raw, change, redacted=False)[1]


def test_a_frame_gets_three_columns_and_keeps_the_rest():
    failures = frame(b'{"a":1}', b"no", b'{"a":2}')
    failures.attrs["note"] = "kept"
    found = dlq.repair(failures, lambda said: {"a": said["a"] + 1})
    assert found.attrs == failures.attrs and len(found.columns) == len(failures.columns) + 3
    pd.testing.assert_frame_equal(found[failures.columns], failures)
    good = found[found["repaired"].notna()]
    assert sorted(good["repaired"]) == [b'{"a":2}', b'{"a":3}'] and set(good["because"]) == {""}
    assert dict(dlq.repair(failures.head(0), refuses).dtypes) == dict(found.dtypes)


def test_the_arguments_are_repaired_where_the_message_is_made_of_them():
    failures = frame('{"a": 1.50, "b": 2}', column="kwargs")
    [found] = dlq.repair(failures, lambda said: {**said, "b": 3}, of="kwargs")["repaired"]
    assert found == b'{"a": 1.50, "b": 3}'
    with pytest.raises(SchemaError, match="Did you mean 'kwargs'"):
        dlq.repair(failures, refuses, of="kwarg")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ('{"password": {"value": "SECRET"}}', "password.value"),
        ('{"passwords": ["a", "SECRET"]}', "passwords[1]"),
        ('{"headers": {"Authorization": ["SECRET"]}}', "headers.Authorization[0]"),
        ('{"env": [{"name": "DB_PASSWORD", "value": "SECRET"}]}', "env[0].value"),
        ('{"credentials": {"x": {"y": [{"z": "SECRET"}]}}}', "credentials.x.y[0].z"),
    ],
)
def test_the_difference_hides_what_only_the_names_around_it_call_a_secret(payload, path):
    def change(said):
        return json.loads(json.dumps(said).replace("SECRET-1", "SECRET-2"))

    found, difference, _ = mended(payload.replace("SECRET", "SECRET-1").encode(), change)
    assert found == payload.replace("SECRET", "SECRET-2").encode()
    assert difference == f'{path}: "<secret>" -> "<secret>"'


def test_the_difference_names_what_is_new_and_hides_names_that_are_personal():
    _, difference, _ = mended(b'{"a": 1}', lambda said: {**said, "note": "x"})
    assert difference == '+note: "x"'
    raw, change = b'{"anna@example.com": 1}', lambda said: {"anna@example.com": 2}
    assert mended(raw, change, redacted=False)[1] == "anna@example.com: 1 -> 2"
    assert "anna" not in mended(raw, change)[1]
