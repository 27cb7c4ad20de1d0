"""Templates that look like one error: proposals for the file of groups, never merges."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dlqanalysis.errors import need

_HOLE = "<*>"
_FEWEST_VALUES = 3  # in one place of an otherwise equal template, until it looks like a parameter
_FEWEST_WORDS = 2  # that stay in the template of a proposal
_CODE = re.compile(
    r"\d|^[A-Z][A-Z_]+$|[\"'`]"
)  # codes, constants and quoted names are never parameters
_COLUMNS = ("template", "fingerprints", "failures", "differs", "exception_type")


def similar(failures: pd.DataFrame) -> pd.DataFrame:
    """Merges to think about: groups of one type whose templates differ in one or two words that look like parameters.

    One row a proposal, largest first: template (with <*> for what differs), fingerprints (tuple), failures, differs (a few
    of the values), exception_type. Nothing is merged: `merge_stub(row)` writes the lines for the file DLQ_GROUPS names.
    """
    need(failures, "fingerprint", "template")
    keys = ["exception_type", "template", "fingerprint"]
    counts = (
        failures.groupby(keys, observed=True, dropna=False, sort=True).size().reset_index(name="n")
    )
    proposals = []
    for kind, group in counts.groupby("exception_type", observed=True, dropna=False, sort=True):
        found = merged(dict(zip(group["template"], group["n"], strict=True)))
        ids = dict(zip(group["template"], group["fingerprint"], strict=True))
        for pattern, members in found.items():
            prints = tuple(dict.fromkeys(ids[one] for one in members))
            if len(prints) > 1:
                total = int(group.loc[group["template"].isin(members), "n"].sum())
                proposals.append(
                    (pattern, prints, total, ", ".join(_values(pattern, members)), kind)
                )
    table = pd.DataFrame(proposals, columns=list(_COLUMNS))
    return table.sort_values(["failures", "template"], ascending=[False, True], ignore_index=True)


def merge_stub(proposal: "Mapping[str, Any] | pd.Series") -> str:
    """A proposal as lines of TOML, ready to go into the file that DLQ_GROUPS names."""
    ids = ", ".join(json.dumps(one) for one in proposal["fingerprints"])
    why = json.dumps(f"one error: {proposal['template']}"[:300], ensure_ascii=False)
    return f"[[merge]]\nfingerprints = [{ids}]\nwhy = {why}\n"


def merged(templates: Mapping[str, int]) -> dict[str, list[str]]:
    """Patterns that cover several templates, each template in one pattern at most; the same in any order."""
    members = {one: [one] for one in sorted(templates)}
    for _ in range(2):
        places: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for one in members:
            for key in _with_holes(one.split(" ")):
                places[key].add(one)
        good = [(key, found) for key, found in places.items() if _parameter(key, found)]
        good.sort(key=lambda entry: (-len(entry[1]), entry[0]))
        for key, found in good:
            left = [one for one in sorted(found) if one in members]
            if _parameter(key, set(left)):
                covered = [source for one in left for source in members.pop(one)]
                members[" ".join(key)] = sorted({*covered, *members.get(" ".join(key), [])})
    return {pattern: found for pattern, found in members.items() if len(found) > 1}


def _with_holes(words: list[str]) -> Iterator[tuple[str, ...]]:
    for place in range(len(words)):
        yield (*words[:place], _HOLE, *words[place + 1 :])


def _parameter(key: tuple[str, ...], found: set[str]) -> bool:
    place = key.index(_HOLE)
    values = {one.split(" ")[place] for one in found}
    plain = [word for word in key if word.isalpha()]
    return (
        len(values - {_HOLE}) + (2 if _HOLE in values else 0) >= _FEWEST_VALUES
        and len(plain) >= _FEWEST_WORDS
        and not any(_CODE.search(value) for value in values)
    )


def _values(pattern: str, members: list[str]) -> list[str]:
    places = [number for number, word in enumerate(pattern.split(" ")) if word == _HOLE]
    return sorted({one.split(" ")[place] for one in members for place in places})[:6]
