"""The benches run: each on some hundred failures, in this process, so that none of them rots."""

import contextlib
import importlib
import inspect
import json
import time
from pathlib import Path

import pytest
import redis

from bench import __main__ as run
from bench import beside, data, goals, html, imports, mutants
from bench.__main__ import KEEPS_ITSELF, NOT_BENCHES
from bench.beside import ROOT
from bench.messages import errors
from bench.others import Others
from bench.report import write
from dlqanalysis.demo import servers
from tests.services import Services

FOLDER = Path(inspect.getfile(beside)).parent
BENCHES = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if path.stem not in NOT_BENCHES | KEEPS_ITSELF | {"mutants"}  # which runs these tests
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
    section = module.run(**{key: value for key, value in sizes.items() if key in known})
    lines = section.lines
    assert lines and all(isinstance(line, str) for line in lines)
    assert {figure.goal for figure in section.figures} <= set(goals.GOALS)
    assert all(figure.measured == figure.measured for figure in section.figures)
    exact = [figure for figure in section.figures if (figure.sign, figure.bound) == ("<=", 0)]
    assert not [figure for figure in exact if figure.measured], (
        "an answer differs, whatever the size"
    )
    again = json.loads(json.dumps(goals.kept(section, "here")))
    assert len(again["figures"]) == len(section.figures)
    _MEASURED.update(figure.goal for figure in section.figures)
    assert not [line for line in lines if "read: {" in line or "rows: {" in line], lines


def test_mutants_are_of_packages_that_are_there_and_of_tests_that_are():
    assert all((ROOT / "dlqanalysis" / package).is_dir() for package in mutants.TESTS)
    files = {f"test_{name}.py" for names in mutants.TESTS.values() for name in names}
    assert all((ROOT / "tests" / name).is_file() for name in files)


_MEASURED: set[str] = set()


def test_every_goal_is_measured_by_a_bench():
    """In the figures of the tests above: a goal that no bench names would never be met, nor missed."""
    assert set(goals.GOALS) == _MEASURED


def test_goals_say_what_is_met_and_what_was_not_measured():
    figures = [goals.at_most("P1", "a / b", 1.4, 1.5), goals.at_least("P2", "c / d", 19, 20)]
    kept = goals.kept(goals.Section([], figures), "two cores")
    lines = goals.table({"whole": kept})
    assert "1 of 15 goals met in all their figures, 2 measured" in lines[0]
    assert "| P1 | a / b | <= 1.5 | 1.4 | yes | whole |" in lines[4]
    assert "| P2 | c / d | >= 20 | 19 | **no** | whole |" in lines[5]
    assert lines[6] == "| P3 | not measured | | | **no** | | |"


def test_a_way_runs_in_a_process_of_its_own():
    """Its memory is its own, and what it does before its first yield costs no time."""
    found = beside.beside({"large": large, "small": small}, 1, megabytes=300)
    assert found["large"].megabytes > found["small"].megabytes + 250
    assert found["large"].seconds >= 1 > found["small"].seconds
    assert found["large"].answer == found["small"].answer == 300
    assert beside.table(found, "small")[3].startswith("| **small** |")


def large(megabytes):
    yield
    held = bytearray(b"x") * (megabytes << 20)
    time.sleep(1)
    yield len(held) >> 20


def small(megabytes):
    time.sleep(1.2)
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


def test_a_bench_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    def fails():
        raise beside.Failed("no server")

    monkeypatch.setattr(run, "HERE", tmp_path)
    for name in ("html", "imports", "ten_million"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(html, "run", fails)
    figure = goals.at_most("P12", "a / b", 1, 2)
    monkeypatch.setattr(imports, "run", lambda: goals.Section(["told"], [figure]))
    assert run.main([]) == 1
    assert "FAILED: no server" in (said := capsys.readouterr().out)
    assert "left with their last figures: html." in said
    assert list(json.loads((tmp_path / "RESULTS.json").read_text())) == ["imports"]


def test_a_way_that_fails_or_never_ends_fails_its_bench(monkeypatch):
    with pytest.raises(beside.Failed, match="no such thing"):
        beside.beside({"": broken}, 1)
    monkeypatch.setattr(beside, "PATIENCE", 1)
    with pytest.raises(beside.Failed, match="had not ended after 1 s"):
        beside.beside({"": endless}, 1)


def broken():
    yield
    raise OSError("no such thing")


def endless():
    yield
    time.sleep(3_600)


def test_a_redis_that_turns_others_away_keeps_them_waiting():
    """A whole getFailed is one script: after a while Redis answers everybody that it is busy."""
    with servers.valkey() as url, redis.Redis.from_url(url) as client:
        client.config_set("busy-reply-threshold", 50)
        script = "local t = redis.call('TIME')[1] + 2 while redis.call('TIME')[1] + 0 < t do end"
        with Others(url) as others:
            client.eval(script, 0)
            assert others.longest() > 900


def test_benches_of_one_run_share_their_servers(monkeypatch):
    monkeypatch.delenv("DLQ_BENCH_REDIS_URL", raising=False)
    seen = []

    @contextlib.contextmanager
    def start():
        seen.append("started")
        yield "redis://here"
        seen.append("gone")

    monkeypatch.setattr(servers, "valkey", start)
    with data.shared_servers():
        for _ in range(2):
            with data.redis_server() as url:
                assert url == "redis://here" and seen == ["started"]
    assert seen == ["started", "gone"]
    with data.redis_server():
        assert seen[2:] == ["started"]
