"""One run while it runs; everything that must outlive it is in the journal."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from dlqanalysis.display.progress import Progress, span
from dlqanalysis.errors import ConnectError, DLQError
from dlqanalysis.interrupt import stops_on_ctrl_c
from dlqanalysis.journal import Journal
from dlqanalysis.model import Finding, Hand, Item, Outcome, State, duration
from dlqanalysis.plan import FLEETING
from dlqanalysis.profile import parse_rate
from dlqanalysis.redact import redact
from dlqanalysis.replay.outcomes import FINAL, measure
from dlqanalysis.replay.receipts import noted
from dlqanalysis.replay.run import Run
from dlqanalysis.text import many

BATCH = 50  #: items claimed and sent together: what at most is uncertain after a crash
_LOOK_AGAIN = 30.0  #: seconds between two looks at the target's health
_NOTE = 30.0  #: seconds of waiting between two entries that say so
Stages = Sequence[int | None]


class _Stop(Exception):
    """Why a run ends before its last item."""


class Execution:
    """The state of one run in this process."""

    def __init__(
        self,
        run_id: str,
        head: dict[str, Any],
        hand: Hand,
        journal: Journal,
        options: dict[str, Any],
        progress: Progress,
        ready: Callable[[list[Item]], list[Finding]],
        before: Sequence[tuple[Item, str]] = (),
    ) -> None:
        """`before`: what an earlier part of the run sent, and as what, whose outcome others of its key wait for."""
        self.run_id, self.source, self.action = run_id, head["source"], head["action"]
        self.hand, self.journal, self.options, self.progress = hand, journal, options, progress
        self.ready, self.looked = ready, time.monotonic()
        self.pause = 1 / per_second if (per_second := parse_rate(options["rate"])) else 0.0
        self.began = datetime.fromisoformat(head["started_at"])
        self.next_at = self.noted = time.monotonic()
        self.of = {item.failure_id: item for item, _ in before}
        self.waiting = {item.failure_id: sent_id for item, sent_id in before}
        self.interrupted = threading.Event()
        self.fleeting = self.action in FLEETING
        self.frees = [run_id, str(options.get("undoes") or run_id)] if self.fleeting else []

    def go(self, items: list[Item]) -> Run:
        """Every stage, or as far as it comes; the journal has why."""
        stages = cut(items, self.options["stages"])
        because = ""
        with stops_on_ctrl_c(self.interrupted):
            try:
                for number, stage in enumerate(stages, 1):
                    name = f"stage {number} of {len(stages)}"
                    _Stage(self, name, stage, last=number == len(stages)).go()
            except _Stop as stop:
                because = str(stop)
            except DLQError as error:
                because = str(error)
            except BaseException as error:  # a second Ctrl-C, a defect: say so, then let it through
                stopped = {"because": redact(f"{type(error).__name__}: {error}")[:300]}
                self.journal.record(self.run_id, [("", "stopped", stopped)])
                raise
        event = ("", "stopped", {"because": because}) if because else ("", "finished", {})
        self.journal.record(self.run_id, [event])
        run = Run.read(self.run_id, self.journal)
        self.progress.say(repr(run))
        return run

    def may_go_on(self, items: Sequence[Item]) -> None:
        """Stops for Ctrl-C and cancel; waits while the target is not well, as long as `wait` allows."""
        self._asked_to_stop()
        if self.action != "replay" or time.monotonic() - self.looked < _LOOK_AGAIN:
            return
        until = time.monotonic() + duration(self.options["wait"]).total_seconds()
        told = False
        while ill := self._ill(items):
            if not told:
                self.progress.say(f"paused: {' '.join(ill)}")
                self.journal.record(self.run_id, [("", "paused", {"because": " ".join(ill)})])
                told = True
            if time.monotonic() >= until:
                raise _Stop(f"the target is not well: {' '.join(ill)}")
            self.rest(max(1.0, self.options["poll"]), " while the target was not well")
        if told:
            self.progress.say("the target is well again: going on")
        self.looked = time.monotonic()

    def _ill(self, items: Sequence[Item]) -> list[str]:
        """Why the target may get nothing now; empty when it is well."""
        try:
            return [finding.text for finding in self.ready(list(items)) if finding.blocks]
        except ConnectError as error:  # what does not answer is not well
            return [str(error)]

    def _asked_to_stop(self, during: str = "") -> None:
        if self.interrupted.is_set():
            raise _Stop(f"interrupted by Ctrl-C{during}")
        if self.journal.has(self.run_id, "cancel"):
            raise _Stop("cancelled")

    def rest(self, seconds: float, during: str) -> None:
        """Waits; ends with a Ctrl-C at once, with a cancel within a second. The journal hears of long waits, so
        that nobody on another host takes the run for left."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.interrupted.wait(min(left, 1.0))
            self._asked_to_stop(during)
            if time.monotonic() - self.noted >= _NOTE:
                self.journal.record(self.run_id, [("", "waiting", {})])
                self.noted = time.monotonic()

    def send(self, batch: list[Item], counts: Counter[str]) -> dict[str, str]:
        """Claim and journal `sending`, call the hand, journal each answer. Gives what was sent."""
        # before the claim: whoever is stopped while it waits leaves nothing uncertain
        self.rest(self.next_at - time.monotonic(), "")
        taken = self.journal.claim(self.run_id, self.source, batch, self.fleeting)
        counts["skipped"] += len(taken)
        open_ = {item.failure_id: item for item in batch if item.failure_id not in taken}
        sent: dict[str, str] = {}
        untried = ""
        if not open_:
            return sent
        self.next_at = max(self.next_at, time.monotonic()) + len(open_) * self.pause
        receipts = self.hand.send(self.action, list(open_.values()), self.run_id)
        try:
            for receipt in noted(receipts, self.journal, self.run_id, self.frees):
                open_.pop(receipt.failure_id)
                counts[str(receipt.state)] += 1
                if receipt.state == State.NOT_REACHED and receipt.detail:
                    untried = f" ({receipt.detail})"
                if receipt.state == State.SENT:
                    sent[receipt.failure_id] = receipt.sent_id
        finally:  # no answer: they stay `sending`, which means uncertain
            counts["uncertain"] += len(open_)
        if counts["uncertain"]:
            raise _Stop(
                f"{many(counts['uncertain'], 'items are')} uncertain; dlq.settle asks the system"
            )
        if counts["not_reached"]:
            raise _Stop(
                f"{many(counts['not_reached'], 'items')} could not be sent now{untried}; dlq.resume goes on with"
                " them"
            )
        return sent


