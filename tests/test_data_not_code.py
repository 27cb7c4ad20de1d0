"""Files are data: what hides code in a snapshot, an export, rules or a profile is read as text or refused, never run."""

import json
import os
import pickle
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dlqanalysis as dlq
from dlqanalysis import archive
from dlqanalysis.archive import bombs
from dlqanalysis.classify.rules import read as read_rules
from dlqanalysis.display.extension import table_html
from dlqanalysis.errors import DLQError, SchemaError
from dlqanalysis.profile import Profile
from tests.hostile import failures


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def mark(tmp_path):
    """A place that only code from a file would make."""
    yield tmp_path / "it-ran"
    assert not (tmp_path / "it-ran").exists()


def test_the_bomb_would_go_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "x")))
    assert (tmp_path / "x").is_dir()


def read(path):
    try:
        return dlq.load(str(path), since=None)
    except DLQError:
        return None


def test_a_parquet_file_with_pickles_in_it_runs_nothing(tmp_path, mark):
    payload = pickle.dumps(Bomb(mark))
    kind = pa.field("kwargs", pa.string(), metadata={
        "ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": payload,
    })  # fmt: skip
    names = {
        "failure_id": ["1"],
        "source": ["shop"],
        "failed_at": [pd.Timestamp("2026-11-01", tz="UTC")],
    }
    rest = pa.table(names)
    table = pa.table(
        [*rest.columns, pa.array(["{}"]), pa.array([payload])],
        schema=pa.schema(
            [*rest.schema, kind, pa.field("raw", pa.binary())],
            metadata={b"pandas": payload, b"dlq": payload},
        ),
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert found is None or found["kwargs"].tolist() == ["{}"]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_a_file_that_is_a_pickle_is_refused_or_kept_as_bytes(tmp_path, mark, ending):
    (tmp_path / f"a.{ending}").write_bytes(pickle.dumps(Bomb(mark)))
    found = read(tmp_path / f"a.{ending}")
    assert found is None or set(found["payload_state"]) <= {"unreadable", "missing"}


def test_payloads_that_look_like_code_stay_text(tmp_path, mark):
    texts = [
        f"__import__('os').mkdir('{mark}')", f"!!python/object/apply:os.mkdir ['{mark}']",
        json.dumps({"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(mark)]}]}),
        "{{ ''.__class__ }}", "${jndi:ldap://127.0.0.1:1/x}",
    ]  # fmt: skip
    rows = [
        {"failure_id": str(n), "source": "shop", "task_name": "t", "failed_at": "2026-11-01T00:00:00Z",
         "kwargs": text, "args": text, "exception_message": text}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read(tmp_path / "a.jsonl").pipe(dlq.classify).pipe(dlq.fingerprint)
    assert sorted(found["exception_message"]) == sorted(texts)
    assert len(dlq.groups(found)) and table_html(found)


def test_rules_and_profile_are_toml_and_nothing_else(tmp_path, mark):
    for text in (f"!!python/object/apply:os.mkdir ['{mark}']", f"import os; os.mkdir('{mark}')"):
        (tmp_path / "x.toml").write_text(text)
        with pytest.raises(DLQError):
            Profile.load(tmp_path / "x.toml")
        with pytest.raises(DLQError):
            read_rules(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(DLQError):
        Profile.load(tmp_path / "x.toml")


def test_of_a_long_text_only_its_beginning_is_redacted():
    rows = (
        failures()
        .head(1)
        .assign(exception_message="password=x1y2z3 " + "jo@example.com " * 1_400_000)
    )
    started = time.process_time()
    shown = table_html(rows)
    assert time.process_time() - started < 20
    assert len(shown) < 200_000 and "x1y2z3" not in shown


@pytest.mark.parametrize("kind", ["one text, many times", "a page of zeros", "nested"])
def test_a_small_file_that_decodes_to_very_much_is_refused(tmp_path, monkeypatch, kind):
    """With a bound of 64 MB in place of 1 GiB, so that the test itself needs no memory."""
    monkeypatch.setattr(bombs, "ROOM", 1 << 26)
    path, many = tmp_path / "small.parquet", pa.array(np.zeros(100_000, "int32"))
    columns = {
        "one text, many times": lambda: pa.DictionaryArray.from_arrays(many, ["x" * 1_000_000]),
        "a page of zeros": lambda: pa.array(["0" * (100 << 20)], pa.large_string()),
        "nested": lambda: pa.ListArray.from_arrays([0, 8 << 20], np.zeros(8 << 20, "int8")),
    }
    table = pa.table({"exception_message": columns[kind]()})
    pq.write_table(table, path, compression="zstd", use_dictionary=kind != "a page of zeros")
    del table
    assert path.stat().st_size < 60_000
    with pytest.raises(SchemaError, match="made to fill memory"):
        dlq.load(str(path), since=None)
    with pytest.raises(SchemaError, match="made to fill memory"):
        archive.read(path)


def test_failures_that_are_all_alike_are_no_bomb(tmp_path):
    rows = pa.table({"exception_message": ["x" * 1_000] * 100_000, "task_name": ["send"] * 100_000})
    pq.write_table(rows, tmp_path / "alike.parquet", compression="zstd")
    assert len(dlq.load(str(tmp_path / "alike.parquet"), since=None)) == 100_000


def test_lines_that_each_have_names_of_their_own_are_refused(tmp_path):
    lines = (
        json.dumps({"task_name": "t"} | {f"k{n}_{m}": 1 for m in range(50)}) for n in range(100)
    )
    (tmp_path / "wide.jsonl").write_text("\n".join(lines))
    with pytest.raises(SchemaError, match="more than 2,000 columns"):
        dlq.load(str(tmp_path / "wide.jsonl"), since=None)
