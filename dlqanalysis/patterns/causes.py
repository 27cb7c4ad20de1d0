"""Common causes: what began in several queues at about the same time is one thing, not many."""

import pandas as pd

from dlqanalysis.model import duration
from dlqanalysis.patterns.onsets import onsets


def common_causes(
    failures: pd.DataFrame, within: str = "15m", by: str = "queue", fewest: int = 2
) -> pd.DataFrame:
    """What began in several queues (or tasks) at about the same time: one row a moment, the earliest first.

    onset (of the first), until, queues (their names), of (how many have failures at all), failures, rule and
    exception_type of most of them with their share, rule_share and exception_share: all queues and one rule
    such as db-lost is one database, not many bugs. Needs classified failures for the rule.
    """
    found = onsets(failures, by=by, most=200)
    span = pd.Timedelta(duration(within))
    rows = []
    number = (found["onset"].diff() > span).cumsum()
    for _, together in found.groupby(number):
        names = sorted(together[by].unique())
        if len(names) < fewest:
            continue
        begin, end = together["onset"].min(), together["until"].max()
        end = failures["failed_at"].max() if together["until"].isna().any() else end
        inside = failures[
            failures[by].astype("str").isin(names) & failures["failed_at"].between(begin, end)
        ]
        rule, rule_share = _leading(inside, "rule")
        kind, kind_share = _leading(inside, "exception_type")
        rows.append(
            {
                "onset": begin,
                "until": end,
                "queues" if by == "queue" else f"{by}s": ", ".join(names),
                "of": int(failures[by].nunique()),
                "failures": len(inside),
                "rule": rule,
                "rule_share": rule_share,
                "exception_type": kind,
                "exception_share": kind_share,
            }
        )
    columns = ["onset", "until", "queues" if by == "queue" else f"{by}s", "of", "failures"]
    columns += ["rule", "rule_share", "exception_type", "exception_share"]
    table = pd.DataFrame(rows, columns=columns)
    for name in ("onset", "until"):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    kinds = {
        "of": "int64",
        "failures": "int64",
        "rule": "str",
        "exception_type": "str",
        columns[2]: "str",
    }
    shares = {"rule_share": "float64", "exception_share": "float64"}
    table = table.astype({**kinds, **shares})
    # of a fresh incident, with nothing before it, the notes say that it cannot be told
    table.attrs["notes"] = found.attrs["notes"]
    table.attrs["empty"] = "Nothing is known to have begun in several queues at once."
    return table


def _leading(rows: pd.DataFrame, column: str) -> tuple[str, float]:
    if column not in rows.columns or not len(rows):
        return "", 0.0
    counts = rows[column].astype("str").value_counts()
    return (str(counts.index[0]), float(counts.iloc[0] / len(rows))) if len(counts) else ("", 0.0)
