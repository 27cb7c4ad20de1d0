"""Why two failures do or do not share a fingerprint, in words."""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

import pandas as pd
import re2

from dlqanalysis.text import storable

_PLACE = re2.compile("<([a-z_]+)>")
_LONGEST = 60  # characters of a quoted value


def explain(a: Any, b: Any) -> str:
    """A few sentences about two failures: rows of a frame, mappings, or messages alone.

    They say whether both share a fingerprint, what the first difference is, and which placeholder took what.
    """
    from dlqanalysis.fingerprint import fingerprint  # the verb needs this module's neighbours first

    rows = [_row(a), _row(b)]
    frame = fingerprint(pd.DataFrame(rows).astype("str"))
    left, right = frame.to_dict("records")
    taken = [f"{name}: {_taken(row)}" for name, row in (("a", left), ("b", right))]
    if left["fingerprint"] == right["fingerprint"]:
        head = f"Same fingerprint {left['fingerprint']}: {_said(left)}"
        if left["template"] != right["template"]:
            head += f" Merged by hand with {_said(right)}"
        return "\n".join([head, *taken])
    return "\n".join([f"Different fingerprints: {_difference(left, right)}", *taken])


def _row(failure: Any) -> dict[str, str]:
    if isinstance(failure, str):
        failure = {"exception_message": failure}
    if not isinstance(failure, Mapping | pd.Series):
        failure = {"exception_message": failure}
    names = ("exception_type", "exception_message", "traceback")
    values = {name: failure.get(name) for name in names}
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    return storable(str(value))


def _said(row: Mapping[str, str]) -> str:
    return f"{row['exception_type'] or '(no type)'}, template {row['template'] or '(empty)'!r}."


def _difference(left: Mapping[str, str], right: Mapping[str, str]) -> str:
    if left["exception_type"] != right["exception_type"]:
        return (
            f"the exception types are {left['exception_type']!r} and {right['exception_type']!r}."
        )
    if left["template"] == right["template"]:
        return "the message says nothing, and the innermost application frames differ."
    one, two = left["template"].split(), right["template"].split()
    for kind, a, b, c, d in SequenceMatcher(
        None, one[:300], two[:300], autojunk=False
    ).get_opcodes():
        if kind != "equal":
            before = " ".join(one[max(0, a - 3) : a])
            place = f"after {before!r}" if before else "at the start"
            return f"{place} stands {_cut(' '.join(one[a:b]))!r} in a and {_cut(' '.join(two[c:d]))!r} in b."
    return "the templates differ beyond what is shown."


def _taken(row: Mapping[str, str]) -> str:
    """Which placeholder took what, as far as the template can be laid over the message."""
    pieces = _PLACE.split(row["template"])
    pattern = "".join(
        f"(?P<_{number}>.*?)" if number % 2 else r"\s+".join(map(re2.escape, piece.split(" ")))
        for number, piece in enumerate(pieces)
    )
    options = re2.Options()
    options.dot_nl, options.log_errors = True, False
    message = " ".join(row["exception_message"].split())
    try:
        match = re2.fullmatch(pattern, message, options=options)
    except re2.error:
        match = None
    names = pieces[1::2]
    if not names:
        return "no placeholder; every character counts."
    if match is None:
        return f"placeholders {', '.join(f'<{name}>' for name in names)}."
    values = match.groups()
    return (
        "; ".join(
            f"<{name}> took {_cut(value)!r}" for name, value in zip(names, values, strict=True)
        )
        + "."
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
