"""Whether payloads fit their tasks: against signatures that the profile writes down, and how large they are.

Of types int, str, float, bool, list and dict are checked, others are not.
"""

import inspect
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.payload import UNREADABLE, parsed
from dlqanalysis.payload.signatures import TYPES, signature
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.text import many


def misfits(failures: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """Failures whose payload their task would not take: failure_id, task_name, because. Judged by the profile's
    [signatures]; tasks without one, and payloads that cannot be read, are not judged, which the notes count.
    """
    profile = profile or current_profile()
    need(failures, "failure_id", "task_name", "args", "kwargs")
    tasks = failures["task_name"].astype("str")
    known = {name: text for name in tasks.dropna().unique()
             if (text := profile.of(profile.signatures, str(name)))}  # fmt: skip
    mine = failures[tasks.isin(known)]
    (a, args), (k, kwargs) = parsed(mine["args"]), parsed(mine["kwargs"])
    kinds = pd.DataFrame({"task": tasks[mine.index], "a": a, "k": k})
    number = kinds.groupby(["task", "a", "k"], sort=False).ngroup().to_numpy()
    told = [
        _because(signature(known[task], task), args[x], kwargs[y])
        for task, x, y in kinds.drop_duplicates().itertuples(index=False, name=None)
    ]
    because = np.array(told, dtype=object)[number]
    found = mine.loc[because != "", ["failure_id", "task_name"]]
    found = found.assign(because=pd.Series(because[because != ""], found.index, dtype="str"))
    rest = len(failures) - len(mine)
    notes = (
        [f"{many(rest, 'failures are')} of tasks without a signature in the profile"]
        if rest
        else []
    )
    found = found.reset_index(drop=True)
    found.attrs = {"notes": notes}
    return found


def payload_sizes(failures: pd.DataFrame) -> pd.DataFrame:
    """How large payloads are, in characters of their JSON, the largest first. One row a task and exception type:
    task_name, exception_type, failures, median, p95, largest, failure_id (of the largest)."""
    size = failures["args"].str.len().fillna(0) + failures["kwargs"].str.len().fillna(0)
    named = failures[["failure_id"]].assign(
        task_name=failures["task_name"].astype("str"),
        exception_type=failures["exception_type"].astype("str"),
        size=size.astype("int64"),
    )
    keys = ["task_name", "exception_type"]
    by = named.groupby(keys, dropna=False)
    table = (
        by["size"]
        .agg(failures="size", median="median", p95=lambda s: s.quantile(0.95), largest="max")
        .round()
    )
    largest = named.sort_values("size", ascending=False, kind="stable").drop_duplicates(keys)
    table = table.reset_index().merge(largest[[*keys, "failure_id"]], on=keys)
    sizes = dict.fromkeys(("median", "p95"), "float64")
    found = table.astype({"failures": "int64", "largest": "int64", **sizes})
    return found.sort_values("largest", ascending=False, kind="stable", ignore_index=True)


def _because(signature: inspect.Signature, args: Any, kwargs: Any) -> str:
    """Why a call of that signature would fail; empty where it fits or nobody can tell."""
    args = [] if args is UNREADABLE else args
    kwargs = {} if kwargs is UNREADABLE else kwargs
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not (args or kwargs):
        return ""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)[:200]
    for name, value in bound.arguments.items():
        wanted = signature.parameters[name].annotation
        names = wanted if isinstance(wanted, tuple) else ()
        types = tuple(kind for one in names for kind in TYPES[one])
        fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
        if types and not fits:
            return f"{name} is {type(value).__name__}, not {' or '.join(names)}"
    return ""
