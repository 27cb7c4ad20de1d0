"""Exports: names in many spellings, lines that cannot be read and still stay, the same filters as a database."""

import json
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import SCHEMA, check, from_records

RECORDS = [
    {"id": 1, "task": "a.send_email", "queue_name": "emails", "args": [1], "kwargs": {"n": 12345678901234567890},
     "exc_type": "E", "error_message": "m1", "failed_at": "2026-11-01T10:00:00", "status": "failed", "retries": 3},
    {"id": 2, "task": "a.generate_memo", "queue_name": "memos", "args": "(1, '...", "kwargs": "{}",
     "exc_type": "F", "error_message": "m2", "failed_at": "2026-11-02T10:00:00+02:00", "status": "failed"},
    {"id": 3, "task": "b.generate_memo", "queue_name": "memos", "exc_type": "F", "error_message": "m3",
     "failed_at": "2026-11-03 10:00:00Z", "status": "replayed"},
]  # fmt: skip


def load(path, **asked):
    return check(dlq.load(path, **{"since": None, "status": None, **asked}))


def written(folder, kind, records):
    path = folder / f"export.{kind}"
    if kind == "csv":
        texts = [
            {k: v if isinstance(v, str) else json.dumps(v) for k, v in r.items()} for r in records
        ]
        pd.DataFrame(texts).to_csv(path, index=False)
    elif kind == "parquet":
        texts = [
            {k: v if isinstance(v, str | int) else json.dumps(v) for k, v in r.items()}
            for r in records
        ]
        pq.write_table(pa.Table.from_pylist(texts, pa.schema({n: pa.int64() if n in ("id", "retries") else pa.string() for n in records[0]})), path)  # fmt: skip
    else:
        path.write_text("\n".join(json.dumps(r) for r in records))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "ndjson", "csv", "parquet"])
def test_three_forms_one_frame(tmp_path, kind):
    path = written(tmp_path, kind, RECORDS)
    failures = load(path)
    assert {name: failures[name].dtype for name in SCHEMA} == SCHEMA
    assert failures.failure_id.tolist() == ["1", "2", "3"]
    assert failures.task_name.tolist() == ["a.send_email", "a.generate_memo", "b.generate_memo"]
    assert failures.exception_type.tolist() == ["E", "F", "F"]
    assert failures.exception_message.tolist() == ["m1", "m2", "m3"]
    assert failures.failed_at.tolist() == [
        pd.Timestamp(f"2026-11-0{t}Z") for t in ("1T10", "2T08", "3T10")
    ]
    assert failures.kwargs[0] == '{"n": 12345678901234567890}'  # no double in between
    assert failures.payload_state.tolist() == ["complete", "truncated", "missing"]
    assert failures.retries.tolist() == [3, pd.NA, pd.NA]
    assert set(failures.source) == {f"export:{path.name}"}


FILTERS = (
    ({}, ["1", "2", "3"]),
    ({"status": "failed"}, ["1", "2"]),
    ({"since": "2026-11-02T08:00:00Z"}, ["2", "3"]),
    ({"until": "2026-11-02T08:00:00Z"}, ["1"]),
    ({"queue": "memos"}, ["2", "3"]),
    ({"task": "generate_memo"}, ["2", "3"]),
    ({"task": "b.generate_memo"}, ["3"]),
    ({"task": "memo"}, []),
    ({"exception": "F", "status": "replayed"}, ["3"]),
    ({"limit": 2}, ["2", "3"]),
)


@pytest.mark.parametrize(("asked", "ids"), FILTERS)
def test_filters(tmp_path, asked, ids):
    failures = load(written(tmp_path, "jsonl", RECORDS), **asked)
    assert failures.failure_id.tolist() == ids
    assert failures.attrs["truncated"] == ("limit" in asked)


def test_an_old_export_says_when_it_is_from(tmp_path):
    failures = load(written(tmp_path, "jsonl", RECORDS), since="2026-11-10")
    assert failures.empty
    assert (
        "they are from 2026-11-01 10:00Z to 2026-11-03 10:00Z. since=None"
        in failures.attrs["notes"][-1]
    )


def test_no_line_is_lost(tmp_path):
    lines = [
        json.dumps(RECORDS[0]).encode(),
        b'{"id": 2, "task": broken',
        b"\xff\xfe\x00 not text",
        b"[1, 2]",
        b"",
        b"[" * 100_000,
        json.dumps(RECORDS[0]).encode(),
    ]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\r\n")
    for asked in ({}, {"since": "1h"}, {"status": "failed"}):
        failures = load(path, **asked)
        unread = failures[failures.raw.notna()]
        assert (unread.payload_state == "unreadable").all()
        assert set(unread.raw) == {lines[1], lines[2], lines[3], lines[5]}
        assert any("cannot be read: 4" in note for note in failures.attrs["notes"])
    assert len(load(path)) == 6
    assert len(load(path, queue="emails")) == 2  # asked by name: only what says so
    assert sorted(load(path, queue="emails").failure_id) == [
        "1",
        "1:2",
    ]  # unique, and the second still told apart
    assert load(path).failure_id.tolist() == load(path).failure_id.tolist()


