"""The priority queue at a real Redis: every element is a row, and what its monitor tells."""

import itertools
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, QueryError, SettingsError
from dlqanalysis.model import State
from dlqanalysis.sources import connect, connect_hand, connect_monitor
from dlqanalysis.sources.priority_redis.entries import _expiry
from tests.priority_world import World, done, items, loaded, states, world
from tests.source_suite import check_source

__all__ = ["world"]  # a fixture


def test_the_suite(world):
    for n, priority in zip(range(8), itertools.cycle(("high", "normal", "low")), strict=False):
        world.dead(f"t{n}", priority, task_type=("send_email", "charge")[n % 2])
    world.redis.lpush(world.key("dlq:low"), b"\xff not json", b'{"cut": ')
    check_source(connect(world.url), world.state)


def test_a_row_has_what_the_entry_and_its_task_say(world):
    raw = world.dead("t1", "high")
    row = loaded(world, columns=["raw"]).iloc[0]
    assert row["raw"] == raw
    assert (row["task_id"], row["task_name"], row["queue"], row["priority"], row["status"]) == (
        "t1", "send_email", "high", "high", "failed",
    )  # fmt: skip
    assert row["kwargs"] == '{"user_id": 1, "big": 9007199254740998, "list": []}'
    assert (row["retries"], row["max_retries"], row["idempotency_key"]) == (3, 3, "key-t1")
    assert abs(row["expires_at"] - row["failed_at"] - timedelta(days=7)) < timedelta(seconds=2)


@pytest.mark.parametrize("hours", [0, 2, -9.5])
def test_the_zone_of_naive_times_is_measured_by_what_expires(redis_url, key_prefix, hours):
    world = World(redis_url, key_prefix, hours)
    world.dead("t1")
    failures = loaded(world)
    assert abs(failures["failed_at"].iloc[0] - datetime.now(UTC)) < timedelta(minutes=1)
    assert "by what expires 7 days after it" in " ".join(failures.attrs["notes"])


def test_without_anything_to_measure_by_it_is_utc_or_what_the_url_says(world):
    world.dead("t1", failed_at="2026-07-01T12:00:00")
    world.redis.delete(world.key("dlq:task:t1"))
    failures = loaded(world)
    notes = " ".join(failures.attrs["notes"])
    assert failures["failed_at"].iloc[0] == pd.Timestamp("2026-07-01T12:00Z")
    assert "taken for UTC" in notes and "1 of 1 entries have no dlq:task copy" in notes
    there = loaded(world, "&tz=America/New_York")
    assert there["failed_at"].iloc[0] == pd.Timestamp("2026-07-01T16:00Z")


def test_what_expires_at_once_measures_no_zone(world):
    for n in range(4):
        world.dead(f"t{n}", failed_at=f"2026-07-01T{n + 8:02d}:15:00")
        world.redis.expire(world.key(f"dlq:task:t{n}"), 5 * 86400)
    failures = loaded(world)
    assert failures["failed_at"].iloc[0] == pd.Timestamp("2026-07-01T08:15Z")
    assert "taken for UTC" in " ".join(failures.attrs["notes"])


def test_corrupt_elements_stay_rows_with_their_bytes(world):
    world.dead("t1")
    odd = [b"", b"\xff\xfe", b'{"a": ', b"[1]", b"null", b'"text"', b"[" * 5000, b'{"task_id": 5}']
    world.redis.lpush(world.key("dlq:normal"), *odd)
    failures = loaded(world, columns=["raw"])
    assert sorted(failures["raw"]) == sorted([*odd, *world.list("dlq:normal")[-1:]])
    assert failures["failure_id"].is_unique
    assert failures["payload_state"].value_counts().to_dict() == {
        "unreadable": 7, "complete": 1, "missing": 1,
    }  # fmt: skip