class _Stage:
    """One stage: sent in order and in step with its outcomes, then held at the gate."""

    def __init__(self, run: Execution, name: str, items: list[Item], last: bool) -> None:
        self.run, self.name, self.items, self.last = run, name, items, last
        self.options = run.options
        self.counts: Counter[str] = Counter()
        self.tally: Counter[str] = Counter()  # final outcomes
        self.same: Counter[str] = Counter()  # fingerprint -> how many came back with it
        self.mended: set[str] = set()  # fingerprints of which one succeeded
        self.silent: dict[str, float] = {}  # failure_id -> since when nobody can tell of it
        self.untold: Counter[str] = Counter()  # why nobody can tell -> of how many
        self.of = run.of
        self.of |= {item.failure_id: item for item in items}
        self.began = time.monotonic()
        keyed = any(item.key for item in items)
        self.measured = run.action == "replay" and (self.options["gate"] is not None or keyed)
        # failure_id -> sent_id, whose outcome is open: of earlier stages too, for the order within a key
        self.waiting: dict[str, str] = run.waiting if self.measured else {}

    def go(self) -> None:
        todo = deque(self.items)
        # A slow rate makes small batches, so that a stop, a breaker or a crash concerns few items.
        pause = self.run.pause
        size = BATCH if self.measured else max(BATCH, getattr(self.run.hand, "at_once", BATCH))
        size = max(1, min(size, round(2 / pause))) if pause else size
        while todo:
            self.run.may_go_on(todo)
            if batch := self._next(todo, size):
                self.waiting |= self.run.send(batch, self.counts)
                self._look()
            else:
                self._wait_for_one(len(todo))
            self._show(len(todo))
        self._gate()

    def _next(self, todo: deque[Item], size: int) -> list[Item]:
        """The next items in order; of one key only one, and none while an earlier one has no outcome."""
        busy = {self.of[failure_id].key for failure_id in self.waiting} - {""}
        batch: list[Item] = []
        later: list[Item] = []
        while todo and len(batch) < size:
            item = todo.popleft()
            if item.key and item.key in busy:
                later.append(item)
            else:
                batch.append(item)
                if item.key:
                    busy.add(item.key)
        todo.extendleft(reversed(later))
        return batch

    def _wait_for_one(self, todo: int) -> None:
        """Every item that is left waits for an earlier one of its key."""
        until = time.monotonic() + duration(self.options["wait"]).total_seconds()
        open_ = len(self.waiting)
        while len(self.waiting) == open_:
            if time.monotonic() >= until:
                raise _Stop(
                    f"{open_} items have no outcome after {self.options['wait']}, and others wait for"
                    " them (per_key)"
                )
            self._show(todo, _at_most(until))
            self.run.rest(self.options["poll"], " while waiting for outcomes")
            self._look()

    def _look(self) -> None:
        """Ask for outcomes of what is waiting; what is final moves from `waiting` to `tally`."""
        if not self.measured:
            return
        run = self.run
        found = measure(run.hand, run.journal, run.run_id, self.waiting, run.began)
        self.untold = Counter(
            one.detail for one in found.values() if one.outcome == Outcome.UNKNOWN
        )
        for failure_id, (outcome, came_back_as, _) in found.items():
            if outcome not in FINAL:
                self._trust(failure_id, outcome)
                continue
            self.waiting.pop(failure_id)
            self.tally[outcome] += 1
            mine = self.of[failure_id].fingerprint
            if outcome == Outcome.SUCCEEDED:
                self.mended.add(mine)
            elif came_back_as and came_back_as == mine:
                self.same[mine] += 1
        self._break_if_failing()

    def _trust(self, failure_id: str, outcome: Outcome) -> None:
        """Where the system shows no success, long enough silence after a task was taken counts as one."""
        if outcome != Outcome.UNKNOWN or self.options["trust"] is None:
            self.silent.pop(failure_id, None)
            return
        now = time.monotonic()
        since = self.silent.setdefault(failure_id, now)
        if now - since >= duration(self.options["trust"]).total_seconds():
            self.waiting.pop(failure_id)
            self.tally["trusted"] += 1

    def _break_if_failing(self) -> None:
        again, good = self.tally[Outcome.FAILED_AGAIN], self.tally[Outcome.SUCCEEDED]
        known = again + good
        told = f"breaker in {self.name}: {again} of {known} failed again"
        hint = "Find out why before dlq.resume, which starts with a single one"
        if known >= self.options["min_sample"] and again / known > self.options["breaker"]:
            same = sum(self.same.values())
            raise _Stop(
                f"{told}{f', {same} with the same error as before' if same else ''}. {hint}"
            )
        most = self.options["same"]
        for mine, count in self.same.items():
            if most is not None and count >= most and mine not in self.mended:
                raise _Stop(
                    f"{told}: {count} of group {mine} came back with the same error, and none of it"
                    f" succeeded. {hint}"
                )

    def _gate(self) -> None:
        """Wait for the stage's outcomes; go on only when enough succeeded."""
        gate, run = self.options["gate"], self.run
        if gate is None or run.action != "replay":
            unmeasured = "; outcomes not measured (gate=None)" if run.action == "replay" else ""
            run.progress.say(f"{self.name}: {_words(self.counts)}{unmeasured}")
            return
        until = time.monotonic() + duration(self.options["wait"]).total_seconds()
        while self.waiting and time.monotonic() < until:
            self._look()
            self._show(0, _at_most(until))
            if self.waiting:
                run.rest(self.options["poll"], " while waiting for outcomes")
        trusted = self.tally["trusted"]
        good = self.tally[Outcome.SUCCEEDED]
        known = good + self.tally[Outcome.FAILED_AGAIN] + trusted
        share = (good + trusted) / known if known else 0.0
        told = f"{self.name}: {_words(self.counts)}"
        told += f"; {good} of {known} succeeded" if known or not self.waiting else ""
        if trusted:
            told += f", {many(trusted, 'were')} taken and stayed silent for {self.options['trust']} (trusted, not proven)"
        if self.waiting:
            told += f", {many(len(self.waiting), 'have')} no outcome after {self.options['wait']}{self._untold()}"
        # a stage that others had done opens; one that was refused as a whole does not
        nothing_to_do = not known and not self.waiting and not self.counts["refused"]
        opens = nothing_to_do or (not self.waiting and share >= gate)
        facts = {"stage": self.name, "open": opens, "waiting": len(self.waiting), **self.tally}
        run.journal.record(run.run_id, [("", "gate", facts)])
        run.progress.say(f"{told} ({'the gate opens' if opens else f'the gate needs {gate:.0%}'})")
        if not opens and not self.last:
            raise _Stop(f"gate after {told}; it opens at {gate:.0%}")
        if not opens:
            raise _Stop(f"the last {told}; expected {gate:.0%}")

    def _untold(self) -> str:
        """Why a system that was asked could not say what became of some, and what would tell."""
        if not self.untold:
            return ""
        [(why, _)] = self.untold.most_common(1)
        return (
            f" ({self.untold.total()} unknown: {why}; Celery, the admin API, RabbitMQ and Redis lists can ask a"
            " result backend, DLQ_<NAME>_RESULTS_URL; trust= lets silence count)"
        )

    def _show(self, todo: int, left: str = "") -> None:
        """The stage's row, with how long it has left: what the caller says, or as the pace so far tells."""
        done = len(self.items) - todo
        if done and todo and not left:
            spent = time.monotonic() - self.began
            left = f"about {span(max(spent / done * todo, todo * self.run.pause))}"
        counts = {"planned": len(self.items), **self.counts, "waiting": len(self.waiting)}
        counts |= {str(outcome): self.tally[outcome] for outcome in FINAL}
        self.run.progress.stage(self.name, counts, left)


def cut(items: list[Item], stages: Stages) -> list[list[Item]]:
    """Items in stages; what the sizes do not cover is not sent.

    >>> [len(stage) for stage in cut([None] * 100, (10, 50, None))]
    [10, 50, 40]
    """
    parts, start = [], 0
    for size in stages:
        end = len(items) if size is None else start + size
        if stage := items[start:end]:
            parts.append(stage)
        start = end
    return parts


def _at_most(until: float) -> str:
    """How long a wait that ends then can last."""
    return f"at most {span(until - time.monotonic())}"


def _words(counts: Counter[str]) -> str:
    return (
        ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in counts.items() if n)
        or "none sent"
    )
