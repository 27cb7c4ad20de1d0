"""One failure seen in two systems, such as a row of failed_tasks and its dead-lettered message: one row."""

import numpy as np
import pandas as pd

from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import COLUMNS, SCHEMA, check

_BEST = ("complete", "truncated", "unreadable", "missing")


def joined(*frames: pd.DataFrame, within: str = "10min") -> pd.DataFrame:
    """The failures of several sources, one row each, with a column `origins`: every place that has it.

    Rows of different sources are one failure when they share a task_id and failed within `within` of each
    other. The row with the most complete payload stays (of equals, the one of the frame that is given
    first), so that `dlq.plan(rows[rows.source == ...])` replays from the complete copy; fields that it lacks
    are taken from the others. Origins read `celery:failed_tasks 17, rabbitmq:memos.dlq m3`.
    """
    if not frames:
        raise SchemaError("There is nothing to join. Give the frames of two sources.")
    bare = [check(frame)[list(COLUMNS)].astype(_PLAIN) for frame in frames]
    rows = pd.concat(bare, ignore_index=True)
    rows["_frame"] = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    rows["_set"] = _sets(rows, pd.Timedelta(within))
    rank = rows["payload_state"].map({state: at for at, state in enumerate(_BEST)})
    best = rows.assign(_rank=rank.fillna(len(_BEST))).sort_values(
        ["_set", "_rank", "_frame"], kind="stable"
    )
    lacking = [name for name in COLUMNS if name not in _OWN]
    filled = best.groupby("_set", sort=False)[lacking].first()
    first = best.drop_duplicates("_set").set_index("_set")
    whole = first[list(COLUMNS)].copy()
    for name in lacking:
        whole[name] = first[name].where(first[name].notna(), filled[name])
    places = best["source"] + " " + best["failure_id"]
    whole["origins"] = places.groupby(best["_set"]).agg(", ".join).astype("str")
    whole = whole.sort_values(["failed_at", "source", "failure_id"], na_position="last")
    made = whole.reset_index(drop=True).astype(SCHEMA)
    for name in (name for name, dtype in SCHEMA.items() if dtype == "category"):
        known = pd.Index(sorted(made[name].cat.categories), dtype="str")
        made[name] = made[name].cat.set_categories(known)
    made.attrs = {
        "selection": " and ".join(str(frame.attrs.get("selection", "")) for frame in frames),
        "narrows": all(frame.attrs.get("narrows", True) for frame in frames),
        "truncated": any(frame.attrs.get("truncated") for frame in frames),
        "notes": [note for frame in frames for note in frame.attrs.get("notes", [])],
    }
    return check(made)


#: what says how to act on a row; it is never mixed from two systems
_OWN = ("source", "failure_id", "args", "kwargs", "payload_state", "raw", "status", "queue")
_PLAIN = {name: "str" for name, dtype in SCHEMA.items() if dtype == "category"}


def _sets(rows: pd.DataFrame, within: pd.Timedelta) -> pd.Series:
    """A number for each failure: rows of different frames with one task_id, near each other in time.

    Two failures of one task in the same system stay two, however close they are.
    """
    known = rows["task_id"].notna() & (rows["task_id"] != "")
    order = rows[known].sort_values(["task_id", "failed_at", "_frame"], na_position="first")
    same = order["task_id"] == order["task_id"].shift()
    near = (order["failed_at"] - order["failed_at"].shift() <= within) | order["failed_at"].isna()
    near |= order["failed_at"].shift().isna()
    number = np.zeros(len(order), np.int64)
    at, seen = -1, set()  # type: int, set[int]
    for place, (linked, frame) in enumerate(
        zip((same & near).to_numpy(bool), order["_frame"].to_numpy(), strict=True)
    ):
        if not linked or frame in seen:
            at, seen = at + 1, set()
        seen.add(int(frame))
        number[place] = at
    sets = pd.Series(np.arange(len(rows)) + len(order), index=rows.index)
    sets.loc[order.index] = number
    return sets
