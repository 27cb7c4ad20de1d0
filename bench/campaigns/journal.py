"""How many items a second the journal takes: a claim for fifty, then their receipts, each commit with fsync."""

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
    chosen = list(plan.items())
    speeds = []
    for together in (1, 50):
        journal = dlq.Journal(f"sqlite:///{folder / f'speed{together}.sqlite'}")
        run_id = journal.start(plan, {})
        began = time.perf_counter()
        for start in range(0, len(chosen), 50):
            batch = chosen[start : start + 50]
            journal.claim(run_id, plan.source, batch)
            receipts = [(item.failure_id, "sent", {"sent_id": item.task_id}) for item in batch]
            for first in range(0, 50, together):
                journal.record(run_id, receipts[first : first + together])
        speeds.append(len(chosen) / (time.perf_counter() - began))
    one, many = speeds
    return (
        f"The journal (SQLite, WAL, synchronous=FULL) took {one:,.0f} items a second one by one, and {many:,.0f}"
        f" where fifty receipts came at once ({len(chosen):,} items each); a bare write with fsync on the same"
        f" disk was done {_fsyncs(folder):,.0f} times a second."
    )


def _fsyncs(folder: Path, times: int = 200) -> float:
    handle = os.open(folder / "fsync", os.O_WRONLY | os.O_CREAT)
    began = time.perf_counter()
    for _ in range(times):
        os.write(handle, b"x" * 4096)
        os.fsync(handle)
    os.close(handle)
    return times / (time.perf_counter() - began)
