"""How grave it is and whom to call: the levels of a profile, each with conditions on what was found.

A condition is one line such as `depth > 50 and growing`: names of FACTS, alone or compared with a number.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.health.findings import worst
from dlqanalysis.model import Finding
from dlqanalysis.profile import Profile

#: what a condition may name -> meaning; what is not known holds for no condition
FACTS = {
    "depth": "failures that wait longer than depth_for; for a system that shows none, failed tasks in its queues",
    "waiting": "tasks that wait to be worked on",
    "growing": "more failures than at a check five minutes to an hour ago",
    "growth_per_minute": "new failures a minute, over five minutes",
    "per_hour": "new failures in the last hour",
    "queues": "queues in which something failed within the last hour",
    "tasks": "tasks that failed within the last hour",
    "failure_rate": "share of executions that failed, 0 to 1",
    "p95_latency": "seconds that one task in twenty takes longer than",
    "unreadable": "payloads that are unreadable or cut off",
    "always_fails": "tasks without any success",
    "stopped_minutes": "for how long tasks wait and none is done",
    "down_minutes": "for how long no worker answered",
    "workers_down": "no worker answered",
    "database": "failures of the last hour whose cause is a database",
    "external": "failures of the last hour whose cause is somebody else's service",
    "broker": "failures of the last hour whose cause is the broker",
    "unreachable": "a system that did not answer",
    "unresolved_minutes": "for how long every check found something",
    "warning": "findings that are warnings",
    "critical": "findings that are critical",
}
GRAVITY = ("critical", "high", "medium", "low")
LEVELS = ("L3", "L2", "L1")
_SAME = {
    "critical": {"when": ["critical"]},
    "medium": {"when": ["warning"]},
}
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_TERM = re.compile(r"\s*([a-z_0-9]+)\s*(?:(>=|<=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*)?")
_ENTRIES = ("when", "respond", "contact", "steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A severity or a level of escalation that holds now."""

    name: str  #: critical, high, medium, low; or L1, L2, L3
    because: str  #: the condition that holds, as the profile has it
    respond: str = ""  #: within what time somebody must see to it
    contact: str = ""  #: who
    steps: tuple[str, ...] = ()  #: what they do first

    def __str__(self) -> str:
        said = self.name + (f" ({self.contact})" if self.contact else "")
        said += f", respond within {self.respond}" if self.respond else ""
        if self.because == self.name:  # as without [severity]: it would say the same twice
            return said
        return f"{said}: {FACTS.get(self.because, self.because)}"


def severity(findings: Sequence[Finding], profile: Profile, minutes: float = 0.0) -> Level | None:
    """The gravest severity whose condition holds, with its response time; None when all is well.

    A profile without [severity] has critical and medium, for findings that are critical or warnings.
    `minutes` is for how long every check found something.
    """
    return _first(profile.severity or _SAME, GRAVITY, findings, profile, "severity", minutes)


def escalation(findings: Sequence[Finding], profile: Profile, minutes: float = 0.0) -> Level | None:
    """The highest level of the profile's [escalation] whose condition holds: whom to call, and how soon."""
    return _first(profile.escalation, LEVELS, findings, profile, "escalation", minutes)


