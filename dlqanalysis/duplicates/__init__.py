"""Failures that stand for the same work: copies of an entry, the same business key, an effect already there.

Each question has three answers: yes, no, and cannot tell. What cannot be told is a row too.
"""

import json
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.distinct import numbered
from dlqanalysis.duplicates.keys import NEEDED, NO_TEMPLATE, Keys, built
from dlqanalysis.errors import SchemaError, need
from dlqanalysis.frame import content_hash
from dlqanalysis.model import duration
from dlqanalysis.payload import UNREADABLE, same_content, value_of
from dlqanalysis.profile import Profile


def duplicates(
    failures: pd.DataFrame,
    key: Keys | None = None,
    within: str | None = None,
    profile: Profile | None = None,
) -> pd.DataFrame:
    """One row a failure that has copies, for each kind of copy.

    kind: `entry` (same task_id, in one source or in two; or same task and payload under another id),
    `business_key` (same key, built from the template `key`), `cannot_tell` (the key could not be built;
    copies and first are missing). Then key, copies, first (the oldest whose payload is complete, else
    the oldest), source, failure_id, failed_at, because. `key` is a template such as
    memo_{property_id}_{template_id} for all tasks, or a mapping task -> template: tasks it does not name
    are not asked about. Names of positional arguments come from the profile's [signatures]. With `within` (such as 24h) equal payloads and keys are copies only when no more
    than that lies between one and the next. `attrs["says"]` counts them in a sentence; `attrs["notes"]` name
    what a template asks for and no payload has.
    """
    need(failures, *NEEDED, "source", "failure_id")
    if failures.attrs.get("summary_of"):
        raise SchemaError(
            "This is a summary: its rows are samples, so copies cannot be told. Load the failures with dlq.load."
        )
    gap = int(duration(within).total_seconds() * 1_000_000) if within else None
    ranked = _ranked(failures)
    tables, notes = [_entries(ranked, gap)], []
    if key:
        keys, problems, notes = built(ranked, key, profile)
        codes = _apart(ranked, pd.factorize(keys)[0], gap)
        tables.append(_copies(ranked, codes, "business_key", keys, "same business key"))
        asked = (problems.notna() & (problems != NO_TEMPLATE)).to_numpy(bool)
        unknown = _part(ranked, asked, "cannot_tell", keys, "cannot tell: " + problems)
        tables.append(unknown)
    table = pd.concat(tables, ignore_index=True)
    # a key that names no field fits no failure: thousands of such rows would hide the copies
    table = table.astype({"source": "str"}).assign(_last=table["kind"] == "cannot_tell")
    order = ["_last", "kind", "key", "failed_at", "source", "failure_id"]
    table = table.sort_values(order, na_position="last", ignore_index=True).drop(columns="_last")
    table.attrs["says"] = _says(table, len(failures))
    table.attrs["empty"] = "No failure is known to be a copy of another."
    table.attrs["notes"] = notes
    return table


def works(
    failures: pd.DataFrame, key: Keys | None = None, profile: Profile | None = None
) -> pd.Series:
    """A hash of the work that each failure stands for: of its business key, else of its task and payload; empty
    where neither is whole. It outlives the failure, so that copies of what a replay took away are still known."""
    none = pd.Series(None, failures.index, dtype="str")
    keys = built(failures, key, profile)[0] if key else none
    whole = (failures["payload_state"] == "complete") & failures["task_name"].notna()
    payloads = (failures[name].map(_any_order) for name in ("args", "kwargs"))
    found = [
        content_hash("key", "", "", one, "")
        if pd.notna(one)
        else content_hash("payload", task, "", args, kwargs)
        if there
        else ""
        for one, there, task, args, kwargs in zip(
            keys, whole, failures["task_name"], *payloads, strict=True
        )
    ]
    return pd.Series(found, failures.index, dtype="str")


def _any_order(text: Any) -> Any:
    """A payload in one writing, whatever the order of its names."""
    value = value_of(text) if isinstance(text, str) else UNREADABLE
    return text if value is UNREADABLE else json.dumps(value, sort_keys=True)


def _says(copies: pd.DataFrame, every: int) -> str:
    """How many failures are copies of how many others, each counted once; and of how many nobody can tell."""
    names = pd.MultiIndex.from_frame(copies[["source", "failure_id"]])
    first = copies["first"].astype("boolean")
    spare = names[first.eq(False).fillna(False).to_numpy(bool)].unique()
    others = names[first.fillna(False).to_numpy(bool)].unique().difference(spare)
    untold = names[first.isna().to_numpy()].unique().difference(spare)
    untold_too = f"; of {len(untold):,} nobody can tell" if len(untold) else ""
    if not len(spare):
        return f"No failure of {every:,} is a copy of another{untold_too}"
    some = f"{len(spare):,} of {every:,} failure{'' if every == 1 else 's'}"
    verb = "is a copy" if len(spare) == 1 else "are copies"
    return f"{some} {verb} of {len(others):,} other{'' if len(others) == 1 else 's'}{untold_too}"


