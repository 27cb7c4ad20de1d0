"""One failure seen in two systems, such as a row of failed_tasks and its dead-lettered message: one row."""

import numpy as np
import pandas as pd

from dlqanalysis.errors import SchemaError
from dlqanalysis.frame import COLUMNS, SCHEMA, check
from dlqanalysis.model import SETTLED

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
    whole = best.drop_duplicates("_set").set_index("_set")[list(COLUMNS)]
    whole["origins"] = whole["source"] + " " + whole["failure_id"]
    more = best[best["_set"].duplicated(keep=False)]  # seldom many: the rest is one row each
    if len(more):
        several = whole.index.isin(more["_set"])
        lacking = [name for name in COLUMNS if name not in _OWN]
        filled = more.groupby("_set", sort=False)[lacking].first().reindex(whole.index[several])
        for name in lacking:
            mine = whole.loc[several, name]
            whole.loc[several, name] = mine.where(mine.notna(), filled[name])
        places = more["source"] + " " + more["failure_id"]
        whole.loc[several, "origins"] = places.groupby(more["_set"]).agg(", ".join)
        # whoever has it in hand in one place has it in hand
        settled = more[more["status"].isin(SETTLED)].groupby("_set", sort=False)["status"].first()
        told = settled.reindex(whole.index[several])
        whole.loc[several, "status"] = told.where(told.notna(), whole.loc[several, "status"])
    whole["origins"] = whole["origins"].astype("str")
    whole = whole.sort_values(["failed_at", "source", "failure_id"], na_position="last")
    made = whole.reset_index(drop=True).astype(SCHEMA)
    for name in (name for name, dtype in SCHEMA.items() if dtype == "category"):
        known = pd.Index(sorted(made[name].cat.categories), dtype="str")
        made[name] = made[name].cat.set_categories(known)
    made.attrs = {
        "selection": " and ".join(str(frame.attrs.get("selection", "")) for frame in frames),
        "asked": {
            name: asked for frame in frames for name, asked in frame.attrs.get("asked", {}).items()
        },
        "narrows": all(frame.attrs.get("narrows", True) for frame in frames),
        "loaded": len(made),
        "truncated": any(frame.attrs.get("truncated") for frame in frames),
        "notes": [note for frame in frames for note in frame.attrs.get("notes", [])],
    }
    return check(made)


#: what says how to act on a row; it is never mixed from two systems
_OWN = ("source", "failure_id", "args", "kwargs", "payload_state", "raw", "status", "queue")
_PLAIN = {name: "str" for name, dtype in SCHEMA.items() if dtype == "category"}


def _sets(rows: pd.DataFrame, within: pd.Timedelta) -> pd.Series:
    """A number for each failure: rows of different frames with one task_id, near each other in time.

    Two failures of one task in the same system stay two, however close they are: each takes its own copy.
    """
    known = rows["task_id"].notna() & (rows["task_id"] != "")
    order = rows.loc[known, ["failed_at", "_frame"]]
    order = order.assign(task=pd.factorize(rows.loc[known, "task_id"])[0])
    order = order.sort_values(["task", "failed_at", "_frame"], na_position="first")
    near = (order["failed_at"].diff() <= within) | order["failed_at"].isna()
    near |= order["failed_at"].shift().isna()
    spell = (~(near & (order["task"] == order["task"].shift()))).cumsum()
    # within a spell the first of each frame are one failure, the second of each another
    turn = order.groupby([spell.rename("spell"), "_frame"]).cumcount()
    number = pd.DataFrame({"spell": spell, "turn": turn}).groupby(["spell", "turn"]).ngroup()
    sets = pd.Series(np.arange(len(rows)) + len(order), index=rows.index)
    sets.loc[order.index] = number
    return sets
