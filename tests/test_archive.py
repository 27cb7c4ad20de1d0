"""Snapshots: the same frame comes back, a change shows, a file is whole or not there."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dlqanalysis as dlq
from dlqanalysis import archive
from dlqanalysis.archive.pages import texts_at_most
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records


@pytest.fixture
def failures():
    frame = from_records(
        {
            "failure_id": str(n),
            "task_name": f"t{n % 2}",
            "exception_message": ["é \x00 \U0001f480", "", None][n % 3],
            "args": [n],
            "kwargs": {},
            "raw": b"\xff\x00" if n % 2 else None,
            "retries": n if n % 2 else None,
            "failed_at": f"2026-11-01T10:00:{n:02}.123456Z" if n % 4 else None,
        }
        for n in range(10)
    )
    verdict = pd.Series(["transient", "data"] * 5, dtype="category")
    frame = frame.assign(
        failure_class=verdict, why=pd.Series(["x", None] * 5, dtype="str"), score=np.arange(10) / 3
    )
    frame.attrs = {"selection": "all", "narrows": False, "notes": ["a"], "tracebacks": "all"}
    return frame


def test_a_frame_comes_back_as_it_was(failures, tmp_path):
    path = archive.snapshot(failures, tmp_path / "new" / "folder" / "a.parquet")
    again = archive.read(path)
    pd.testing.assert_frame_equal(again, failures)
    assert again.attrs == {**failures.attrs, "snapshot": again.attrs["snapshot"]}
    assert len(again.attrs["snapshot"]) == 64
    assert path.stat().st_mode & 0o077 == 0  # dead letters are private
    assert [p.name for p in path.parent.iterdir()] == ["a.parquet"]


def test_an_empty_frame_too(tmp_path):
    with pytest.raises(SettingsError, match="takes a frame or a source"):
        archive.snapshot("shop", tmp_path / "a.parquet")
    path = archive.snapshot(empty(), str(tmp_path / "a.parquet"))
    pd.testing.assert_frame_equal(archive.read(path), empty())


def test_the_hash_is_of_the_content_alone(failures):
    table = pa.Table.from_pandas(failures, preserve_index=False)
    sha256 = archive.content_sha256(table)
    pieces = pa.concat_tables([table.slice(0, 3), table.slice(3, 1), table.slice(4)])
    plain = table.set_column(
        table.column_names.index("task_name"), "task_name", table["task_name"].cast(pa.string())
    )
    assert archive.content_sha256(pieces) == archive.content_sha256(plain) == sha256
    for change in (
        failures.assign(args=failures.args.str.replace("3", "4")),
        failures.assign(exception_message=failures.exception_message.fillna("")),
        failures.assign(why=failures.why.fillna("x")),
        failures.iloc[::-1],
        failures.rename(columns={"why": "because"}),
        failures.assign(failed_at=failures.failed_at + pd.Timedelta("1us")),
    ):
        changed = pa.Table.from_pandas(change, preserve_index=False)
        assert archive.content_sha256(changed) != sha256


def test_a_changed_snapshot_is_refused(failures, tmp_path):
    path = archive.snapshot(failures, tmp_path / "a.parquet")
    table = pq.read_table(path)
    args = pa.array(["[0]"] * 10, pa.large_string())
    forged = table.set_column(table.column_names.index("args"), "args", args)
    pq.write_table(forged, path)
    for look in (archive.read, lambda p: dlq.load(p, since=None)):
        with pytest.raises(SchemaError, match=r"was changed after it was written"):
            look(path)


def test_files_that_are_no_snapshots(failures, tmp_path):
    path = archive.snapshot(failures, tmp_path / "a.parquet")
    half = tmp_path / "half.parquet"
    half.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SchemaError, match=r"is no whole Parquet file"):
        archive.read(half)
    with pytest.raises(SettingsError, match=r"There is no snapshot at .*none.parquet"):
        archive.read(tmp_path / "none.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(SchemaError, match=r"no snapshot of ours: read it with dlq.load"):
        archive.read(other)
    newer = pq.read_table(path)
    facts = json.loads(newer.schema.metadata[b"dlqanalysis"]) | {"version": 99}
    pq.write_table(
        newer.replace_schema_metadata({b"dlqanalysis": json.dumps(facts).encode()}), other
    )
    with pytest.raises(
        SchemaError, match=r"has layout 99, this dlqanalysis knows 2. Install a newer one"
    ):
        archive.read(other)


@pytest.mark.parametrize(
    ("facts", "seal", "says"),
    [
        ({"version": "2", "attrs": {}}, b"{}", "no snapshot of ours"),
        ({"version": 2, "attrs": []}, b"{}", "no snapshot of ours"),
        (None, b"{}", "no snapshot of ours"),
        ({"version": 2, "attrs": {}}, b"[1]", "was changed after it was written"),
        ({"version": 2, "attrs": {}}, b"\xff", "was changed after it was written"),
    ],
)
def test_what_a_snapshot_says_of_itself_is_not_believed(tmp_path, facts, seal, says):
    path = tmp_path / "a.parquet"
    said = json.dumps(facts).encode() if facts else b"[" * 9_999
    table = pa.table(
        {"failure_id": ["1"]}, metadata={"dlqanalysis": said, "dlqanalysis.seal": seal}
    )
    pq.write_table(table, path)
    with pytest.raises(SchemaError, match=says):
        archive.read(path)


def test_a_column_whose_name_is_no_text_makes_no_snapshot(failures, tmp_path):
    path = archive.snapshot(failures, tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes().replace(b"task_name", b"task\xffname"))
    for look in (archive.read, lambda path: dlq.load(dlq.connect(str(path)), since=None)):
        with pytest.raises(SchemaError, match=r"no whole Parquet file|cannot be read"):
            look(path)


def test_a_snapshot_is_whole_or_not_there(failures, tmp_path, monkeypatch):
    path = archive.snapshot(failures, tmp_path / "a.parquet")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(SettingsError, match=r"cannot be written: No space left on device"):
        archive.snapshot(failures.head(2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.parquet"]


def test_what_cannot_be_kept(failures, tmp_path):
    with pytest.raises(SettingsError, match=r"name it .*a.parquet"):
        archive.snapshot(failures, tmp_path / "a.csv")
    with pytest.raises(SchemaError, match=r"no column 'source'"):
        archive.snapshot(pd.DataFrame({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match=r"This frame cannot be kept"):
        archive.snapshot(failures.assign(odd=[object()] * 10), tmp_path / "a.parquet")


def test_raw_rows_are_kept_whatever_their_columns_hold(tmp_path):
    rows = pd.DataFrame(
        {"id": ["a", "b"], "nothing": [None, None], "raw": [b"\xff", None], "list": [[1], []]}
    )
    path = tmp_path / "raw.parquet"
    archive.keep(rows, path)
    table, _ = archive.verified(path)
    assert table.to_pydict() == {
        "id": ["a", "b"], "nothing": [None, None], "raw": [b"\xff", None], "list": [[1], []],
    }  # fmt: skip


def test_of_a_source_everything_is_kept(failures, tmp_path):
    export = archive.snapshot(failures[list(empty().columns)], tmp_path / "a.parquet")
    again = archive.read(archive.snapshot(dlq.connect(export), tmp_path / "b.parquet"))
    pd.testing.assert_frame_equal(again, failures[list(empty().columns)])
    assert again.attrs["tracebacks"] == "all"


def test_a_changed_byte_and_changed_facts_are_found(failures, tmp_path):
    path = archive.snapshot(failures, tmp_path / "a.parquet")
    whole = path.read_bytes()
    chunk = pq.read_metadata(path).row_group(0).column(failures.columns.get_loc("args"))
    place = chunk.data_page_offset + chunk.total_compressed_size // 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(SchemaError, match=r"was changed after it was written|is no whole Parquet"):
        archive.read(path)
    table, facts = pq.read_table(path := archive.snapshot(failures, path)), archive.facts_of(path)
    seal = pq.read_metadata(path).metadata[b"dlqanalysis.seal"]
    for attrs, names in (({"notes": ["b"]}, table.column_names), (facts["attrs"], ["x", *table.column_names[1:]])):  # fmt: skip
        said = {b"dlqanalysis": json.dumps(facts | {"attrs": attrs}).encode(), b"dlqanalysis.seal": seal}  # fmt: skip
        pq.write_table(table.rename_columns(names).replace_schema_metadata(said), path)
        with pytest.raises(SchemaError, match=r"was changed after it was written"):
            archive.read(path)


def test_a_snapshot_of_the_first_layout_is_still_read(failures, tmp_path):
    table = pa.Table.from_pandas(failures, preserve_index=False)
    facts = {"version": 1, "sha256": archive.content_sha256(table), "attrs": {"notes": ["a"]}}
    kept = {b"dlqanalysis": json.dumps(facts).encode()}
    pq.write_table(table.replace_schema_metadata(kept), tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(archive.read(tmp_path / "a.parquet"), failures)


def test_pages_say_how_much_a_file_holds(failures, tmp_path):
    words = pa.array(["abc", "defgh"] * 500 + [None]).dictionary_encode()
    apart = pa.array([f"{n:04}" for n in range(1001)])
    table = pa.table({"words": words, "apart": apart, "number": pa.array(range(1001))})
    for version in ("1.0", "2.0"):
        pq.write_table(table, tmp_path / "a.parquet", use_dictionary=["words"], data_page_version=version)  # fmt: skip
        most = texts_at_most(tmp_path / "a.parquet", pq.read_metadata(tmp_path / "a.parquet"))
        true = sum(len(word or "") for word in words.to_pylist()) + 4 * 1001
        assert true <= most < 10 * true
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, column_encoding={"apart": "DELTA_BYTE_ARRAY"})  # fmt: skip
    assert texts_at_most(tmp_path / "a.parquet", pq.read_metadata(tmp_path / "a.parquet")) > true


def test_a_page_header_that_lies_is_unknown_and_never_read_for_ever(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"words": ["abc", "defgh"] * 50}), path, use_dictionary=True)
    meta, whole = pq.read_metadata(path), path.read_bytes()
    told = texts_at_most(path, meta)
    seen = set()
    # the header of the first page, the dictionary's: one byte of it would lead back to itself
    for at in range(4, 24):
        for byte in range(256):
            path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
            seen.add(texts_at_most(path, meta))
    assert None in seen and told in seen
