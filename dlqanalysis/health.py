"""Thresholds on a failures frame: facts in, findings out, and an exit code for cron and CI.

THRESHOLDS has the defaults; a profile's [thresholds] overrides them. What cannot be told is said so,
never passed in silence.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from dlqanalysis.errors import SchemaError, SettingsError, did_you_mean
from dlqanalysis.model import Finding, duration, moment
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

#: name -> (default, meaning). Durations are texts (5m, 24h); "" switches a threshold off.
THRESHOLDS: dict[str, tuple[Any, str]] = {
    "depth": (0, "more failures than this, waiting longer than depth_for: warning"),
    "depth_for": ("5m", "how long failures may wait before depth counts them"),
    "depth_critical": (1000, "more failures than this, waiting longer than depth_for: critical"),
    "oldest": ("24h", "the oldest failure waits longer than this: warning"),
    "growth_per_minute": (100, "more new failures a minute than this, over five minutes: critical"),
    "per_hour": (50, "more new failures in the last hour than this: warning"),
    "unreadable": (0, "more unreadable or truncated payloads than this: warning"),
    "expires_within": ("24h", "failures that their source forgets within this time: warning"),
    "always_fails": (5, "a task with so many executions and no success: critical"),
}

SEVERITIES = ("ok", "warning", "critical")
#: What `dlq check` exits with.
EXIT = {"ok": 0, "warning": 1, "critical": 2}
COULD_NOT_CHECK = 3

_DONE = ("replayed", "archived", "succeeded", "success", "completed")


def check(
    failures: pd.DataFrame,
    profile: Profile | None = None,
    now: datetime | None = None,
    executions: pd.DataFrame | None = None,
) -> list[Finding]:
    """One finding a threshold, in the order of THRESHOLDS, with the numbers it was judged by.

    Only failures that still wait are judged: rows whose status says replayed or archived are left out.
    `executions` (task_name, successes, failures; such as the query success_rate gives) lets it see tasks
    that always fail.
    """
    limits = limits_of(profile or current_profile())
    when = pd.Timestamp(moment(now) or datetime.now(UTC))
    waiting = failures[~failures["status"].astype("str").str.lower().isin(_DONE)]
    facts = _Facts(waiting, when, bool(failures.attrs.get("truncated")))
    found = [
        finding
        for judge in (_depth, _oldest, _growth, _per_hour, _unreadable, _expiry)
        for finding in judge(facts, limits)
    ]
    if executions is not None:
        found += _always_fails(executions, limits)
    return found


def worst(findings: Sequence[Finding]) -> str:
    """The gravest severity among findings: ok, warning or critical."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default="ok")


def exit_code(findings: Sequence[Finding]) -> int:
    """0 for ok, 1 for warning, 2 for critical."""
    return EXIT[worst(findings)]


