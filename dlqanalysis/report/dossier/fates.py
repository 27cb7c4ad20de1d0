"""What became of failures, by the journal: of those that are there, and of those that runs took out of their source."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.journal import Journal
from dlqanalysis.model import Outcome, State

GONE = "no longer there"  #: in place of a class: what runs took out of its source, whose text nobody has any more
LEFT = ("untouched", "failed_again", "pending", "uncertain")  #: what nobody is done with
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


def aftermath(failures: pd.DataFrame, journal: Journal | None = None) -> pd.DataFrame:
    """What became of them, one row a class: failure_class, failures, replayed, succeeded, failed_again,
    pending, uncertain, other (quarantined, archived, purged, done by hand), untouched. The rows add up.

    What the journal's runs took out of these sources, so that it is not among `failures`, is the row `no longer there`.
    """
    need(failures, "failure_class")
    states, gone = fates(failures, journal)
    there = pd.DataFrame(
        {"failure_class": failures["failure_class"].astype("str"), "state": states}
    )
    taken = pd.DataFrame({"failure_class": GONE, "state": gone["became"]})
    kept = pd.concat([there, taken], ignore_index=True)
    columns = ["succeeded", "failed_again", "pending", "uncertain", "other", "untouched"]
    counts = kept.groupby(["failure_class", "state"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=columns, fill_value=0).astype("int64")
    counts.insert(0, "failures", counts.sum(axis=1))
    counts.insert(1, "replayed", counts[["succeeded", "failed_again", "pending"]].sum(axis=1))
    table = counts.reset_index(names="failure_class").sort_values(
        ["failures", "failure_class"], ascending=[False, True], ignore_index=True
    )
    table.columns.name = None
    return table.astype({"failure_class": "str"})


def remains(failures: pd.DataFrame, journal: Journal | None = None) -> pd.DataFrame:
    """What nobody is done with, one row a group, the largest first: fingerprint, failure_class, task_name,
    exception_type, template (text), left (failures), of (failures), oldest (UTC). Done with is what succeeded
    after a replay or was put aside; what runs took out of the source counts in both."""
    need(failures, "fingerprint")
    states, gone = fates(failures, journal)
    words = ["failure_class", "task_name", "exception_type", "template"]
    there = failures[["fingerprint", *words, "failed_at"]].astype(
        dict.fromkeys(["fingerprint", *words], "str")
    )
    taken = gone[["fingerprint", "task_name"]].assign(
        failure_class=GONE, exception_type="", template="", failed_at=pd.NaT
    )
    taken["failed_at"] = pd.to_datetime(taken["failed_at"], utc=True).astype(
        there["failed_at"].dtype
    )
    every = pd.concat([there, taken], ignore_index=True).astype(dict.fromkeys(words, "str"))
    left = pd.concat([states, gone["became"]], ignore_index=True).isin(LEFT)
    whole = every.groupby("fingerprint", sort=False).size()
    named = every.groupby("fingerprint", sort=False)[
        words
    ].first()  # in words of those that are there
    groups = every[left].groupby("fingerprint", sort=False)
    table = named.reindex(groups.size().index)
    table = table.assign(left=groups.size(), of=whole, oldest=groups["failed_at"].min())
    table = table.reset_index().sort_values(
        ["left", "fingerprint"], ascending=[False, True], ignore_index=True
    )
    return table.astype({"fingerprint": "str", "left": "int64", "of": "int64"})
