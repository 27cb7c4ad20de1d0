"""Some campaigns of bench/reliability.py in their short form, so that they do not rot. Kills and races of each hand
stand in the tests of that hand; the whole is `make bench ONLY=reliability`."""

from functools import partial

import pytest

from bench import reliability
from bench.campaigns import faults, hostile, journal, kills, paper

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
    lost = type(count)(**{**vars(count), "lost": 1})
    text = paper.page(ground.size, SEED, [count, lost], [], [], journal.measured(tmp_path, 20), 1.0)
    assert "**1 of 2 campaigns kept the promise.**" in text and "## Not kept" in text
    assert "| Redis list | killed | 30 | 30 | 0 |" in text
