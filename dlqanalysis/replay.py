"""Executes a confirmed plan: staged, gated by measured outcomes, journalled before each call, resumable.

The only module that calls a hand. planned = sent + refused + skipped + uncertain + not reached, always.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from dlqanalysis.archive import keep
from dlqanalysis.errors import DLQError, NotConfirmed, RunError
from dlqanalysis.interrupt import stops_on_ctrl_c
from dlqanalysis.journal import Journal
from dlqanalysis.model import Finding, Hand, Item, Outcome, State, duration
from dlqanalysis.plan import Plan
from dlqanalysis.profile import armed, home, parse_rate
from dlqanalysis.run import Run

BATCH = 50  #: items claimed and sent together: what at most is uncertain after a crash
Stages = Sequence[int | None]


def replay(
    plan: Plan,
    *,
    to: Hand,
    journal: Journal,
    confirm: str = "",
    stages: Stages = (10, 50, None),
    rate: str | None = "5/s",
    gate: float | None = 0.95,
    breaker: float = 0.5,
    min_sample: int = 5,
    wait: str = "5m",
    poll: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> Run:
    """Send what the plan chose, once, in stages; each next stage waits for what became of the last.

    `confirm` is the plan's id, typed by a person who read it (DLQ_ARM holds it for unattended runs).
    `stages` are sizes, None for the rest. `rate` bounds sends (5/s, 30/m). The gate opens when at least
    that share of the finished ones succeeded, within `wait`; `gate=None` goes on unmeasured. The breaker
    stops inside a stage when more than that share of at least `min_sample` failed again. Ctrl-C stops
    between items; `dlq.resume` goes on. Raises NotConfirmed or RunError before anything is sent.
    """
    if (confirm or armed()) != plan.confirmation:
        raise NotConfirmed(
            "Nothing was sent: this plan is not confirmed. Show it, read what goes and what stays, then"
            " type its id into confirm (for a purge: its id, a space, and how many go)."
        )
    if not plan.intact:
        raise RunError(
            "Nothing was sent: the plan's frames were changed after it was made. Plan again."
        )
    if not len(plan.chosen):
        raise RunError("Nothing was sent: the plan chose nothing. plan.summary says why all stay.")
    _fits(plan.action, plan.source, to)
    if before := journal.runs_of(plan.digest):
        run = Run.read(before[-1], journal)
        raise RunError(
            f"Nothing was sent: this plan was run already. {run} dlq.resume goes on with it."
        )
    gate = gate if plan.action == "replay" else None  # nothing runs, so nothing comes of it
    options = {
        "stages": list(stages),
        "rate": rate,
        "gate": gate,
        "breaker": breaker,
        "min_sample": min_sample,
        "wait": wait,
        "poll": poll,
    }
    _checked(options)
    items = list(plan.items())
    findings = _ready(to, plan.action, items)
    kept = _snapshot(to, items, plan.id)
    run_id = journal.start(plan, options)
    journal.record(run_id, [("", "preflight", _told(findings)), ("", "snapshot", kept)])
    return _Execution(run_id, plan.source, plan.action, to, journal, options, progress or _say).go(
        items
    )


def resume(
    run_id: str,
    *,
    to: Hand,
    journal: Journal,
    confirm: str = "",
    stages: Stages = (1, 50, None),
    progress: Callable[[str], None] | None = None,
    **changed: Any,
) -> Run:
    """Go on with a run that stopped: settle what is uncertain, then send what was not reached.

    `confirm` is the plan's id again. One single item goes first. `changed` may set rate, gate, breaker,
    min_sample, wait and poll anew.
    """
    head = journal.run(run_id)
    many = f" {len(journal.items(run_id))}" if head["action"] == "purge" else ""
    if (confirm or armed()) != head["plan_id"] + many:
        raise NotConfirmed(
            "Nothing was sent: type the id of the run's plan into confirm to go on with it."
        )
    _fits(head["action"], head["source"], to)
    options = {**head["options"], **changed, "stages": list(stages)}
    _checked(options)
    run = settle(run_id, to=to, journal=journal)
    if (run.items["state"] == State.UNCERTAIN).any():
        count = int((run.items["state"] == State.UNCERTAIN).sum())
        (progress or _say)(
            f"{count} uncertain items stay as they are: nobody can tell whether they were sent"
        )
    items = _items(run.items[run.items["state"] == State.NOT_REACHED])
    if not items:
        journal.reopen(run_id, options)
        journal.record(run_id, [("", "finished", {})])
        return Run.read(run_id, journal)
    findings = _ready(to, head["action"], items)
    journal.reopen(run_id, options)
    journal.record(run_id, [("", "preflight", _told(findings))])
    return _Execution(
        run_id, head["source"], head["action"], to, journal, options, progress or _say
    ).go(items)


def settle(run_id: str, *, to: Hand, journal: Journal) -> Run:
    """Ask the system about every uncertain item: sent, not sent (a resume may send it), or cannot tell."""
    head = journal.run(run_id)
    _fits(head["action"], head["source"], to)
    if holder := journal.held_by(run_id):
        raise RunError(
            f"Run {run_id} is going on in {holder}: nothing was changed. Wait for it, or dlq.cancel it first."
        )
    run = Run.read(run_id, journal)
    doubtful = _items(run.items[run.items["state"] == State.UNCERTAIN])
    for receipt in to.settle(doubtful, run_id) if doubtful else ():
        event = "unsent" if receipt.state == State.NOT_REACHED else str(receipt.state)
        detail = {"sent_id": receipt.sent_id, "detail": f"settled: {receipt.detail}"}
        journal.record(run_id, [(receipt.failure_id, event, detail)])
    return Run.read(run_id, journal)


def verify(run_id: str, *, to: Hand, journal: Journal) -> pd.DataFrame:
    """What became of everything a run sent, asked now: `Run.outcomes`, after a fresh look."""
    head = journal.run(run_id)
    run = Run.read(run_id, journal)
    sent = run.items[run.items["state"] == State.SENT]
    open_ = sent[~sent["outcome"].isin(_FINAL)]
    ids = dict(zip(open_["failure_id"], open_["sent_id"], strict=True))
    since = datetime.fromisoformat(head["started_at"])
    _measure(to, journal, run_id, ids, since)
    return Run.read(run_id, journal).outcomes


def cancel(run_id: str, *, journal: Journal) -> None:
    """Ask a run that is going on, in whatever kernel, to stop before its next batch."""
    journal.run(run_id)
    journal.record(run_id, [("", "cancel", {})])


_FINAL = (Outcome.SUCCEEDED, Outcome.FAILED_AGAIN)


class _Stop(Exception):
    """Why a run ends before its last item."""


class _Execution:
    """The state of one run while it runs; everything that must outlive it is in the journal."""

    def __init__(
        self,
        run_id: str,
        source: str,
        action: str,
        hand: Hand,
        journal: Journal,
        options: dict[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.run_id, self.source, self.action = run_id, source, action
        self.hand, self.journal, self.options, self.say = hand, journal, options, say
        self.pause = 1 / per_second if (per_second := parse_rate(options["rate"])) else 0.0
        self.began = datetime.now(UTC)
        self.next_at = time.monotonic()
        self.interrupted = threading.Event()

    def go(self, items: list[Item]) -> Run:
        stages = _cut(items, self.options["stages"])
        because = ""
        with stops_on_ctrl_c(self.interrupted):
            try:
                for number, stage in enumerate(stages, 1):
                    self._stage(
                        f"stage {number} of {len(stages)}", stage, last=number == len(stages)
                    )
            except _Stop as stop:
                because = str(stop)
            except DLQError as error:
                because = str(error)
            except BaseException as error:  # a second Ctrl-C, a defect: say so, then let it through
                stopped = {"because": f"{type(error).__name__}: {error}"}
                self.journal.record(self.run_id, [("", "stopped", stopped)])
                raise
        event = ("", "stopped", {"because": because}) if because else ("", "finished", {})
        self.journal.record(self.run_id, [event])
        run = Run.read(self.run_id, self.journal)
        self.say(repr(run))
        return run

    def _stage(self, name: str, items: list[Item], last: bool) -> None:
        waiting: dict[str, str] = {}  # failure_id -> sent_id, of this stage, whose outcome is open
        tally: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        shown = time.monotonic()
        # A slow rate makes small batches, so that a stop, a breaker or a crash concerns few items.
        size = max(1, min(BATCH, round(2 / self.pause))) if self.pause else BATCH
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            self._may_go_on()
            waiting |= self._send(batch, counts)
            if self.options["gate"] is not None:
                self._look(waiting, tally)
                self._break_if_failing(name, tally)
            if time.monotonic() - shown > 5:
                shown = time.monotonic()
                self.say(f"{name}: {start + len(batch):,} of {len(items):,} done, {_words(counts)}")
        self._gate(name, waiting, tally, counts, last)

    def _may_go_on(self) -> None:
        if self.interrupted.is_set():
            raise _Stop("interrupted by Ctrl-C")
        if self.journal.has(self.run_id, "cancel"):
            raise _Stop("cancelled")

    def _send(self, batch: list[Item], counts: Counter[str]) -> dict[str, str]:
        """Claim and journal `sending`, call the hand, journal each answer. Gives what was sent."""
        taken = self.journal.claim(self.run_id, self.source, batch)
        counts["skipped"] += len(taken)
        open_ = {item.failure_id: item for item in batch if item.failure_id not in taken}
        sent: dict[str, str] = {}
        if not open_:
            return sent
        self._pace(len(open_))
        try:
            for receipt in self.hand.send(self.action, list(open_.values()), self.run_id):
                open_.pop(receipt.failure_id)
                detail = {"sent_id": receipt.sent_id, "detail": receipt.detail}
                self.journal.record(self.run_id, [(receipt.failure_id, str(receipt.state), detail)])
                counts[str(receipt.state)] += 1
                if receipt.state == State.SENT:
                    sent[receipt.failure_id] = receipt.sent_id
        finally:
            counts["uncertain"] += len(
                open_
            )  # no answer: they stay `sending`, which means uncertain
        if counts["uncertain"]:
            raise _Stop(
                f"{counts['uncertain']} items are uncertain; dlq.settle asks what became of them"
            )
        return sent

    def _pace(self, count: int) -> None:
        """Wait until the rate allows `count` more; wakes up for a Ctrl-C."""
        delay = self.next_at - time.monotonic()
        if delay > 0 and self.interrupted.wait(delay):
            raise _Stop("interrupted by Ctrl-C")
        self.next_at = max(self.next_at, time.monotonic()) + count * self.pause

    def _look(self, waiting: dict[str, str], tally: Counter[str]) -> None:
        """Ask for outcomes of what is waiting; what is final moves from `waiting` to `tally`."""
        found = _measure(self.hand, self.journal, self.run_id, waiting, self.began)
        for failure_id, outcome in found.items():
            if outcome in _FINAL:
                waiting.pop(failure_id)
                tally[outcome] += 1

    def _break_if_failing(self, name: str, tally: Counter[str]) -> None:
        known = tally[Outcome.SUCCEEDED] + tally[Outcome.FAILED_AGAIN]
        if known < self.options["min_sample"]:
            return
        if tally[Outcome.FAILED_AGAIN] / known > self.options["breaker"]:
            raise _Stop(
                f"breaker in {name}: {tally[Outcome.FAILED_AGAIN]} of {known} failed again. Find out"
                " why before dlq.resume, which starts with a single one"
            )

    def _gate(
        self,
        name: str,
        waiting: dict[str, str],
        tally: Counter[str],
        counts: Counter[str],
        last: bool,
    ) -> None:
        """Wait for the stage's outcomes; go on only when enough succeeded."""
        gate = self.options["gate"]
        if gate is None:
            unmeasured = "; outcomes not measured (gate=None)" if self.action == "replay" else ""
            self.say(f"{name}: {_words(counts)}{unmeasured}")
            return
        until = time.monotonic() + duration(self.options["wait"]).total_seconds()
        while waiting and time.monotonic() < until:
            self._look(waiting, tally)
            self._break_if_failing(name, tally)
            if waiting and self.interrupted.wait(self.options["poll"]):
                raise _Stop("interrupted by Ctrl-C while waiting for outcomes")
            if waiting and self.journal.has(self.run_id, "cancel"):
                raise _Stop("cancelled")
        known = tally[Outcome.SUCCEEDED] + tally[Outcome.FAILED_AGAIN]
        share = tally[Outcome.SUCCEEDED] / known if known else 0.0
        told = f"{name}: {_words(counts)}; {tally[Outcome.SUCCEEDED]} of {known} succeeded"
        if waiting:
            told += f", {len(waiting)} have no outcome after {self.options['wait']}"
        nothing_sent = not known and not waiting
        opens = nothing_sent or (not waiting and share >= gate)
        self.journal.record(
            self.run_id,
            [("", "gate", {"stage": name, "open": opens, "waiting": len(waiting), **tally})],
        )
        self.say(f"{told} ({'the gate opens' if opens else f'the gate needs {gate:.0%}'})")
        if not opens and not last:
            raise _Stop(f"gate after {told}; it opens at {gate:.0%}")
        if not opens:
            raise _Stop(f"the last {told}; expected {gate:.0%}")


