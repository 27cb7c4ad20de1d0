"""Business keys: what tells that two tasks do the same work, built from a template of payload fields."""

from collections import Counter
from collections.abc import Mapping
from string import Formatter

import numpy as np
import pandas as pd

from dlqanalysis.errors import SettingsError, did_you_mean
from dlqanalysis.payload import fields_at, flat, parsed
from dlqanalysis.payload.signatures import named
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

Keys = str | Mapping[str, str]  #: a template for all tasks, or task -> template
NO_TEMPLATE = "no key template for this task"
_DATES = {"failed_on": "failed_at", "enqueued_on": "enqueued_at"}
_OWN = ("task_name", "queue", "task_id", "idempotency_key")
NEEDED = (*_OWN, "args", "kwargs", "payload_state", *_DATES.values())


def business_keys(failures: pd.DataFrame, key: Keys, profile: Profile | None = None) -> pd.Series:
    """The business key of each failure, missing where it cannot be built.

    A name in braces is looked up in kwargs (user.id goes inside), then in the positional argument that the profile's
    [signatures] call so; a number in args ({0} is the first).
    {task_name}, {queue}, {task_id}, {idempotency_key}, and the UTC dates {failed_on} and {enqueued_on}
    are the failure's own, where kwargs has no such name.
    """
    return built(failures, key, profile)[0]


def built(
    failures: pd.DataFrame, key: Keys, profile: Profile | None = None
) -> tuple[pd.Series, pd.Series, list[str]]:
    """The key of each failure, and what kept it from being built; one of the two is missing. With notes on names that
    no failure has."""
    profile = profile or current_profile()
    rows = failures[[*NEEDED]].reset_index(drop=True)
    keys = [pd.Series(dtype="str")]
    problems = [pd.Series(dtype="str")]
    notes = []
    for template, mask in _templates(failures, key):
        here = rows if mask.all() else rows.loc[mask]
        text, problem = None, pd.Series(None, here.index, dtype="str")
        for literal, name in _parts(template):
            piece = literal if name is None else literal + _field(here, name, profile)
            text = piece if text is None else text + piece  # one missing field, and there is no key
            if name and len(here) and piece.isna().all():
                notes.append(_nowhere(here, name, template))
            if name:
                problem = problem.mask(piece.isna() & problem.isna(), f"{name} is missing")
        state = here["payload_state"].astype("str").fillna("missing")
        problem = problem.mask(problem.notna() & (state != "complete"), "the payload is " + state)
        keys.append(text)
        problems.append(problem)
    unasked = pd.Series(NO_TEMPLATE, rows.index.difference(pd.concat(problems).index), dtype="str")
    problems.append(unasked)
    keys, problems = pd.concat(keys).reindex(rows.index), pd.concat(problems).reindex(rows.index)
    return keys.set_axis(failures.index), problems.set_axis(failures.index), notes


def _nowhere(failures: pd.DataFrame, name: str, template: str) -> str:
    """That no failure has a field, and which fields some of the payloads have."""
    column, kind = ("args", list) if name.isdecimal() else ("kwargs", dict)
    _, values = parsed(failures[column].dropna().drop_duplicates().head(100))
    paths = Counter(path for value in values if isinstance(value, kind) for path in flat(value))
    there = [path.replace("[", "").replace("]", "") for path, _ in paths.most_common(30)]
    hint = did_you_mean(name, there) if there else f"No {column} could be read."
    if not there and column == "kwargs" and failures["args"].str.len().gt(2).any():
        hint = "What stands in args has names by [signatures] of the profile, numbers without."
    return f"No failure has {name}, which the key {template} asks for. {hint}"


def _templates(failures: pd.DataFrame, key: Keys) -> list[tuple[str, np.ndarray]]:
    """Each template with the rows it is for: a mask."""
    if isinstance(key, str):
        return [(key, np.ones(len(failures), bool))]
    rows: dict[str, np.ndarray] = {}
    for template in key.values():
        _parts(template)
    for task in failures["task_name"].dropna().unique():
        template = key.get(task) or key.get(task.rpartition(".")[2])
        if template:
            mask = (failures["task_name"] == task).to_numpy(bool, na_value=False)
            rows[template] = rows.get(template, False) | mask
    return list(rows.items())


def _parts(template: str) -> list[tuple[str, str | None]]:
    """The literal pieces of a template, each with the name that follows it."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise SettingsError(
            f"Key template '{template}' does not hold: {error}. Write it as memo_{{property_id}}."
        ) from None
    names = [name for _, name, _, _ in parts if name is not None]
    if not names or "" in names or any(spec or conversion for _, _, spec, conversion in parts):
        raise SettingsError(
            f"Key template '{template}' needs names of payload fields in braces and nothing else in"
            " them, such as memo_{property_id}_{template_id}."
        )
    return [(literal, name) for literal, name, _, _ in parts]


def _field(failures: pd.DataFrame, name: str, profile: Profile) -> pd.Series:
    """One field of a template for each failure, as text; missing where there is none."""
    column = (
        fields_at(failures["args"], name) if name.isdecimal() else named(failures, name, profile)
    )
    if name in _DATES:
        return column.fillna(failures[_DATES[name]].dt.strftime("%Y-%m-%d").astype("str"))
    if name in _OWN:
        return column.fillna(failures[name].astype("str"))
    return column
