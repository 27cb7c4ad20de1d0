"""The campaigns of bench/reliability.py in their short form, so that they do not rot and the promise is kept."""

import os
from functools import partial

import pytest

from bench import reliability
from bench.campaigns import faults, hostile, journal, kills, paper
from bench.campaigns.worlds import WORLDS

SEED = 7
AMQP = {name: pytest.mark.rabbitmq for name in ("celery_rabbit", "rabbitmq")}
each = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=AMQP.get(name, ())) for name in WORLDS if name != "bullmq6"],
)


@pytest.fixture
def ground(services, tmp_path, monkeypatch):
    """The session's servers; a folder of the test's own."""
    monkeypatch.setenv("DLQ_ADMIN_TOKEN", reliability.TOKEN)
    monkeypatch.setenv("NO_PROXY", "*")
    made = reliability.Ground(reliability.Size.named("short"), tmp_path, services)
    return made


@each
def test_killed_operators_are_followed_by_others_and_all_runs_once(ground, name):
    count = ground.campaign(name, partial(kills.killed, kills=2, seed=SEED))
    assert count.kept, count
    assert count.planned == count.executed + count.left or name == "celery_rabbit", count
    assert count.executed + count.uncertain >= count.planned


@pytest.mark.parametrize("name", ["celery_redis", "bullmq6"])
def test_two_operators_with_one_journal(ground, name):
    count = ground.campaign(name, partial(kills.opposite, shared=True))
    assert count.kept and count.executed == count.planned, count


@pytest.mark.parametrize("name", reliability.HTTP)
def test_a_server_that_performs_and_hangs_up(ground, name):
    count = ground.campaign(name, partial(faults.dropped, seed=SEED))
    assert count.kept and count.faults, count


@pytest.mark.parametrize(("name", "of"), [("redis_list", "source"), ("celery_redis", "source")])
def test_answers_that_get_lost(ground, name, of):
    cut = partial(faults.cut, seed=SEED, cuts=2, every=15, of=of)
    count = ground.campaign(name, cut, works=False)
    assert count.kept and count.executed == count.planned, count


def test_a_full_disk_stops_a_run_that_goes_on_later(ground):
    count = ground.campaign("redis_list", faults.full)
    assert count.kept and count.faults and count.executed == count.planned, count


@pytest.mark.skipif("DLQ_TEST_REDIS_URL" in os.environ, reason="kills a private Valkey only")
def test_a_server_that_is_killed_and_comes_back(ground):
    count = ground.restart("priority_redis", "redis", SEED)
    assert count.kept and count.executed == count.planned, count


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