def _fits(action: str, source: str, hand: Hand | None) -> None:
    if hand is None:
        raise RunError(
            f"Nothing was sent: no hand was given. Open the one of {source}: to=dlq.connect_hand(name)."
        )
    if hand.name != source:
        raise RunError(f"Nothing was sent: the plan is for {source}, this hand is for {hand.name}.")
    if action not in hand.capabilities:
        able = ", ".join(sorted(hand.capabilities))
        raise RunError(
            f"Nothing was sent: the hand of {hand.name} cannot {action}. It can: {able}."
        )


def _checked(options: dict[str, Any]) -> None:
    stages = options["stages"]
    if not stages or any(size is not None and size < 1 for size in stages):
        raise RunError(f"stages={stages!r} sends nothing. Give sizes, such as (10, 50, None).")
    for name in ("gate", "breaker"):
        if options[name] is not None and not 0 <= options[name] <= 1:
            raise RunError(f"{name}={options[name]} is no share. Give a number between 0 and 1.")
    parse_rate(options["rate"])
    duration(options["wait"])


def _ready(hand: Hand, action: str, items: list[Item]) -> list[Finding]:
    """What the hand finds before a replay; the other actions need no workers and no queues."""
    findings = list(hand.preflight(items)) if action == "replay" else []
    if blocking := [finding.text for finding in findings if finding.blocks]:
        raise RunError(f"Nothing was sent: {' '.join(blocking)}")
    return findings


