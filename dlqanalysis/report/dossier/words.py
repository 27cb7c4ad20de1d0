"""Times and their lengths as words."""

from typing import Any

import pandas as pd


def stamp(value: Any) -> str:
    """A cell as text: a time to the second in UTC, nothing for what is missing."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    return "" if value is None or value is pd.NA or value != value else str(value)


def words_of(length: Any) -> str:
    """A length of time as people say it: 7 minutes, 1 hour."""
    seconds = abs(pd.Timedelta(length).total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size * (1 if size == 60 else 2):
            count = round(seconds / size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    count = round(seconds)
    return f"{count} second{'' if count == 1 else 's'}"
