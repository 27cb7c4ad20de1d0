"""The durable record of every action: written before each call and after it, shared by a team.

`entries` is append-only, and the entries of one run form a hash chain. What an item's state is follows
from its entries alone: `sending` without an answer is `uncertain`. A claim stands for one failure that
somebody is acting on or has acted on; it is unique for everyone who shares the journal.
"""

import json
import os
import secrets
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from types import MappingProxyType
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dlqanalysis.errors import JournalError, RunError
from dlqanalysis.journal import chain, tables
from dlqanalysis.journal.tables import CLAIMS, ENTRIES, ITEMS, RUNS, Transaction, said, short
from dlqanalysis.model import PLANNED, Item, State, worldwide
from dlqanalysis.profile import journal_url, operator
from dlqanalysis.redact import redact

#: event of an item -> the state it leaves the item in
STATES = {
    "sending": State.UNCERTAIN,
    "sent": State.SENT,
    "refused": State.REFUSED,
    "skipped": State.SKIPPED,
    "uncertain": State.UNCERTAIN,
    "unsent": State.NOT_REACHED,  # settled: it never happened, so a resume may send it
}
_RELEASES = ("refused", "skipped", "unsent")
_BEGINS = ("started", "resumed", "settling")
_ENDS = ("finished", "stopped", "settled")
_TASKS = "*"  #: in place of a source: the claim of a task, in whatever system its copies stand


