"""Thresholds out of history: what was usual, so that an alert means that it is not."""

import math
from typing import Any

import pandas as pd

from dlqanalysis.errors import SchemaError
from dlqanalysis.health.thresholds import limits_of
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

ENOUGH_DAYS = 7  #: a week has its weekend in it
USUAL = 0.99  #: of all spans looked at were quieter than what is suggested
_COLUMNS = ["threshold", "in_force", "suggested", "usual", "highest", "days", "says"]


def suggest_thresholds(history: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """One row a threshold: threshold, in_force, suggested, usual (the median), highest, days, says.

    `history` is a failures frame (for per_hour and growth_per_minute) or earlier checks (`health.samples`,
    for depth, failed and waiting). Suggested is what 99 of 100 spans stayed below, half as much again; with
    less than 7 days (more than 6.5 count as 7) nothing is suggested, and `says` tells so. History with an incident in it suggests less
    than it looks: the median tells what is usual.
    """
    limits = limits_of(profile or current_profile())
    if "failed_at" in history.columns:
        parts = _of_failures(history)
    elif {"at", "failed", "waiting"} <= set(history.columns):
        parts = _of_samples(history)
    else:
        raise SchemaError(
            "History is a failures frame (dlq.load) or earlier checks, which have at, failed and waiting."
        )
    rows = [_row(name, values, days, limits) for name, values, days in parts]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    numbers = {name: "float64" for name in ("in_force", "suggested", "usual", "highest", "days")}
    return table.astype({"threshold": "str", "says": "str", **numbers})


def _of_failures(history: pd.DataFrame) -> list[tuple[str, pd.Series, float]]:
    times = history["failed_at"].dropna()
    if times.empty:
        return [
            (name, pd.Series(dtype="float64"), 0.0) for name in ("per_hour", "growth_per_minute")
        ]
    days = (times.max() - times.min()) / pd.Timedelta("1D")
    counted = pd.Series(1.0, index=pd.DatetimeIndex(times)).sort_index()
    return [
        ("per_hour", counted.resample("1h").sum(), days),
        ("growth_per_minute", counted.resample("5min").sum() / 5, days),
    ]


def _of_samples(history: pd.DataFrame) -> list[tuple[str, pd.Series, float]]:
    days = (history["at"].max() - history["at"].min()) / pd.Timedelta("1D") if len(history) else 0.0
    columns = {"depth": "failures", "failed": "failed", "waiting": "waiting"}
    return [(name, history[of].dropna().astype("float64"), days) for name, of in columns.items()]


def _row(name: str, values: pd.Series, days: float, limits: dict[str, Any]) -> dict[str, Any]:
    told = {
        "threshold": name,
        "in_force": limits[name] if limits[name] is not None else math.nan,
        "suggested": math.nan,
        "usual": values.median() if len(values) else math.nan,
        "highest": values.max() if len(values) else math.nan,
        "days": round(days, 1),
    }
    if (
        round(days) < ENOUGH_DAYS or values.empty
    ):  # of seven days the first failure is never the first second
        return {**told, "says": f"too little to say: {days:.1f} days, and {ENOUGH_DAYS} are needed"}
    high = float(values.quantile(USUAL))
    suggested = max(1, math.ceil(high * 1.5))
    if limits[name] is None:
        says = f"off now; 99 of 100 spans had at most {high:,.1f}"
    elif suggested > limits[name]:
        says = f"the limit in force is passed in {(values > limits[name]).mean():.1%} of all spans"
    else:
        says = f"99 of 100 spans had at most {high:,.1f}: a lower limit would see more"
    return {**told, "suggested": suggested, "says": says}
