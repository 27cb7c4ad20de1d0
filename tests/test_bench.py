"""The benches run: each on some hundred failures, in this process, so that none of them rots."""

import importlib
import inspect
import time
from pathlib import Path

import pytest

from bench import beside, data
from bench.__main__ import NAMED_ONLY, NOT_BENCHES
from bench.messages import errors
from bench.report import write
from dlqanalysis.demo import servers
from tests.services import Services

FOLDER = Path(inspect.getfile(beside)).parent
BENCHES = sorted(
    path.stem for path in FOLDER.glob("*.py") if path.stem not in NOT_BENCHES | NAMED_ONLY
)
ROWS = 300


def _here(way, given):
    running = way(**given)
    next(running)
    start = time.perf_counter()
    answer = next(running)
    running.close()
    return {"seconds": time.perf_counter() - start, "megabytes": 1.0, "answer": answer}


@pytest.fixture
def quick(monkeypatch, services: Services, tmp_path):
    """Ways in this process, data in the tests' own servers."""
    monkeypatch.setattr(beside, "_alone", _here)
    monkeypatch.setenv("DLQ_BENCH_POSTGRES_URL", services.get("postgres", servers.postgres))
    monkeypatch.setenv("DLQ_BENCH_REDIS_URL", services.get("valkey", servers.valkey))
    monkeypatch.setenv("DLQ_BENCH_FOLDER", str(tmp_path))


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_runs(name, quick):
    module = importlib.import_module(f"bench.{name}")
    sizes = {"rows": ROWS, "jobs": ROWS, "sizes": (100, ROWS), "repeat": 1}
    known = inspect.signature(module.run).parameters
    lines = module.run(**{key: value for key, value in sizes.items() if key in known})
    assert lines and all(isinstance(line, str) for line in lines)
    assert not [line for line in lines if "read: {" in line or "rows: {" in line], lines


def test_a_way_runs_in_a_process_of_its_own():
    """Its memory is its own, and what it does before its first yield costs no time."""
    found = beside.beside({"large": large, "small": small}, 1, megabytes=300)
    assert found["large"].megabytes > found["small"].megabytes + 250
    assert found["large"].seconds > 0.2 > found["small"].seconds
    assert found["large"].answer == found["small"].answer == 300
    assert beside.table(found, "small")[3].startswith("| **small** |")


def large(megabytes):
    yield
    held = bytearray(b"x") * (megabytes << 20)
    time.sleep(0.2)
    yield len(held) >> 20


def small(megabytes):
    time.sleep(0.3)
    yield
    yield megabytes


def test_the_data_is_the_same_each_time():
    one, other = (next(iter(data.chunks(ROWS))) for _ in range(2))
    assert one.equals(other) and one.num_rows == ROWS
    assert len(set(one["task_name"].to_pylist())) == 12 and len(set(errors(2_000))) > 1_000
    sizes = [len(text) for text in one["traceback"].to_pylist()]
    assert min(sizes) > 800 and max(sizes) < 4_000


def test_a_section_takes_the_place_of_its_last_one(tmp_path):
    path = tmp_path / "RESULTS.md"
    write(path, "load", "## load\nold")
    write(path, "frame", "## frame\nother")
    write(path, "load", "## load\nnew")
    text = path.read_text()
    assert "old" not in text and text.index("## frame") < text.index("## load") < text.index("new")
