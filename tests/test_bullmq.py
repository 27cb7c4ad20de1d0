"""The BullMQ hand with real BullMQ 5 and 6: what goes back runs once, as it was, whoever else acts."""

import time
from collections import Counter

import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import DLQError
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Item, State
from dlqanalysis.sources import connect, connect_hand
from dlqanalysis.sources.bullmq import raw
from tests.bull import bull, bull6, content, peer
from tests.hand_suite import NEEDED, Ground, check_hand, with_secret
from tests.waiting import until

__all__ = ["bull", "bull6", "peer"]  # fixtures


def loaded(bull, **selection):
    return dlq.load(connect(bull.url), since=None, **selection)


def items(failures, **more):
    return [
        Item(
            failure_id=row.failure_id,
            task_id=row.task_id,
            task_name=str(row.task_name),
            queue=str(row.queue),
            content_hash=content_hash(row.task_id, row.task_name, row.queue, row.args, row.kwargs),
            generation=1,
            **more,
        )
        for row in failures.itertuples()
    ]


def sent(bull, failures=None, *, action="replay", options="", run_id="run-1", **more):
    failures = loaded(bull) if failures is None else failures
    with connect_hand(bull.url + options) as hand:
        return {r.failure_id: r for r in hand.send(action, items(failures, **more), run_id)}


def queue_item(queue="default", at="2026-11-22T07:00:00+00:00"):
    """A queue as a plan for pause or unpause names it."""
    return Item(failure_id=f"{queue}@{at}", task_id="", task_name="", queue=queue, content_hash="",
                generation=1)  # fmt: skip


def set_queue(hand, action, run_id, **what):
    """Pause or unpause a queue; the receipt."""
    [receipt] = hand.send(action, [queue_item(**what)], run_id)
    return receipt


class BullGround(Ground):
    """A queue of BullMQ as the suite of hands sees it."""

    nowhere = "bullmq+redis://u:s3cret@127.0.0.1:1/0"
    keeps = frozenset({"quarantine"})  # what is archived is in the run's snapshot

    def __init__(self, bull):
        self.bull = bull
        url, self.secret = with_secret(bull.url.removeprefix("bullmq+"), "default")
        self.url = f"bullmq+{url}"
        bull.fail(*({"data": {"order": n}} for n in range(NEEDED)))

    def dead(self):
        failed = self.bull.redis.zrange(self.bull.key("failed"), 0, -1, withscores=True)
        jobs = self.bull.hashes(*(one.decode() for one, _ in failed))
        return {
            f"default:{one.decode()}": (score, job)
            for (one, score), job in zip(failed, jobs, strict=True)
        }

    def went(self):
        return Counter(
            f"default:{one.decode()}"
            for one in self.bull.redis.lrange(self.bull.key("wait"), 0, -1)
        )

    def job(self, task_id):
        return self.bull.key(task_id.removeprefix("default:"))

    def change(self, task_id):
        self.bull.redis.hset(self.job(task_id), "data", '{"order": -1}')

    def remove(self, task_id):
        self.bull.redis.zrem(self.bull.key("failed"), task_id.removeprefix("default:"))
        self.bull.redis.delete(self.job(task_id))

    def kept(self, row, dead):
        return raw.decode(row["raw"]) == dead[1]


def test_the_suite_of_hands(bull6, tmp_path):
    check_hand(BullGround(bull6), tmp_path)


def test_a_failed_job_goes_back_and_runs_once(bull):
    [first, *_] = ids = bull.fail(*({"data": {"n": n}} for n in range(3)))
    failures = loaded(bull)
    [before] = bull.hashes(first)
    [receipt] = sent(bull, failures[failures["task_id"] == f"default:{first}"]).values()
    assert (receipt.state, receipt.detail) == (State.SENT, "to wait")
    assert receipt.sent_id == f"default:{first}"
    assert bull.failed() == ids[1:]
    [after] = bull.hashes(first)
    for gone in (b"finishedOn", b"processedOn", b"failedReason"):
        del before[gone]
    assert after == before
    bull.work()
    until(lambda: bull.runs() and not bull.redis.exists(bull.key(first)))
    time.sleep(0.2)
    assert bull.runs() == {first: 1}
    assert bull.peer.ran[0]["made"] == 1  # one run, as the library's own retry gives


