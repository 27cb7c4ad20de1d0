"""One execution of a plan, as the journal tells it."""

import html
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from dlqanalysis.display.progress import plain_table
from dlqanalysis.journal import Journal
from dlqanalysis.model import Outcome, State
from dlqanalysis.redact import redact


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a plan, read from the journal: what was sent, what came of it, why it stopped."""

    run_id: str
    plan_id: str
    action: str
    stopped: str  #: why it did not reach the end; empty when it did
    items: pd.DataFrame  #: one row an item, as `Journal.items` gives it

    @classmethod
    def read(cls, run_id: str, journal: Journal) -> "Run":
        """The run as the journal has it now."""
        head = journal.run(run_id)
        events = journal.events(run_id)
        last = events[events["event"].isin(["stopped", "finished", "started", "resumed"])].iloc[-1]
        stopped = {"finished": "", "stopped": last["detail"].get("because", "")}
        if last["event"] not in stopped:
            holder = journal.held_by(run_id)
            stopped[last["event"]] = (
                f"it is going on in {holder}"
                if holder
                else "it never came to an end: the process died"
            )
        return cls(
            run_id=run_id,
            plan_id=head["plan_id"],
            action=head["action"],
            stopped=stopped[last["event"]],
            items=journal.items(run_id),
        )

    @property
    def finished(self) -> bool:
        """Whether every stage that was asked for came to its end and every gate opened."""
        return not self.stopped

    @property
    def goes_on(self) -> bool:
        """Whether there is something left that `dlq.resume` would see to."""
        return bool(self.items["state"].isin([State.NOT_REACHED, State.UNCERTAIN]).any())

    @property
    def receipts(self) -> pd.DataFrame:
        """One row an item: failure_id, task_name, state, sent_id, detail, at."""
        return self.items[["failure_id", "task_name", "state", "sent_id", "detail", "at"]]

    @property
    def outcomes(self) -> pd.DataFrame:
        """One row a sent item: failure_id, task_name, fingerprint, sent_id, outcome (pending until a final one
        is known: `dlq.verify` asks again), outcome_detail, and came_back: `same error`, `another error`, or empty where nothing came back or nobody can tell."""
        sent = self.items[self.items["state"] == State.SENT]
        names = ["failure_id", "task_name", "fingerprint", "sent_id", "outcome", "outcome_detail"]
        known = sent["came_back_as"] != ""
        came_back = (sent["came_back_as"] == sent["fingerprint"]).map(
            {True: "same error", False: "another error"}
        )
        told = sent[names].assign(came_back=came_back.where(known, "").astype("str"))
        return told.fillna({"outcome": str(Outcome.PENDING)})

    @property
    def summary(self) -> pd.DataFrame:
        """One row: planned and each state, which add up; then each outcome of what was sent."""
        states = Counter(self.items["state"])
        replayed = self.action == "replay"  # of nothing else comes an outcome
        outcomes = Counter(self.outcomes["outcome"]) if replayed else Counter[str]()
        row = {"planned": len(self.items), **{str(s): states.get(str(s), 0) for s in State}}
        row |= {str(o): outcomes.get(str(o), 0) for o in Outcome}
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        row = self.summary.iloc[0]
        parts = [f"{row[s]:,} {s.replace('_', ' ')}" for s in map(str, State) if row[s]]
        came = [f"{row[o]:,} {o.replace('_', ' ')}" for o in map(str, Outcome) if row[o]]
        end = f" Stopped: {redact(self.stopped).removesuffix('.')}." if self.stopped else ""
        if self.goes_on and "going on in" not in self.stopped:
            end += f" dlq.resume({self.run_id!r}, to=..., journal=..., confirm=<the plan's id>) goes on."
        text = f"Run {self.run_id}: {row['planned']:,} planned = {' + '.join(parts) or '0'}."
        return text + (f" Of the sent: {', '.join(came)}." if came else "") + end

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{plain_table(self.summary)}"