def facts_of(findings: Sequence[Finding], minutes: float = 0.0) -> dict[str, float]:
    """The FACTS that these findings tell; those that nobody could tell are left out."""
    told = {one.name.rpartition(": ")[2]: one.facts for one in findings}
    bad = {one.name.rpartition(": ")[2] for one in findings if one.severity != "ok"}
    found: dict[str, Any] = {
        # what the threshold counts: a level that held for younger ones would stand beside "0 failures waiting"
        "depth": _of(told, "depth", "counted", _of(told, "failed", "count")),
        "waiting": _of(told, "waiting", "count"),
        "growing": _of(told, "growing", "growing"),
        "growth_per_minute": _of(told, "growth_per_minute", "per_minute"),
        "per_hour": _of(told, "per_hour", "count"),
        "failure_rate": _of(told, "failure_rate", "ratio"),
        "p95_latency": _of(told, "p95_latency", "seconds"),
        "unreadable": _of(told, "unreadable", "count"),
        "always_fails": len(told.get("always_fails", {}).get("tasks", ())),
        "stopped_minutes": _of(told, "stopped", "minutes"),
        "down_minutes": _of(told, "workers_down", "minutes"),
        "workers_down": "workers_down" in bad,
        "unreachable": "unreachable" in bad,
        "unresolved_minutes": minutes,
        "warning": sum(one.severity == "warning" for one in findings),
        "critical": sum(one.severity == "critical" for one in findings),
    }
    found |= {name: _of(told, "breadth", name)
              for name in ("queues", "tasks", "database", "external", "broker")}  # fmt: skip
    return {name: float(value) for name, value in found.items() if value is not None}


def _of(told: Mapping[str, Mapping[str, Any]], name: str, fact: str, default: Any = None) -> Any:
    return told.get(name, {}).get(fact, default)


def _first(
    table: Mapping[str, Any],
    order: Sequence[str],
    findings: Sequence[Finding],
    profile: Profile,
    what: str,
    minutes: float,
) -> Level | None:
    for name in profile.contacts:
        if name not in (*GRAVITY, *LEVELS):  # nobody would ever be told of it
            said = did_you_mean(name, [*GRAVITY, *LEVELS])
            raise SettingsError(
                f"Profile '{profile.name}': [contacts]: '{name}' is no level. {said}"
            )
    facts = facts_of(findings, minutes)
    levels = {name: _checked(name, about, order, profile, what) for name, about in table.items()}
    for name in order:
        for condition in levels.get(name, ()):
            if all(_holds(term, facts) for term in condition.split(" and ")):
                about = table[name]
                return Level(
                    name=name,
                    because=condition,
                    respond=about.get("respond", ""),
                    contact=about.get("contact", "") or profile.contacts.get(name, ""),
                    steps=tuple(about.get("steps", ())),
                )
    if what == "severity" and worst(findings) != "ok":  # never less said than was found
        return Level(
            name="low", because="something was found, and no severity of the profile names it"
        )
    return None


def _checked(
    name: str, about: Any, order: Sequence[str], profile: Profile, what: str
) -> Sequence[str]:
    """A level's conditions, each term of which can be understood."""
    where = f"Profile '{profile.name}': [{what}.{name}]"
    if name not in order:
        raise SettingsError(f"{where} is no level. {did_you_mean(name, order)}")
    about = about if isinstance(about, Mapping) else {}
    when = about.get("when")
    if not _texts(when):
        raise SettingsError(f'{where} needs its conditions as a list: when = ["depth > 1000"].')
    for entry in about:
        if entry not in _ENTRIES:
            raise SettingsError(f"{where}: '{entry}' is unknown. {did_you_mean(entry, _ENTRIES)}")
    if not _texts([about.get("respond", ""), about.get("contact", "")]):
        raise SettingsError(f'{where}: respond and contact are texts: respond = "15m".')
    if not _texts(about.get("steps", [])):
        raise SettingsError(f'{where} needs its steps as a list: steps = ["Look at 10_triage"].')
    for term in (term for condition in when for term in condition.split(" and ")):
        match = _TERM.fullmatch(term)
        if not match:
            raise SettingsError(
                f"{where}: '{term}' is no condition. Write a name, or a name, a sign and a number: depth > 50."
            )
        if match[1] not in FACTS:
            raise SettingsError(
                f"{where}: '{match[1]}' is no fact of a check. {did_you_mean(match[1], FACTS)}"
            )
    return when


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _holds(term: str, facts: Mapping[str, float]) -> bool:
    match = _TERM.fullmatch(term)
    assert match  # _checked has seen it
    if (value := facts.get(match[1])) is None:
        return False
    return _SIGNS[match[2]](value, float(match[3])) if match[2] else bool(value)
