"""One look at a system by its name: its failures, queues, workers and metrics, judged by the profile's thresholds.

A place that does not answer is a finding of its own. What was seen is kept for the next look.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlqanalysis import health
from dlqanalysis.checkup import samples
from dlqanalysis.classify import classify
from dlqanalysis.errors import ConnectError, DLQError, SettingsError
from dlqanalysis.health import Level
from dlqanalysis.loading import load
from dlqanalysis.model import Finding, moment
from dlqanalysis.profile import Profile, setting
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.queries import queries
from dlqanalysis.redact import redact, redacted
from dlqanalysis.sources import capabilities, connect, connect_monitor

if TYPE_CHECKING:
    from dlqanalysis.model import Monitor, Source

#: what a Prometheus is asked for -> over the last ten minutes, or now
METRICS = {
    "failure_rate": False,
    "p95_latency": False,
    "growth_per_minute": False,
    "failures_per_hour": False,
    "processed_per_minute": True,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkup:
    """What a look at one place found."""

    place: str  #: as it was asked for
    source: str = ""  #: the system's own name
    findings: tuple[Finding, ...] = ()
    severity: Level | None = None  #: of the profile's table; None when all is well
    escalation: Level | None = None  #: whom to call; None when nobody
    truncated: bool = False
    checked: bool = (
        True  #: False when it, or a queue that its URL names, could not be judged; findings say why
    )
    kept: bool = False  #: whether what was seen is there for the next look


def checkup(
    place: str, profile: Profile | None = None, now: datetime | None = None, remember: bool = True
) -> Checkup:
    """A name, a URL or an export, looked at: whatever can be asked of it is asked.

    Raises the DLQError of what the reader must mend (a name that is not set, a wrong threshold).
    """
    profile = profile or current_profile()
    when = moment(now) or datetime.now(UTC)
    health.limits_of(profile)  # a wrong threshold is told before anything is asked
    past = samples.earlier(place)
    past = past[past["at"] < when]
    told: dict[str, Any] = {}
    failures, executions = None, None
    absent: list[str] = []
    found: list[Finding] = []
    reads, looks = _can(place)
    name = ""
    if reads:
        try:
            source = connect(place)
            name = source.name
            failures = classify(load(source, since=None))
            absent = failures.attrs["absent"]
            found += [Finding(name="not checked", severity="critical", text=one) for one in absent]
            executions = _executions(source)
        except ConnectError as error:
            found.append(_unreachable(error))
    if looks:
        try:
            with closing(connect_monitor(place)) as monitor:
                name = name or monitor.name
                found += [one for one in monitor.health() if not _known(one, found)]
                told = _told(monitor)
        except ConnectError as error:
            found += [one for one in [_unreachable(error)] if not _known(one, found)]
        except DLQError as error:
            if not reads:
                raise
            found.append(Finding(name="monitor", severity="warning", text=str(error)))
    found += health.check(failures, profile, when, executions, earlier=past, **told)
    found += _to_review(profile, when)
    worst = health.worst(found)
    numbers = health.sample(_waiting(found), told.get("depths"), told.get("workers"))
    minutes = samples.unresolved(past, when) if worst != "ok" else 0.0
    severity = health.severity(found, profile, minutes)
    escalation = health.escalation(found, profile, minutes)
    if worst == "ok" and (level := severity or escalation):
        found.append(_only_level(level))
    return Checkup(
        place=place,
        source=name or place,
        findings=tuple(found),
        severity=severity,
        escalation=escalation,
        truncated=failures is not None and bool(failures.attrs.get("truncated")),
        checked=not absent,  # the rows of a queue that is not there are all ok
        kept=remember and samples.keep(place, numbers, worst, when),
    )


def checkups(
    places: Sequence[str], profile: Profile | None = None, now: datetime | None = None
) -> list[Checkup]:
    """Several places, one after the other; one that cannot be looked at keeps none of the others from it."""
    done = []
    for place in places:
        try:
            done.append(checkup(place, profile, now))
        except DLQError as error:
            if len(places) == 1:
                raise
            text = str(error)
            finding = Finding(name="not checked", severity="critical", text=text)
            done.append(Checkup(place=place, source=place, findings=(finding,), checked=False))
    return done


def all_findings(done: Sequence[Checkup]) -> list[Finding]:
    """The findings of several looks; with more than one place each is named by it."""
    if len(done) == 1:
        return list(done[0].findings)
    return [
        replace(one, name=f"{look.place}: {one.name}") for look in done for one in look.findings
    ]


def facts_of(done: Sequence[Checkup]) -> dict[str, Any]:
    """What was found as plain values for JSON, redacted: when, how grave, each place with its levels, each finding."""
    return {
        "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "severity": health.worst(all_findings(done)),
        "truncated": any(look.truncated for look in done),
        "checks": [
            {
                "place": redact(look.place),
                "source": redact(look.source),
                "severity": health.worst(look.findings),
                "checked": look.checked,
                "truncated": look.truncated,
                "level": _level(look.severity),
                "escalation": _level(look.escalation),
            }
            for look in done
        ],
        "findings": [
            {
                "place": redact(look.place),
                "name": finding.name,
                "severity": finding.severity,
                "text": redact(finding.text),
                "facts": {
                    name: _finite(one) for name, one in redacted(dict(finding.facts)).items()
                },
            }
            for look in done
            for finding in look.findings
        ],
    }


def _finite(value: Any) -> Any:
    """The value, or None for a number that JSON has not got: a quantile over the last bucket is infinite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _level(level: Level | None) -> dict[str, Any] | None:
    if level is None:
        return None
    texts = {
        name: redact(getattr(level, name)) for name in ("name", "because", "respond", "contact")
    }
    return {**texts, "steps": [redact(step) for step in level.steps]}


