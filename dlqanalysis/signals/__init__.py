"""Codes and root causes found in exception type, message and traceback of one failure.

>>> found = signals("requests.exceptions.HTTPError", "503 Server Error: Service Unavailable for url: https://x")
>>> found.codes["http_status"]
{'503': '503 Server Error'}
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dlqanalysis.signals.chain import chains
from dlqanalysis.signals.codes import KINDS, codes
from dlqanalysis.text import storable

__all__ = ["KINDS", "Signals", "signals"]


@dataclass(frozen=True, slots=True)
class Signals:
    """What one failure says, as rules see it."""

    types: tuple[str, ...]  #: exceptions, outermost first, the root last; dots between their parts
    text: str  #: their messages, without SQL statements, parameters and addresses
    codes: Mapping[str, Mapping[str, str]]  #: kind -> {code: the words it was found in}
    context: "Signals | None" = None  #: what was being handled when it came up


def signals(
    exception_type: str | None, message: str | None, traceback: str | None = None
) -> Signals:
    """The signals of one failure. Never raises, linear in what it looks at (the two ends of long texts)."""
    own, context = chains(*(_text(part) for part in (exception_type, message, traceback)))
    inner = Signals(context.types, context.text, codes(context)) if context else None
    return Signals(own.types, own.text, codes(own), inner)


def _text(value: str | None) -> str:
    """Text that every pattern can read: nothing for None, escapes for lone surrogates and NUL."""
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        value = value.replace("\0", " ")
    return storable(value)
