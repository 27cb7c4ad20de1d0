"""What became of failures, by the journal: of those that are there, and of those that runs took out of their source."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dlqanalysis.journal import Journal
from dlqanalysis.model import Outcome, State

GONE = "no longer there"  #: in place of a class: what runs took out of its source, whose text nobody has any more
_OF_ITEMS = [
    "source", "failure_id", "task_id", "task_name", "queue", "fingerprint", "action", "state", "sent_id", "at",
    "outcome", "outcome_at",
]  # fmt: skip


def sources_of(failures: pd.DataFrame) -> list[str]:
    """The sources of these failures; the one that was asked, too, where all have left it."""
    asked = failures.attrs.get("source")
    seen = failures["source"].dropna().astype("str").unique()
    return list(dict.fromkeys([*seen, *([str(asked)] if asked else [])]))


def items_of(failures: pd.DataFrame, journal: Journal | None) -> pd.DataFrame:
    """What the journal has of the sources of these failures, as far as it fits what they were selected by: a message
    that a run took out of its source is nowhere else."""
    asked = failures.attrs.get("asked", {})
    groups = set(failures.get("fingerprint", pd.Series(dtype="str")).astype("str"))
    parts = [
        _fitting(journal.items(source=one), asked.get(one, {}), groups)
        for one in (sources_of(failures) if journal else [])
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_OF_ITEMS)


def _fitting(items: pd.DataFrame, asked: Mapping[str, Any], groups: set[str]) -> pd.DataFrame:
    fits = pd.Series(True, items.index)
    if since := asked.get("since"):
        fits &= items["at"].isna() | (items["at"] >= pd.Timestamp(since))
    if queues := asked.get("queue"):
        fits &= items["queue"].isin(queues)
    if tasks := asked.get("task"):
        fits &= items["task_name"].isin(tasks) | items["task_name"].str.rpartition(".")[2].isin(
            tasks
        )
    if asked.get("exception"):  # an item knows its group only
        fits &= items["fingerprint"].isin(groups)
    return items[fits]


def succeeded(failures: pd.DataFrame, journal: Journal | None) -> tuple[int, Any]:
    """How many replays of these sources succeeded, and when the last of them did."""
    items = items_of(failures, journal)
    good = items[(items["action"] == "replay") & (items["outcome"] == Outcome.SUCCEEDED)]
    return len(good), pd.to_datetime(good["outcome_at"], utc=True).max() if len(good) else pd.NaT


def fates(failures: pd.DataFrame, journal: Journal | None) -> tuple[pd.Series, pd.DataFrame]:
    """What became of each failure (succeeded, failed_again, pending, uncertain, other or untouched), and the last items
    of those that runs took out of the source: task_name, fingerprint, became."""
    items = items_of(failures, journal)
    items = items[items["state"].isin([State.SENT, State.UNCERTAIN])].sort_values("at")
    # one name may stand in two sources
    last = items.drop_duplicates(["source", "failure_id"], keep="last")
    undone = last["action"].isin(["undo", "restore"])
    became = last["outcome"].fillna("pending").where(last["action"] == "replay", "other")
    became = became.mask(became == Outcome.UNKNOWN, "pending")
    became = became.mask(last["state"] == State.UNCERTAIN, "uncertain").mask(undone, "untouched")
    last = last.assign(became=became.astype("str"))
    mine = pd.MultiIndex.from_frame(failures[["source", "failure_id"]].astype("str"))
    named = last.set_index(["source", "failure_id"])["became"]
    states = pd.Series(named.reindex(mine).array, failures.index).fillna("untouched")
    gone = last[~named.index.isin(mine) & (last["became"] != "untouched").to_numpy()]
    # what failed again may lie there as another entry: it is one failure
    again = gone["became"] == "failed_again"
    ids = failures["task_id"].astype("str")
    back = again & (gone["task_id"].isin(set(ids)) | gone["sent_id"].isin(set(ids)))
    returned = set(gone.loc[back, "task_id"]) | set(gone.loc[back, "sent_id"]) - {""}
    states = states.mask((states == "untouched") & ids.isin(returned).to_numpy(), "failed_again")
    return states, gone.loc[~back, ["task_name", "fingerprint", "became"]]
