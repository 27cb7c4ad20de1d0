"""An archive of days: what is appended is read again, once, whoever else writes; an export that was killed goes on."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dlqanalysis as dlq
from dlqanalysis import archive
from dlqanalysis.archive import exports, parts
from dlqanalysis.errors import ConnectError, SchemaError, SettingsError
from dlqanalysis.frame import empty, from_records


def failures(ids=range(9), message="user {} is gone", days=3, **more):
    """Failures of a few days, some of them without a time."""
    return from_records(
        {
            "source": "celery:failed_tasks",
            "failure_id": str(n),
            "task_name": f"tasks.t{n % 2}",
            "exception_type": "ValueError",
            "exception_message": message.format(n),
            "traceback": f"Traceback\nValueError: {n}",
            "kwargs": {"email": f"ann{n}@example.org"},
            "raw": b"\xff\x00" if n % 2 else None,
            "retries": n % 4,
            "failed_at": f"2026-11-{18 + n % days:02}T10:00:{n % 60:02}.123456Z" if n % 8 else None,
            **more,
        }
        for n in ids
    )


@pytest.fixture(params=["folder", "file", "memory"])
def place(request, tmp_path, token):
    if request.param == "memory":
        import fsspec

        yield f"memory://{token}/archive"
        memory = fsspec.filesystem("memory")
        if memory.exists(f"/{token}"):
            memory.rm(f"/{token}", recursive=True)
    else:
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path}/archive"


def test_what_is_appended_is_read_again(place):
    frame = failures()
    files = archive.append(place, frame, redact=False)
    assert sorted(re.findall(r"day=([^/]*)/", " ".join(files))) == [
        "2026-11-18", "2026-11-19", "2026-11-20", "undated",
    ]  # fmt: skip
    again = archive.read(place)
    pd.testing.assert_frame_equal(again, frame)
    assert again.attrs["tracebacks"] == "all" and again.attrs["redacted"] is False


def test_a_place_where_nothing_was_archived_is_empty(place):
    again = archive.read(place)
    pd.testing.assert_frame_equal(again, empty())
    assert again.attrs["notes"] == ["The archive is empty."]
    assert archive.append(place, empty(), redact=True) == []


def test_only_the_days_and_columns_asked_for_are_read(tmp_path):
    frame = failures()
    files = archive.append(tmp_path, frame, redact=False)
    for path in files:
        if "2026-11-19" not in path:
            Path(path).write_bytes(b"no Parquet: whoever opens it fails")
    some = archive.read(tmp_path, "2026-11-19", "2026-11-20", columns=["task_name"])
    pd.testing.assert_frame_equal(
        some[["failure_id", "task_name"]],
        frame[frame.failed_at.dt.day == 19][["failure_id", "task_name"]].reset_index(drop=True),
        check_categorical=False,
    )
    assert some["exception_message"].isna().all() and some.attrs["tracebacks"] == "none"
    exact = archive.read(tmp_path, "2026-11-19T10:00:02Z", "2026-11-19T10:00:07.123456Z")
    assert exact["failure_id"].tolist() == ["4"]  # from the first bound on, before the second
    with pytest.raises(SchemaError, match=r"is no whole Parquet file"):
        archive.read(tmp_path)
    with pytest.raises(SchemaError, match=r"Did you mean 'task_name'"):
        archive.read(tmp_path, columns=["taskname"])


def test_of_what_was_archived_twice_the_newest_counts_in_any_order(tmp_path):
    old, new = failures(range(6), "old {}"), failures(range(3, 9), "new {}")
    late = datetime(2026, 11, 22, tzinfo=UTC)
    archive.append(tmp_path, new, redact=False, taken=late)
    archive.append(tmp_path, old, redact=False, taken=late.replace(day=21))
    said = archive.read(tmp_path).set_index("failure_id")["exception_message"]
    assert said.sort_index().tolist() == [f"{'old' if n < 3 else 'new'} {n}" for n in range(9)]


def test_a_failure_that_failed_again_is_in_its_new_day_only(tmp_path):
    archive.append(tmp_path, failures([1], failed_at="2026-11-18T10:00:00Z"), redact=False)
    archive.append(tmp_path, failures([1], failed_at="2026-11-20T10:00:00Z"), redact=False)
    assert archive.read(tmp_path, "2026-11-18", "2026-11-19").empty
    assert len(archive.read(tmp_path)) == len(archive.read(tmp_path, "2026-11-20")) == 1
    other = failures([1], source="celery:other", failed_at="2026-11-18T10:00:00Z")
    archive.append(tmp_path, other, redact=False)  # the same id elsewhere is another failure
    assert len(archive.read(tmp_path)) == 2


def _append(place, ids):
    return archive.append(place, failures(ids), redact=False)


def test_two_people_append_at_once(tmp_path):
    shares = [range(start, start + 20) for start in range(0, 120, 20)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as two:
        files = [*two.map(_append, [str(tmp_path)] * 6, shares)]
    written = [path for some in files for path in some]
    assert len(set(written)) == len(written) == sum(path.is_file() for path in map(Path, written))
    assert sorted(map(int, archive.read(tmp_path)["failure_id"])) == list(range(120))


def test_half_a_file_is_never_seen(tmp_path, monkeypatch):
    archive.append(tmp_path, failures(range(3)), redact=False)

    def full(table, file, **how):
        file.write(b"PAR1 half")
        assert len(archive.read(tmp_path)) == 3  # while it is being written
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(ConnectError, match=r"does not answer: No space left on device"):
        archive.append(tmp_path, failures(range(3, 6)), redact=False)
    assert len(archive.read(tmp_path)) == 3
    assert not [path for path in tmp_path.rglob(".*")]


def test_a_new_folder_is_its_owners_alone(tmp_path):
    archive.append(tmp_path / "new", failures(), redact=False)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_redaction_is_said(tmp_path):
    with pytest.raises(TypeError, match="redact"):
        archive.append(tmp_path, failures())
    with pytest.raises(SchemaError, match=r"redact= is True"):
        archive.append(tmp_path, failures(), redact="yes")
    files = archive.append(tmp_path, failures(), redact=True)
    assert all(b"example.org" not in pq.read_table(path)["kwargs"][0].as_buffer().to_pybytes() for path in files)  # fmt: skip
    again = archive.read(tmp_path)
    assert again.attrs["redacted"] is True
    pd.testing.assert_series_equal(again["kwargs"], dlq.redact_frame(failures())["kwargs"])


def _rewritten(path, change):
    table = pq.read_table(path, partitioning=None)
    facts = json.loads(table.schema.metadata[parts.KEY]) | change
    pq.write_table(table.replace_schema_metadata({parts.KEY: json.dumps(facts).encode()}), path)


def test_files_that_are_no_part_of_it(tmp_path):
    path = Path(archive.append(tmp_path, failures([1]), redact=False)[0])
    _rewritten(path, {"layout": 99})
    with pytest.raises(SchemaError, match=r"has layout 99, this dlqanalysis knows 1"):
        archive.read(tmp_path)
    pq.write_table(pa.table({"source": ["x"]}), path)
    with pytest.raises(SchemaError, match=r"does not say that it belongs to an archive"):
        archive.read(tmp_path)
    path.rename(tmp_path / "spark-0001.parquet")
    with pytest.raises(SchemaError, match=r"spark-0001.parquet in .* is no file of an archive"):
        archive.read(tmp_path)
    with pytest.raises(SettingsError, match=r"cannot be opened"):
        archive.read("nosuch://user:secret@there/archive")
    try:
        archive.read("nosuch://user:secret@there/archive")
    except SettingsError as error:
        assert "secret" not in str(error)


def test_a_file_of_an_older_layout_lacks_columns_not_rows(tmp_path):
    path = Path(archive.append(tmp_path, failures([1, 4], days=1), redact=False)[0])
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(["trace_id", "priority"]), path)
    again = archive.read(tmp_path)
    assert again["failure_id"].tolist() == ["1", "4"] and again["priority"].isna().all()


def test_older_and_newer_files_go_together_whatever_types_their_columns_have(tmp_path):
    path = Path(archive.append(tmp_path, failures([1, 4], days=1), redact=False)[0])
    table = pq.read_table(path, partitioning=None).drop_columns(["priority"])
    place = table.schema.get_field_index("task_name")
    table = table.set_column(place, "task_name", table["task_name"].cast(pa.string()))
    pq.write_table(table, path)
    archive.append(tmp_path, failures([2, 5], days=1, priority="high"), redact=False)
    again = archive.read(tmp_path)
    assert again["task_name"].astype("str").str[-1].tolist() == ["1", "0", "0", "1"]
    assert again["priority"].isna().tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("failed_at", pa.array([1])),
        ("source", pa.array([{"a": 1}])),
        ("retries", pa.array(["many"])),
        ("args", pa.array([b"\xff"]).view(pa.string())),
    ],
)
def test_a_column_of_another_kind_is_told_with_its_file(tmp_path, name, values):
    path = Path(archive.append(tmp_path, failures([1]), redact=False)[0])
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)
    with pytest.raises(SchemaError, match=rf"{path.name} was damaged after it was written"):
        archive.read(tmp_path)


def test_a_file_without_the_key_of_its_failures_is_no_rows_without_a_key(tmp_path):
    path = Path(archive.append(tmp_path, failures([1]), redact=False)[0])
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(["failure_id"]), path)
    with pytest.raises(SchemaError, match=f"{path.name} has no failure_id, which every file"):
        archive.read(tmp_path)


@pytest.mark.parametrize("said", [b'{"layout": Infinity}', b"[" * 9_999])
def test_what_a_file_says_of_itself_is_not_believed(tmp_path, said):
    path = Path(archive.append(tmp_path, failures([1]), redact=False)[0])
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.replace_schema_metadata({parts.KEY: said}), path)
    with pytest.raises(SchemaError, match="does not say that it belongs to an archive"):
        archive.read(tmp_path)


def test_years_of_any_length_and_the_first_moment_of_all(tmp_path):
    """Go writes the year 1 for no time."""
    archive.append(
        tmp_path,
        failures([1], failed_at="0001-01-01T00:00:00Z"),
        redact=False,
        taken=datetime(5, 1, 1, tzinfo=UTC),
    )
    first = datetime.min.replace(tzinfo=UTC)
    assert len(archive.read(tmp_path)) == len(archive.read(tmp_path, since=first)) == 1
    assert len(archive.read(tmp_path, until="0001-01-02")) == 1
    assert len(archive.read(tmp_path, until=first)) == len(archive.read(tmp_path, since="24h")) == 0


def test_a_folder_whose_name_has_two_colons_is_that_folder(tmp_path):
    [path] = archive.append(tmp_path / "a::b", failures([1]), redact=False)
    assert path.startswith(f"{tmp_path}/a::b/") and len(archive.read(tmp_path / "a::b")) == 1
    assert not (tmp_path / "a").exists()


def test_a_home_of_nobody_is_a_sentence():
    with pytest.raises(SettingsError, match=r"cannot be opened: .*\. Name a folder"):
        archive.read("~nobody-of-that-name/archive")


def test_a_bit_that_flipped_is_noticed(tmp_path):
    path = Path(archive.append(tmp_path, failures(range(1, 8), days=1), redact=False)[0])
    whole = path.read_bytes()
    found = 0
    for at in range(10, 900, 100):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            pd.testing.assert_frame_equal(archive.read(tmp_path), failures(range(1, 8), days=1))
        except SchemaError:
            found += 1
    assert found >= 7  # not every byte means something


# -- export from Postgres --------------------------------------------------------------------------------

_TABLE = """create table failed_tasks (id bigint primary key, task_id text, task_name text, queue_name text, args jsonb,
    kwargs jsonb, exception_type text, exception_message text, traceback text, retries_attempted integer,
    failed_at timestamptz, status text)"""
_ROWS = """insert into failed_tasks select n, 't' || n, 'tasks.t' || n % 3, 'q', '[]', '{"a": 1}', 'ValueError',
    'user ' || n || ' is gone', 'Traceback ' || n, n % 4, timestamptz '2026-11-15' + n % 4 * interval '1 day'
    + n * interval '1 s', case n % 2 when 0 then 'failed' else 'archived' end from generate_series(1, %s) n"""
_UNDATED = "insert into failed_tasks (id, task_id, task_name, status) values (-1, 'x', 'tasks.t', 'failed')"


@pytest.fixture
def table(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(_TABLE)
        connection.execute(_ROWS.replace("%s", "3000"))
        connection.execute(_UNDATED)
        yield postgres_url, connection


def test_an_export_has_every_row_and_is_not_done_twice(table, tmp_path):
    url, connection = table
    source, said = dlq.connect(url), []
    made = archive.export(source, tmp_path, redact=False, write=said.append)
    assert made["day"].tolist() == [f"2026-11-{day}" for day in range(18, 14, -1)] + ["undated"]
    assert made["rows"].tolist() == [750] * 4 + [1] and not made["skipped"].any()
    said = [line for line in said if "written" not in line]  # a slow machine hears more
    assert len(said) == 5 and said[-1].startswith("undated: 1 failure; 3,001 after")
    again = archive.read(tmp_path)
    there = dlq.load(source, since=None, status=None, columns=["traceback", "raw"])
    pd.testing.assert_frame_equal(again, there)

    connection.execute("update failed_tasks set status = 'replayed' where id = 10")
    before = len(list(tmp_path.rglob("*.parquet")))
    more = archive.export(source, tmp_path, redact=False, write=said.append)
    assert more["skipped"].tolist() == [True] * 4 + [
        False
    ]  # those without a time may always be more
    assert len(list(tmp_path.rglob("*.parquet"))) == before + 1
    archive.export(source, tmp_path, redact=False, again=True, write=said.append)
    now = archive.read(tmp_path).set_index("failure_id")
    assert len(now) == 3001 and now.loc["10", "status"] == "replayed"


def test_a_failure_at_the_end_of_all_days_hides_no_other(table, tmp_path):
    """It is the newest there is, and of a time that no calendar here can hold."""
    url, connection = table
    for number, when in enumerate(("infinity", "-infinity", "9999-12-31 23:00Z", "0001-01-01Z")):
        connection.execute(
            "update failed_tasks set failed_at = %s where id = %s", (when, number + 9)
        )
    made = archive.export(dlq.connect(url), tmp_path, redact=False, write=print)
    assert made["rows"].sum() == len(archive.read(tmp_path)) == 3001
    assert made["day"].tolist()[-2:] == ["0001-01-01", "undated"] and made["rows"].iloc[-1] == 4


def test_a_note_that_is_none_costs_one_export_more(table, tmp_path):
    source = dlq.connect(table[0])
    archive.export(source, tmp_path, redact=False, write=print)
    next((tmp_path / "_exports").glob("*-2026-11-18.json")).write_text("[" * 9_999)
    made = archive.export(source, tmp_path, redact=False, write=print)
    assert made.loc[~made["skipped"], "day"].tolist() == ["2026-11-18", "undated"]


def test_a_day_is_skipped_only_if_its_files_are_as_they_were(table, tmp_path):
    source, said = dlq.connect(table[0]), []
    archive.export(source, tmp_path, redact=False, write=said.append)
    path = next(tmp_path.glob("day=2026-11-16/*.parquet"))
    path.unlink()
    _rewritten(next(tmp_path.glob("day=2026-11-17/*.parquet")), {"rows": 749})
    next((tmp_path / "_exports").glob("*-2026-11-18.json")).write_text("{")
    made = archive.export(source, tmp_path, redact=False, write=said.append)
    redone = made.loc[~made["skipped"], "day"].tolist()
    assert redone == ["2026-11-18", "2026-11-17", "2026-11-16", "undated"]
    assert len(archive.read(tmp_path)) == 3001
    private = archive.export(source, tmp_path / "private", redact=True, write=said.append)
    assert private["rows"].sum() == 3001
    assert not archive.export(source, tmp_path, redact=True, write=said.append)["skipped"].any()


def test_a_day_cut_by_the_bounds_is_not_taken_for_whole(table, tmp_path):
    source, said = dlq.connect(table[0]), []
    bounds = {"since": "2026-11-16T00:10:00Z", "until": "2026-11-17T00:10:00Z"}
    made = archive.export(source, tmp_path, redact=False, write=said.append, **bounds)
    asked = dlq.load(source, status=None, **bounds)
    assert made["rows"].sum() == len(archive.read(tmp_path)) == len(asked) > 0
    made = archive.export(source, tmp_path, redact=False, write=said.append)
    assert not made["skipped"].any() and len(archive.read(tmp_path)) == 3001


def test_files_of_one_day_hold_no_more_than_so_many_rows(table, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "ROWS", 250)
    monkeypatch.setattr(exports, "_AT_ONCE", 100)
    source = dlq.connect(table[0])
    made = archive.export(source, tmp_path, redact=False, write=lambda line: None)
    assert made["files"].tolist() == [4] * 4 + [1] and len(archive.read(tmp_path)) == 3001


def test_an_export_that_was_killed_goes_on(table, tmp_path):
    code = (
        "import sys, os, dlqanalysis as dlq\n"
        "from dlqanalysis import archive\n"
        "def said(line):\n"
        "    if 'failures' in line:\n"  # a slow machine is told of parts of a day, too
        "        print(line, flush=True)\n"
        "        sys.stdin.readline()\n"  # waits after each day, so that the kill hits it between two
        "archive.export(dlq.connect(sys.argv[1]), sys.argv[2], redact=False, write=said)\n"
    )
    command = [sys.executable, "-c", code, table[0], str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as child:  # fmt: skip
        for _ in range(2):
            assert "750 failures" in child.stdout.readline()
            child.stdin.write("\n")
            child.stdin.flush()
        time.sleep(0.05)  # somewhere in the third day
        os.kill(child.pid, signal.SIGKILL)
    said: list[str] = []
    made = archive.export(dlq.connect(table[0]), tmp_path, redact=False, write=said.append)
    assert made["skipped"].tolist()[:2] == [True, True] and "were there already" in said[0]
    assert made["rows"].sum() == len(archive.read(tmp_path)) == 3001


def test_a_source_that_gives_all_at_once_is_exported_too(tmp_path):
    path = archive.snapshot(failures(), tmp_path / "a.parquet")
    made = archive.export(dlq.connect(path), tmp_path / "days", redact=False)
    assert made["rows"].sum() == 9 and made["files"].sum() == 4
    pd.testing.assert_frame_equal(archive.read(tmp_path / "days"), failures())