def test_priorities_go_back_in_their_order(bull):
    jobs = [{"data": {"n": n}, "opts": {"priority": p}} for n, p in enumerate((10, 1, 5, 0))]
    ids = bull.fail(*jobs)
    assert {r.detail for r in sent(bull).values()} == {"to prioritized", "to wait"}
    assert bull.redis.zcard(bull.key("prioritized")) == 3
    bull.work(concurrency=1)
    until(lambda: len(bull.peer.ran) == 4)
    # BullMQ takes jobs without a priority first, then the lowest number
    assert [one["ran"] for one in bull.peer.ran] == [ids[3], ids[1], ids[2], ids[0]]


def test_lifo_goes_to_the_head_and_others_to_the_end(bull):
    first, plain = bull.fail({"opts": {"lifo": True}}, {})
    waiting = bull.add({"data": {"waits": 1}})
    assert {r.state for r in sent(bull).values()} == {State.SENT}
    bull.work(concurrency=1)
    until(lambda: len(bull.peer.ran) == 3)
    assert [one["ran"] for one in bull.peer.ran] == [first, *waiting, plain]


def test_a_paused_queue_keeps_what_goes_back_until_it_is_resumed(bull):
    ids = bull.fail({}, {}, {"opts": {"priority": 3}})
    bull.ask("pause")
    waiting = bull.add({"data": {"waits": 1}})
    found = sent(bull)
    assert all("; the queue is paused" in r.detail for r in found.values())
    bull.work()
    time.sleep(0.3)
    assert bull.peer.ran == []
    bull.ask("resume")
    until(lambda: len(bull.peer.ran) == 4)
    time.sleep(0.2)
    assert bull.runs() == Counter([*ids, *waiting])


@pytest.mark.parametrize(("options", "left"), [("", 1), ("&reset_attempts=yes", 3)])
def test_attempts_are_counted_anew_only_when_asked(bull6, options, left):
    [one] = bull6.fail({"opts": {"attempts": 3, "backoff": 10}})
    sent(bull6, options=options)
    bull6.work("fail")
    until(lambda: bull6.failed() == [one])
    assert bull6.runs() == {one: left}


def test_a_count_set_by_hand_does_not_make_a_job_immortal(bull):
    """Following the runbook, HSET attemptsMade 0 hides the real count: the job would be retried for ever."""
    [one] = bull.fail({"opts": {"attempts": 2}})
    bull.redis.hset(bull.key(one), "attemptsMade", 0)
    failures = loaded(bull)
    with connect_hand(bull.url) as hand:
        texts = [f.text for f in hand.preflight(items(failures))]
    assert any("attemptsMade that somebody set by hand" in text for text in texts)
    assert {r.state for r in sent(bull, failures).values()} == {State.SENT}
    bull.work("fail")
    until(lambda: bull.runs() == {one: 1} and bull.failed() == [one])


ODD_IDS = (
    "order-123/eu west",
    "ünï☃ \"q'uote\\ \n{tag}",
    "a:b:c",
    "50%25@7",
    "x@1795310162839",
    "ends ",
)


def test_ids_of_any_characters_go_back_and_run_once(bull):
    bull.fail(*({"opts": {"jobId": one}} for one in ODD_IDS))
    failures = loaded(bull)
    assert failures["failure_id"].is_unique and failures["task_id"].is_unique
    assert {r.state for r in sent(bull, failures).values()} == {State.SENT}
    bull.work()
    until(lambda: len(bull.peer.ran) == len(ODD_IDS))
    time.sleep(0.2)
    assert bull.runs() == Counter(ODD_IDS)
    assert bull.failed() == [] and not bull.peer.trouble


PAYLOADS = (
    b'{"big": 9007199254740998, "huge": 12345678901234567890, "e": 1e400}',
    b'{"list": [], "map": {}, "slash": "a\\/b", "z": 1, "a": 2, "a": 3}',
    '{"text": "☃ 😀 \\u0000 \\ud800", "neg": -0.0}'.encode(),
    b"[1, [], {}]",
    b'"text"',
    b"null",
    b"  17 ",
)


def test_bytes_in_are_bytes_out(bull):
    ids = bull.fail(*({"data": {"n": n}} for n in range(len(PAYLOADS))))
    for one, data in zip(ids, PAYLOADS, strict=True):
        bull.redis.hset(bull.key(one), "data", data)
    failures = loaded(bull).set_index("task_id").loc[[f"default:{one}" for one in ids]]
    shown = failures["kwargs"].fillna(failures["args"].str[1:-1])
    assert [text.encode() for text in shown] == list(PAYLOADS)
    assert (failures["payload_state"] == "complete").all()
    assert {r.state for r in sent(bull, failures.reset_index()).values()} == {State.SENT}
    assert [hash_[b"data"] for hash_ in bull.hashes(*ids)] == list(PAYLOADS)
    bull.work()
    until(lambda: len(bull.peer.ran) == len(ids))


