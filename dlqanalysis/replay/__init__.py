"""Executes a confirmed plan: staged, gated by measured outcomes, journalled before each call, resumable.

The only room that calls a hand. planned = sent + refused + skipped + uncertain + not reached, always.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace as changed_to
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from dlqanalysis.archive import keep, verified
from dlqanalysis.display.progress import Progress
from dlqanalysis.errors import NotConfirmed, RunError, did_you_mean
from dlqanalysis.journal import Journal
from dlqanalysis.model import PLANNED, Finding, Hand, Item, State, duration
from dlqanalysis.plan import FLEETING, Plan
from dlqanalysis.profile import Profile, armed, home, parse_rate
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.replay.checks import preflight
from dlqanalysis.replay.execution import Execution, Stages
from dlqanalysis.replay.outcomes import FINAL, Found, measure
from dlqanalysis.replay.receipts import noted
from dlqanalysis.replay.run import Run

__all__ = ["cancel", "replay", "resume", "settle", "verify"]

_NOTHING = "Nothing was sent: the plan chose nothing. plan.summary says why all stay."
_CHANGEABLE = ("rate", "gate", "breaker", "min_sample", "same", "wait", "trust", "poll")


def replay(
    plan: Plan | None,
    *,
    to: Hand,
    journal: Journal,
    confirm: str = "",
    stages: Stages = (10, 50, None),
    rate: str | None = "5/s",
    gate: float | None = 0.95,
    breaker: float = 0.5,
    min_sample: int = 5,
    same: int | None = 3,
    wait: str = "5m",
    trust: str | None = None,
    poll: float = 1.0,
    progress: Progress | Callable[[str], None] | None = None,
    profile: Profile | None = None,
) -> Run:
    """Do what the plan chose, once, in stages; each next stage waits for what became of the last.

    `confirm` is the plan's id, typed by a person who read it (DLQ_ARM holds it for unattended runs).
    `stages` are sizes, None for the rest. `rate` bounds sends (5/s, 30/m). The gate opens when at least
    that share of the finished ones succeeded, within `wait`; `gate=None` goes on unmeasured. Systems that show
    no success (Redis lists, queues without a result backend): with `trust` (such as 2m) a task that was taken
    and did not come back for so long counts for the gate, and is told as trusted, not proven. The breaker
    stops inside a stage when more than that share of at least `min_sample` failed again, or when `same` of
    one group came back with the very same error and none of it succeeded. While the hand or the profile's
    preflight finds that the target is not well, the run rests, at most for `wait`. Ctrl-C stops between
    items; `dlq.resume` goes on. Raises NotConfirmed or RunError before anything is sent.
    """
    if not isinstance(plan, Plan):  # None, or the failures themselves
        raise NotConfirmed("Nothing was sent: there is no plan. Make one first, and read it.")
    if (typed := confirm or armed()) != plan.confirmation:
        if not len(plan.chosen):  # there is no id worth typing
            raise NotConfirmed(_NOTHING)
        said = (
            "what was given is not its id, or it is another plan's" if typed else "no id was given"
        )
        purge = ", a space, and how many go" if plan.action == "purge" else ""
        raise NotConfirmed(
            f"Nothing was sent: this plan is not confirmed, {said}. Show it, read what goes and what stays,"
            f" then type its id{purge} into confirm."
        )
    if not plan.intact:
        raise RunError(
            "Nothing was sent: the plan's frames were changed after it was made. Plan again."
        )
    if not len(plan.chosen):
        raise RunError(_NOTHING)
    _fits(plan.action, plan.source, to, bool(plan.payloads))
    if before := journal.runs_of(plan.digest):
        run = Run.read(before[-1], journal)
        over = " It is over: load what fails now, and plan again, with a reason of its own."
        over = "" if run.goes_on else over
        raise RunError(f"Nothing was sent: this plan was run already. {run}{over}")
    options: dict[str, Any] = {
        "stages": _stages(stages),
        "rate": rate,
        "gate": gate if plan.action == "replay" else None,  # else nothing runs: nothing comes of it
        "breaker": breaker,
        "min_sample": min_sample,
        "same": same,
        "wait": wait,
        "trust": trust,
        "poll": poll,
        "undoes": str(plan.options.get("undoes", "")),
    }
    _checked(options)
    items = list(plan.items())
    ready = _readiness(to, plan.action, profile)
    findings = _passed(ready(items))
    kept = _snapshot(to, items, plan.id)
    # with the run, in one transaction: without it a resume would send the originals
    options["payloads"] = _keep_payloads(plan)
    run_id = journal.start(plan, options)
    journal.record(run_id, [("", "preflight", _told(findings)), ("", "snapshot", kept)])
    say = _progress(progress)
    _warn(findings, say)
    return Execution(run_id, journal.run(run_id), to, journal, options, say, ready).go(items)


def resume(
    run_id: str,
    *,
    to: Hand,
    journal: Journal,
    confirm: str = "",
    stages: Stages = (1, 50, None),
    progress: Progress | Callable[[str], None] | None = None,
    profile: Profile | None = None,
    **changed: Any,
) -> Run:
    """Go on with a run that stopped: settle what is uncertain, then send what was not reached.

    `confirm` is the plan's id again. One single item goes first. `changed` may set rate, gate, breaker,
    min_sample, same, wait, trust and poll anew.
    """
    head = journal.run(run_id)
    many = f" {len(journal.items(run_id))}" if head["action"] == "purge" else ""
    if (confirm or armed()) != head["plan_id"] + many:
        run = Run.read(run_id, journal)
        if run.finished and not run.goes_on:
            raise NotConfirmed(f"Nothing is left to go on with: run {run_id} is finished.")
        raise NotConfirmed(
            "Nothing was sent: type the id of the run's plan into confirm to go on with it."
        )
    for name in changed:
        if name not in _CHANGEABLE:
            raise RunError(f"'{name}' cannot be changed. {did_you_mean(name, _CHANGEABLE)}")
    payloads = _kept_payloads(run_id, head["options"])
    _fits(head["action"], head["source"], to, bool(payloads))
    options = {"trust": None, **head["options"], **changed, "stages": _stages(stages)}
    _checked(options)
    run = settle(run_id, to=to, journal=journal)
    say = _progress(progress)
    if count := int((run.items["state"] == State.UNCERTAIN).sum()):
        say.say(f"{count} uncertain items stay as they are: nobody can tell whether they were sent")
    doubted = set(run.items.loc[run.items["state"] == State.UNCERTAIN, "key"]) - {""}
    left = run.items[run.items["state"] == State.NOT_REACHED]
    if count := int(left["key"].isin(doubted).sum()):
        say.say(f"{count} items stay too: they come after an uncertain one of their key (per_key)")
        left = left[~left["key"].isin(doubted)]
    items = _items(left, journal, options.get("undoes", ""), payloads)
    if not items:
        journal.take(run_id, "resumed", options)
        journal.record(run_id, [("", "finished", {})])
        return Run.read(run_id, journal)
    ready = _readiness(to, head["action"], profile)
    findings = _passed(ready(items))
    journal.take(run_id, "resumed", options)
    journal.record(run_id, [("", "preflight", _told(findings))])
    _warn(findings, say)
    before = _before(run.items, items)
    run = Execution(run_id, head, to, journal, options, say, ready, before).go(items)
    if head["action"] == "replay" and _asked(run_id, to, journal):
        return Run.read(run_id, journal)  # with outcomes of what an earlier process sent
    return run


def settle(run_id: str, *, to: Hand, journal: Journal) -> Run:
    """Ask the system about every uncertain item: sent, not sent (a resume may send it), or cannot tell."""
    head = journal.run(run_id)
    _fits(head["action"], head["source"], to)
    journal.take(run_id, "settling")
    try:
        _settled(run_id, head, to, journal)
    finally:
        journal.record(run_id, [("", "settled", {})])
    return Run.read(run_id, journal)


def _settled(run_id: str, head: Mapping[str, Any], to: Hand, journal: Journal) -> None:
    rows = journal.items(run_id)
    undoes = str(head["options"].get("undoes", ""))
    doubtful = _items(rows[rows["state"] == State.UNCERTAIN], journal, undoes, {})
    frees = [run_id, undoes or run_id] if head["action"] in FLEETING else []
    if doubtful:
        answers = to.settle(doubtful, run_id)
        deque(noted(answers, journal, run_id, frees, prefix="settled: "), maxlen=0)


def verify(run_id: str, *, to: Hand, journal: Journal) -> pd.DataFrame:
    """What became of everything a run sent, asked now: `Run.outcomes`, after a fresh look. What is pending may
    still come; what is unknown the system cannot tell."""
    found = _asked(run_id, to, journal)
    told = Run.read(run_id, journal).outcomes
    open_ = ~told["outcome"].isin(FINAL)
    for column, name in (("outcome", "outcome"), ("outcome_detail", "detail")):
        now = told["failure_id"].map({one: str(getattr(said, name)) for one, said in found.items()})
        told[column] = now.where(open_ & now.notna(), told[column])
    return told


def _asked(run_id: str, to: Hand, journal: Journal) -> dict[str, Found]:
    """What the system says now of each sent item whose outcome is not final; what is final is journalled."""
    head = journal.run(run_id)
    items = journal.items(run_id)
    open_ = items[(items["state"] == State.SENT) & ~items["outcome"].isin(FINAL)]
    ids = dict(zip(open_["failure_id"], open_["sent_id"], strict=True))
    return measure(to, journal, run_id, ids, datetime.fromisoformat(head["started_at"]))


def cancel(run_id: str, *, journal: Journal) -> None:
    """Ask a run that is going on, in whatever kernel, to stop before its next batch."""
    journal.run(run_id)
    journal.record(run_id, [("", "cancel", {})])


def _fits(action: str, source: str, hand: Hand | None, repaired: bool = False) -> None:
    if hand is None or isinstance(hand, str):  # a name is no hand yet
        raise RunError(
            f"Nothing was sent: no hand was given. Open the one of {source}: to=dlq.connect_hand(name); 40_replay"
            " opens the one that its parameter hand names."
        )
    if hand.name != source:
        raise RunError(
            f"Nothing was sent: the plan is for {source}, this hand is for {hand.name}. Open the other one:"
            " to=dlq.connect_hand(name)."
        )
    for needed in (action, "repair") if repaired else (action,):
        if needed not in hand.capabilities:
            able = ", ".join(sorted(hand.capabilities))
            raise RunError(
                f"Nothing was sent: the hand of {hand.name} cannot {needed}. It can: {able}."
            )


def _stages(stages: Any) -> list[int | None]:
    """The sizes as the journal keeps them: whole numbers, or None for the rest."""
    sizes = list(stages) if isinstance(stages, list | tuple) else []
    if not sizes or any(
        s is not None and not (_number(s) and s >= 1 and float(s).is_integer()) for s in sizes
    ):
        raise RunError(f"stages={stages!r} sends nothing. Give sizes, such as (10, 50, None).")
    return [None if size is None else int(size) for size in sizes]


def _checked(options: Mapping[str, Any]) -> None:
    for name in ("gate", "breaker"):
        share = options[name]
        if share is None and name == "gate":
            continue
        if not _number(share) or not 0 <= share <= 1:
            raise RunError(f"{name}={share!r} is no share. Give a number between 0 and 1.")
    for name, least in (("min_sample", 1), ("same", 1), ("poll", 0.01)):
        many = options[name]
        if many is None and name == "same":
            continue
        if not _number(many) or many < least:
            raise RunError(f"{name}={many!r} is too little. Give a number of at least {least}.")
    for name, example in (("rate", "5/s"), ("wait", "5m"), ("trust", "2m")):
        if not isinstance(options[name], str if name == "wait" else str | None):
            raise RunError(
                f'{name}={options[name]!r} is no text. Write it with its unit: {name}="{example}".'
            )
    parse_rate(options["rate"])
    duration(options["wait"])
    if options["trust"] is not None:
        duration(options["trust"])


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _readiness(
    hand: Hand, action: str, profile: Profile | None
) -> Callable[[list[Item]], list[Finding]]:
    """What the hand and the profile find before a replay; the other actions need no workers and no queues."""
    if action != "replay":
        return lambda items: []
    wanted = profile or current_profile()
    return lambda items: [*_elsewhere(hand, items), *hand.preflight(items), *preflight(wanted)]


def _elsewhere(hand: Hand, items: list[Item]) -> list[Finding]:
    """Blocks where a plan sends items to another queue, and the hand cannot."""
    moved = sorted({i.task_name for i in items if i.target not in ("", i.queue)})
    if not moved or "reroute" in hand.capabilities:
        return []
    text = (
        f"the plan sends {', '.join(moved[:3])} where the profile's [routes] says, and {hand.name} sends each"
        " failure back to the queue of its own. Plan with a profile that has no route for it."
    )
    return [Finding(name="routes", severity="critical", text=text, blocks=True)]


def _passed(findings: list[Finding]) -> list[Finding]:
    if blocking := [finding.text for finding in findings if finding.blocks]:
        raise RunError(f"Nothing was sent: {' '.join(blocking)}")
    return findings


def _warn(findings: list[Finding], say: Progress) -> None:
    """What does not block, such as a queue that nobody works on, is said before the first item goes."""
    for finding in findings:
        if finding.severity != "ok":
            say.say(f"mind: {finding.text}")


def _told(findings: list[Finding]) -> dict[str, Any]:
    return {f.name: {"severity": f.severity, "text": f.text, **f.facts} for f in findings}


def _snapshot(hand: Hand, items: list[Item], plan_id: str) -> dict[str, Any]:
    """Keep the raw rows as they are now, hashed, before anything moves."""
    path = home() / "snapshots" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{plan_id}.parquet"
    sha256 = keep(hand.snapshot([item.failure_id for item in items]), path)
    return {"file": path.name, "sha256": sha256}


def _keep_payloads(plan: Plan) -> dict[str, Any]:
    """Repaired payloads are kept beside the snapshot: a resume sends the very same bytes."""
    if not plan.payloads:
        return {}
    path = home() / "snapshots" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{plan.id}-repaired.parquet"
    rows = pd.DataFrame(
        {"failure_id": list(plan.payloads), "payload": list(plan.payloads.values())}
    )
    return {"file": path.name, "sha256": keep(rows, path)}


def _kept_payloads(run_id: str, options: Mapping[str, Any]) -> dict[str, bytes]:
    noted = options.get("payloads")
    if not noted:
        return {}
    table, facts = verified(home() / "snapshots" / noted["file"])
    if facts["sha256"] != noted["sha256"]:
        raise RunError(
            f"Nothing was sent: the repaired payloads of run {run_id} are not those that were confirmed."
        )
    return dict(zip(table["failure_id"].to_pylist(), table["payload"].to_pylist(), strict=True))


def _items(
    rows: pd.DataFrame, journal: Journal, undoes: str, payloads: Mapping[str, bytes]
) -> list[Item]:
    items = [_item(row, payload=payloads.get(row["failure_id"])) for row in rows.to_dict("records")]
    if not undoes or not items:
        return items
    done = journal.items(undoes).set_index("failure_id")["sent_id"]
    return [changed_to(i, undoes=undoes, sent_id=str(done[i.failure_id])) for i in items]


def _before(every: pd.DataFrame, left: list[Item]) -> list[tuple[Item, str]]:
    """What was sent already, has no outcome yet, and others of its key wait for."""
    keys = {item.key for item in left} - {""}
    rows = every[every["state"] == State.SENT]
    rows = rows[~rows["outcome"].isin(FINAL) & rows["key"].isin(keys)]
    return [(_item(row), row["sent_id"]) for row in rows.to_dict("records")]


def _item(row: Mapping[str, Any], **more: Any) -> Item:
    """An item as the journal has it."""
    fields = {name: row[name] for name in PLANNED}
    return Item(**fields, generation=int(row["generation"]), action=row["action"], **more)


def _progress(given: Progress | Callable[[str], None] | None) -> Progress:
    return given if isinstance(given, Progress) else Progress(given)