def _ranked(failures: pd.DataFrame) -> pd.DataFrame:
    """The failures in the order in which one of several copies would go: complete payloads, the oldest."""
    incomplete = (failures["payload_state"] != "complete").to_numpy(bool, na_value=True)
    times = failures["failed_at"].fillna(pd.Timestamp.max.as_unit("us").tz_localize("UTC"))
    order = np.lexsort((times.dt.tz_localize(None).to_numpy(), incomplete))
    rows = failures[[*NEEDED, "source", "failure_id"]]
    if (order[1:] < order[:-1]).any():
        rows = rows.iloc[order]
    return rows.reset_index(drop=True)


def _entries(ranked: pd.DataFrame, gap: int | None) -> pd.DataFrame:
    """Copies of an entry. Sets by task_id and sets by payload that overlap are one set, so that of
    three failures linked in a chain exactly one is the first."""
    by_id = numbered(ranked["task_id"].replace("", None))[0]
    by_payload = _apart(ranked, _payloads(ranked), gap)
    labels = np.arange(len(ranked))
    while True:
        before = labels
        for codes in (by_id, by_payload):
            there = codes >= 0
            least = np.full(codes.max(initial=-1) + 1, len(labels))
            np.minimum.at(least, codes[there], labels[there])
            labels = labels.copy()
            labels[there] = least[codes[there]]
        labels = labels[labels]
        if (labels == before).all():
            break
    copies = np.flatnonzero(_sizes(labels) > 1)
    ranked = ranked.iloc[copies].reset_index(drop=True)  # the rest says nothing below
    by_id, labels = by_id[copies], np.searchsorted(copies, labels[copies])
    shared = _sizes(by_id) > 1
    sources = ranked.assign(_id=by_id).loc[shared].groupby("_id")["source"].nunique()
    wide = shared & np.isin(by_id, sources.index[sources > 1])
    bare = ranked["args"].fillna("[]").isin(["[]", ""]) & ranked["kwargs"].fillna("{}").isin(
        ["{}", ""]
    )
    because = np.select(
        [wide, shared, bare.to_numpy(bool)],
        ["same task_id in two sources", "same task_id", "same task, no arguments"],
        "same task and payload",
    )
    handles = ranked["task_id"].fillna(ranked["source"].astype("str") + " " + ranked["failure_id"])
    keys = handles.take(labels).reset_index(drop=True)
    return _copies(ranked, labels, "entry", keys, pd.Series(because, dtype="str"))


def _payloads(ranked: pd.DataFrame) -> np.ndarray:
    """A number for each task and payload, -1 where the payload is not complete."""
    task = pd.factorize(ranked["task_name"])[0]
    args, kwargs = same_content(ranked["args"]), same_content(ranked["kwargs"])
    codes = task.astype(np.int64)
    for part in (args, kwargs):
        codes = pd.factorize(codes * (part.max(initial=0) + 2) + part + 1)[0].astype(np.int64)
    complete = (ranked["payload_state"] == "complete").to_numpy(bool, na_value=False)
    return np.where(complete & (task >= 0), codes, -1)


def _apart(ranked: pd.DataFrame, codes: np.ndarray, gap: int | None) -> np.ndarray:
    """The codes, split where more than `gap` microseconds lie between one failure and the next."""
    if gap is None or not len(codes):
        return codes
    times = ranked["failed_at"].dt.tz_localize(None).to_numpy().astype("M8[us]").view("int64")
    order = np.lexsort((times, codes))
    new = np.diff(codes[order], prepend=-2) != 0
    new |= np.diff(times[order], prepend=0) > gap
    split = np.empty(len(codes), np.int64)
    split[order] = np.cumsum(new)
    return np.where(codes < 0, -1, split)


def _sizes(codes: np.ndarray) -> np.ndarray:
    """For each row how many rows have its code; 0 where it has none."""
    counts = np.bincount(codes + 1, minlength=1)
    return np.where(codes < 0, 0, counts[codes + 1])


def _copies(ranked, codes, kind, keys, because):  # type: ignore[no-untyped-def]
    sizes = _sizes(codes)
    chosen = sizes > 1
    table = _part(ranked, chosen, kind, keys, because)
    first = np.zeros(len(ranked), bool)
    first[np.unique(codes, return_index=True)[1]] = True  # ranked: the first row of a code goes
    return table.assign(
        copies=pd.array(sizes[chosen], "Int64"), first=pd.array(first[chosen], "boolean")
    )


def _part(ranked, chosen, kind, keys, because):  # type: ignore[no-untyped-def]
    rows = ranked.loc[chosen]
    said = because[chosen] if isinstance(because, pd.Series) else because
    return pd.DataFrame(
        {
            "kind": pd.Series(kind, rows.index, dtype="str"),
            "key": keys[chosen].astype("str"),
            "copies": pd.Series(pd.NA, rows.index, dtype="Int64"),
            "first": pd.Series(pd.NA, rows.index, dtype="boolean"),
            "source": rows["source"],
            "failure_id": rows["failure_id"],
            "failed_at": rows["failed_at"],
            "because": pd.Series(said, rows.index, dtype="str"),
        }
    )
