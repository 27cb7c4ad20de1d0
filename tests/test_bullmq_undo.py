"""What the BullMQ hand takes back and mends: replays undone, data repaired, ids in two places; real 5 and 6."""

import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

import dlqanalysis as dlq
from dlqanalysis.model import Outcome, State
from dlqanalysis.sources import connect, connect_hand
from dlqanalysis.sources.bullmq import look, scripts
from dlqanalysis.sources.bullmq.keys import failure
from tests.bull import bull, bull6, content, peer
from tests.test_bullmq import flow, items, loaded, queue_item, sent
from tests.waiting import until

__all__ = ["bull", "bull6", "peer"]  # fixtures


def undone(bull, failures, run_id="run-2", undoes="run-1"):
    return sent(bull, failures, action="undo", run_id=run_id, undoes=undoes)


def details(receipts):
    return Counter(f"{r.state}: {r.detail}" for r in receipts.values())


@pytest.mark.parametrize("options", ["", "&reset_attempts=yes"])
def test_an_undone_replay_leaves_everything_as_it_was(bull, options):
    bull.fail({"opts": {"attempts": 2}}, {"opts": {"priority": 7}}, {"opts": {"lifo": True}})
    pattern = f"{bull.prefix}:default:[0-9f]*"  # jobs and the failed set
    before = content(bull.redis, pattern)
    failures = loaded(bull)
    assert details(sent(bull, failures, options=options)) == {
        "sent: to wait": 2, "sent: to prioritized": 1,
    }  # fmt: skip
    assert content(bull.redis, pattern) != before
    with connect_hand(bull.url) as hand:  # a crash before the undo began
        settled = hand.settle(items(failures, undoes="run-1"), "run-2")
        assert {r.state for r in settled} == {State.NOT_REACHED}
    assert details(undone(bull, failures)) == {"sent: ": 3}
    assert content(bull.redis, pattern) == before
    assert bull.redis.llen(bull.key("wait")) == bull.redis.zcard(bull.key("prioritized")) == 0
    assert not bull.redis.keys(f"dlqanalysis:{bull.prefix}:*kept*")
    again = undone(bull, failures)
    assert {r.detail.partition(" at ")[0] for r in again.values()} == {"done"}
    with connect_hand(bull.url) as hand:
        taken_back = list(hand.settle(items(failures), "run-1"))
        assert {r.state for r in taken_back} == {State.SKIPPED}
        assert all(r.detail.startswith("run run-2 took it back (undo at") for r in taken_back)
        undo = items(failures, undoes="run-1")
        assert {r.state for r in hand.settle(undo, "run-2")} == {State.SENT}
    assert {r.state for r in sent(bull, failures, run_id="run-3").values()} == {State.SENT}
    bull.work()
    until(lambda: len(bull.peer.ran) == 3)
    time.sleep(0.1)
    assert max(bull.runs().values()) == 1


def test_what_a_worker_has_taken_cannot_be_taken_back(bull):
    first, running, touched, changed, stranger, pushed = bull.fail(*({} for _ in range(6)))
    failures = loaded(bull).set_index("task_id")
    rows = {one: failures.loc[[f"default:{one}"]].reset_index() for one in bull.failed()}
    assert "the ledger knows of no replay" in str(undone(bull, rows[first]))
    sent(bull, rows[running])
    bull.work("hold", concurrency=1)
    until(lambda: bull.peer.ran)
    assert "a worker has taken it" in str(undone(bull, rows[running]))
    bull.rest()
    assert "its job is gone: it has run" in str(undone(bull, rows[running]))
    for one in (touched, changed, pushed):
        sent(bull, rows[one])
    sent(bull, rows[stranger], run_id="run-0")
    bull.redis.hset(
        bull.key(touched), "processedOn", 1
    )  # a worker had it, and it came back stalled
    bull.redis.hset(bull.key(changed), "data", "{}")
    bull.redis.rpush(bull.key("wait"), pushed)
    assert "a worker has taken it" in str(undone(bull, rows[touched]))
    assert "its content changed since it was replayed" in str(undone(bull, rows[changed]))
    assert "run run-0 did something else with it (replay" in str(undone(bull, rows[stranger]))
    assert "its id stands in `wait` as well" in str(undone(bull, rows[pushed]))
    assert bull.failed() == [first]