def test_rows_of_a_csv_with_other_columns_stay_too(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(
        b'\xef\xbb\xbfID,Task Name,args,kwargs,Exception Message,Failed At\r\n'
        b'7,a.b,[1],"{""a"": ""x, y""}","two\nlines \xff",2026-11-01 10:00:00\r\n8,a.b\r\n'
    )  # fmt: skip
    failures = load(path)
    assert failures.exception_message.tolist()[0] == "two\nlines \\xff"
    assert failures.kwargs.tolist()[0] == '{"a": "x, y"}'
    assert failures.payload_state.tolist() == ["complete", "unreadable"]
    assert bytes(failures.raw[1]) == b"8,a.b"


TIMES = (
    ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
    ("2026-11-01 10:00:00", "2026-11-01T10:00:00Z"),
    ("2026-11-01T10:00:00.123456+05:30", "2026-11-01T04:30:00.123456Z"),
    ("2026-11-01", "2026-11-01T00:00:00Z"),
    (1793527200, "2026-11-01T10:00:00Z"),
    (1793527200123, "2026-11-01T10:00:00.123Z"),
    (1793527200.5, "2026-11-01T10:00:00.500Z"),
    ("infinity", None),
    ("yesterday", None),
    (1e300, None),
    (None, None),
)


def test_times_in_all_spellings(tmp_path):
    path = tmp_path / "times.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"id": n, "task": "t", "failed_at": t}) for n, (t, _) in enumerate(TIMES)
        )
    )
    failures = load(path).set_index("failure_id").failed_at
    for number, (_, moment) in enumerate(TIMES):
        expected = pd.NaT if moment is None else pd.Timestamp(moment)
        assert failures[str(number)] is expected or failures[str(number)] == expected, TIMES[number]


def test_surrogates_and_nul_and_nested_values(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text(
        '{"id": "x", "task": "t", "error": "a\\ud800b\\u0000c", "kwargs": {"k": "\\ud800"}, "retries": "many"}\n'
        '{"id": "y", "task": "t", "error": {"code": 7}, "retries": 99999999999, "args": [1.50]}\n'
    )
    failures = load(path).set_index("failure_id")
    assert failures.exception_message["x"] == "a\\ud800b\x00c"
    assert json.loads(failures.exception_message["y"]) == {"code": 7}
    assert failures.retries.isna().all()
    assert any(
        "Values of retries" in note and note.endswith("2.") for note in load(path).attrs["notes"]
    )


def test_a_frame_written_by_hand_comes_back(tmp_path):
    frame = from_records(
        {"failure_id": str(n), "task_name": "t", "queue": "q", "args": [n], "kwargs": {}, "retries": n,
         "failed_at": datetime(2026, 11, 1, n, tzinfo=UTC), "raw": b"\x00\xff", "priority": n,
         "source": f"celery:{n % 2}", "exception_message": "m"}
        for n in range(4)
    )  # fmt: skip
    for write, path in (
        (lambda p: frame.to_parquet(p), tmp_path / "f.parquet"),
        (lambda p: frame.drop(columns="raw").to_csv(p, index=False), tmp_path / "f.csv"),
        (lambda p: frame.drop(columns="raw").to_json(p, orient="records", lines=True, date_unit="us", date_format="iso"), tmp_path / "f.jsonl"),
    ):  # fmt: skip
        write(path)
        again = load(path)
        columns = [name for name in frame if name != "raw" or path.suffix == ".parquet"]
        pd.testing.assert_frame_equal(again[columns], frame[columns])
    source = dlq.connect(path)
    assert source.name == "export:f.jsonl"  # rows of two systems
    assert len(dlq.details(source, load(source))) == 4


def test_a_snapshot_keeps_name_and_meaning(tmp_path):
    frame = from_records(
        [{"source": "celery:failed_tasks", "failure_id": "1", "task_name": "t", "traceback": "tb"}]
    )
    frame.attrs = {"tracebacks": "representatives"}
    path = dlq.snapshot(frame, tmp_path / "s.parquet")
    again = load(path)
    assert again.attrs["source"] == "celery:failed_tasks"
    assert again.attrs["tracebacks"] == "representatives"
    pd.testing.assert_frame_equal(again, frame, check_categorical=False)
    assert dlq.show(path, 1)["traceback"] == "tb"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_an_empty_export_is_an_empty_frame(tmp_path, kind):
    path = tmp_path / f"e.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"id": pa.array([], pa.int64())}), path)
    else:
        path.write_text("")
    failures = load(path, queue="x") if kind == "none" else load(path)
    assert failures.empty and {name: failures[name].dtype for name in SCHEMA} == SCHEMA


def test_what_is_no_export(tmp_path):
    with pytest.raises(SettingsError, match=r"There is no export at .*gone.jsonl"):
        dlq.connect(tmp_path / "gone.jsonl")
    with pytest.raises(
        SettingsError, match=r"at data/gone.jsonl, seen from /.+\. Check the path\."
    ):
        dlq.connect("data/gone.jsonl")
    with pytest.raises(
        SettingsError, match=r"a.xlsx is no export that can be read. There are .parquet, .jsonl"
    ):
        dlq.connect(tmp_path / "a.xlsx")
    other = tmp_path / "other.csv"
    other.write_text("price,amount\n1,2\n")
    with pytest.raises(SchemaError, match=r"other.csv shows no failures: it has price, amount"):
        load(other)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no")
    with pytest.raises(SchemaError, match=r"cannot be read .*Take another copy"):
        load(broken)
    (tmp_path / "q.jsonl").write_text('{"task": "t"}')
    with pytest.raises(SettingsError, match=r"This export has no queue"):
        load(tmp_path / "q.jsonl", queue="emails")
