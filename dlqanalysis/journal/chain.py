"""What makes a change of the journal visible: each entry carries a hash of all before it in its run; the first entry
of a run carries one of who, why and what was planned, and the hash of an entry of another run that stood before it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from dlqanalysis.journal.tables import ENTRIES, ITEMS, RUNS

_LINKED = ("run_id", "failure_id", "event", "at", "detail")


def link(chain: str, row: Mapping[str, Any]) -> str:
    """The hash of an entry and, through `chain`, of all before it in its run."""
    text = "\x1f".join([chain, *(str(row[name]) for name in _LINKED)])
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def seal(head: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> str:
    """The hash of a run's row and of its items in their order."""
    found = hashlib.sha256()
    for table, rows in ((RUNS, [head]), (ITEMS, items)):
        names = [column.name for column in table.columns]
        for row in rows:
            # runs of a journal that had no `work` yet were sealed without it, and it is empty in them
            values = [row[name] for name in names if name != "work" or row[name]]
            text = json.dumps(values, default=str)
            found.update(text.encode("utf-8", "backslashreplace"))
    return found.hexdigest()


def newest(db: sa.Connection) -> str:
    """The hash of the last entry there is; empty in a new journal. Kept outside, it shows whether entries went."""
    return db.scalar(sa.select(ENTRIES.c.chain).order_by(ENTRIES.c.seq.desc()).limit(1)) or ""


def broken(db: sa.Connection, known: str = "") -> list[str]:
    """Sentences about every run that is not what was written, and about `known`, the beginning of a hash that was
    the newest once, if no entry has it; empty when all hold."""
    altered: dict[str, str] = {}
    last: dict[str, str] = {}
    seen = {""}
    firsts: list[tuple[str, dict[str, Any]]] = []
    rows: Any = db.execute(sa.select(ENTRIES).order_by(ENTRIES.c.seq)).mappings()
    for row in rows:
        run_id = row["run_id"]
        if row["chain"] != link(last.get(run_id, ""), row):
            altered.setdefault(run_id, f"entry {row['seq']} is not what was written")
        if row["event"] == "started" and run_id not in last:
            firsts.append((run_id, json.loads(row["detail"])))
        last[run_id] = row["chain"]
        seen.add(row["chain"])
    for run_id, said in firsts:
        if "seal" in said and said["seal"] != _sealed(db, run_id):
            altered.setdefault(run_id, "who, why or what was planned is not what was written")
        if said.get("after", "") not in seen:
            altered.setdefault(run_id, "an entry that stood before its first one is gone")
    for (run_id,) in db.execute(sa.select(RUNS.c.run_id)):
        if run_id not in last:
            altered[run_id] = "its entries are gone"
    told = [f"Run {run_id}: {what}." for run_id, what in altered.items()]
    if not any(one.startswith(known) for one in seen):
        told.append(
            f"No entry has the hash {known[:64]}, which was the newest once: entries are gone."
        )
    return told


def _sealed(db: sa.Connection, run_id: str) -> str:
    head: Any = db.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).mappings().first()
    if head is None:
        return "gone"
    items = sa.select(ITEMS).where(ITEMS.c.run_id == run_id).order_by(ITEMS.c.position)
    rows: Any = db.execute(items).mappings()
    return seal(head, rows)
