"""What to know before a plan is confirmed: sentences, each about something that may go wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd

from dlqanalysis.classify.rules import rulebook
from dlqanalysis.journal import Journal
from dlqanalysis.model import FailureClass, duration
from dlqanalysis.plan.frozen import FLEETING
from dlqanalysis.plan.reasons import by_grade
from dlqanalysis.profile import Profile
from dlqanalysis.text import many

_STOPPED = ("process-stopped", "process-crashed")  #: rules of what did not come to its end
#: rules of what took too long: the task itself, or what it waited for
_LATE = ("timeout", "timeout-words")
_LIMIT = r"TimeLimit|JobTimeout|TaskTimeout|TimeoutExceeded"  #: the task itself
#: how many seconds a service said to wait, in a header or in words; another unit is not read
_AFTER = r"(?i)retry[-_ ]?after\W{1,4}(\d{1,6}(?:\.\d+)?)(?:\s*s(?:ec\w*)?)?(?!\w|\.\d)(?!\s*(?:ms|m|min\w*|h|hours?|d|days?)\b)"
_LONGEST = timedelta(days=12)  #: six digits of seconds
_FRESH = timedelta(minutes=10)  #: an error seen so lately still occurs


def cautions(
    failures: pd.DataFrame,
    chosen: pd.DataFrame,
    journal: Journal | None,
    action: str,
    classes: tuple[str, ...],
    effects: pd.DataFrame | None,
    profile: Profile,
) -> Iterator[str]:
    """A sentence for each thing to know before this plan is confirmed."""
    if journal is None and action not in FLEETING:
        yield "no journal was given, so what was replayed before is unknown."
    if failures.attrs.get("truncated"):
        yield "the load was cut off by its limit: there are more failures than this plan has seen."
    if action == "purge":
        yield "purged rows are gone for good; only the snapshot that the run takes first remains."
    if action == "revoke":
        yield "a revoke does not stop what a worker has begun, and workers forget it when they restart."
    if action != "replay" or not len(chosen):
        return
    forced = sorted(str(name) for name in classes if name != FailureClass.TRANSIENT)
    if forced:
        yield f"failures that the rules call {', '.join(forced)} go too, because you named the class."
    if "repaired" in failures and (
        count := int(
            failures["repaired"].notna()[failures["failure_id"].isin(chosen["failure_id"])].sum()
        )
    ):
        yield f"{many(count, 'failures go')} with a repaired payload instead of their own."
    yield from _elsewhere(chosen)
    yield from _still_failing(failures, chosen)
    yield from _too_soon(failures, chosen)
    yield from _half_way(failures, chosen)
    if len(chosen) == 1:
        yield "one failure is a test run, and a real one: it does what the task does."
    tasks = chosen["task_name"].astype("str").dropna()
    ungraded = sorted(set(tasks.unique()) & set(by_grade(failures, profile).get(None, [])))
    if ungraded:
        yield (
            f"{many(int(tasks.isin(ungraded).sum()), 'chosen failures are')} of tasks without a safety grade in the"
            f" profile ({', '.join(ungraded[:3])}{', ...' if len(ungraded) > 3 else ''}): make sure that"
            " running them twice does no harm."
        )
    yield from _unasked(chosen, effects, profile)


def _elsewhere(chosen: pd.DataFrame) -> Iterator[str]:
    """Those that go to another queue than the one they failed in."""
    moved = chosen[(chosen["target"] != "") & (chosen["target"] != chosen["queue"].astype("str"))]
    if len(moved):
        pairs = moved["task_name"].astype("str") + " to " + moved["target"]
        told = list(pairs.unique())
        yield (
            f"{many(len(moved), 'failures go')} where the profile's [routes] says, not to the queue that stands in their row:"
            f" {', '.join(told[:3])}{', ...' if len(told) > 3 else ''}."
        )


def _still_failing(failures: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[str]:
    """Errors among the chosen that came up in the last minutes: a replay now would meet them again."""
    fresh = failures[failures["failed_at"] > pd.Timestamp(datetime.now(UTC) - _FRESH)]
    fresh = fresh[fresh["fingerprint"].isin(chosen["fingerprint"].unique())]
    names = fresh["exception_type"].astype("str")
    if "template" in fresh.columns:  # not every system has types
        names = names.fillna(fresh["template"].astype("str").str.slice(0, 60))
    counts = names.fillna("an unnamed error").value_counts()
    for name, count in list(counts.items())[:3]:
        minutes = int(_FRESH.total_seconds() // 60)
        yield (
            f"{name} still occurs: {count:,} in the last {minutes} minutes. A replay now would likely fail"
            " again."
        )


def _too_soon(failures: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[str]:
    """Chosen failures whose rule, or whose own words, say how long to wait, and whose time has not come."""
    waits = {rule.name: rule.retry_after for rule in rulebook().rules if rule.retry_after}
    now = pd.Timestamp(datetime.now(UTC))
    late = failures[failures["failed_at"] > now - _LONGEST]
    for name, rows in chosen.groupby(chosen["rule"].astype("str")):
        # the whole group's newest: the service refused us then, whichever of them go
        mine = late[late["rule"].astype("str") == name]
        told = mine["exception_message"].str.extract(_AFTER, expand=False).astype("float64")
        least = duration(waits.get(str(name)) or "0s").total_seconds()
        asked = told.fillna(0).clip(lower=least)
        due = (mine["failed_at"] + pd.to_timedelta(asked, unit="s")).max()
        if asked.max() > 0 and due > now:
            day = "%d %b " if due.date() != mine["failed_at"].max().date() else ""
            wait = f"{asked.max():.0f} s" if asked.max() > least else waits[str(name)]
            yield (
                f"{many(len(rows), 'failures')} of rule {name}: the service asked to wait {wait}, and the newest is from"
                f" {mine['failed_at'].max():{day}%H:%M:%S}Z: wait until {due:{day}%H:%M:%S}Z, and take a low rate."
            )


def _half_way(failures: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[str]:
    """Those that did not come to their end: what they did until then is done."""
    rules = chosen["rule"].astype("str")
    limited = failures["exception_type"].astype("str").str.contains(_LIMIT).fillna(False)
    own = chosen["failure_id"].isin(failures.loc[limited.to_numpy(bool), "failure_id"])
    stopped = rules.isin(_STOPPED) | (rules.isin(_LATE) & own)
    waited = rules.isin(_LATE) & ~stopped
    if count := int(stopped.sum()):
        yield (
            f"{many(count, 'chosen failures were')} stopped half-way (a time limit, a worker that died): their work may be"
            " half done, and with acks_late the broker may have given them out again."
        )
    if count := int(waited.sum()):
        yield (
            f"{many(count, 'chosen failures')} waited too long for an answer: what they asked for may have been done all the"
            " same."
        )


def _unasked(chosen: pd.DataFrame, effects: pd.DataFrame | None, profile: Profile) -> Iterator[str]:
    """That nobody asked whether the work is done; by name the tasks whose query the profile knows."""
    asked = effects["failure_id"] if effects is not None else pd.Series(dtype="str")
    left = chosen.loc[~chosen["failure_id"].isin(asked), "task_name"].astype("str").dropna()
    known = {
        task: n for task, n in left.value_counts().items() if profile.of(profile.effects, task)
    }
    if known:
        yield (
            f"the profile's [effects] know how to ask whether the work of {', '.join(known)} is done, and nobody asked:"
            f" {many(sum(known.values()), 'chosen failures')} may have done it before they failed. Give the plan"
            " effects=dlq.probe(failures, source)."
        )
    elif not len(asked):
        yield "side effects were not checked: a task may have done its work before it failed."
    if effects is not None:  # asked is not answered
        dark = effects.loc[(effects["effect"] == "cannot_tell").to_numpy(), "failure_id"]
        if count := int(chosen["failure_id"].isin(dark).sum()):
            yield (
                f"of {many(count, 'chosen failures')} nobody could tell whether the work is done already: the evidence of"
                " their effects says why."
            )
