"""What to say of a load that found nothing, so that a misspelt name does not read as an all-clear."""

import difflib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlqanalysis.errors import DLQError
from dlqanalysis.sources._narrow import DOTTED, is_named

if TYPE_CHECKING:
    from dlqanalysis.model import Selection, Source

_COLUMNS = {
    "task": "task_name", "queue": "queue", "exception": "exception_type", "status": "status",
}  # fmt: skip
_UNSAID = ("failed",)  #: the status that a load asks for by itself: nobody misspelt it
_LOOK = 1_000  #: failures that are looked at to see what else there is
_NAMED = 5


def unmatched(source: "Source", selection: "Selection") -> list[str]:
    """For a selection that found nothing: which of its names no failure has, and what was meant; empty when there
    is no failure at all in its time, or no name was asked for."""
    asked = {name: getattr(selection, name) for name in _COLUMNS if getattr(selection, name)}
    if asked.get("status") == _UNSAID:
        del asked["status"]
    if not asked:
        return []
    every = replace(selection, **dict.fromkeys(asked, ()), limit=_LOOK)
    try:
        read = source.read(every, ())
    except DLQError:  # who answers no wider question said at least that there is nothing
        return [f"No failure has {_together(asked)}."]
    if not read.table.num_rows:
        return []
    there = {name: _counted(read.table, _COLUMNS[name]) for name in asked}
    more = " and more" if read.truncated else ""
    count = f"{read.table.num_rows:,}{more}"
    # of several names each may have failures of its own beyond those that were looked at
    who = (
        f"None of the newest {_LOOK:,} failures"
        if read.truncated and len(asked) > 1
        else "No failure"
    )
    said = [
        f"{who} has the {name} '{word}' ({count} of other {_many(name)} in this time). {_meant(word, name, there[name])}"
        for name, words in asked.items()
        for word in words
        if not any(_is(name, one, word) for one in there[name])
    ]
    return said or [f"No failure has {_together(asked)} ({count} others in this time)."]


def settled(source: "Source", selection: "Selection") -> str:
    """For a selection of what waits that found nothing: what became of the failures that there are in its time, such as
    `no failure is left as failed: of 168 there are 166 replayed and 2 archived`; empty where nothing failed at all."""
    if selection.status != _UNSAID:
        return ""
    try:
        read = source.read(replace(selection, status=(), limit=_LOOK), ())
    except DLQError:
        return ""
    if not read.table.num_rows:
        return ""
    parts = [f"{count:,} {word}" for word, count in _counted(read.table, "status").most_common()]
    told = " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
    # what somebody marked to be replayed still waits for that, so no word of ours is put upon all of it
    some = f"{'the newest ' if read.truncated else ''}{read.table.num_rows:,}"
    return f"no failure is left as failed: of {some} there are {told}"


def time_of(selection: "Selection") -> str:
    """The time of a selection in words: `from 22 Nov 2026 10:00 UTC on`; empty without bounds."""
    parts = [
        f"{word} {when:%d %b %Y %H:%M} UTC"
        for word, when in (("since", selection.since), ("until", selection.until))
        if when
    ]
    return " and ".join(parts)


def _counted(table: Any, column: str) -> Counter[str]:
    return Counter(value for value in table[column].to_pylist() if value)


def _is(name: str, one: str, word: str) -> bool:
    return is_named(one, (word,)) if _COLUMNS[name] in DOTTED else one == word


def _meant(word: str, name: str, there: Counter[str]) -> str:
    names = set(there)
    if _COLUMNS[name] in DOTTED and "." not in word:
        names = {one.rpartition(".")[2] for one in there}
    if close := difflib.get_close_matches(word, sorted(names), n=1):
        return f"Did you mean '{close[0]}'?"
    often = [one for one, _ in there.most_common(_NAMED)]
    rest = f" and {len(there) - _NAMED:,} more" if len(there) > _NAMED else ""
    return f"There are {', '.join(often)}{rest}." if often else f"They name no {name}."


def _many(name: str) -> str:
    return "statuses" if name == "status" else f"{name}s"


def _together(asked: dict[str, tuple[str, ...]]) -> str:
    return " and ".join(
        f"the {name} {' or '.join(map(repr, words))}" for name, words in asked.items()
    )