def table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Findings as a frame, the gravest first: severity, name, text."""
    order = sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))
    rows = [(finding.severity, finding.name, finding.text) for finding in order]
    return pd.DataFrame(rows, columns=["severity", "name", "text"], dtype="str")


class _Facts:
    """What the judges look at, computed once."""

    def __init__(self, waiting: pd.DataFrame, now: pd.Timestamp, truncated: bool):
        self.waiting = waiting
        self.now = now
        self.ages = (now - waiting["failed_at"]).clip(lower=pd.Timedelta(0))
        self.least = "at least " if truncated else ""  # the load was cut off: there are more

    def since(self, span: timedelta) -> int:
        return int((self.ages <= span).sum())

    def longer(self, span: timedelta) -> int:
        return int((self.ages > span).sum())


def limits_of(profile: Profile) -> dict[str, Any]:
    """The thresholds in force, checked: numbers are not below 0, durations are timedeltas, None is off."""
    limits: dict[str, Any] = {name: default for name, (default, _) in THRESHOLDS.items()}
    for name, value in profile.thresholds.items():
        if name not in THRESHOLDS:
            raise SettingsError(
                f"Profile '{profile.name}': threshold '{name}' is unknown. {did_you_mean(name, THRESHOLDS)}"
            )
        limits[name] = value
    for name, value in limits.items():
        if value == "" and not isinstance(value, bool):
            limits[name] = None
        elif isinstance(THRESHOLDS[name][0], str):
            if not isinstance(value, str):
                raise SettingsError(
                    f"Profile '{profile.name}': threshold '{name}' is {value!r}."
                    f' Write a duration: {name} = "{THRESHOLDS[name][0]}".'
                )
            limits[name] = duration(value)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise SettingsError(
                f"Profile '{profile.name}': threshold '{name}' is {value!r}."
                f' Write a number, such as {name} = {THRESHOLDS[name][0]}, or "" to switch it off.'
            )
    return limits


def _depth(facts: _Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    span = limits["depth_for"] or timedelta(0)
    bounds = [limits["depth_critical"], limits["depth"]]
    if all(bound is None for bound in bounds):
        return
    old, undated = facts.longer(span), int(facts.waiting["failed_at"].isna().sum())
    counted = old + undated  # without a time nobody can say that it is new
    severity, bound = "ok", None
    for name, limit in zip(("critical", "warning"), bounds, strict=True):
        if severity == "ok" and limit is not None and counted > limit:
            severity, bound = name, limit
    text = f"{facts.least}{_some(counted, 'failure')} waiting for more than {_span(span)}"
    if undated:
        text += f", {undated:,} of them without a time"
    text += f"; more than {bound:,} is {severity}." if bound is not None else "."
    yield _finding(
        "depth",
        severity,
        text,
        waiting=len(facts.waiting),
        longer=old,
        undated=undated,
        limit=bound,
    )


def _oldest(facts: _Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["oldest"]
    if limit is None:
        return
    age = facts.ages.max()
    if pd.isna(age):
        yield _finding("oldest", "ok", "Nothing with a time is waiting.")
        return
    over = age > limit
    text = f"The oldest failure has been waiting for {_span(age)}" + (
        f", longer than {_span(limit)}." if over else "."
    )
    yield _finding("oldest", "warning" if over else "ok", text, seconds=int(age.total_seconds()))


def _growth(facts: _Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["growth_per_minute"]
    if limit is None:
        return
    rate = facts.since(timedelta(minutes=5)) / 5
    over = rate > limit
    text = f"{facts.least}{rate:,.1f} new failures a minute over the last five minutes" + (
        f", more than {limit:,}." if over else "."
    )
    yield _finding("growth_per_minute", "critical" if over else "ok", text, per_minute=rate)


def _per_hour(facts: _Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["per_hour"]
    if limit is None:
        return
    count = facts.since(timedelta(hours=1))
    over = count > limit
    text = f"{facts.least}{_some(count, 'new failure')} in the last hour" + (
        f", more than {limit:,}." if over else "."
    )
    yield _finding("per_hour", "warning" if over else "ok", text, count=count)


def _unreadable(facts: _Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["unreadable"]
    if limit is None:
        return
    count = int(facts.waiting["payload_state"].isin(["unreadable", "truncated"]).sum())
    over = count > limit
    text = f"{facts.least}{_some(count, 'payload')} unreadable or truncated" + (
        ": they cannot be replayed; look at them before they are forgotten." if over else "."
    )
    yield _finding("unreadable", "warning" if over else "ok", text, count=count)


def _expiry(facts: _Facts, limits: dict[str, Any]) -> Iterator[Finding]:
    limit = limits["expires_within"]
    if limit is None:
        return
    left = facts.waiting["expires_at"] - facts.now
    soon = int(((left <= limit) & (left > pd.Timedelta(0))).sum())
    gone = int((left <= pd.Timedelta(0)).sum())
    if not left.notna().any():
        yield _finding("expires_within", "ok", "The source says of no failure that it expires.")
        return
    text = f"{facts.least}{_some(soon, 'failure')} will be forgotten within {_span(limit)}"
    text += f", {gone:,} may be gone already" if gone else ""
    over = soon + gone > 0
    text += ": take a snapshot (dlq snapshot)." if over else "."
    yield _finding("expires_within", "warning" if over else "ok", text, soon=soon, expired=gone)


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
        yield _finding("always_fails", "ok", "Every task that ran often enough succeeded at times.")
        return
    names = [str(name) for name in never["task_name"]]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    yield _finding(
        "always_fails", "critical", f"No success in any execution: {shown}.", tasks=names[:50]
    )


def _finding(name: str, severity: str, text: str, **facts: Any) -> Finding:
    return Finding(name=name, severity=severity, text=text[0].upper() + text[1:], facts=facts)


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _span(span: timedelta) -> str:
    """A length of time for a reader: 5 minutes, 3 hours, 12 days."""
    seconds = span.total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return _some(int(seconds // size), unit)
    return _some(int(seconds), "second")
