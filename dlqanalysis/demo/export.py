"""The committed export of the demo incident: the notebooks' default source.

python -m dlqanalysis.demo.export [FOLDER]     writes demo_export.parquet and demo_deploys.csv (notebooks/data)
"""

import csv
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dlqanalysis.demo import incident
from dlqanalysis.frame import COLUMNS, arrow_type

ROWS = 2_000
NAME, DEPLOYS = "demo_export.parquet", "demo_deploys.csv"


def failures(rows: int = ROWS, seed: int = incident.SEED, end: datetime = incident.END) -> pa.Table:
    """The incident under the frame's names, all statuses; a traceback stands on one row of its kind."""
    return columns(pa.concat_tables(c.failed_tasks for c in incident.chunks(rows, seed, end)))


def columns(failed_tasks: pa.Table) -> pa.Table:
    """Rows of failed_tasks under the frame's names."""
    payload = pc.case_when(
        pc.make_struct(
            pc.is_valid(failed_tasks["kwargs"]),
            pc.is_valid(failed_tasks["body"]),
            pc.is_valid(failed_tasks["args"]),
        ),
        "complete",
        "unreadable",
        "truncated",
        "missing",
    )
    names = {"queue": "queue_name", "failure_id": "id", "retries": "retries_attempted"}
    taken = {
        name: failed_tasks[names.get(name, name)]
        for name in COLUMNS
        if names.get(name, name) in failed_tasks.column_names
    }
    found = taken | {
        "source": pa.repeat(pa.scalar("celery:failed_tasks"), failed_tasks.num_rows),
        "failure_id": failed_tasks["id"].cast(pa.string()),
        "payload_state": payload,
        "traceback": _representatives(failed_tasks),
    }
    plain = {name: getattr(arrow_type(name), "value_type", arrow_type(name)) for name in COLUMNS}
    nothing = {name: pa.nulls(failed_tasks.num_rows, kind) for name, kind in plain.items()}
    return pa.table(nothing | found).select(list(COLUMNS)).cast(pa.schema(plain))


def _representatives(failed_tasks: pa.Table) -> pa.Array:
    """Tracebacks, kept on the first row of each task, exception and beginning of a message."""
    kind = failed_tasks.select(["task_name", "exception_type", "exception_message"]).to_pandas()
    kind["exception_message"] = kind["exception_message"].str[:24]
    return pc.if_else(pa.array(~kind.duplicated()), failed_tasks["traceback"], None)


def write(folder: Path, rows: int = ROWS, end: datetime = incident.END) -> tuple[Path, Path]:
    """Both files, the same bytes of content for the same seed and end."""
    folder.mkdir(parents=True, exist_ok=True)
    made = failures(rows, end=end)
    pq.write_table(made, folder / NAME, compression="zstd", compression_level=19)
    return folder / NAME, write_deploys(folder, end)


def write_deploys(folder: Path, end: datetime = incident.END) -> Path:
    """What was deployed in the two weeks before `end`, as a file for `dlq.changes`."""
    deploys = incident.deploys(end)
    with (folder / DEPLOYS).open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(deploys[0]), lineterminator="\n")
        lines.writeheader()
        lines.writerows(deploys)
    return folder / DEPLOYS


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "notebooks/data"))
