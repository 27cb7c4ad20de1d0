"""What people did by hand, written down beside the runs: more workers, a task run in a shell, a restart."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from dlqanalysis.errors import JournalError
from dlqanalysis.journal import Journal
from dlqanalysis.model import Item, State

ACTION = "by_hand"
_FIELDS = ("failure_id", "task_id", "task_name", "queue", "fingerprint")


@dataclass(frozen=True)
class _Note:
    """What the journal wants to know of anything that it opens."""

    action: str
    source: str
    reason: str
    chosen: Sequence[Item] = ()
    held_back: tuple[()] = field(default=())

    @property
    def digest(self) -> str:
        parts = [self.action, self.source, self.reason, *(item.failure_id for item in self.chosen)]
        return hashlib.sha256("\x1f".join(parts).encode("utf-8", "backslashreplace")).hexdigest()

    @property
    def id(self) -> str:
        return self.digest[:8]

    def items(self) -> Sequence[Item]:
        return self.chosen


def note(
    text: str, journal: Journal, failures: pd.DataFrame | None = None, *, source: str = ""
) -> str:
    """Write down what was done by hand; gives the note's id. It stands in `journal.runs()` and in the chronicle.

    `failures` are those that were seen to by hand, such as tasks run in a shell: plans hold them back from then
    on, and one that a run has or had already is refused. `dlq.forget(id, journal)` lets them be planned again.
    """
    if not text or not text.strip():
        raise JournalError(
            'A note needs its text: dlq.note("two more workers for emails", journal).'
        )
    if failures is None or failures.empty:
        return _kept(journal, _Note(ACTION, source or "by hand", text.strip()))
    sources = failures["source"].astype("str").unique()
    if len(sources) != 1:
        raise JournalError(f"These failures are of {len(sources)} sources: write a note for each.")
    rows = failures.reindex(columns=_FIELDS).astype("str").fillna("")
    items = [
        Item(**{str(k): v for k, v in row.items()}, content_hash="", generation=1, action=ACTION)
        for row in rows.to_dict("records")
    ]
    return _kept(journal, _Note(ACTION, str(sources[0]), text.strip(), items))


def forget(note_id: str, journal: Journal, text: str = "written down by mistake") -> str:
    """Take a note's failures back, so that plans may choose them again; the note itself stays. Gives the id of
    the entry that says so."""
    head = journal.run(note_id)
    if head["action"] != ACTION:
        raise JournalError(
            f"{note_id} is no note but a {head['action']}: dlq.undo plans its way back."
        )
    mine = journal.items(note_id)
    items = [
        Item(**{name: row[name] for name in _FIELDS}, content_hash="", generation=1, action="undo")
        for row in mine[mine["state"] == State.SENT].to_dict("records")
    ]
    return _kept(journal, _Note("undo", head["source"], text, items), frees=note_id)


def _kept(journal: Journal, what: _Note, frees: str = "") -> str:
    run_id = journal.start(what, {"by_hand": True})
    taken = journal.claim(run_id, what.source, what.chosen, fleeting=bool(frees))
    done = [item.failure_id for item in what.chosen if item.failure_id not in taken]
    events = [(one, "sent", {"detail": what.reason}) for one in done]
    journal.record(run_id, [*events, ("", "finished", {})], [run_id, frees] if frees else [])
    if taken:
        holder = next(iter(taken.values()))
        raise JournalError(
            f"{len(taken):,} of these failures are in run {holder} already; the other {len(done):,} are written"
            f" down as {run_id}. Look at that run before you do its work by hand."
        )
    return run_id
