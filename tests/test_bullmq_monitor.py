"""What BullMQ's monitor tells of real queues and workers of 5 and 6: depths, who holds what, what is wrong."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import redis

import dlqanalysis as dlq
from dlqanalysis import readings
from dlqanalysis.demo import servers
from dlqanalysis.frame import check
from dlqanalysis.model import State
from dlqanalysis.sources import connect_hand, connect_monitor
from tests.bull import bull, bull6, content, peer
from tests.test_bullmq import sent, set_queue
from tests.waiting import QUICK, until

__all__ = ["bull", "bull6", "peer"]  # fixtures


@pytest.fixture
def monitor(request):
    """A function that opens one."""
    opened = []

    def open_(bull):
        opened.append(connect_monitor(bull.url))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def depth(frame, queue="default"):
    mine = frame[(frame["queue"] == queue) & (frame["depth"] > 0)]
    return dict(zip(mine["state"], mine["depth"], strict=True))


def test_depths_of_every_state(bull, monitor):
    began = datetime.now(UTC) - timedelta(seconds=1)
    bull.fail({}, {})
    bull.add({"opts": {"delay": 90_000}}, {"opts": {"priority": 3}}, {}, {}, {})
    bull.add({"opts": {"removeOnComplete": False}}, queue="other")
    bull.work("ok", "other", name="worker-7")
    until(lambda: bull.redis.zcard(bull.key("completed", "other")))
    before = content(bull.redis, f"{bull.prefix}:default:*")
    watching = monitor(bull)
    found = dlq.depths(watching)
    assert depth(found) == {"waiting": 3, "delayed": 1, "prioritized": 1, "failed": 2}
    assert depth(found, "other") == {"completed": 1}
    assert found.set_index("queue")["consumers"].groupby("queue", observed=True).max().to_dict() == {
        "default": 0, "other": 1,
    }  # fmt: skip
    oldest = found.set_index(["queue", "state"])["oldest_at"]
    for key in (("default", "waiting"), ("default", "failed"), ("other", "completed")):
        assert began < oldest[key] < datetime.now(UTC) + timedelta(seconds=1)
    assert dict(found.dtypes[["depth", "consumers", "at"]]) == dict(
        readings.depths([]).dtypes[["depth", "consumers", "at"]]
    )
    bull.ask("pause")
    paused = dlq.depths(watching)
    assert paused.attrs["notes"] == ["Queue default is paused."]
    assert depth(paused).get("paused" if bull.version == 5 else "waiting") == 3
    bull.ask("resume")
    [worker] = dlq.workers(watching).to_dict("records")
    assert (worker["worker"], worker["queues"]) == ("worker-7", "other")
    assert worker["started_at"] > began - timedelta(seconds=5)
    assert (
        content(bull.redis, f"{bull.prefix}:default:*")[bull.key("failed").encode()]
        == (before[bull.key("failed").encode()])
    )


def test_what_workers_hold_and_what_waits(bull, monitor):
    [busy] = bull.add({"name": "pdf.generate", "data": {"n": 1}})
    began = datetime.now(UTC) - timedelta(seconds=1)
    bull.work("hold", concurrency=1, name="worker-7")
    until(lambda: bull.peer.ran)
    next_, later = bull.add({"data": {"n": 2}}, {"opts": {"delay": 90_000}})
    watching = monitor(bull)
    [row] = check(dlq.running(watching)).to_dict("records")
    assert (row["task_id"], row["task_name"], row["status"], row["worker"]) == (
        f"default:{busy}", "pdf.generate", "active", "worker-7",
    )  # fmt: skip
    assert began < row["failed_at"] < datetime.now(UTC) + timedelta(seconds=1)
    assert row["kwargs"] == '{"n":1}' and row["payload_state"] == "complete"
    every = check(watching.running(("active", "waiting", "delayed"))).set_index("task_id")["status"]
    assert every.to_dict() == {
        f"default:{busy}": "active", f"default:{next_}": "waiting", f"default:{later}": "scheduled",
    }  # fmt: skip
    cut = watching.running(("delayed",), most=1)
    assert "at most 1" in cut.attrs["notes"][0]
    plan = dlq.plan(every_frame(watching), reason="x", action="purge", limit=9)
    assert len(plan.chosen) == 3  # a plan can name them; the hand leaves what has not failed alone
    with connect_hand(bull.url) as hand:
        found = list(hand.send("purge", list(plan.items()), "run-1"))
    assert {r.state for r in found} <= {State.SKIPPED, State.REFUSED}
    assert bull.redis.exists(bull.key(next_), bull.key(later)) == 2


def every_frame(watching):
    return watching.running(("active", "waiting", "delayed"))


def test_a_queue_is_paused_by_plan(bull, monitor):
    """The emergency stop: workers take nothing more, and not one job is deleted."""
    bull.add({}, {}), bull.add({}, queue="späť ☃")
    watching, journal = monitor(bull), dlq.Journal()
    for action, status in (("pause", "paused"), ("unpause", "running")):
        plan = dlq.plan(watching.queues(), journal, reason="provider is ill", action=action)
        with connect_hand(bull.url) as hand:
            run = dlq.replay(plan, to=hand, journal=journal, confirm=plan.id, **QUICK)
        assert journal.items(run.run_id)["state"].tolist() == [State.SENT] * 2
        assert watching.queues()["status"].astype("str").tolist() == [status] * 2
        assert bull.redis.hexists(bull.key("meta", "späť ☃"), "paused") == (status == "paused")
        if action == "pause":
            bull.work()
            time.sleep(0.1)
            assert bull.peer.ran == []
    until(lambda: len(bull.peer.ran) == 2)


def test_a_job_whose_worker_is_gone_is_stalled(bull, monitor):
    one, two = bull.add({}, {})
    bull.redis.lrem(bull.key("wait"), 1, one), bull.redis.lpush(bull.key("active"), one)
    bull.redis.hset(bull.key(one), mapping={"processedOn": int(time.time() * 1000), "pb": "gone"})
    watching = monitor(bull)
    assert watching.running()["status"].tolist() == ["stalled"]
    named = {f.name: f for f in watching.health()}
    stalled = named["stalled default"]
    assert stalled.severity == "warning" and stalled.facts["jobs"] == [one]
    assert "1 job waits in queue default, and nobody works" in named["workers default"].text
    bull.redis.set(bull.key(f"{one}:lock"), "w", px=60_000)
    assert watching.running()["status"].tolist() == ["active"]
    assert "stalled default" not in {f.name for f in watching.health()}
    assert bull.redis.lrange(bull.key("wait"), 0, -1) == [two.encode()]


def test_ids_in_two_places_are_told(bull, monitor):
    ids = bull.fail({}, {}, {})
    [waiting] = bull.add({})
    watching = monitor(bull)
    assert len(watching.duplicates()) == 0
    bull.redis.lpush(bull.key("wait"), ids[0], ids[1], ids[1], "0:0")  # a runbook's LPUSH
    bull.redis.zadd(bull.key("delayed"), {waiting: 1})
    found = watching.duplicates().set_index("job")["places"].to_dict()
    assert found == {
        ids[0]: "waiting, failed", ids[1]: "waiting, waiting, failed", waiting: "waiting, delayed",
    }  # fmt: skip
    [finding] = [f for f in watching.health() if f.name == "duplicates default"]
    assert finding.severity == "critical" and "3 jobs stand in two places" in finding.text
    states = {r.failure_id.partition("@")[0]: r.state for r in sent(bull).values()}
    assert states == {
        f"default:{ids[0]}": State.REFUSED, f"default:{ids[1]}": State.REFUSED,
        f"default:{ids[2]}": State.SENT,
    }  # fmt: skip


def test_jobs_that_move_while_we_look_are_no_duplicates(bull, monitor):
    bull.work(concurrency=4)
    produced = bull.ask("produce", ms=600, wait=False)
    watching = monitor(bull)
    looks = 0
    while not bull.peer.ran or looks < 8:
        assert len(watching.duplicates()) == 0
        assert set(watching.running()["status"].astype("str")) <= {"active"}
        looks += 1
    assert produced() > 1  # they did move; how many depends on the machine


def test_health_of_redis_and_queues(bull6, monitor):
    bull6.fail({"opts": {"removeOnFail": {"age": 3600}}}, {})
    with connect_hand(bull6.url) as hand:
        set_queue(hand, "pause", "run-1")
    watching = monitor(bull6)
    named = {f.name: f for f in watching.health()}
    assert named["redis"].severity == "ok" and "MB" in named["memory"].text
    assert named["paused default"].severity == "warning"
    assert "1 of the newest 2 failures" in named["removes default"].text
    assert not {"eviction", "stalled default", "duplicates default"} & set(named)
    bull6.redis.set(bull6.key("meta", "odd"), "x")
    bull6.redis.zadd(bull6.key("failed", "odd"), {"1": 1})
    bull6.redis.set(bull6.key("wait", "odd"), "x")
    odd = {f.name: f for f in watching.health()}["queue odd"]
    assert "cannot be looked at" in odd.text
    assert watching.depths().set_index(["queue", "state"])["depth"].isna()[("odd", "waiting")]


def test_a_small_redis_that_evicts_is_told():
    with servers.valkey() as url, redis.Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        watching = connect_monitor(f"bullmq+{url}")
        unlimited = {f.name: f for f in watching.health()}
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
        named = {f.name: f for f in watching.health()}
        watching.close()
    assert unlimited["eviction"].severity == "warning" and unlimited["memory"].severity == "ok"
    assert named["eviction"].severity == "critical" and "allkeys-lru" in named["eviction"].text
    assert named["memory"].severity == "critical" and named["memory"].facts["maxmemory"] > 0


def test_redis_that_is_down_is_a_finding():
    down = connect_monitor(f"bullmq+redis://user:hidden-word@127.0.0.1:{servers.free_port()}/0")
    [finding] = down.health()
    assert finding.severity == "critical" and "does not answer" in finding.text
    assert "hidden-word" not in str(finding)
    assert "does not answer" in dlq.depths(down).attrs["notes"][0]


def test_a_reader_who_may_not_list_clients_still_sees_depths(bull6, monitor, token):
    bull6.fail({})
    bull6.redis.execute_command(
        "ACL", "SETUSER", token, "on", ">word", "~*", "+@all", "-client|list", "-info", "-time"
    )
    try:
        place = bull6.url.removeprefix("bullmq+redis://").rpartition("@")[2]
        watching = connect_monitor(f"bullmq+redis://{token}:word@{place}")
        found = watching.depths()
        assert depth(found) == {"failed": 1} and found["consumers"].isna().all()
        assert "workers cannot be told" in watching.workers().attrs["notes"][0]
        assert "grant INFO" in {f.name: f for f in watching.health()}["memory"].text
        watching.close()
    finally:
        bull6.redis.execute_command("ACL", "DELUSER", token)