class Journal:
    """Runs, their items and what happened to each. SQLite by default, Postgres for a team.

    `Journal()` opens the place that DLQ_JOURNAL_URL names, else a file of your own in DLQ_HOME.
    """

    def __init__(self, url: str | None = None) -> None:
        where, self.place = tables.address(url or journal_url())
        try:
            self._engine = sa.create_engine(where, **tables.options(where))
            weakref.finalize(self, self._engine.dispose)
            if where.get_backend_name() == "sqlite":
                sa.event.listen(self._engine, "connect", tables.durable)
                sa.event.listen(self._engine, "begin", tables.immediate)
                if where.database and where.database != ":memory:":
                    path = Path(where.database)
                    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    path.touch(mode=0o600)
            elif where.get_backend_name() == "postgresql":
                sa.event.listen(self._engine, "begin", tables.patient)
            tables.create(self._engine)
        except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
            raise JournalError(
                f"The journal at {self.place} cannot be opened ({short(error)}). Check DLQ_JOURNAL_URL"
                " and its permissions; nothing is sent without a journal."
            ) from None

    @classmethod
    def if_any(cls) -> "Journal | None":
        """The journal, or None where nobody has made one yet: looking makes no file."""
        where, _ = tables.address(journal_url())
        file = where.database if where.get_backend_name() == "sqlite" else None
        return None if file and not Path(file).exists() else cls()

    def __repr__(self) -> str:
        with self._begin() as db:
            count = db.scalar(sa.select(sa.func.count()).select_from(RUNS))
        return f"Journal at {self.place}: {count} run{'' if count == 1 else 's'}"

    def _begin(self) -> Any:
        return Transaction(self._engine, self.place)

    # ---- writing -----------------------------------------------------------------------------

    def start(self, plan: Any, options: Mapping[str, Any]) -> str:
        """Open a run: the frozen membership of `plan`, and who acts, where from and why. Gives its id."""
        now = datetime.now(UTC)
        run_id = f"{now:%Y%m%d-%H%M%S}-{plan.id}-{secrets.token_hex(2)}"
        with self._begin() as db:
            head = {
                "run_id": run_id,
                "plan_id": plan.id,
                "plan_digest": plan.digest,
                "action": plan.action,
                "source": plan.source,
                "reason": redact(plan.reason),
                "operator": operator(),
                "host": gethostname(),
                "started_at": now.isoformat(),
                "held_back": len(plan.held_back),
                "options": json.dumps(dict(options), sort_keys=True, default=str),
            }
            db.execute(RUNS.insert(), head)
            rows = [
                {
                    "run_id": run_id,
                    "position": position,
                    **{name: tables.for_database(getattr(item, name)) for name in PLANNED},
                    "generation": item.generation,
                }
                for position, item in enumerate(plan.items())
            ]
            tables.add(db, ITEMS, rows)
            proof = {"seal": chain.seal(head, rows), "after": chain.newest(db)}
            self._append(db, run_id, [("", "started", {**options, **_here(), **proof})])
        return run_id

    def take(
        self, run_id: str, event: str, detail: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Note that this process goes on with a run (`resumed`) or settles it (`settling`). Raises RunError
        while another one holds it; of two who try at once one gets it."""
        with self._begin() as db:
            db.execute(self._locked(run_id, RUNS.c.run_id))
            if holder := self._holder(db, run_id):
                raise RunError(
                    f"Run {run_id} is going on in {holder}: nothing was changed. Wait for it, or dlq.cancel"
                    " it first."
                )
            self._append(db, run_id, [("", event, {**detail, **_here()})])

    def held_by(self, run_id: str) -> str:
        """Who is executing a run at this moment, as far as can be told; empty when nobody is."""
        with self._begin() as db:
            return self._holder(db, run_id)

    def _holder(self, db: sa.Connection, run_id: str) -> str:
        of_run = sa.select(ENTRIES).where(ENTRIES.c.run_id == run_id, ENTRIES.c.failure_id == "")
        events = db.execute(of_run.order_by(ENTRIES.c.seq)).mappings().all()
        last = max(n for n, row in enumerate(events) if row["event"] in _BEGINS)
        where, since = json.loads(events[last]["detail"]), {row["event"] for row in events[last:]}
        if since & set(_ENDS) or where == {**where, **_here()}:
            return ""
        newest = sa.select(sa.func.max(ENTRIES.c.at)).where(ENTRIES.c.run_id == run_id)
        at = datetime.fromisoformat(str(db.scalar(newest)))
        silent = (datetime.now(UTC) - at).total_seconds() >= _SILENCE
        if where.get("host") == gethostname():
            # a process that was asked to stop and says nothing is another one, with the same number
            gone = not _lives(where["pid"]) or (silent and "cancel" in since)
            return "" if gone else f"process {where['pid']}"
        return "" if silent else f"process {where.get('pid')} on {where.get('host')}"

    def claim(
        self, run_id: str, source: str, items: Sequence[Item], fleeting: bool = False
    ) -> dict[str, str]:
        """Claim items and note `sending`, in one transaction, before anything is called.

        Gives failure_id -> the run that already holds it, for those that somebody else has; they are
        noted as skipped. A replay claims the task as well, so that its copy in another system cannot go
        too. What is `fleeting` (an undo, a pause) is held beside the claim of the replay.
        """
        with self._begin() as db:
            action = db.scalar(self._locked(run_id, RUNS.c.action))
            wanted = {(item.failure_id, 0 if fleeting else item.generation) for item in items}
            others = self._held(db, run_id, source, wanted)
            taken = {failure_id: holder for (failure_id, _), holder in others.items()}
            free = [
                item for item in items if item.failure_id not in taken and worldwide(item.task_id)
            ]
            tasks = {
                one.failure_id: (tables.for_database(one.task_id), one.generation) for one in free
            }
            wanted = set(tasks.values()) if action == "replay" else set()
            elsewhere = self._held(db, run_id, _TASKS, wanted)
            for item in free:
                holder = elsewhere.get(tasks[item.failure_id], run_id)
                if holder != run_id:  # this run: another entry, which its plan lets go too
                    self._release(db, [run_id], item.failure_id)
                    taken[item.failure_id] = holder
            events: list[tuple[str, str, Mapping[str, Any]]] = []
            for item in items:
                if (held := taken.get(item.failure_id)) is None:
                    events.append((item.failure_id, "sending", {}))
                elif (
                    held != run_id
                ):  # else another process of this run has it, and notes what it does
                    detail = {"detail": f"already in run {held}"}
                    events.append((item.failure_id, "skipped", detail))
            self._append(db, run_id, events)
        return taken

    def _held(
        self, db: sa.Connection, run_id: str, source: str, wanted: set[tuple[str, int]]
    ) -> dict[tuple[str, int], str]:
        """Claims what is wanted, each in its generation; gives the run that has it for what was claimed already."""
        named = (CLAIMS.c.failure_id, CLAIMS.c.generation)
        insert = self._insert(CLAIMS).on_conflict_do_nothing().returning(*named)
        held: dict[tuple[str, int], str] = {}
        while wanted:
            # in one order for everybody: two operators who want the same never wait for each other in a circle
            rows = [
                {"source": source, "failure_id": what, "generation": generation, "run_id": run_id}
                for what, generation in sorted(wanted)
            ]
            left = wanted - {(what, generation) for what, generation in db.execute(insert, rows)}
            others = sa.select(*named, CLAIMS.c.run_id).where(
                CLAIMS.c.source == source, CLAIMS.c.failure_id.in_({what for what, _ in left})
            )
            found = (
                {(what, n): str(holder) for what, n, holder in db.execute(others)} if left else {}
            )
            held |= {one: found[one] for one in left if one in found}
            wanted = left - found.keys()  # given back between the two statements: free again
        return held

    def _release(self, db: sa.Connection, runs: Sequence[str], failure_id: str) -> None:
        """Give back what these runs claimed for one failure: itself and its task."""
        tasks = sa.select(ITEMS.c.task_id).where(
            ITEMS.c.run_id.in_(runs), ITEMS.c.failure_id == failure_id
        )
        of_task = (CLAIMS.c.source == _TASKS) & CLAIMS.c.failure_id.in_(tasks)
        of_failure = (CLAIMS.c.source != _TASKS) & (CLAIMS.c.failure_id == failure_id)
        db.execute(CLAIMS.delete().where(CLAIMS.c.run_id.in_(runs), of_failure | of_task))

    def record(
        self,
        run_id: str,
        events: Iterable[tuple[str, str, Mapping[str, Any]]],
        frees: Sequence[str] = (),
    ) -> None:
        """Append (failure_id or "", event, detail) entries. What did not happen gives its claim back; what
        was sent ends the claims of the runs in `frees`: an undo ends its own and that of the replay."""
        events = list(events)
        with self._begin() as db:
            self._append(db, run_id, events)
            for failure_id, event, _ in events:
                runs = [run_id] if event in _RELEASES else frees if event == "sent" else ()
                if failure_id and runs:
                    self._release(db, runs, failure_id)

    def _append(
        self, db: sa.Connection, run_id: str, events: Iterable[tuple[str, str, Mapping[str, Any]]]
    ) -> None:
        db.execute(self._locked(run_id, RUNS.c.run_id))
        last = (
            sa.select(ENTRIES.c.chain)
            .where(ENTRIES.c.run_id == run_id)
            .order_by(ENTRIES.c.seq.desc())
            .limit(1)
        )
        hashed = db.scalar(last) or ""
        rows = []
        at = datetime.now(UTC).isoformat()
        for failure_id, event, detail in events:
            row = {
                "run_id": run_id,
                "failure_id": failure_id,
                "event": event,
                "at": at,
                "detail": json.dumps(said(detail), sort_keys=True, default=str) if detail else "{}",
            }
            hashed = chain.link(hashed, row)
            rows.append({**row, "chain": hashed})
        tables.add(db, ENTRIES, rows)

    def _locked(self, run_id: str, column: Any) -> Any:
        """The row of a run, held until the transaction ends: entries of two processes make one chain."""
        return sa.select(column).where(RUNS.c.run_id == run_id).with_for_update()

    def _insert(self, table: sa.Table) -> Any:
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(table)

    # ---- reading -----------------------------------------------------------------------------

    def run(self, run_id: str) -> dict[str, Any]:
        """What `start` wrote of a run, or a sentence with the runs there are."""
        with self._begin() as db:
            row = db.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).mappings().first()
            if row is None:
                newest = sa.select(RUNS.c.run_id).order_by(RUNS.c.started_at.desc()).limit(5)
                known = ", ".join(db.scalars(newest))
                missing = f"There is no run '{run_id}'" if run_id else "No run was named"
                if not known:
                    raise RunError(f"{missing}, and the journal {self.place} has none yet.")
                raise RunError(f"{missing}. Give one that is in {self.place}; newest: {known}.")
            return {**row, "options": json.loads(row["options"])}

    def runs(self) -> pd.DataFrame:
        """One row a run, newest first: who, why, when, and how many items stand in each state."""
        with self._begin() as db:
            rows = db.execute(sa.select(RUNS).order_by(RUNS.c.started_at.desc())).mappings().all()
        frame = pd.DataFrame(rows, columns=[c.name for c in RUNS.columns])
        frame["started_at"] = pd.to_datetime(frame["started_at"], utc=True, format="ISO8601")
        items = self.items()
        counts = (
            items.groupby(["run_id", "state"]).size().unstack("state", fill_value=0)
            if len(items)
            else pd.DataFrame()
        )
        counts = counts.reindex(columns=[str(state) for state in State], fill_value=0)
        frame = frame.drop(columns=["plan_digest", "options"]).join(counts, on="run_id")
        frame.attrs["empty"] = "No run yet: nothing was sent with this journal."
        return frame.fillna({str(state): 0 for state in State})

    def runs_of(self, plan_digest: str) -> list[str]:
        """The runs that a plan already had."""
        with self._begin() as db:
            found = sa.select(RUNS.c.run_id).where(RUNS.c.plan_digest == plan_digest)
            return list(db.scalars(found.order_by(RUNS.c.started_at)))

    def replayed(self) -> pd.DataFrame:
        """By fingerprint, how many were ever replayed: fingerprint, replayed, last_replayed (UTC)."""
        query = (
            sa.select(
                ITEMS.c.fingerprint,
                sa.func.count().label("replayed"),
                sa.func.max(ENTRIES.c.at).label("last_replayed"),
            )
            .join(RUNS, RUNS.c.run_id == ITEMS.c.run_id)
            .join(
                ENTRIES,
                (ENTRIES.c.run_id == ITEMS.c.run_id) & (ENTRIES.c.failure_id == ITEMS.c.failure_id),
            )
            .where(ENTRIES.c.event == "sent", RUNS.c.action == "replay")
            .group_by(ITEMS.c.fingerprint)
        )
        with self._begin() as db:
            rows = db.execute(query).mappings().all()
        frame = pd.DataFrame(rows, columns=["fingerprint", "replayed", "last_replayed"])
        frame["last_replayed"] = pd.to_datetime(frame["last_replayed"], utc=True, format="ISO8601")
        return frame.astype({"fingerprint": "str", "replayed": "int64"})

    def repaired(self) -> set[str]:
        """The runs that sent repaired payloads instead of the originals."""
        with self._begin() as db:
            rows = db.execute(sa.select(RUNS.c.run_id, RUNS.c.options)).all()
        return {run_id for run_id, options in rows if json.loads(options).get("payloads")}

    def items(self, run_id: str | None = None, source: str | None = None) -> pd.DataFrame:
        """One row an item of the runs asked for: its fields, `state`, `sent_id`, `detail`, `at`, `outcome`,
        and `came_back_as`, the fingerprint of what failed again."""
        query = sa.select(RUNS.c.source, RUNS.c.action, ITEMS).join(
            RUNS, RUNS.c.run_id == ITEMS.c.run_id
        )
        told_by = (ENTRIES.c[name] for name in ("run_id", "failure_id", "event", "at", "detail"))
        events = sa.select(*told_by).where(ENTRIES.c.failure_id != "").order_by(ENTRIES.c.seq)
        if run_id is not None:
            query = query.where(ITEMS.c.run_id == run_id)
            events = events.where(ENTRIES.c.run_id == run_id)
        if source is not None:
            query = query.where(RUNS.c.source == source)
            events = events.join(RUNS, RUNS.c.run_id == ENTRIES.c.run_id).where(
                RUNS.c.source == source
            )
        with self._begin() as db:
            rows = db.execute(query.order_by(ITEMS.c.run_id, ITEMS.c.position)).all()
            happened = db.execute(events).all()
        told: dict[tuple[str, str], dict[str, Any]] = {}
        for of_run, of_failure, event, at, text in happened:
            detail = json.loads(text) if text != "{}" else {}
            facts = told.setdefault((of_run, of_failure), {})
            if event == "outcome":
                facts.update(outcome=detail["outcome"], outcome_detail=detail.get("detail", ""))
                facts["outcome_at"] = at
                facts["came_back_as"] = detail.get("fingerprint", "")
            elif event in STATES and facts.get("state") != State.SENT:
                # what was sent stays sent, whatever a second process of the same run found later
                facts.update(state=str(STATES[event]), at=at)
                facts["sent_id"] = detail.get("sent_id") or facts.get("sent_id", "")
                facts["detail"] = detail.get("detail", "")
        nothing = {"state": str(State.NOT_REACHED), "sent_id": "", "detail": "", "at": None}
        nothing |= {"outcome": None, "outcome_detail": "", "came_back_as": "", "outcome_at": None}
        names = ["source", "action", *(c.name for c in ITEMS.columns), *nothing]
        run, failure_id = names.index("run_id"), names.index("failure_id")
        full = [
            (*row, *{**nothing, **told.get((row[run], row[failure_id]), {})}.values())
            for row in rows
        ]
        frame = pd.DataFrame(full, columns=names)
        for name in ("at", "outcome_at"):
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        return frame

    def events(self, run_id: str) -> pd.DataFrame:
        """What happened to a run as a whole, in order: columns at, event, detail (mappings)."""
        query = sa.select(ENTRIES).where(ENTRIES.c.run_id == run_id, ENTRIES.c.failure_id == "")
        with self._begin() as db:
            rows = db.execute(query.order_by(ENTRIES.c.seq)).mappings().all()
        return pd.DataFrame(
            [(row["at"], row["event"], json.loads(row["detail"])) for row in rows],
            columns=["at", "event", "detail"],
        )

    def has(self, run_id: str, event: str) -> bool:
        """Whether a run has an event of its own, such as `finished` or `cancel`, since it last started."""
        query = sa.select(ENTRIES.c.event).where(
            ENTRIES.c.run_id == run_id, ENTRIES.c.failure_id == ""
        )
        with self._begin() as db:
            events = list(db.scalars(query.order_by(ENTRIES.c.seq)))
        starts = [n for n, name in enumerate(events) if name in ("started", "resumed")]
        return event in events[starts[-1] if starts else 0 :]

    def verify(self, known: str = "") -> list[str]:
        """Sentences about every run that is not what was written: its entries, who, why and what was planned; empty
        when all hold. `known`: what `newest` gave once, of which some signs are enough; entries after it that
        were cut off leave no other trace."""
        with self._begin() as db:
            return chain.broken(db, known)

    def newest(self) -> str:
        """The hash of the last entry, empty in a new journal: note it where no one who writes here can alter it."""
        with self._begin() as db:
            return chain.newest(db)


_SILENCE = 120  #: seconds without an entry after which a run on another host counts as left


def _here() -> dict[str, Any]:
    return {"host": gethostname(), "pid": os.getpid()}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
