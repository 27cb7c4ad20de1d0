"""What replays have shown: evidence that outweighs the text, and rules that the outcomes contradict."""

from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.classify import ADDED, classify
from dlqanalysis.errors import need
from dlqanalysis.journal import Journal
from dlqanalysis.model import FailureClass, Outcome

_GOOD, _BAD = 0.9, 0.1  #: shares of succeeded replays at which the outcomes speak
LEAST = 5  #: outcomes without which nothing is concluded


def weigh(failures: pd.DataFrame, journal: Journal | None, least: int = LEAST) -> pd.DataFrame:
    """The failures with verdicts that take earlier replays into account: `classify` with `history` as evidence.

    Without a journal, and where it has nothing to say, they stay as they are; so do verdicts that rest on
    other evidence, such as a record that is gone.
    """
    evidence = history(failures, journal, least)
    if not len(evidence):
        return failures
    judged = classify(failures, evidence=evidence)
    if "rule" not in failures.columns:
        return judged
    looked_up = failures["rule"].eq("evidence").to_numpy(bool, na_value=False)
    for name in ADDED:
        kept = judged[name].astype("str").mask(looked_up, failures[name].astype("str"))
        judged[name] = kept.astype("category")
    return judged


def history(failures: pd.DataFrame, journal: Journal | None, least: int = LEAST) -> pd.DataFrame:
    """Evidence from what became of earlier replays of the same group, for `dlq.classify(evidence=...)`.

    Where at least nine in ten of `least` or more tasks that were replayed since a failure succeeded, and the
    error has not come up again since, that failure is transient, whatever its text says: what stood in the
    way is gone. A success from before the failure proves nothing for it, and of data each record is a case
    of its own. Where at most one in ten succeeded, in two runs or more, failures that the text calls
    transient are unknown: waiting does not mend them. Counted are tasks, each with its last outcome, replayed
    with their own payload from the same source. Columns source, failure_id, failure_class, why. Raises
    SchemaError for a frame without fingerprints.
    """
    told = _outcomes(failures, journal)
    told = told[told["source"].isin(failures["source"].astype("str").unique())]
    text = (
        failures["failure_class"].astype("str").to_numpy()
        if "failure_class" in failures.columns
        else np.full(len(failures), "")
    )
    failed = failures["failed_at"].dt.tz_convert("UTC").dt.tz_localize(None).astype("M8[us]")
    group = failures["fingerprint"].astype("str").to_numpy()
    source = failures["source"].astype("str").to_numpy()
    parts = []
    for (place, name), rows in told.groupby(["source", "fingerprint"], sort=False):
        mine = np.flatnonzero((group == name) & (source == place))
        good = (rows["outcome"] == Outcome.SUCCEEDED).to_numpy()
        if good.mean() <= _BAD:
            if len(rows) >= least and rows["run_id"].nunique() > 1:
                there = mine[text[mine] == FailureClass.TRANSIENT] if text.any() else mine
                parts.append(_says(there, FailureClass.UNKNOWN, good.sum(), len(rows)))
            continue
        times = failed.to_numpy()[mine]
        sent = rows["at"].dt.tz_localize(None).astype("M8[us]").to_numpy()
        if not (sent[good].max() > times[~np.isnat(times)].max(initial=np.datetime64(0, "us"))):
            continue  # it failed again after the last success: it still occurs
        order = np.argsort(sent)
        first = np.searchsorted(sent[order], times, side="right")  # unknown times sort last
        since = len(rows) - first
        succeeded = good.sum() - np.append(0, np.cumsum(good[order]))[first]
        sure = (since >= least) & (succeeded >= _GOOD * since) & (text[mine] != FailureClass.DATA)
        parts.append(
            _says(mine[sure], FailureClass.TRANSIENT, succeeded[sure], since[sure], " since")
        )
    found = pd.concat([pd.DataFrame({"row": [], "failure_class": [], "why": []}), *parts])
    at = found["row"].to_numpy(np.int64)
    made = found.assign(source=source[at], failure_id=failures["failure_id"].to_numpy()[at])
    columns = ["source", "failure_id", "failure_class", "why"]
    return made.sort_values("row", ignore_index=True)[columns].astype("str")


