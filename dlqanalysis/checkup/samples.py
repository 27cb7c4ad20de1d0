"""What earlier checks saw, kept as JSON lines in DLQ_HOME: so that a check from cron knows what grows or stands still.

One file a place, a few numbers a check and no payload; bounded, the oldest are forgotten first.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.files import keep_whole
from dlqanalysis.health import SAMPLE, no_samples, samples
from dlqanalysis.profile import home
from dlqanalysis.redact import redact

MOST = 5_000  #: checks kept of a place: 17 days at one in five minutes
_LARGEST = 2**53  # what more is, no system counted
_SLACK = 500  # lines over MOST before the file is written anew


def earlier(place: str) -> pd.DataFrame:
    """Earlier checks of a place (its name), the oldest first; none where none was kept or can be read."""
    try:
        lines = _file(place).read_bytes().splitlines()
    except (OSError, SettingsError):
        return no_samples()
    rows = [row for row in map(_row, lines[-MOST:]) if row]
    return samples(rows)


def keep(
    place: str,
    numbers: Mapping[str, int | None],
    severity: str,
    at: datetime | None = None,
) -> bool:
    """Add one check; whether it could be kept. A check that cannot be kept is a check all the same."""
    row = {"at": (at or datetime.now(UTC)).isoformat(), "severity": severity}
    row |= {name: numbers[name] for name in SAMPLE if numbers.get(name) is not None}
    line = json.dumps(row).encode() + b"\n"
    try:
        path = _file(place)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        # one write to a file opened for appending: checks at the same time do not mix their lines
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
        _shorten(path)
    except (OSError, SettingsError):
        return False
    return True


def unresolved(past: pd.DataFrame, now: datetime) -> float:
    """For how many minutes every check found something, up to `now`; 0 when the last one did not."""
    fine = past.index[past["severity"] == "ok"]
    bad = past[past.index > fine[-1]] if len(fine) else past
    if bad.empty:
        return 0.0
    return float(max((pd.Timestamp(now) - bad["at"].iloc[0]) / pd.Timedelta("1min"), 0.0))


def _file(place: str) -> Path:
    """A readable name, with a hash so that two places never share a file."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", redact(place))[-60:]
    digest = hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return home() / "checks" / f"{plain}.{digest}.jsonl"


def _row(line: bytes) -> dict[str, Any] | None:
    """One check; None for a line that is none, such as one cut off by a full disk."""
    try:
        row = json.loads(line)
        at = datetime.fromisoformat(row["at"])
        if at.tzinfo is None or row["severity"] not in ("ok", "warning", "critical"):
            return None
        numbers = {name: row.get(name) for name in SAMPLE}
        if any(type(n) is not int or abs(n) > _LARGEST for n in numbers.values() if n is not None):
            return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return {"at": at, "severity": row["severity"], **numbers}


def _shorten(path: Path) -> None:
    """Write the newest lines anew once there are too many; a check kept meanwhile may be lost, which harms nothing."""
    if path.stat().st_size < MOST * 40:  # the shortest line
        return
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) <= MOST + _SLACK:
        return
    keep_whole(path, b"".join(lines[-MOST:]), mode=0o600)