def test_an_undo_against_workers_that_take_everything(bull):
    """Each job is either run once or back in `failed`, whoever came first."""
    ids = bull.fail(*({"data": {"n": n}} for n in range(40)))
    failures = loaded(bull)
    bull.work(concurrency=2, slow=40)  # ms: slow enough to leave some on a busy machine
    with connect_hand(bull.url) as hand:
        replayed = list(hand.send("replay", items(failures), "run-1"))
        back = list(hand.send("undo", items(failures.iloc[::-1], undoes="run-1"), "run-2"))
    assert {r.state for r in replayed} == {State.SENT}
    states = Counter(str(r.state) for r in back)
    until(lambda: len(bull.peer.ran) == states["skipped"])
    bull.rest()
    assert states["sent"] > 0 and states.total() == 40
    assert sorted(bull.failed()) == sorted(set(ids) - set(bull.runs()))
    assert len(bull.failed()) == states["sent"] and max(bull.runs().values(), default=1) == 1


def test_a_child_taken_back_leaves_its_parent_as_it_was(bull):
    made = bull.flow(flow("parents", failParentOnFailure=True))
    bull.work("fail")
    bull.work("fail", "parents")
    until(lambda: bull.failed("parents") == [made["parent"]])
    bull.rest()
    pattern = f"{bull.prefix}:parents:{made['parent']}*"
    before = content(bull.redis, pattern)
    children = dlq.load(connect(bull.url), since=None, queue="default")
    sent(bull, children)
    assert bull.redis.scard(bull.key(f"{made['parent']}:dependencies", "parents")) == 1
    assert details(undone(bull, children)) == {"sent: ": 1}
    assert content(bull.redis, pattern) == before
    sent(bull, children, run_id="run-3")
    bull.redis.zrem(bull.key("failed", "parents"), made["parent"])  # somebody took the parent on
    told = undone(bull, children, run_id="run-4", undoes="run-3")
    assert "has gone on with it" in str(told) and bull.failed() == []


def test_a_parent_that_waits_for_this_child_alone_keeps_it(bull6):
    """Taken back, nobody would ever wake the parent."""
    tree = flow("parents", ignoreDependencyOnFailure=True)
    tree["children"].append({**tree["children"][0], "queueName": "slow", "opts": {}})
    made = bull6.flow(tree)
    parent = bull6.key(made["parent"], "parents")
    bull6.work("fail")
    until(lambda: bull6.redis.hlen(f"{parent}:failed") == 1)
    bull6.rest()
    sent(bull6)
    assert bull6.redis.scard(f"{parent}:dependencies") == 2
    failures = dlq.from_records(
        [{"source": "x", "failure_id": r, "queue": "default"} for r in [_last_sent(bull6)]]
    )
    assert details(undone(bull6, failures)) == {"sent: ": 1}
    assert bull6.redis.hlen(f"{parent}:failed") == 1
    sent(bull6, run_id="run-3")
    bull6.work("ok", "slow")
    until(lambda: bull6.redis.scard(f"{parent}:dependencies") == 1)
    told = undone(bull6, failures, run_id="run-4", undoes="run-3")
    assert "has gone on with it" in str(told)
    bull6.work()
    bull6.work("ok", "parents")
    until(lambda: bull6.redis.zscore(bull6.key("completed", "parents"), made["parent"]))


def _last_sent(bull):
    """The failure_id of the only entry of a ledger."""
    [key] = bull.redis.keys(f"dlqanalysis:{bull.prefix}:default:ledger:*")
    [field] = bull.redis.hkeys(key)
    job, _, score = field.decode().partition("\x1f")
    return f"default:{job}@{score}"


def test_other_data_go_in_the_step_that_replays(bull):
    good, corrupt, moved, bad = bull.fail(*({"data": {"n": n}} for n in range(4)))
    bull.redis.hset(bull.key(corrupt), "data", '{"n": ')
    failures = loaded(bull)
    data = b'{"n": 9007199254740993, "a": [], "z": "\\u0000"}'
    chosen = items(failures, payload=data)
    bull.redis.hset(bull.key(moved), "data", '{"n": "by somebody"}')
    with connect_hand(bull.url) as hand:
        before = {one.failure_id for one in chosen if f":{bad}@" in one.failure_id}
        rest = [one for one in chosen if one.failure_id not in before]
        found = {r.failure_id.partition("@")[0]: r for r in hand.send("replay", rest, "run-1")}
        wrong = items(failures[failures["failure_id"].isin(before)], payload=b'{"n": NaN}')
        [refused] = hand.send("replay", wrong, "run-1")
    assert [found[f"default:{one}"].state for one in (good, corrupt, moved)] == [
        State.SENT, State.SENT, State.SKIPPED,
    ]  # fmt: skip
    assert (refused.state, "is no JSON" in refused.detail) == (State.REFUSED, True)
    assert [hash_[b"data"] for hash_ in bull.hashes(good, corrupt)] == [data, data]
    assert sorted(bull.failed()) == sorted([moved, bad])
    back = undone(bull, failures[failures["task_id"] == f"default:{corrupt}"])
    assert details(back) == {"sent: ": 1}
    assert bull.hashes(corrupt)[0][b"data"] == b'{"n": '
    bull.work()
    until(lambda: len(bull.peer.ran) == 1)
    assert bull.peer.ran[0]["ran"] == good and bull.peer.ran[0]["data"]["a"] == []


