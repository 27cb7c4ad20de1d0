"""An archive of a million failures judged and counted by worker processes, beside reading all of it on one machine."""

import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import data
from bench.beside import beside, table

ROWS, REPEAT = 1_000_000, 1
_NAMES = {"id": "failure_id", "queue_name": "queue", "retries_attempted": "retries"}


def run(rows: int = ROWS, repeat: int = REPEAT) -> list[str]:
    """The lines of the section."""
    with tempfile.TemporaryDirectory() as folder:
        fill(folder, rows)
        found = beside({"scan, two worker processes": scanned, "archive.read, one process": alone}, repeat, place=folder)  # fmt: skip
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    scan, one = (way.answer for way in found.values())
    return [
        f"{rows:,} failures with tracebacks, {size / 2**20:,.0f} MB on disk; groups:"
        f" {'the same' if scan['groups'] == one['groups'] else 'DIFFERENT'}. Workers, peak MB:"
        f" {', '.join(f'{mb:,.0f}' for mb, _ in scan['workers'])}; seconds of processor:"
        f" {', '.join(f'{cpu:.0f}' for _, cpu in scan['workers'])}, the asking process {scan['cpu']:.0f};"
        f" one process {one['cpu']:.0f}.",
        "",
        *table(found, "scan, two worker processes"),
    ]


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


def scanned(place: str) -> Iterator[Any]:
    """dlq.scan on two processes: ids, times, groups."""
    import dlqanalysis as dlq
    from dlqanalysis.scan import cluster

    cluster._MOST = 2
    yield
    with dlq.scan(place) as scan:
        groups = scan.groups()
        used = list(scan._cluster.client.run(_used).values())
        yield {"groups": _said(groups), "rows": scan.rows, "workers": used, "cpu": _used()[1]}


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
