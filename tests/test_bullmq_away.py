"""What the BullMQ hand takes out of `failed`: aside and back again, or away, whole in the snapshot; real 5 and 6."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from dlqanalysis.errors import RunError
from dlqanalysis.model import Outcome, State
from dlqanalysis.sources import connect_hand
from dlqanalysis.sources.bullmq import raw
from tests.bull import bull, bull6, content, peer
from tests.test_bullmq import items, loaded, sent
from tests.waiting import until

__all__ = ["bull", "bull6", "peer"]  # fixtures


def test_quarantine_takes_a_job_away_and_brings_it_back_whole(bull):
    one, two = bull.fail({"data": {"n": 1}}, {"data": {"n": 2}})
    bull.redis.rpush(bull.key(f"{one}:logs"), "attempt 1", b"\xff")
    failures = loaded(bull)
    mine = failures[failures["task_id"] == f"default:{one}"]
    before = content(bull.redis, bull.key(f"{one}*"))
    [receipt] = sent(bull, mine, action="quarantine").values()
    assert receipt.state == State.SENT
    assert bull.failed() == [two]
    assert not bull.redis.keys(f"{bull.prefix}:default:{one}*")
    assert bull.ask("states", ids=[one]) == ["gone"]
    with connect_hand(bull.url) as hand:
        [verdict] = hand.outcomes({mine["failure_id"].iloc[0]: ""}, datetime.now(UTC))
        assert (verdict.outcome, verdict.detail) == (Outcome.SUCCEEDED, "it is in quarantine")
        [theirs] = hand.send("restore", items(mine, undoes="run-0"), "run-2")
        assert (theirs.state, theirs.detail.partition(" at ")[0]) == (
            State.SKIPPED, "run run-1 did something else with it (quarantine",
        )  # fmt: skip
        [still] = hand.settle(items(mine, undoes="run-1"), "run-2")
        assert still.state == State.NOT_REACHED
        assert still.detail == "the ledger has what run run-1 did, and nobody took it back"
        [back] = hand.send("restore", items(mine, undoes="run-1"), "run-2")
        [again] = hand.send("restore", items(mine, undoes="run-1"), "run-3")
        [same] = hand.send("restore", items(mine, undoes="run-1"), "run-2")
        assert [r.state for r in hand.settle(items(mine), "run-2")] == [State.SENT]
        assert [r.state for r in hand.settle(items(mine), "run-1")] == [State.SKIPPED]
    assert (back.state, again.state, same.state) == (State.SENT, State.SKIPPED, State.SENT)
    assert again.detail == "it is not in quarantine"
    assert content(bull.redis, bull.key(f"{one}*")) == before and len(before) == 2
    assert not bull.redis.keys(f"dlqanalysis:{bull.prefix}:*quarantine*")
    assert loaded(bull)["failure_id"].tolist() == failures["failure_id"].tolist()
    assert {r.state for r in sent(bull, run_id="run-4").values()} == {State.SENT}
    bull.work()
    until(lambda: bull.runs() == Counter([one, two]))


@pytest.mark.parametrize("action", ["archive", "purge"])
def test_what_is_removed_is_whole_in_the_snapshot(bull6, action):
    one, two = bull6.fail({"data": {"n": 1}}, {"opts": {"deduplication": {"id": "d-1"}}})
    bull6.redis.rpush(bull6.key(f"{one}:logs"), "attempt 1")
    bull6.redis.set(bull6.key("de:d-1"), two)
    before = bull6.hashes(one, two)
    logs = bull6.redis.dump(bull6.key(f"{one}:logs"))
    failures = loaded(bull6)
    with connect_hand(bull6.url) as hand:
        kept = hand.snapshot(list(failures["failure_id"])).set_index("job")
    assert {r.state for r in sent(bull6, failures, action=action).values()} == {State.SENT}
    assert bull6.failed() == []
    left = {key.decode() for key in bull6.redis.keys(f"{bull6.prefix}:*")}
    gone = {bull6.key(name) for name in (one, two, f"{one}:logs", "de:d-1")}
    assert not gone & left
    assert [raw.decode(kept.loc[name, "raw"]) for name in (one, two)] == before
    beside = raw.decode(kept.loc[one, "beside"])
    assert beside == {b"logs": logs}
    name = bull6.key(f"{one}:logs")
    bull6.redis.restore(name, 0, beside[b"logs"])
    assert bull6.redis.lrange(name, 0, -1) == [b"attempt 1"]
    again = sent(bull6, failures, action=action, run_id="run-2")
    assert {r.state for r in again.values()} == {State.SKIPPED}


@pytest.mark.parametrize("its_own", [True, False])
def test_a_purge_leaves_of_deduplication_what_bullmqs_own_remove_leaves(bull, its_own):
    unique = {"opts": {"deduplication": {"id": "d-1"}}}
    theirs, ours, other = [one for _ in range(3) for one in bull.fail(unique)]
    failures = loaded(bull)
    mine = failures[failures["task_id"] == f"default:{ours}"]
    left = []
    for job, remove in (
        (theirs, lambda: bull.ask("remove", id=theirs)),
        (ours, lambda: sent(bull, mine, action="purge")),
    ):
        bull.redis.set(bull.key("de:d-1"), job if its_own else other)
        bull.redis.hset(bull.key("dn:d-1"), mapping={"name": "next", "data": "{}", "opts": "{}"})
        remove()
        left.append(sorted(bull.redis.keys(bull.key("d[en]:*"))))
    assert bull.failed() == [other]
    assert left[0] == left[1] and len(left[0]) == (0 if its_own else 2)


def test_a_dangling_id_can_be_purged_and_a_corrupt_job_quarantined(bull6):
    gone, corrupt, good = bull6.fail({}, {}, {})
    bull6.redis.delete(bull6.key(gone))
    bull6.redis.hset(bull6.key(corrupt), "data", b'{"\xff')
    failures = loaded(bull6)
    by_id = {one: failures[failures["task_id"] == f"default:{one}"] for one in (gone, corrupt)}
    [purged] = sent(bull6, by_id[gone], action="purge").values()
    [aside] = sent(bull6, by_id[corrupt], action="quarantine").values()
    assert (purged.state, aside.state) == (State.SENT, State.SENT), (purged, aside)
    assert bull6.failed() == [good]
    with pytest.raises(RunError, match="purge, pause, unpause, not drain"):
        sent(bull6, action="drain")
