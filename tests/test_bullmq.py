"""The BullMQ hand with real BullMQ 5 and 6: what goes back runs once, as it was, whoever else acts."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

import dlqanalysis as dlq
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Item, Outcome, State
from dlqanalysis.sources import connect, connect_hand
from tests.bull import bull, bull6, peer, wait_for

__all__ = ["bull", "bull6", "peer"]  # fixtures

QUICK = {"rate": None, "wait": "20s", "poll": 0.05, "progress": lambda line: None}


def loaded(bull, **selection):
    return dlq.load(connect(bull.url), since=None, **selection)


def items(failures):
    return [
        Item(
            failure_id=row.failure_id,
            task_id=row.task_id,
            task_name=str(row.task_name),
            queue=str(row.queue),
            content_hash=content_hash(row.task_id, row.task_name, row.queue, row.args, row.kwargs),
            generation=1,
        )
        for row in failures.itertuples()
    ]


def sent(bull, failures=None, *, action="replay", options="", run_id="run-1"):
    failures = loaded(bull) if failures is None else failures
    with connect_hand(bull.url + options) as hand:
        return {r.failure_id: r for r in hand.send(action, items(failures), run_id)}


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
    wait_for(lambda: not bull.redis.exists(bull.key(first)))
    time.sleep(0.2)
    assert bull.runs() == {first: 1}
    assert bull.peer.ran[0]["made"] == 1  # one run, as the library's own retry gives