def tells(place: str) -> bool:
    """Whether a name, a URL or an export can be asked for its queues and its health."""
    return _can(place)[1]


def _can(place: str) -> tuple[bool, bool]:
    """Whether failures can be read there, and whether a monitor can be asked."""
    beside = "://" not in place and any(
        setting(place, part) for part in ("MONITOR_URL", "BROKER_URL")
    )
    try:
        known: Mapping[str, Any] = capabilities(place).set_index("capability")["can"].to_dict()
    except SettingsError:
        if not beside:
            raise
        return False, True  # a broker only
    return bool(known.get("read")), bool(known.get("monitor")) or beside


def _to_review(profile: Profile, when: datetime) -> list[Finding]:
    """Contacts and thresholds grow old: the profile says until when they are trusted."""
    if profile.review_by is None or when.date() <= profile.review_by:
        return []
    text = (
        f"Profile '{profile.name}' was to be reviewed by {profile.review_by}: look whether its contacts and"
        " thresholds still hold, then set review_by anew."
    )
    return [Finding(name="profile review", severity="warning", text=text)]


def _only_level(level: Level) -> Finding:
    """A level that holds though no threshold is passed: without a finding it would call nobody, and exit with 0."""
    text = f"No threshold is passed, but {level.name} of the profile holds: {level.because}."
    return Finding(
        name="level", severity="critical" if level.name == "critical" else "warning", text=text
    )


def _unreachable(error: DLQError) -> Finding:
    return Finding(name="unreachable", severity="critical", text=str(error))


def _known(one: Finding, found: Sequence[Finding]) -> bool:
    """Whether the same sentence is there already: source and monitor ask the same server."""
    return any(one.text == other.text for other in found)


def _told(monitor: "Monitor") -> dict[str, pd.DataFrame]:
    """What a monitor tells; what it cannot tell is left out, so that nobody takes it for nothing."""
    told = {}
    depths = monitor.depths()
    if len(depths):
        told["depths"] = depths
    workers = monitor.workers()
    if len(workers) or _asks_workers(monitor, depths):
        told["workers"] = workers
    if metrics := _metrics(monitor):
        told["metrics"] = pd.concat(metrics, ignore_index=True)
    return told


def _asks_workers(monitor: "Monitor", depths: pd.DataFrame) -> bool:
    """Whether an empty answer means that no worker is there, not that nobody can tell."""
    module = type(monitor).__module__
    if ".celery_broker" in module:
        return True
    return ".bullmq" in module and bool(depths["consumers"].notna().any())


def _metrics(monitor: "Monitor") -> list[pd.DataFrame]:
    if not hasattr(monitor, "metrics"):
        return []
    found = []
    for name, lasting in METRICS.items():
        if name in getattr(monitor, "queries", {}):
            frame = monitor.metrics(name, "10m", None, "1m") if lasting else monitor.metrics(name)
            found.append(frame)
    return found


def _executions(source: "Source") -> "pd.DataFrame | None":
    """What the system knows of executions, where it keeps them; None where it does not."""
    if not hasattr(source, "ask"):
        return None
    try:
        return queries(source).success_rate()
    except DLQError:
        return None


def _waiting(found: Sequence[Finding]) -> int | None:
    return next((one.facts["waiting"] for one in found if one.name == "depth"), None)
