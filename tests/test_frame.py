"""The failures frame: the same columns and dtypes from anything, and one sentence for what does not fit."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlqanalysis.errors import DLQError, SchemaError
from dlqanalysis.frame import (
    COLUMNS,
    HEAVY,
    SCHEMA,
    arrow_type,
    brief,
    check,
    content_hash,
    empty,
    error_of,
    from_arrow,
    from_records,
    in_order,
)

T = "2026-11-01T00:00:00Z"


def one(**fields):
    return from_records([{"failed_at": T, **fields}]).iloc[0]


def test_an_empty_frame_has_the_dtypes_of_a_full_one():
    full = from_records(
        [
            {
                "source": "celery:failed_tasks", "failure_id": "1", "task_id": "t", "task_name": "n",
                "queue": "q", "status": "failed", "priority": "5", "args": "[]", "kwargs": "{}",
                "exception_type": "ValueError", "exception_message": "m", "traceback": "tb",
                "retries": 1, "max_retries": 3, "enqueued_at": T, "first_failed_at": T, "failed_at": T,
                "replayed_at": T, "expires_at": T, "worker": "w", "idempotency_key": "k",
                "trace_id": "x", "raw": b"\x00",
            }
        ]
    )  # fmt: skip
    nothing = empty()
    assert list(nothing.columns) == list(full.columns) == list(COLUMNS)
    assert nothing.dtypes.astype(str).to_dict() == full.dtypes.astype(str).to_dict()
    for name, dtype in SCHEMA.items():
        assert nothing[name].dtype == dtype and full[name].dtype == dtype
        if dtype == "category":
            assert nothing[name].cat.categories.dtype == full[name].cat.categories.dtype == "str"
    assert len(nothing) == 0 and check(nothing) is nothing
    assert full.notna().all(axis=None)


def test_missing_columns_are_filled_and_nothing_is_made_up():
    row = one()
    filled = {"source", "failure_id", "failed_at", "payload_state"}
    assert row.drop(list(filled)).isna().all()
    assert row["payload_state"] == "missing"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "missing"),
        ({"args": [], "kwargs": {}}, "complete"),
        ({"kwargs": {"a": 1}}, "complete"),
        ({"args": "[1, 2]"}, "complete"),
        ({"args": "{}"}, "unreadable"),
        ({"args": [], "kwargs": "(1,)"}, "unreadable"),
        ({"kwargs": "{'a': 1}"}, "unreadable"),  # repr is no JSON, and is never evaluated
        ({"kwargs": '{"a": 1'}, "unreadable"),
        ({"args": "[" * 100_000}, "unreadable"),
        ({"args": "[]", "payload_state": "truncated"}, "truncated"),
    ],
)
def test_payload_state(fields, state):
    assert one(**fields)["payload_state"] == state


def test_python_payloads_become_json_and_text_stays_as_it_is():
    assert json.loads(one(kwargs={"n": 12345678901234567890, "é": [1.5, None]})["kwargs"]) == {
        "n": 12345678901234567890,
        "é": [1.5, None],
    }
    assert one(args='[1,   "a"]')["args"] == '[1,   "a"]'
    assert one(args=[datetime(2026, 1, 1)])["args"] == '["2026-01-01 00:00:00"]'


def test_hostile_text_comes_in_whole():
    row = one(exception_message="a\x00b\ud800c", worker=b"\xff", raw="x\ud800", task_id=5)
    assert row["exception_message"] == "a\x00b\\ud800c"
    assert row["worker"] == "\\xff"
    assert row["raw"] == b"x\xed\xa0\x80"
    assert row["task_id"] == "5"


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize("name", ["queue", "worker", "retries", "failed_at", "raw", "args"])
def test_every_way_to_say_missing(name, missing):
    assert pd.isna(from_records([{name: missing}])[name].iloc[0])


@pytest.mark.parametrize(
    "written",
    [
        T,
        "2026-11-01T00:00:00+00:00",
        "2026-11-01T01:00:00+01:00",
        datetime(2026, 11, 1, tzinfo=UTC),
        pd.Timestamp("2026-11-01", tz="UTC"),
        pd.Timestamp("2026-11-01 01:00", tz="Europe/Berlin"),
        pd.Timestamp(T),
    ],
)
def test_one_moment_is_one_content_in_whatever_zone(written):
    frame = from_records([{"failed_at": written, "exception_message": "m"}])
    assert frame["failed_at"].iloc[0] == pd.Timestamp(T)
    assert (
        frame["failure_id"].iloc[0]
        == from_records([{"failed_at": T, "exception_message": "m"}])["failure_id"].iloc[0]
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"exeption_type": "x"}, "Did you mean 'exception_type'?"),
        ({"failed_at": "2026-11-01T00:00:00"}, "no time zone"),
        ({"failed_at": datetime(2026, 11, 1)}, "no time zone"),
        ({"failed_at": 1700000000}, "no time zone"),
        ({"failed_at": "yesterday"}, "no time. Write ISO 8601"),
        ({"failed_at": [1]}, "no time"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "out of range"),
        ({"retries": "abc"}, "whole number"),
        ({"retries": 2**40}, "whole number"),
        ({"retries": float("inf")}, "whole number"),
        ({"raw": {"a": 1}}, "Give bytes or text"),
        ({"kwargs": {(1, 2): 3}}, "cannot be written as JSON"),
        ("abc", "not a mapping"),
        (None, "not a mapping"),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_the_records_number(record, says):
    with pytest.raises(SchemaError) as caught:
        from_records([{"failed_at": T}, record])
    assert says in str(caught.value)
    assert "Record 1" in str(caught.value) or "exeption" in str(caught.value)


def test_a_payload_that_holds_itself():
    loop: dict = {}
    loop["a"] = loop
    with pytest.raises(SchemaError, match="cannot be written as JSON"):
        one(kwargs=loop)


def test_same_content_twice_is_two_failures_and_ids_are_stable():
    records = [{"failed_at": T, "exception_message": "m"}] * 3
    ids = list(from_records(records)["failure_id"])
    assert len(set(ids)) == 3
    assert {i.split(":")[0] for i in ids} == {ids[0].split(":")[0]}
    assert ids == list(from_records(iter(records))["failure_id"])


def test_an_id_that_stands_twice_is_refused_but_not_in_two_sources():
    twice = [{"failed_at": T, "failure_id": "7", "source": s} for s in ("a", "a")]
    with pytest.raises(SchemaError, match="'7' stands twice in source 'a'"):
        from_records(twice)
    twice[1]["source"] = "b"
    assert len(from_records(twice)) == 2


def test_rows_are_in_one_total_order_whatever_order_they_come_in():
    records = [
        {"failed_at": at, "source": source, "failure_id": f"{number} {at}"}
        for at in (T, "2026-10-31T00:00:00Z", None)
        for source in ("b", "a")
        for number in (2, 1, 10)
    ]
    frame = from_records(records)
    assert frame["failed_at"].isna().sum() == 6 and frame["failed_at"].tail(6).isna().all()
    keys = list(
        zip(frame["failed_at"].head(12), frame["source"], frame["failure_id"], strict=False)
    )
    assert keys == sorted(keys)
    again = from_records(reversed(records))
    pd.testing.assert_frame_equal(frame, again, check_categorical=False)


@pytest.mark.parametrize(
    ("column", "array", "says"),
    [
        ("failed_at", pa.array([1], pa.timestamp("us")), "no time zone"),
        ("failed_at", pa.array([1700000000]), "seconds or milliseconds"),
        ("failed_at", pa.array(["2026-11-01"]), "cannot become"),
        ("retries", pa.array([5_000_000_000]), "cannot become"),
        ("retries", pa.array([1.5]), "cannot become"),
        ("retries", pa.array(["x"]), "cannot become"),
        ("queue", pa.array([b"\xff"]), "cannot become"),
        ("exception_message", pa.array([b"\xff"]), "cannot become"),
        ("args", pa.array([[1]]), "cannot become"),
        ("quue", pa.array(["x"]), "Did you mean 'queue'?"),
    ],
)
def test_arrow_columns_that_do_not_fit_are_refused_by_name(column, array, says):
    with pytest.raises(SchemaError) as caught:
        from_arrow(pa.table({column: array}))
    assert says in str(caught.value) and column in str(caught.value)


@pytest.mark.parametrize(
    ("column", "array", "value"),
    [
        ("queue", pa.array(["a"]).dictionary_encode(), "a"),
        ("queue", pa.array(["a"], pa.large_string()).dictionary_encode(), "a"),
        ("queue", pa.array(["a"], pa.large_string()), "a"),
        ("queue", pa.array([5]), "5"),
        ("worker", pa.array(["a"]).dictionary_encode(), "a"),
        ("worker", pa.array(["a"], pa.string_view()), "a"),
        ("exception_message", pa.array([b"caf\xc3\xa9"]), "café"),
        ("failure_id", pa.array([2**63 - 1]), str(2**63 - 1)),
        ("retries", pa.array([3], pa.int64()), 3),
        ("retries", pa.array([3.0]), 3),
        (
            "failed_at",
            pa.array([1_700_000_000_000_000_001], pa.timestamp("ns", "Europe/Berlin")),
            pd.Timestamp(1_700_000_000, unit="s", tz="UTC"),
        ),
        ("failed_at", pa.array(["2026-11-01T01:00:00+01:00"]), pd.Timestamp(T)),
        ("raw", pa.array([b"\x00\xff"], pa.large_binary()), b"\x00\xff"),
    ],
)
def test_arrow_columns_come_in_their_many_types(column, array, value):
    frame = from_arrow(pa.table({column: array}))
    assert frame[column].iloc[0] == value
    assert {name: frame[name].dtype == dtype for name, dtype in SCHEMA.items()} == dict.fromkeys(
        SCHEMA, True
    )


@pytest.mark.parametrize("column", list(COLUMNS))
def test_a_column_of_nothing(column):
    assert from_arrow(pa.table({column: pa.nulls(3)}))[column].isna().all()


def test_chunks_with_dictionaries_of_their_own():
    chunks = pa.chunked_array(
        [
            pa.array(["a", "b"]).dictionary_encode(),
            pa.array(["b", "c", None]).dictionary_encode(),
            pa.array([], pa.string()).dictionary_encode(),
        ]
    )
    frame = from_arrow(pa.table({"queue": chunks, "failure_id": ["1", "2", "3", "4", "5"]}))
    assert frame["queue"].tolist()[:4] == ["a", "b", "b", "c"] and pd.isna(frame["queue"].iloc[4])


def test_the_callers_table_is_untouched():
    table = pa.table(
        {"failed_at": pa.array([2, 1], pa.timestamp("us", "UTC")), "queue": ["a", "b"]}
    )
    before = table.slice(0)
    assert from_arrow(table)["queue"].tolist() == ["b", "a"]
    assert table.equals(before)


def test_check_names_what_is_wrong():
    good = from_records([{"failed_at": T}])
    with pytest.raises(SchemaError, match="no column 'queue'"):
        check(good.drop(columns="queue"))
    with pytest.raises(SchemaError, match="Column 'queue' is str"):
        check(good.assign(queue=good["queue"].astype("str")))
    with pytest.raises(SchemaError, match="no source or no failure_id"):
        check(from_arrow(pa.table({"queue": ["a"]})))
    assert check(good.assign(extra=1)) is not None  # verdicts are added to the right


def test_heavy_columns_and_arrow_types_are_of_the_schema():
    assert set(HEAVY) < set(COLUMNS)
    for name in COLUMNS:
        assert from_arrow(pa.table({name: pa.nulls(1, arrow_type(name))}))[name].isna().all()


def test_brief_shows_no_payload_and_no_message():
    frame = from_records([{"failed_at": T, "kwargs": {"email": "a@b.c"}, "exception_message": "m"}])
    shown = brief(frame, ["worker", "nonsense"])
    assert "worker" in shown and "nonsense" not in shown
    assert not {"args", "kwargs", "raw", "traceback", "exception_message"} & set(shown.columns)


def test_content_hash_sees_every_part_and_where_it_ends():
    parts = ["t", "n", "q", "[1]", "{}"]
    hashes = {content_hash(*parts)}
    for position in range(5):
        changed = [*parts]
        changed[position] += "x"
        hashes.add(content_hash(*changed))
    hashes.add(content_hash("t", "nq", "", "[1]", "{}"))
    assert len(hashes) == 7
    for missing in (None, pd.NA, float("nan")):
        assert content_hash("t", "n", missing, "[]", "{}") == content_hash("t", "n", "", "[]", "{}")
    assert len(content_hash("\ud800", "n", "q", "[]", "{}")) == 16


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC))
    | st.lists(st.integers(), max_size=2)
)


@settings(max_examples=80, deadline=timedelta(minutes=1))
@given(st.lists(st.dictionaries(st.sampled_from(list(COLUMNS)), values, max_size=6), max_size=4))
def test_anything_is_a_frame_or_a_sentence(records):
    try:
        frame = from_records(records)
    except DLQError as error:
        assert len(str(error)) > 20
        return
    assert len(frame) == len(records)
    check(frame)


def test_rows_come_in_order_however_they_were_given():
    """By failed_at, then source, then failure_id; unknown times last; texts with 64-bit offsets too."""
    rows = [
        ("b", "2", 5),
        ("a", "1", 5),
        ("a", "10", 5),
        ("a", "9", 1),
        ("b", "1", None),
        ("a", "3", None),
    ]
    expected = [("a", "9"), ("a", "1"), ("a", "10"), ("b", "2"), ("a", "3"), ("b", "1")]
    for order in list(itertools.permutations(rows))[::61]:
        source, ids, times = zip(*order, strict=True)
        table = pa.table(
            {
                "source": pa.array(source).dictionary_encode(),
                "failure_id": pa.array(ids, pa.large_string()),
                "failed_at": pa.array(times, pa.timestamp("us", tz="UTC")),
                "raw": pa.array([i.encode() for i in ids], pa.large_binary()),
            }
        )
        frame = from_arrow(table)
        assert list(zip(frame.source, frame.failure_id, strict=True)) == expected
        assert [bytes(raw).decode() for raw in frame.raw] == frame.failure_id.tolist()
    ready = in_order(table)
    assert in_order(ready) is ready


def test_an_error_does_not_say_its_type_twice():
    """Who writes the type before the message read TypeError: TypeError: it is no function."""
    row = {"exception_type": "TypeError", "template": "TypeError: it is no function"}
    assert error_of(row) == "TypeError: it is no function"
    assert error_of({**row, "template": "no function"}) == "TypeError: no function"
    assert error_of({"exception_type": None, "template": "HTTP 429"}) == "HTTP 429"
    assert error_of({"exception_type": "TypeError", "template": None}) == "TypeError"