@pytest.mark.parametrize(
    "place", ["wait", "paused", "active", "prioritized", "delayed", "completed"]
)
def test_an_id_that_stands_in_a_second_place_is_left_alone(bull6, place):
    """A runbook's LPUSH without ZREM: the job waits already, and a replay would run it twice."""
    [one] = bull6.fail({})
    failures = loaded(bull6)
    if place in ("wait", "paused", "active"):
        bull6.redis.lpush(bull6.key(place), one)
    else:
        bull6.redis.zadd(bull6.key(place), {one: 5})
    before = content(bull6.redis, f"*{bull6.prefix}*")
    for action in ("replay", "purge", "archive", "quarantine"):
        [receipt] = sent(bull6, failures, action=action).values()
        assert (receipt.state, f"`{place}` as well" in receipt.detail) == (State.REFUSED, True)
    assert content(bull6.redis, f"*{bull6.prefix}*") == before


@pytest.mark.parametrize(
    ("key", "change", "state"),
    [
        ("pc", lambda r, k: r.set(k, "007"), State.REFUSED),  # INCR would fail, after the first writes
        ("meta", lambda r, k: r.hset(k, "opts.maxLenEvents", "-1"), State.SENT),
        ("meta", lambda r, k: r.hset(k, "opts.maxLenEvents", "1e300"), State.SENT),
        ("events", lambda r, k: r.execute_command("XSETID", k, f"{2**64 - 1}-{2**64 - 1}"), State.SENT),
    ],
)  # fmt: skip
def test_hostile_values_lose_no_job(bull6, key, change, state):
    """What a script is asked for is done or not done, and the receipt says which."""
    [one] = bull6.fail({"opts": {"priority": 2}})
    failures = loaded(bull6)
    change(bull6.redis, bull6.key(key))
    [receipt] = sent(bull6, failures).values()
    assert receipt.state == state, receipt
    there = bull6.redis.zscore(bull6.key("prioritized"), one) is not None
    assert (there, bull6.failed()) == ((True, []) if state == State.SENT else (False, [one]))


def test_a_line_that_refuses_leaves_the_job_where_it_is(bull6, token):
    """A user who may write every key but `wait`: nothing may be half done."""
    [one] = bull6.fail({})
    failures = loaded(bull6)
    admin = bull6.redis
    admin.execute_command("ACL", "SETUSER", token, "on", ">word", "~*", "+@all", "-lpush")
    try:
        place = bull6.url.removeprefix("bullmq+redis://").rpartition("@")[2]
        before = content(admin, f"*{bull6.prefix}*")
        with connect_hand(f"bullmq+redis://{token}:word@{place}") as hand:
            [receipt] = hand.send("replay", items(failures), "run-1")
            assert receipt.state == State.REFUSED, receipt
            [settled] = hand.settle(items(failures), "run-1")
        assert settled.state == State.NOT_REACHED
    finally:
        admin.execute_command("ACL", "DELUSER", token)
    left = {k: v for k, v in content(admin, f"*{bull6.prefix}*").items() if v[1]}
    assert left == before and bull6.failed() == [one]


def test_a_drained_queue_is_no_success(bull):
    """drain() removes what waits, the replayed jobs among it: the same nothing as after a success."""
    ran, drained = bull.fail({}, {})
    failures = loaded(bull)
    since = datetime.now(UTC) - timedelta(minutes=1)
    sent(bull, failures[failures["task_id"] == f"default:{ran}"])
    bull.work()
    until(lambda: not bull.redis.exists(bull.key(ran)))
    bull.rest()
    sent(bull, failures)
    bull.ask("drain")
    with connect_hand(bull.url) as hand:
        ids = dict.fromkeys(failures["failure_id"], "")
        found = {v.failure_id.partition("@")[0]: v for v in hand.outcomes(ids, since)}
    assert found[f"default:{ran}"].outcome == Outcome.SUCCEEDED
    assert found[f"default:{drained}"].outcome == Outcome.UNKNOWN
    assert "gone" in found[f"default:{drained}"].detail