def test_a_list_longer_than_a_page_is_read_whole_while_others_push(world):
    raws = [b'{"task_id": "%d", "payload": {}}' % n for n in range(3500)]
    world.redis.rpush(world.key("dlq:low"), *raws)
    numbers = itertools.count()
    end = world.meanwhile(
        lambda: world.redis.lpush(world.key("dlq:low"), b'{"task_id": "new-%d"}' % next(numbers))
    )
    try:
        failures = loaded(world)
    finally:
        end()
    assert failures["failure_id"].is_unique
    assert {str(n) for n in range(3500)} <= set(failures["task_id"])


def test_equal_elements_are_failures_of_their_own_and_keep_their_names(world):
    raw = b'{"task_id": "t", "task_type": "x", "payload": {}, "failed_at": "2026-11-20T10:00:00Z"}'
    world.redis.lpush(world.key("dlq:high"), raw, raw, raw)
    failures = loaded(world)
    first, second, third = sorted(failures["failure_id"])
    assert (second, third) == (first + "#2", first + "#3")
    one = failures[failures["failure_id"] == second]
    assert states(done(world, one, "purge")) == ["sent"]
    assert sorted(loaded(world)["failure_id"]) == [first, third]
    again = done(world, one, "purge", run_id="run-2")[second]
    assert again.state == State.SKIPPED and "run run-1 did it before" in again.detail
    assert len(world.list("dlq:high")) == 2


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("priority+redis://", "cannot be read"),
        ("priority+redis://h:6379/x", "cannot be read"),
        ("priority+redis://u:s3cret@h/0?nope=1", "'nope' is no option"),
        ("priority+redis://u:s3cret@h/0?ttl=soon", "is not a duration"),
    ],
)
def test_a_wrong_url_is_told_without_its_secrets(url, told):
    with pytest.raises(SettingsError, match=told) as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)


def test_another_type_of_key_and_nobody_there_are_sentences(world):
    world.redis.set(world.key("dlq:high"), "x")
    with pytest.raises(ConnectError, match="another type of key"):
        loaded(world)
    with pytest.raises(ConnectError, match="does not answer"):
        dlq.load(connect("priority+redis://:s3cret@127.0.0.1:1/0"))
    with pytest.raises(QueryError, match="no failure of this queue"):
        connect(world.url).details(["x"], ["raw"])


def test_the_copys_expiry_is_known_of_an_older_redis_too(world):
    world.dead("t1")
    key = world.key("dlq:task:t1")
    assert abs(_expiry(world.redis, key) - world.redis.pexpiretime(key)) < 2000
    assert _expiry(world.redis, world.key("nothing")) == 0


def test_the_systems_own_monitor_is_watched(world):
    def watched(options=""):
        return next(f for f in connect_monitor(world.url + options).health() if f.name == "watcher")

    assert "left no figures" in watched().text
    world.redis.hset(world.key("metrics:dlq"), "last_check", world.now())
    assert watched("&tz=UTC").severity == "ok" and world.now()[:13] in watched().text
    world.redis.hset(world.key("metrics:dlq"), "last_check", "2026-01-01T00:00:00")
    assert watched("&tz=UTC").severity == "warning" and watched().severity == "ok"


def test_preflight_and_monitor(world):
    world.dead("t1", "high")
    world.dead("t1", "high")
    world.redis.lpush(world.key("tasks:high"), "other")
    failures = loaded(world)
    with connect_hand(world.url) as hand:
        found = {f.name: f for f in hand.preflight(items(failures))}
    assert found["tasks high"].facts == {"waiting": 1, "dead": 2, "planned": 2}
    assert "same task" in found and not any(f.blocks for f in found.values())
    monitor = connect_monitor(world.url + "&tz=UTC")
    depths = monitor.depths().set_index(["queue", "state"])
    assert depths.loc[("high", "dead_lettered"), "depth"] == 2
    assert depths.loc[("high", "waiting"), "depth"] == 1 and depths["depth"].sum() == 3
    oldest = depths.loc[("high", "dead_lettered"), "oldest_at"]
    assert oldest == failures["failed_at"].min()
    assert monitor.health()[0].severity == "ok"
    for nothing in (monitor.workers(), monitor.running()):
        assert len(nothing) == 0 and nothing.attrs["notes"]
    monitor.close()
