"""How many items a second the journal takes: a claim for fifty, then an entry an item, each committed with fsync."""

import os
import time
from pathlib import Path

import dlqanalysis as dlq
from dlqanalysis.frame import from_records


def measured(folder: Path, items: int) -> str:
    """A sentence: items a second through the journal alone, and bare fsyncs a second on the same disk."""
    failures = from_records(
        {"failure_id": str(n), "task_id": f"t{n}", "task_name": "shop.charge", "queue": "q", "source": "bench",
         "exception_type": "ConnectionError", "exception_message": "refused", "args": "[]", "kwargs": "{}",
         "status": "failed", "payload_state": "complete"}
        for n in range(items)
    )  # fmt: skip
    plan = dlq.plan(failures, reason="bench", ungraded=None, duplicates=dlq.duplicates(failures.head(0)))  # fmt: skip
    journal = dlq.Journal(f"sqlite:///{folder / 'speed.sqlite'}")
    run_id, chosen = journal.start(plan, {}), list(plan.items())
    began = time.perf_counter()
    for start in range(0, len(chosen), 50):
        batch = chosen[start : start + 50]
        journal.claim(run_id, plan.source, batch)
        for item in batch:
            journal.record(run_id, [(item.failure_id, "sent", {"sent_id": item.task_id})])
    speed = len(chosen) / (time.perf_counter() - began)
    return f"The journal (SQLite, WAL, synchronous=FULL) took {speed:,.0f} items a second ({len(chosen):,} items); a bare write with fsync on the same disk was done {_fsyncs(folder):,.0f} times a second."


def _fsyncs(folder: Path, times: int = 200) -> float:
    handle = os.open(folder / "fsync", os.O_WRONLY | os.O_CREAT)
    began = time.perf_counter()
    for _ in range(times):
        os.write(handle, b"x" * 4096)
        os.fsync(handle)
    os.close(handle)
    return times / (time.perf_counter() - began)
