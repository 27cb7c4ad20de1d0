"""Thresholds on failures and on how systems are: facts in, findings out, and an exit code for cron and CI.

THRESHOLDS has the defaults; a profile's [thresholds] overrides them. What cannot be told is said so,
never passed in silence.
"""

from datetime import UTC, datetime

import pandas as pd

from dlqanalysis.health import failures as of_failures
from dlqanalysis.health import systems
from dlqanalysis.health.findings import (
    COULD_NOT_CHECK,
    EXIT,
    SEVERITIES,
    exit_code,
    finding,
    table,
    worst,
)
from dlqanalysis.health.levels import FACTS, Level, escalation, facts_of, severity
from dlqanalysis.health.suggest import suggest_thresholds
from dlqanalysis.health.systems import SAMPLE, no_samples, sample, samples
from dlqanalysis.health.thresholds import THRESHOLDS, limits_of, readable
from dlqanalysis.model import Finding, moment
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

__all__ = [
    "COULD_NOT_CHECK", "EXIT", "FACTS", "SAMPLE", "SEVERITIES", "THRESHOLDS", "Level", "check", "escalation",
    "exit_code", "facts_of", "finding", "limits_of", "no_samples", "readable", "sample", "samples", "severity",
    "suggest_thresholds", "table", "worst",
]  # fmt: skip


def check(
    failures: pd.DataFrame | None,
    profile: Profile | None = None,
    now: datetime | None = None,
    executions: pd.DataFrame | None = None,
    depths: pd.DataFrame | None = None,
    workers: pd.DataFrame | None = None,
    metrics: pd.DataFrame | None = None,
    earlier: pd.DataFrame | None = None,
) -> list[Finding]:
    """One finding a threshold, with the numbers it was judged by; of each frame that is given.

    Only failures that still wait are judged: rows whose status says replayed or archived are left out.
    `executions` (task_name, successes, failures; such as the query success_rate gives) lets it see tasks
    that always fail; `depths`, `workers` and `metrics` are what dlq.depths, dlq.workers and a Prometheus
    answer; `earlier` is what earlier checks saw, without which nobody can say what grows or stands still.
    """
    profile = profile or current_profile()
    limits = limits_of(profile)
    when = pd.Timestamp(moment(now) or datetime.now(UTC))
    past = no_samples() if earlier is None else earlier[earlier["at"] < when]
    found: list[Finding] = []
    seen = {}
    if failures is not None:
        waiting = failures[~failures["status"].astype("str").str.lower().isin(of_failures.DONE)]
        cut = bool(failures.attrs.get("truncated"))
        facts = of_failures.Facts(waiting, when, cut, past, profile.owners)
        found += [one for judge in of_failures.JUDGES for one in judge(facts, limits)]
        seen["failures"] = len(waiting)
    if executions is not None:
        found += [one for judge in of_failures.OF_EXECUTIONS for one in judge(executions, limits)]
    numbers = sample(seen.get("failures"), depths, workers)
    if metrics is not None:
        found += systems.of_metrics(metrics, limits)
    if depths is not None:
        found += systems.of_depths(numbers, past, when, limits)
        if failures is None and "growth_per_minute" not in {one.name for one in found}:
            found += systems.of_growth(numbers, past, when, limits)
    if workers is not None:
        found += systems.of_workers(numbers, past, when, limits)
        found += systems.of_throughput(numbers, past, when, limits)
    return found
