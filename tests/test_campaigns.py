"""Some campaigns of bench/reliability.py in their short form, so that they do not rot. Kills and races of each hand
stand in the tests of that hand; the whole is `make bench ONLY=reliability`."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from bench import reliability
from bench.campaigns import faults, hostile, journal, kills, paper
from bench.campaigns.operators import ROOT
from bench.campaigns.results import Results
from bench.campaigns.worlds import WORLDS
from tests.waiting import until

SEED = 7


@pytest.fixture
def ground(services, tmp_path, monkeypatch):
    """The session's servers; a folder of the test's own."""
    monkeypatch.setenv("DLQ_ADMIN_TOKEN", reliability.TOKEN)
    monkeypatch.setenv("NO_PROXY", "*")
    made = reliability.Ground(reliability.Size.named("short"), tmp_path, services)
    return made


def test_answers_that_get_lost(ground):
    cut = partial(faults.cut, seed=SEED, cuts=2, every=15, of="source")
    count = ground.campaign("redis_list", cut, works=False)
    assert count.kept and count.executed == count.planned, count


def test_a_full_disk_stops_a_run_that_goes_on_later(ground):
    count = ground.campaign("redis_list", faults.full)
    assert count.kept and count.faults and count.executed == count.planned, count


def test_hostile_payloads_go_as_they_are_or_stay(ground):
    with ground.place(("postgres", "redis")) as place:
        told = hostile.celery(place)
    assert not told.changed and told.same + len(told.held) == told.given, told
    assert told.same >= 5


def test_the_page_says_what_was_counted(ground, tmp_path):
    count = ground.campaign("redis_list", partial(kills.killed, kills=1, seed=SEED))
    assert count.kept and count.ended, count
    lost = replace(count, lost=1)
    results = Results(tmp_path / "results.jsonl")
    for name, row in (("a", count), ("b", lost), ("c", replace(count, ended=False, left=3))):
        results.put(name, [row], ground.size._asdict(), SEED, paper.machine())
    results.put("speed", [journal.measured(tmp_path, 20)], ground.size._asdict(), SEED, "")
    text = paper.page(results.read(), ["a", "b", "c", "d"])
    assert "**1 of 3 campaigns kept the promise to the end.** 1 kept it as far as" in text
    assert "Not run yet: d." in text and "## Not kept" in text
    assert "| Redis list | killed | 30 | 30 | 0 |" in text


def test_a_campaign_ends_when_its_time_is_over(ground):
    ground.limit = 0.0
    count = ground.campaign("redis_list", partial(kills.killed, kills=9, seed=SEED))
    assert count.kept and count.ended and not count.faults, count


def test_operators_end_with_whoever_started_them(ground, tmp_path):
    lines = [
        "import json, os, pathlib, sys, time",
        "from bench.campaigns.operators import Operators, Order",
        "pid = Operators(pathlib.Path(sys.argv[1])).start(Order(**json.loads(sys.argv[2])))",
        "print(pid, flush=True)",
        "sys.stdin.read()",
        "os.kill(os.getpid(), 9)",
    ]
    with ground.place(("redis",)) as place, WORLDS["redis_list"](place, 30) as world:
        order = replace(world.order, journal=f"sqlite:///{tmp_path / 'journal.sqlite'}", rate="1/m")
        command = [sys.executable, "-c", "\n".join(lines), str(tmp_path), json.dumps(asdict(order))]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        operator = Path(f"/proc/{int(process.stdout.readline())}")
        until(world.count)
        assert operator.exists()
        process.communicate()
        until(lambda: not operator.exists())
        assert world.count() == 1


def test_a_result_is_kept_until_there_is_one_that_tells_more(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    large, small = {"failures": 100}, {"failures": 10}
    results.put("speed", ["large"], large, SEED, "")
    results.put_broken("speed", "no server")
    assert results.read()["speed"].rows == ["large"] and results.read()["speed"].broken
    results.put("speed", ["small"], small, SEED, "")
    assert results.read()["speed"].rows == ["large"] and not results.read()["speed"].broken
    changed = hostile.Bytes("Redis list", 2, 1, [], ["NUL"])
    results.put("speed", [changed], small, SEED, "")
    assert results.read()["speed"].rows == [changed]
