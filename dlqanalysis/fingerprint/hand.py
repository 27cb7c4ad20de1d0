"""Groups changed by hand: the file that DLQ_GROUPS names. It holds from week to week, for everyone who reads it.

[placeholders]                          # your own values; name = regular expression (of RE2 and Rust: no look-around)
order = "ORD-[0-9A-Z]+"

[[merge]]                               # several fingerprints are one error
fingerprints = ["05c28463aa1b7f00", "9f00aa1b7f05c284"]   # the first one's id and template stay
why = "the same timeout, two client versions"

[[split]]                               # one fingerprint is several errors: what `by` finds tells them apart
fingerprint = "9f00aa1b7f05c284"
by = "(refused|reset|timed out)"
why = "the wrapper hides three causes"

[[known]]                               # what people know of a group; see known.py
fingerprint = "576206913e82ec52"
owner = "documents team"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import re2

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.profile import blocks_of, groups_file, tables_of

_ID = re.compile("[0-9a-f]{16}")
_TABLES = ("placeholders", "merge", "split", "known")


@dataclass(frozen=True, slots=True)
class Hand:
    """What a person decided about groups."""

    placeholders: Mapping[str, str] = field(default_factory=dict)  #: name -> regular expression
    merged: Mapping[str, str] = field(default_factory=dict)  #: fingerprint -> the one it becomes
    split: Mapping[str, str] = field(default_factory=dict)  #: fingerprint -> regular expression


def by_hand() -> Hand:
    """The file that DLQ_GROUPS names, or nothing."""
    path, text = groups_file()
    return parse(text, path) if path else Hand()


@lru_cache(maxsize=8)
def parse(text: str, path: str) -> Hand:
    """A groups file, or a sentence about what is wrong in it."""
    what = f"Groups file {path}"
    data = tables_of(text, what)
    for name in data:
        if name not in _TABLES:
            raise SettingsError(f"{what}: '{name}' is unknown. {did_you_mean(name, _TABLES)}")
    placeholders = data.get("placeholders", {})
    if not isinstance(placeholders, dict):
        raise SettingsError(f"{what}: 'placeholders' is no table. Write it as [placeholders].")
    for name, pattern in placeholders.items():
        if not re.fullmatch("[a-z][a-z_]*", name):
            raise SettingsError(f"{what}: placeholder '{name}' must be a lower-case word.")
        _checked(pattern, f"{what}: placeholder {name}")
    return Hand(placeholders, _merges(data, what), _splits(data, what))


def _merges(data: Mapping[str, Any], what: str) -> dict[str, str]:
    becomes: dict[str, str] = {}
    for number, table in enumerate(blocks_of(data, "merge", what), 1):
        place = f"{what}: merge {number}"
        _only(table, ("fingerprints", "why", "template"), place)
        ids = table.get("fingerprints", [])
        if not isinstance(ids, list) or len(ids) < 2:
            raise SettingsError(
                f"{place} needs two fingerprints or more. Add them, or remove the merge."
            )
        for one in ids:
            _is_id(one, place)
            if one in becomes:
                raise SettingsError(
                    f"{place}: {one} is merged twice. Write one merge of all of them."
                )
        becomes |= dict.fromkeys(ids, ids[0])
    return becomes


def _splits(data: Mapping[str, Any], what: str) -> dict[str, str]:
    patterns: dict[str, str] = {}
    for number, table in enumerate(blocks_of(data, "split", what), 1):
        place = f"{what}: split {number}"
        _only(table, ("fingerprint", "by", "why"), place)
        one = table.get("fingerprint", "")
        _is_id(one, place)
        if one in patterns:
            raise SettingsError(
                f"{place}: {one} is split twice. Write one pattern with both words."
            )
        patterns[one] = _checked(table.get("by"), place, "by")
    return patterns


def _is_id(one: Any, place: str) -> None:
    if not (isinstance(one, str) and _ID.fullmatch(one)):
        raise SettingsError(
            f"{place}: {one!r} is no fingerprint. Copy its 16 hex digits from a frame."
        )


def _only(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for name in table:
        if name not in known:
            raise SettingsError(f"{place}: '{name}' is unknown. {did_you_mean(name, known)}")


def _checked(pattern: Any, place: str, name: str = "pattern") -> str:
    if not isinstance(pattern, str) or not pattern:
        raise SettingsError(f"{place}: {name} must be a regular expression as text.")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        raise SettingsError(
            f"{place}: '{pattern}' is no regular expression of RE2: {error}."
        ) from None
    if compiled.fullmatch(""):
        raise SettingsError(
            f"{place}: '{pattern}' finds the empty text everywhere. Make it find something."
        )
    return pattern
