"""Archived rows: a status that is given, and taken back.

What a row's status was stands in the claims table under a name of its own, written in the same transaction:
a restore gives it back only where the row is still archived, by the run that is undone.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from dlqanalysis.model import Item, Receipt, State
from dlqanalysis.sources.celery.claims import Claims


class Shelf:
    """What runs have archived of one table."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._name = f"{claims.table.name} (archived)"

    def move(self, action: str, items: Sequence[Item], run_id: str) -> list[Receipt]:
        """Archive rows, or restore them; a receipt each. Never one that is pending or has changed."""
        claims, receipts, moved = self._claims, [], []
        if not claims.table.has("status"):
            why = f"{claims.name} has no status column, so nothing can be archived in it"
            return [
                Receipt(failure_id=i.failure_id, state=State.REFUSED, detail=why) for i in items
            ]
        with claims.transaction() as db:
            rows = {row["failure_id"]: row for row in claims.locked(db, items)}
            there = claims.there(db, [i.failure_id for i in items if i.failure_id not in rows])
            marks = self._marks(db, [item.failure_id for item in items])
            for item in items:
                row, mark = rows.get(item.failure_id), marks.get(item.failure_id)
                if row is None or action == "archive":
                    why = claims.why_not(item, row, item.failure_id in there, archive=True)
                else:
                    why = self._why_not(item, str(row["status"]), mark)
                if not why and row is not None:
                    moved.append((item.failure_id, str(row["status"]), mark))
                state = State.SKIPPED if why else State.SENT
                receipts.append(Receipt(failure_id=item.failure_id, state=state, detail=why))
            if action == "archive":
                self._archive(db, {i: was for i, was, _ in moved}, run_id)
            else:
                self._restore(db, {i: mark[1] for i, _, mark in moved if mark})
        return receipts

    def settle(self, items: Sequence[Item], run_id: str) -> dict[str, Receipt]:
        """Receipts of those items that a run archived or was to restore; the others are left out."""
        with self._claims.transaction() as db:
            marks = self._marks(db, [item.failure_id for item in items])
        found = {}
        for item in items:
            run, _ = marks.get(item.failure_id, ("", ""))
            if item.undoes:
                state, detail = State.SENT, "it is not archived any more"
                if run == item.undoes:
                    state, detail = State.NOT_REACHED, "it is still archived"
            elif run == run_id:
                state, detail = State.SENT, "it is archived"
            elif item.action == "archive":  # whoever replayed it before: that row may be archived
                state, detail = State.NOT_REACHED, "this run has not archived it"
            else:
                continue
            found[item.failure_id] = Receipt(failure_id=item.failure_id, state=state, detail=detail)
        return found

    def _why_not(self, item: Item, status: str, mark: tuple[str, str] | None) -> str:
        if status != self._claims.table.word("archived"):
            return f"its status is {status} now"
        if mark is None:
            return "no run archived it, so what its status was is not known"
        if item.undoes and mark[0] != item.undoes:
            return f"run {mark[0]} archived it, not {item.undoes}"
        return ""

    def _archive(self, db: sa.Connection, were: dict[str, str], run_id: str) -> None:
        if not were:
            return
        values = [
            {
                "source_table": self._name,
                "failure_id": i,
                "run_id": run_id,
                "sent_id": "",
                "state": was,
            }
            for i, was in were.items()
        ]
        insert = postgresql.insert(self._claims.marks).values(values)
        again = {"run_id": insert.excluded.run_id, "state": insert.excluded.state}
        keys = ["source_table", "failure_id"]
        db.execute(insert.on_conflict_do_update(index_elements=keys, set_=again))
        self._claims.set_status(db, list(were), "archived")

    def _restore(self, db: sa.Connection, were: dict[str, str]) -> None:
        for status in sorted(set(were.values())):
            ids = [i for i, was in were.items() if was == status]
            self._claims.set_status(db, ids, status, only=self._claims.table.word("archived"))
        c = self._claims.marks.c
        mine = sa.and_(c.source_table == self._name, c.failure_id.in_(list(were)))
        db.execute(self._claims.marks.delete().where(mine))

    def _marks(self, db: sa.Connection, failure_ids: list[str]) -> dict[str, tuple[str, str]]:
        """failure_id -> run and former status of what is archived."""
        c = self._claims.marks.c
        wanted = sa.select(c.failure_id, c.run_id, c.state).where(
            c.source_table == self._name, c.failure_id.in_(failure_ids)
        )
        return {row[0]: (row[1], row[2]) for row in db.execute(wanted)}
