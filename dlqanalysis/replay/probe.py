"""Has the work been done already? Asks the system itself, before a replay and after it.

The profile names, by task, what stands for the work and the query that finds it:

[keys]
generate_memo = "memo_{property_id}_{template_id}"

[effects]
generate_memo = "communication_keys"     # a named query; it gives a column `key`, or the template's fields
"""

from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd

from dlqanalysis.duplicates.effects import counted, side_effects
from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.queries import queries
from dlqanalysis.sources import connect

_EARLIER = pd.Timedelta("1D")  #: the work may have been done before the failure was noted


def probe(failures: pd.DataFrame, source: Any, profile: Profile | None = None) -> pd.DataFrame:
    """Whether the work of each failure is done, asked of `source` (a name, URL or SQL source): source, failure_id,
    key, effect (done, not_done, cannot_tell), evidence; for `dlq.plan(effects=...)`.

    Tasks for which the profile names no key or no query are cannot_tell. Run it again after a replay: what
    was not_done is to be done once. Where the profile names nothing to look for, or the source is none that can be
    asked (a file, a queue), the answer has no row and `attrs["notes"]` say why; a plan then says that nobody asked.
    """
    profile = profile or current_profile()
    if not profile.effects:
        return _nobody_asked(
            failures,
            f"Profile '{profile.name}' names no query of side effects. Write [effects] with a task and a query"
            ' that finds its work: generate_memo = "communication_keys".',
        )
    opened: Any = connect(source) if isinstance(source, str | Path) else source
    if not hasattr(opened, "ask"):
        return _nobody_asked(
            failures,
            f"{opened.name} answers no queries, so that nobody was asked whether the work is done. Ask the system that"
            ' knows it: dlq.probe(failures, "celery").',
        )
    if failures.empty:
        return _nobody_asked(failures, "There is no failure to ask about.")
    names = failures["task_name"].astype("str")
    parts, left = [], pd.Series(True, index=failures.index)
    for task in names.dropna().unique():
        query, template = profile.of(profile.effects, task), profile.of(profile.keys, task)
        if not query or not template:
            continue
        mine = failures[names == task]
        found = _found(queries(opened), query, template, mine)
        parts.append(side_effects(mine, template, found, profile))
        left &= names != task
    if left.any():
        untold = side_effects(failures[left], "{idempotency_key}", None)
        untold["evidence"] = "the profile names no key or no query of side effects for its task"
        parts.append(untold)
    table = pd.concat(parts, ignore_index=True)
    for column in ("source", "effect"):
        first = parts[0][column].dtype
        kinds = {value for part in parts for value in part[column].cat.categories}
        dtype = (
            first
            if column == "effect"
            else pd.CategoricalDtype(pd.Index(sorted(kinds), dtype="str"))
        )
        table[column] = pd.concat(
            [part[column].astype("str") for part in parts], ignore_index=True
        ).astype(dtype)
    order = pd.MultiIndex.from_frame(failures[["source", "failure_id"]].astype("str"))
    place = order.get_indexer(
        pd.MultiIndex.from_frame(table[["source", "failure_id"]].astype("str"))
    )
    ordered = table.assign(_place=place).sort_values("_place").drop(columns="_place")
    return counted(ordered.reset_index(drop=True))


def _nobody_asked(failures: pd.DataFrame, why: str) -> pd.DataFrame:
    """No answer, and why."""
    none = side_effects(failures.iloc[:0], "{idempotency_key}", None)
    none.attrs = {"notes": [why]}
    return none


def _found(asked: Any, query: str, template: str, mine: pd.DataFrame) -> pd.DataFrame:
    """The keys that a query finds, each with what it tells of them."""
    since = mine["failed_at"].min()
    given = {} if pd.isna(since) else {"since": (since - _EARLIER).to_pydatetime()}
    rows: pd.DataFrame = getattr(asked, query)(**given)
    if "key" in rows.columns:
        return rows
    fields = [name for _, name, _, _ in Formatter().parse(template) if name]
    missing = [name for name in fields if name not in rows.columns]
    if missing:
        raise SettingsError(
            f"The query {query} gives neither a column 'key' nor {', '.join(missing)}, which the key"
            f" '{template}' is made of. Let it SELECT one of them."
        )
    texts = [template.format(**dict(zip(fields, row, strict=True)))
             for row in rows[fields].astype("str").itertuples(index=False, name=None)]  # fmt: skip
    return rows.assign(key=pd.Series(texts, index=rows.index, dtype="str"))
