"""Findings in words and numbers: how they are made, ranked and laid out."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pandas as pd

from dlqanalysis.model import Finding
from dlqanalysis.text import many

SEVERITIES = ("ok", "warning", "critical")
#: What `dlq check` exits with.
EXIT = {"ok": 0, "warning": 1, "critical": 2}
COULD_NOT_CHECK = 3


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


def finding(name: str, severity: str, text: str, **facts: Any) -> Finding:
    """A finding whose sentence begins with a capital."""
    return Finding(name=name, severity=severity, text=text[0].upper() + text[1:], facts=facts)


def span(length: timedelta) -> str:
    """A length of time for a reader: 5 minutes, 3 hours, 12 days."""
    seconds = length.total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return many(int(seconds // size), f"{unit}s")
    return many(int(seconds), "seconds")