def test_what_would_hang_a_worker_stays_and_says_why(bull):
    good, *bad = bull.fail(*({} for _ in range(8)))
    text, latin, nan, opts, nameless, gone, other = bad
    key = bull.key
    bull.redis.hset(key(text), "data", '{"cut": ')
    bull.redis.hset(key(latin), "data", b'{"name": "\xe9"}')
    bull.redis.hset(key(nan), "data", '{"n": NaN}')
    bull.redis.hset(key(opts), "opts", "[not json")
    bull.redis.hdel(key(nameless), "name")
    bull.redis.delete(key(gone), key(other))
    bull.redis.set(key(other), "a string")
    failures = loaded(bull, columns=["raw"])
    states = failures.set_index("task_id")["payload_state"].astype("str")
    assert states[f"default:{good}"] == "complete"
    assert states[f"default:{gone}"] == "missing"
    assert {states[f"default:{one}"] for one in (text, latin, nan, opts, nameless, other)} == {
        "unreadable"
    }
    notes = " ".join(failures.attrs["notes"])
    assert "1 failed ids have no job any more" in notes and "1 failed ids name a key" in notes
    before = bull.redis.zrange(key("failed"), 0, -1, withscores=True)
    found = sent(bull, failures)
    why = {one: found[f] for f in found for one in bad if f.startswith(f"default:{one}@")}
    assert {r.state for r in why.values()} <= {State.REFUSED, State.SKIPPED}
    assert "hang on it for ever" in why[text].detail
    assert "no UTF-8" in why[latin].detail
    assert "name is missing" in why[nameless].detail
    assert "gone" in why[gone].detail
    assert bull.redis.zrange(key("failed"), 0, -1, withscores=True) == [
        one for one in before if one[0] != good.encode()
    ]
    plan = dlq.plan(
        failures, reason="x", limit=100, classes=("transient", "unknown"), ungraded=None
    )
    assert list(plan.chosen["task_id"]) == [f"default:{good}"]


def test_a_job_that_failed_again_since_it_was_read_is_skipped(bull):
    first, second = bull.fail({}, {"opts": {"attempts": 1}})
    old = loaded(bull)
    sent(bull, old, run_id="run-of-a-colleague")
    bull.work("fail")
    until(lambda: set(bull.failed()) == {first, second})
    bull.rest()
    found = sent(bull, old, run_id="run-2")
    assert {r.state for r in found.values()} == {State.SKIPPED}
    assert all("run run-of-a-colleague did it before" in r.detail for r in found.values())
    bull.redis.zadd(bull.key("failed"), {first: 1795310162839})  # as if nobody's ledger knew
    failures = loaded(bull)
    bull.redis.zadd(bull.key("failed"), {first: 1795310162999})
    [receipt] = sent(bull, failures[failures["task_id"] == f"default:{first}"]).values()
    assert receipt.state == State.SKIPPED
    assert "failed again since it was read (at 1795310162999)" in receipt.detail
    again = sent(bull, run_id="run-3")  # new occurrences may go
    assert {r.state for r in again.values()} == {State.SENT}


@pytest.mark.parametrize(
    ("change", "state", "why"),
    [
        (lambda b, one: b.redis.hset(b.key(one), "data", '{"n": 2}'), "skipped", "its content changed"),
        (lambda b, one: b.redis.zrem(b.key("failed"), one), "skipped", "not failed any more"),
        (lambda b, one: b.redis.delete(b.key(one)), "skipped", "its job is gone"),
        (lambda b, one: b.redis.set(b.key(f"{one}:lock"), "w"), "skipped", "a worker holds it"),
        (lambda b, one: b.redis.set(b.key("prioritized"), "x"), "refused", "of a type that BullMQ"),
        (lambda b, one: b.redis.set(b.key("pc"), "x"), "refused", "of a type that BullMQ"),
        (lambda b, one: b.redis.delete(b.key("events")) and b.redis.set(b.key("events"), "x"), "refused",
         "of a type that BullMQ"),
    ],
)  # fmt: skip
def test_what_is_no_longer_as_planned_is_left_alone(bull6, change, state, why):
    [one] = bull6.fail({"data": {"n": 1}})
    failures = loaded(bull6)
    change(bull6, one)
    before = content(bull6.redis, f"*{bull6.prefix}*")
    [receipt] = sent(bull6, failures).values()
    assert receipt.state == state and why in receipt.detail
    assert content(bull6.redis, f"*{bull6.prefix}*") == before


