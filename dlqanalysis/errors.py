"""What can go wrong, as one tree. Every message is a sentence that names the next step.

DLQError
├── SettingsError      an environment variable, a profile or a parameter is missing or wrong
│   └── RulebookError  a rule does not hold: names file and line
├── ConnectError       the system does not answer, or refuses us
├── SchemaError        a table, a column or a frame is not what was expected
├── QueryError         a named query is unknown, wants other parameters, or took too long
├── PlanError          there is nothing to plan, or too much without a filter
├── NotConfirmed       the plan id typed is not this plan's; nothing was sent
├── RunError           a run cannot start, go on or be settled
└── JournalError       the journal cannot be read or written; nothing is sent without it
"""

import difflib
from collections.abc import Iterable
from typing import Any


class DLQError(Exception):
    """Something the reader can mend. In a notebook it shows as its sentence, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(DLQError):
    """An environment variable, a profile or a parameter is missing or wrong."""


class RulebookError(SettingsError):
    """A rule does not hold; the message names file and line."""


class ConnectError(DLQError):
    """The system does not answer, or refuses us."""


class SchemaError(DLQError):
    """A table, a column or a frame is not what was expected."""


class QueryError(DLQError):
    """A named query is unknown, wants other parameters, or took too long."""


class PlanError(DLQError):
    """There is nothing to plan, or too much without a filter."""


class NotConfirmed(DLQError):
    """The plan id typed is not this plan's. Nothing was sent. The message never tells the id."""


class RunError(DLQError):
    """A run cannot start, go on or be settled."""


class JournalError(DLQError):
    """The journal cannot be read or written. Nothing is sent without it."""


#: What adds a column that a load does not give.
_ADDS = dict.fromkeys(("failure_class", "rule", "why", "confidence"), "classify") | dict.fromkeys(
    ("fingerprint", "template"), "fingerprint"
)


def need(frame: Any, *columns: str, hint: str = "") -> None:
    """Refuses what is no frame, and a frame that lacks one of these columns, by a SchemaError with the next step: the
    verb that adds it, or `hint` (what gives such a frame)."""
    if not hasattr(frame, "columns"):
        name = type(frame).__name__
        raise SchemaError(f"A frame is needed here, not {name}. {hint or _LOAD}")
    for column in columns:
        if column in frame.columns:
            continue
        if verb := _ADDS.get(column):
            raise SchemaError(f"The frame has no {column}. Run failures.pipe(dlq.{verb}) first.")
        raise SchemaError(f"The frame has no column '{column}'. {hint or _BUILD}")


_BUILD = "Build it with dlq.load or dlq.from_records."
_LOAD = 'Load one: failures = dlq.load(dlq.connect("celery"), since="7d").'


#: How a URL is written that cannot be read as it is: a bare sign slides into another of its parts.
PERCENT = "with @ : / ? # % in user and password percent-encoded (@ is %40)."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A closing sentence for an unknown word.

    >>> did_you_mean("exeption_type", ["exception_type", "task_name"])
    "Did you mean 'exception_type'?"
    >>> did_you_mean("zzz", ["b", "a"])
    'Known: a, b.'
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(names)}."
