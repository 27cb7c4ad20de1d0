"""Judges of what failed: how much waits and since when, how fast it comes, what is unreadable or soon forgotten."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pandas as pd

from dlqanalysis.errors import SchemaError
from dlqanalysis.health.findings import finding, span
from dlqanalysis.model import Finding
from dlqanalysis.patterns import DEPENDENCIES
from dlqanalysis.text import many

#: words of systems for what waits no longer
DONE = ("replayed", "archived", "succeeded", "success", "completed")
FEWEST_RUN = 20  #: executions without which a share says nothing
_RECENT = timedelta(hours=1)


class Facts:
    """What the judges look at, computed once."""

    def __init__(
        self,
        waiting: pd.DataFrame,
        now: pd.Timestamp,
        truncated: bool,
        earlier: pd.DataFrame,
        owners: Mapping[str, str] | None = None,
    ):
        self.waiting = waiting
        self.owners = owners or {}
        self.earlier = earlier
        self.now = now
        self.ages = (now - waiting["failed_at"]).clip(lower=pd.Timedelta(0))
        self.least = "at least " if truncated else ""  # the load was cut off: there are more
        asked = str(waiting.attrs.get("selection", "")).partition(";")[0]
        # of a day's failures nobody knows what lies there from before
        self.of = "" if asked in ("", "from the beginning") else f" ({asked})"

    def whose(self) -> str:
        """Whom the profile names for the queues that hold most of what waits, as a sentence; else nothing."""
        queues = self.waiting["queue"].astype("str").value_counts().index
        told = [f"{self.owners[queue]} ({queue})" for queue in queues if queue in self.owners]
        return f" Owners: {', '.join(told[:3])}." if told else ""

    def since(self, length: timedelta) -> int:
        return int((self.ages <= length).sum())

    def longer(self, length: timedelta) -> int:
        return int((self.ages > length).sum())

    def grown(self) -> tuple[float, str] | None:
        """How many more a minute than at the last check that is five minutes old, and in words."""
        then = before(self.earlier, "failures", self.now, timedelta(minutes=5))
        if then is None:
            return None
        at, count = then
        minutes = (self.now - at) / pd.Timedelta("1min")
        return (len(self.waiting) - count) / minutes, f"since the check {span(self.now - at)} ago"


def before(
    earlier: pd.DataFrame, column: str, now: pd.Timestamp, least: timedelta, most: str = "1h"
) -> tuple[pd.Timestamp, float] | None:
    """The newest earlier value that is at least `least` and at most `most` old, with its time."""
    known = earlier[earlier[column].notna()]
    known = known[(known["at"] <= now - least) & (known["at"] >= now - pd.Timedelta(most))]
    if known.empty:
        return None
    return known["at"].iloc[-1], float(known[column].iloc[-1])


def _depth(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    held = limits["depth_for"] or timedelta(0)
    bounds = [limits["depth_critical"], limits["depth"]]
    if all(bound is None for bound in bounds):
        return
    old, undated = facts.longer(held), int(facts.waiting["failed_at"].isna().sum())
    counted = old + undated  # without a time nobody can say that it is new
    severity, bound = "ok", None
    for name, limit in zip(("critical", "warning"), bounds, strict=True):
        if severity == "ok" and limit is not None and counted > limit:
            severity, bound = name, limit
    text = f"{facts.least}{many(counted, 'failures')}{facts.of} waiting for more than {span(held)}"
    if undated:
        text += f", {undated:,} of them without a time"
    text += f"; more than {bound:,} is {severity}." if bound is not None else "."
    if severity == "critical":
        text += " Is it one thing? 10_triage asks in four steps."
    if severity != "ok":
        text += facts.whose()
    yield finding(
        "depth",
        severity,
        text,
        waiting=len(facts.waiting),
        counted=counted,
        longer=old,
        undated=undated,
        limit=bound,
    )


def _oldest(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["oldest"]
    if limit is None:
        return
    age = facts.ages.max()
    if pd.isna(age):
        yield finding("oldest", "ok", f"Nothing with a time{facts.of} is waiting.")
        return
    over = age > limit
    text = f"The oldest failure{facts.of} has been waiting for {span(age)}" + (
        f", longer than {span(limit)}." if over else "."
    )
    yield finding("oldest", "warning" if over else "ok", text, seconds=int(age.total_seconds()))


def _growth(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["growth_per_minute"]
    if limit is None:
        return
    rate, how = facts.since(timedelta(minutes=5)) / 5, "over the last five minutes"
    if facts.waiting["failed_at"].isna().any() and (grown := facts.grown()) and grown[0] > rate:
        rate, how = grown  # what has no time can only be counted twice
    over = rate > limit
    text = f"{facts.least}{rate:,.1f} new failures a minute {how}" + (
        f", more than {limit:,}." if over else "."
    )
    yield finding("growth_per_minute", "critical" if over else "ok", text, per_minute=rate)


def _per_hour(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["per_hour"]
    if limit is None:
        return
    count = facts.since(timedelta(hours=1))
    over = count > limit
    text = f"{facts.least}{many(count, 'new failures')} in the last hour" + (
        f", more than {limit:,}." if over else "."
    )
    yield finding("per_hour", "warning" if over else "ok", text, count=count)


def _unreadable(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["unreadable"]
    if limit is None:
        return
    count = int(facts.waiting["payload_state"].isin(["unreadable", "truncated"]).sum())
    over = count > limit
    text = f"{facts.least}{many(count, 'payloads')}{facts.of} unreadable or truncated" + (
        ": they cannot be replayed; look at them before they are forgotten." if over else "."
    )
    yield finding("unreadable", "warning" if over else "ok", text, count=count)


def _expiry(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["expires_within"]
    if limit is None:
        return
    left = facts.waiting["expires_at"] - facts.now
    soon = int(((left <= limit) & (left > pd.Timedelta(0))).sum())
    gone = int((left <= pd.Timedelta(0)).sum())
    if not left.notna().any():
        yield finding("expires_within", "ok", "The source says of no failure that it expires.")
        return
    text = f"{facts.least}{many(soon, 'failures')} will be forgotten within {span(limit)}"
    text += f", {gone:,} may be gone already" if gone else ""
    over = soon + gone > 0
    text += ": take a snapshot (dlq snapshot)." if over else "."
    yield finding("expires_within", "warning" if over else "ok", text, soon=soon, expired=gone)


def _always_fails(executions: pd.DataFrame, limits: dict[str, Any]) -> Iterator[Finding]:
    least = limits["always_fails"]
    if least is None:
        return
    for column in ("task_name", "successes", "failures"):
        if column not in executions.columns:
            raise SchemaError(
                f"The executions frame has no column '{column}'. The query success_rate gives one that fits."
            )
    never = executions[(executions["successes"] == 0) & (executions["failures"] >= max(least, 1))]
    if never.empty:
        ran = (executions["successes"] + executions["failures"] >= max(least, 1)).any()
        text = "Every task that ran often enough succeeded at times."
        yield finding(
            "always_fails",
            "ok",
            text if ran else "No task is known to have run often enough to say.",
        )
        return
    names = [str(name) for name in never["task_name"]]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    yield finding(
        "always_fails", "critical", f"No success in any execution: {shown}.", tasks=names[:50]
    )


def _failure_rate(executions: pd.DataFrame, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["failure_rate"]
    if limit is None:
        return
    good, bad = int(executions["successes"].sum()), int(executions["failures"].sum())
    if good + bad < FEWEST_RUN:
        text = f"{many(good + bad, 'executions')} known: too few to say which share fails."
        yield finding("failure_rate", "ok", text)
        return
    yield shared("failure_rate", bad / (good + bad), limit, f"of {good + bad:,} executions failed")


def shared(name: str, share: float, limit: float, what: str) -> Finding:
    """A share against its limit, in percent for the reader."""
    over = share > limit
    text = f"{share:.1%} {what}" + (f", more than {limit:.0%}." if over else ".")
    return finding(name, "warning" if over else "ok", text, ratio=share)


def _growing(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    """Whether it gets worse: against an earlier check, else by three spans of five minutes in a row."""
    five = timedelta(minutes=5)
    then = before(facts.earlier, "failures", facts.now, five)
    if then is not None:
        more = len(facts.waiting) - int(then[1])
        text = f"{facts.least}{abs(more):,} {'more' if more > 0 else 'fewer'} than {span(facts.now - then[0])} ago."
        text = text if more else f"As many as {span(facts.now - then[0])} ago."
        yield finding("growing", "ok", text, growing=more > 0, more=more)
        return
    each = [
        facts.since(five * n) - (facts.since(five * (n - 1)) if n > 1 else 0) for n in (1, 2, 3)
    ]
    growing = min(each) > 0
    text = (
        "New failures came in each of the last three spans of five minutes."
        if growing
        else "There is no earlier check, of five minutes ago or more, to compare with; no new failure comes all the time."
    )
    yield finding("growing", "ok", text, growing=growing)


def _breadth(facts: Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    """In how many queues and tasks it failed within the last hour; of what cause, where rules have judged."""
    recent = facts.waiting[facts.ages <= _RECENT]
    queues, tasks = recent["queue"].nunique(), recent["task_name"].nunique()
    text = f"{many(len(recent), 'failures')} of {many(tasks, 'tasks')} in {many(queues, 'queues')} within the last hour."
    told: dict[str, Any] = {"queues": int(queues), "tasks": int(tasks)}
    if "rule" in recent.columns:
        rules = recent["rule"].astype("str").fillna("")
        told |= {name: int(rules.isin(words).sum()) for name, words in DEPENDENCIES.items()}
    yield finding("breadth", "ok", text, **told)


JUDGES = (_depth, _oldest, _growth, _per_hour, _unreadable, _expiry, _growing, _breadth)
OF_EXECUTIONS = (_always_fails, _failure_rate)