def _told(findings: list[Finding]) -> dict[str, Any]:
    return {f.name: {"severity": f.severity, "text": f.text, **f.facts} for f in findings}


def _snapshot(hand: Hand, items: list[Item], plan_id: str) -> dict[str, Any]:
    """Keep the raw rows as they are now, hashed, before anything moves."""
    path = home() / "snapshots" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{plan_id}.parquet"
    sha256 = keep(hand.snapshot([item.failure_id for item in items]), path)
    return {"file": path.name, "sha256": sha256}


def _measure(
    hand: Hand, journal: Journal, run_id: str, ids: dict[str, str], since: datetime
) -> dict[str, str]:
    """Outcomes known by now, failure_id -> outcome; the final ones go into the journal."""
    if not ids or "outcome" not in hand.capabilities:
        return {}
    found = list(hand.outcomes(ids, since - timedelta(minutes=1)))
    final = [v for v in found if v.outcome in _FINAL]
    if final:
        journal.record(
            run_id,
            [
                (v.failure_id, "outcome", {"outcome": str(v.outcome), "detail": v.detail})
                for v in final
            ],
        )
    return {v.failure_id: v.outcome for v in found}


def _items(rows: pd.DataFrame) -> list[Item]:
    names = ["failure_id", "task_id", "task_name", "queue", "content_hash", "fingerprint"]
    return [
        Item(**{name: row[name] for name in names}, generation=int(row["generation"]))
        for row in rows.to_dict("records")
    ]


def _cut(items: list[Item], stages: Stages) -> list[list[Item]]:
    """Items in stages; what the sizes do not cover is not sent.

    >>> [len(stage) for stage in _cut([None] * 100, (10, 50, None))]
    [10, 50, 40]
    """
    cut, start = [], 0
    for size in stages:
        end = len(items) if size is None else start + size
        if stage := items[start:end]:
            cut.append(stage)
        start = end
    return cut


def _words(counts: Counter[str]) -> str:
    return (
        ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in counts.items() if n)
        or "none sent"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S}Z {line}\n")
    sys.stdout.flush()