def _says(
    rows: Any, verdict: FailureClass, succeeded: Any, of: Any, when: str = ""
) -> pd.DataFrame:
    """What the outcomes say of these rows, with the counts it rests on."""
    frame = pd.DataFrame({"row": rows, "failure_class": str(verdict)})
    pairs = frame.assign(succeeded=succeeded, of=of)[["succeeded", "of"]].drop_duplicates()
    more = "" if verdict == FailureClass.TRANSIENT else ": waiting does not mend it"
    texts = {
        pair: f"{pair[0]:,} of {pair[1]:,} replays of this error succeeded{when}{more}"
        for pair in pairs.itertuples(index=False, name=None)
    }
    counts = zip(*np.broadcast_arrays(succeeded, of, rows)[:2], strict=True)
    why = [texts[pair] for pair in counts]
    return frame.assign(why=pd.Series(why, index=frame.index, dtype="str"))


def contradicted(
    failures: pd.DataFrame, journal: Journal | None, least: int = LEAST
) -> pd.DataFrame:
    """The rules that outcomes speak against: rule, failure_class, replayed, succeeded, share, says.

    One row a rule with at least `least` known outcomes among the groups of this frame: a transient rule of
    which not half succeeded, a permanent or data rule of which nine in ten did. Needs `failures` classified
    and fingerprinted.
    """
    need(failures, "rule")
    every = _outcomes(failures, journal)
    good = every["outcome"].eq(Outcome.SUCCEEDED)
    told = good.groupby(every["fingerprint"]).agg(replayed="size", succeeded="sum")
    kinds = failures[["fingerprint", "rule", "failure_class"]].astype("str")
    kinds = kinds[kinds["rule"] != "evidence"].drop_duplicates("fingerprint")
    by_rule = kinds.merge(told, left_on="fingerprint", right_index=True)
    sums = by_rule.groupby(["rule", "failure_class"])[["replayed", "succeeded"]].sum().reset_index()
    sums = sums[sums["replayed"] >= least]
    share = sums["succeeded"] / sums["replayed"]
    transient = sums["failure_class"] == FailureClass.TRANSIENT
    settled = sums["failure_class"].isin([FailureClass.PERMANENT, FailureClass.DATA])
    wrong = (transient & (share < 0.5)) | (settled & (share >= _GOOD))
    table = sums.assign(share=share)[wrong]
    says = ["too many replays fail again" if one == FailureClass.TRANSIENT else "replays succeed"
            for one in table["failure_class"]]  # fmt: skip
    table = table.assign(says=pd.Series(says, index=table.index, dtype="str"))
    table = table.sort_values(["replayed", "rule"], ascending=[False, True], ignore_index=True)
    table.attrs["empty"] = "No outcome of a replay speaks against a rule."
    return table


def _outcomes(failures: pd.DataFrame, journal: Journal | None) -> pd.DataFrame:
    """What became of replays of these groups, one row a task, its last: source, run_id, fingerprint, at (sent),
    outcome. Without those that say nothing of the error: repaired payloads, and tasks that failed otherwise.
    """
    need(failures, "fingerprint")
    columns = ["source", "run_id", "fingerprint", "at", "outcome"]
    if journal is None:
        return pd.DataFrame(columns=columns)
    items = journal.items()
    final = items["outcome"].isin([Outcome.SUCCEEDED, Outcome.FAILED_AGAIN])
    other = (items["came_back_as"] != "") & (items["came_back_as"] != items["fingerprint"])
    theirs = items["fingerprint"].isin(failures["fingerprint"].astype("str").unique())
    told = items[
        final & theirs & ~other & (items["action"] == "replay")
        & ~items["run_id"].isin(journal.repaired())
    ]  # fmt: skip
    task = told["task_id"].where(told["task_id"] != "", told["failure_id"])
    told = told.assign(task=task).sort_values("at", kind="stable")
    return told.drop_duplicates(["source", "fingerprint", "task"], keep="last")[columns]