def flow(parent="default", child="default", **opts):
    return {
        "name": "parent", "queueName": parent, "data": {"is": "parent"}, "opts": {"attempts": 1},
        "children": [{"name": "child", "queueName": child, "data": {"fail": "network"},
                      "opts": {"attempts": 1, **opts}}],
    }  # fmt: skip


def test_children_go_before_their_parent(bull):
    made = bull.flow(flow("parents", failParentOnFailure=True))
    bull.work("fail")
    bull.work("fail", "parents")
    until(lambda: bull.failed("parents") == [made["parent"]])
    bull.rest()
    bull.peer.ran.clear()
    failures = loaded(bull)
    parent = failures[failures["task_name"] == "parent"]
    with connect_hand(bull.url) as hand:
        texts = " ".join(f.text for f in hand.preflight(items(failures)))
    assert "waiting for children that are not done" in texts
    [receipt] = sent(bull, parent, run_id="run-1").values()
    assert (receipt.state, receipt.detail) == (
        State.REFUSED, "1 of its children are not done: replay those first",
    )  # fmt: skip
    sent(bull, failures[failures["task_name"] == "child"], run_id="run-2")
    assert bull.redis.scard(bull.key(f"{made['parent']}:dependencies", "parents")) == 1
    [receipt] = sent(bull, parent, run_id="run-3").values()
    assert receipt.state == State.REFUSED
    bull.work()
    bull.work("ok", "parents")
    until(lambda: len(bull.peer.ran) == 1)
    until(lambda: not bull.redis.scard(bull.key(f"{made['parent']}:dependencies", "parents")))
    [receipt] = sent(bull, parent, run_id="run-4").values()
    assert receipt.state == State.SENT
    until(lambda: bull.redis.zscore(bull.key("completed", "parents"), made["parent"]))
    wanted = Counter([*made["children"], made["parent"]])
    until(lambda: bull.runs() == wanted)  # the peer tells of a run a moment after it


def test_a_parent_that_waits_goes_on_when_its_child_is_replayed(bull):
    made = bull.flow(flow("parents"))
    bull.work("fail")
    until(lambda: bull.failed() == made["children"])
    bull.rest()
    bull.peer.ran.clear()
    for action in ("purge", "archive", "quarantine"):
        [receipt] = sent(bull, action=action).values()
        assert receipt.state == State.REFUSED and "waits for it" in receipt.detail
    sent(bull)
    bull.work()
    bull.work("ok", "parents")
    until(lambda: bull.redis.zscore(bull.key("completed", "parents"), made["parent"]))
    wanted = Counter([*made["children"], made["parent"]])
    until(lambda: bull.runs() == wanted)  # the peer tells of a run a moment after it


def test_a_parent_that_went_on_without_its_child_is_left_alone(bull):
    made = bull.flow(flow("parents", ignoreDependencyOnFailure=True))
    bull.work("fail")
    bull.work("ok", "parents")
    until(lambda: bull.redis.zscore(bull.key("completed", "parents"), made["parent"]))
    bull.rest()
    sent(bull)
    assert not bull.redis.exists(bull.key(f"{made['parent']}:dependencies", "parents"))
    bull.work()
    until(lambda: bull.failed() == [] and not bull.redis.llen(bull.key("active")))


def test_evidence_of_an_incident_is_kept_with_its_hashes(bull, tmp_path):
    """Job data as the bytes they are, and the worker's log: files that outlive the queue, refused once changed."""
    bull.fail({"name": "pdf", "data": {"n": 1}}, {"name": "pdf", "data": {"n": 2}})
    log = tmp_path / "celery.log"
    log.write_text(
        "[2026-11-20 10:00:00,000: ERROR/ForkPoolWorker-1] Task shop.pdf[8f0a4f7e-6f0e-4c55-8b70-3a1e35b7c0de]"
        " raised unexpected: MemoryError('no room')\n"
    )
    jobs = dlq.snapshot(connect(bull.url), tmp_path / "jobs.parquet")
    lines = dlq.snapshot(connect(f"log+file://{log}?tz=UTC"), tmp_path / "lines.parquet")
    for key in bull.redis.scan_iter(f"{bull.prefix}:*"):
        bull.redis.delete(key)
    log.unlink()
    kept = dlq.load(str(jobs), since=None, columns=["raw", "traceback"])
    assert kept["raw"].notna().all() and b"pdf" in bytes(kept["raw"].iloc[0])
    assert list(dlq.load(str(lines), since=None)["exception_type"]) == ["MemoryError"]
    whole = jobs.read_bytes()
    jobs.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(DLQError):
        dlq.load(str(jobs), since=None)
