"""What replays have shown: evidence that outweighs the text, and rules that the outcomes contradict."""

from typing import Any

import pandas as pd

from dlqanalysis.classify import classify
from dlqanalysis.errors import SchemaError
from dlqanalysis.journal import Journal
from dlqanalysis.model import FailureClass, Outcome

_GOOD, _BAD = 0.9, 0.1  #: shares of succeeded replays at which the outcomes speak
LEAST = 5  #: outcomes without which nothing is concluded


def weigh(failures: pd.DataFrame, journal: Journal | None, least: int = LEAST) -> pd.DataFrame:
    """The failures with verdicts that take earlier replays into account: `classify` with `history` as evidence.

    Without a journal, and where it has nothing to say, they stay as they are.
    """
    evidence = history(failures, journal, least)
    return classify(failures, evidence=evidence) if len(evidence) else failures


def history(failures: pd.DataFrame, journal: Journal | None, least: int = LEAST) -> pd.DataFrame:
    """Evidence from what became of earlier replays of the same group, for `dlq.classify(evidence=...)`.

    Where at least nine in ten of `least` or more replays succeeded, the group's failures are transient,
    whatever their text says; where at most one in ten did, those that the text calls transient are unknown:
    waiting does not mend them. Columns source, failure_id, failure_class, why. Raises SchemaError for a
    frame without fingerprints.
    """
    told = _outcomes(failures, journal)
    told = told[told["replayed"] >= least]
    good, bad = told["share"] >= _GOOD, told["share"] <= _BAD
    says = pd.Series(None, index=told.index, dtype="str")
    says[good], says[bad] = str(FailureClass.TRANSIENT), str(FailureClass.UNKNOWN)
    counts = zip(told["succeeded"], told["replayed"], strict=True)
    why = [f"{succeeded:,} of {of:,} replays of this error succeeded" for succeeded, of in counts]
    why = pd.Series(why, index=told.index, dtype="str")
    why[bad] += ": waiting does not mend it"
    group = failures["fingerprint"].astype("str")
    found = pd.DataFrame(
        {
            "source": failures["source"].astype("str"),
            "failure_id": failures["failure_id"].astype("str"),
            "failure_class": group.map(says),
            "why": group.map(why),
        }
    )
    speaks = found["failure_class"].notna()
    if (
        "failure_class" in failures.columns
    ):  # a failed replay says nothing against permanent and data
        text = failures["failure_class"].astype("str")
        doubted = found["failure_class"] == FailureClass.UNKNOWN
        speaks &= ~doubted | (text == FailureClass.TRANSIENT)
    return found[speaks].astype("str").reset_index(drop=True)


def contradicted(
    failures: pd.DataFrame, journal: Journal | None, least: int = LEAST
) -> pd.DataFrame:
    """The rules that outcomes speak against: rule, failure_class, replayed, succeeded, share, says.

    One row a rule with at least `least` known outcomes among the groups of this frame: a transient rule of
    which not half succeeded, a permanent or data rule of which nine in ten did. Needs `failures` classified
    and fingerprinted.
    """
    if "rule" not in failures.columns:
        raise SchemaError("The frame has no rule. Classify it first: failures.pipe(dlq.classify).")
    told = _outcomes(failures, journal)
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
    return table.sort_values(["replayed", "rule"], ascending=[False, True], ignore_index=True)


def _outcomes(failures: pd.DataFrame, journal: Journal | None) -> pd.DataFrame:
    """By fingerprint: replayed (with a final outcome), succeeded, share."""
    if "fingerprint" not in failures.columns:
        raise SchemaError(
            "The frame has no fingerprint. Make it first: failures.pipe(dlq.fingerprint)."
        )
    kept: list[dict[str, Any]] = []
    names = failures["fingerprint"].astype("str").unique()
    items = journal.outcomes() if journal is not None else pd.DataFrame({"fingerprint": []})
    for name, rows in items[items["fingerprint"].isin(names)].groupby("fingerprint", sort=False):
        succeeded = int((rows["outcome"] == Outcome.SUCCEEDED).sum())
        kept.append({"fingerprint": name, "replayed": len(rows), "succeeded": succeeded})
    table = pd.DataFrame(kept, columns=["fingerprint", "replayed", "succeeded"])
    table = table.astype({"fingerprint": "str", "replayed": "int64", "succeeded": "int64"})
    table = table.set_index("fingerprint")
    return table.assign(share=table["succeeded"] / table["replayed"])
