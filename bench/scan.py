"""An archive of failures judged and counted by worker processes, named by their scheduler's address: one worker, two,
and two of which one is killed midway; beside reading all of it in one process."""

import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.goals import Section, at_least, at_most

ROWS, REPEAT = 2_000_000, 1
ONE, TWO, KILLED = "scan, one worker", "scan, two workers", "scan, two workers, one killed midway"
ALONE = "archive.read, classify, fingerprint, groups in one process"
_NAMES = {"id": "failure_id", "queue_name": "queue", "retries_attempted": "retries"}


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P13."""
    with tempfile.TemporaryDirectory() as folder:
        fill(folder, rows)
        found = beside({ONE: one_worker, TWO: two_workers, ALONE: alone}, repeat, place=folder)
        midway = found[TWO].seconds / 2
        found |= beside({KILLED: one_killed}, 1, place=folder, after=midway)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    groups = [one.answer["groups"] for one in found.values()]
    differ = sum(one != groups[0] for one in groups)
    killed = found[KILLED].answer["killed"]
    figures = [
        at_least("P13", "one worker / two workers", found[ONE].seconds / found[TWO].seconds, 1.6),
        at_most("P13", "ways whose groups are not the same", differ, 0),
        at_least("P13", "workers killed midway and survived", killed, 1),
    ]
    lines = [
        f"{rows:,} failures with tracebacks, {size / 2**20:,.0f} MB on disk. Workers started before, peak MB of each:"
        f" {', '.join(f'{mb:,.0f}' for mb, _ in found[TWO].answer['workers'])}; their seconds of processor:"
        f" {', '.join(f'{cpu:.0f}' for _, cpu in found[TWO].answer['workers'])}, the asking process"
        f" {found[TWO].answer['cpu']:.0f}; one process without workers {found[ALONE].answer['cpu']:.0f}.",
        "",
        *table(found, TWO),
    ]
    return Section(lines, figures, found)


def fill(place: str, rows: int) -> None:
    """The failures in an archive, 100,000 at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dlqanalysis import archive
    from dlqanalysis.frame import from_arrow

    for path in sorted(data.parquet(rows).glob("*.parquet")):
        part = pq.read_table(path)
        part = part.rename_columns([_NAMES.get(name, name) for name in part.column_names])
        for name, value in (("source", "celery:failed_tasks"), ("payload_state", "complete")):
            part = part.append_column(name, pa.array([value] * part.num_rows))
        archive.append(place, from_arrow(part), redact=False)


def one_worker(place: str) -> Iterator[Any]:
    """dlq.scan by a scheduler's address: ids, times, groups."""
    yield from _scanned(place, 1)


def two_workers(place: str) -> Iterator[Any]:
    """The same with twice the workers."""
    yield from _scanned(place, 2)


def one_killed(place: str, after: float) -> Iterator[Any]:
    """The same; one of the workers is killed after some seconds."""
    yield from _scanned(place, 2, after)


def _scanned(place: str, workers: int, kill_after: float | None = None) -> Iterator[Any]:
    import dlqanalysis as dlq
    from dlqanalysis.scan.cluster import local

    assert dlq.scan  # imported here, as every other way's libraries are
    with local(workers) as cluster:
        killed: list[int] = []

        def kill() -> None:
            time.sleep(kill_after or 0)
            for worker in list(cluster.workers.values())[
                :1
            ]:  # none is left when all was done before
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)

        yield
        if kill_after is not None:
            threading.Thread(target=kill, daemon=True).start()
        with dlq.scan(place, cluster=cluster.scheduler_address) as scan:
            groups = scan.groups()
            used = list(scan._cluster.client.run(_used).values())
            yield {
                "groups": _said(groups),
                "rows": scan.rows,
                "workers": used,
                "cpu": _used()[1],
                "killed": len(killed),
            }


def alone(place: str) -> Iterator[Any]:
    """The same verbs on the whole frame."""
    import dlqanalysis as dlq
    from dlqanalysis import archive

    yield
    failures = archive.read(place)
    rows = len(failures)
    groups = failures.pipe(dlq.classify).pipe(dlq.fingerprint).pipe(dlq.groups)
    yield {"groups": _said(groups), "rows": rows, "cpu": _used()[1]}


def _said(groups: Any) -> str:
    """All of the table as a hash."""
    import hashlib

    return hashlib.sha256(groups.to_json(date_format="iso").encode()).hexdigest()


def _used() -> tuple[float, float]:
    """The most memory this process has had, in MB, and its seconds on a processor."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