def test_scripts_say_what_the_hand_computes(bull6):
    """The seal of a job is the same in Lua and here, whatever bytes it has."""
    [one] = bull6.fail({"data": {"a": "☃"}})
    bull6.redis.hset(bull6.key(one), "name", b"\xff\x00")
    bull6.redis.hdel(bull6.key(one), "priority")
    mine = failure(loaded(bull6)["failure_id"].iloc[0])
    have = look.look(bull6.redis, bull6.prefix.encode(), [mine])[mine]
    known = "local shared = {} local function is() return true end "
    script = known + scripts.text("head") + "return seal(KEYS[1])"
    keys = [bull6.key(one), "x", *(f"{bull6.prefix}:no:{n}" for n in range(4))]
    assert bull6.redis.eval(script, 6, *keys, "", "", "", "", "").decode() == look.seal(have)


def test_one_of_many_that_cannot_go_leaves_the_others(bull6):
    """Twelve in one script, where lists are read once: each is checked and moved for itself."""
    ids = bull6.fail(*({"data": {"n": n}} for n in range(12)))
    chosen = items(loaded(bull6))
    bull6.redis.lpush(bull6.key("wait"), ids[3])
    bull6.redis.set(bull6.key(f"{ids[4]}:dependencies"), "no set")
    bull6.redis.set(bull6.key(f"{ids[5]}:lock"), "x")
    with connect_hand(bull6.url) as hand:
        told = {r.failure_id.partition("@")[0][8:]: r for r in hand.send("replay", chosen, "r1")}
        again = {r.failure_id: r.detail[:7] for r in hand.send("replay", chosen, "r1")}
    assert {one for one, receipt in told.items() if receipt.state != State.SENT} == set(ids[3:6])
    assert "`wait`" in told[ids[3]].detail and "dependencies" in told[ids[4]].detail
    assert sum(detail == "done at" for detail in again.values()) == 9
    assert bull6.redis.llen(bull6.key("wait")) == 10


def test_whatever_two_operators_do_no_job_is_lost_or_run_unasked(bull):
    """Random plans against live workers: sent replays less those taken back are runs, and who still waits."""
    opts = [{}, {"priority": 2}, {"lifo": True}, {"attempts": 2}]
    jobs = [{"data": {"n": n, "again": n % 3 == 0}, "opts": opts[n % 4]} for n in range(24)]
    ids = bull.fail(*jobs)
    bull.work("again", concurrency=2, slow=3)
    balance: Counter[str] = Counter()
    lock, states = threading.Lock(), set()

    def operate(number):
        chance = random.Random(number)
        with connect_hand(bull.url) as hand:
            known = {}
            for step in range(14):
                known |= {one.failure_id: one for one in items(loaded(bull))}
                some = chance.sample(list(known.values()), min(6, len(known)))
                action = chance.choice(
                    ["replay", "replay", "undo", "quarantine", "restore", "pause", "unpause"]
                )
                some = [queue_item()] if action in ("pause", "unpause") else some
                for receipt in hand.send(action, some, f"run-{number}-{step}"):
                    if receipt.state == State.SENT and action in ("replay", "undo"):
                        with lock:
                            balance[receipt.sent_id] += 1 if action == "replay" else -1
                    states.add(receipt.state)

    threads = [threading.Thread(target=operate, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    bull.rest()
    key = bull.key
    parts = (("wait", "list"), ("paused", "list"), ("prioritized", ""), ("failed", ""))
    stands = {
        part: [
            one.decode()
            for one in (
                bull.redis.lrange(key(part), 0, -1) if kind else bull.redis.zrange(key(part), 0, -1)
            )
        ]
        for part, kind in parts
    }
    aside = bull.redis.zrange(f"dlqanalysis:{bull.prefix}:default:quarantine", 0, -1)
    waiting = Counter(one for part, kind in parts[:3] for one in stands[part])
    everywhere = waiting + Counter(stands["failed"]) + Counter(one.decode() for one in aside)
    assert max(everywhere.values(), default=1) == 1
    for one in ids:
        assert bull.runs()[one] == balance[f"default:{one}"] - waiting[one], one
        if not everywhere[one]:  # it has run, and only that took it away
            assert bull.runs()[one] and not bull.redis.exists(key(one)), one
    assert sum(balance.values()) > 2 and State.UNCERTAIN not in states
