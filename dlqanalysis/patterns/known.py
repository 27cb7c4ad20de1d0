"""What people know of a group: owner, note, ticket, when it was fixed, how long it may be quiet, its runbook.

It stands in the groups file (DLQ_GROUPS), which a team shares:

[[known]]
fingerprint = "576206913e82ec52"
owner = "documents team"
note = "margins of 0 break the renderer"
ticket = "DOC-118"
fixed_at = 2026-11-15T09:00:00Z         # what fails after it has returned
hold_until = 2026-12-01                 # quiet until then ...
loud_above = 500                        # ... unless there are more than this
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import pandas as pd

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.model import moment
from dlqanalysis.profile import Profile, blocks_of, groups_file, tables_of
from dlqanalysis.profile import profile as current_profile

_TEXTS = ("owner", "note", "ticket")
_TIMES = ("fixed_at", "hold_until")
_NAMES = ("fingerprint", *_TEXTS, *_TIMES, "loud_above")


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of one group; times are UTC."""

    fingerprint: str
    owner: str = ""
    note: str = ""
    ticket: str = ""
    fixed_at: datetime | None = None
    hold_until: datetime | None = None
    loud_above: int | None = None


def known() -> Mapping[str, Known]:
    """fingerprint -> what the groups file says of it; empty without one."""
    path, text = groups_file()
    return parse(text, path) if path else {}


def parse(text: str, path: str) -> dict[str, Known]:
    """The known groups of a groups file, or a sentence about what is wrong in it."""
    what = f"Groups file {path}"
    tables = blocks_of(tables_of(text, what), "known", what)
    found: dict[str, Known] = {}
    for number, table in enumerate(tables, 1):
        place = f"{what}: known {number}"
        one = Known(**_checked(table, place))
        if one.fingerprint in found:
            raise SettingsError(
                f"{place}: {one.fingerprint} is known already. Write one entry of both."
            )
        found[one.fingerprint] = one
    return found


def linked(frame: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """Failures or groups with `runbook` and `trace_link`, where the profile's [links] name them.

    `trace = "https://jaeger.internal/trace/{trace_id}"` links each trace; any other entry is a runbook of a
    fingerprint, rule, task (its whole name or last part) or failure class: the first of these that is named.
    """
    links = dict((profile or current_profile()).links)
    template = links.pop("trace", None)
    found = frame.copy()
    if template and "trace_id" in frame.columns:
        links_of = [_filled(template, one) for one in frame["trace_id"]]
        found["trace_link"] = pd.Series(links_of, frame.index, dtype="str")
    if links:
        runbook = pd.Series(pd.NA, index=frame.index, dtype="str")
        for column in ("fingerprint", "rule", "task_name", "failure_class"):
            if column in frame.columns:
                first = frame[column].astype("str").str.partition(",")[0]  # groups name several
                last = first.str.rpartition(".")[2]
                runbook = runbook.fillna(first.map(links)).fillna(last.map(links))
        found["runbook"] = runbook
    notes = list(frame.attrs.get("notes", []))
    if not links and not template:
        notes.append("The profile has no [links]: it names no runbooks and no page for traces.")
    found.attrs = {**frame.attrs, "notes": notes}
    return found


def _filled(template: str, trace_id: Any) -> str | None:
    """The link of one trace; an id comes out of a dead letter, so nothing in it means anything."""
    if not isinstance(trace_id, str) or not trace_id:
        return None
    return template.replace("{trace_id}", quote(trace_id, safe="", errors="replace"))


def known_stub(fingerprint: str) -> str:
    """An entry for the groups file, to be filled in by a person."""
    return (
        f'[[known]]\nfingerprint = "{fingerprint}"\nowner = ""\nnote = ""\nticket = ""\n'
        "# fixed_at = 2026-11-15T09:00:00Z   # what fails after it has returned\n"
        "# hold_until = 2026-12-01           # quiet until then\n"
        "# loud_above = 500                  # unless there are more than this\n"
    )


def _checked(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    if not isinstance(table.get("fingerprint"), str):
        raise SettingsError(f"{place} needs a fingerprint. Copy its 16 hex digits from a frame.")
    fields = dict(table)
    for name, value in fields.items():
        if name not in _NAMES:
            raise SettingsError(f"{place}: '{name}' is unknown. {did_you_mean(name, _NAMES)}")
        if name in _TIMES:
            if not isinstance(value, date):
                raise SettingsError(
                    f"{place}: {name} is {value!r}. Write a date (2026-12-01) or a time with its zone."
                )
            fields[name] = moment(value)
        elif name == "loud_above":
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingsError(f"{place}: loud_above is {value!r}. Write a whole number.")
        elif not isinstance(value, str):
            raise SettingsError(f"{place}: {name} must be text.")
    return fields
