"""The thresholds: their defaults, what they mean, and those in force under a profile."""

from datetime import timedelta
from typing import Any

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.model import duration
from dlqanalysis.profile import Profile

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
    "failure_rate": (0.10, "a larger share of executions than this failed, of at least 20: warning"),
    "failed": (100, "more failed tasks in a system's own queues than this: warning"),
    "waiting": (1000, "more tasks waiting to be worked on than this: warning"),
    "stopped": ("15m", "tasks wait and none was done for longer than this: critical"),
    "workers_down": ("10m", "no worker answered for longer than this: critical; at once: warning"),
    "processed_per_minute": (0, "fewer tasks done a minute than this, over ten minutes: critical"),
    "p95_latency": (30, "one task in twenty takes more seconds than this: warning"),
}  # fmt: skip

_MOST = 10**15  #: nothing that is counted comes near, and every reader of JSON reads it


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
        elif type(value) not in (int, float) or not 0 <= value < _MOST:
            raise SettingsError(
                f"Profile '{profile.name}': threshold '{name}' is {value!r}."
                f' Write a number, such as {name} = {THRESHOLDS[name][0]}, or "" to switch it off.'
            )
    return limits


def readable(limit: Any) -> str:
    """A threshold in force as a profile has it: 90 seconds are 90s, None is off."""
    if limit is None:
        return "off"
    if not isinstance(limit, timedelta):
        return f"{limit:,}"
    seconds = int(limit.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and not seconds % size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
