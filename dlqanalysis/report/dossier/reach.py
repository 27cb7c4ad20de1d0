"""How far an incident reached."""

import pandas as pd

from dlqanalysis.patterns.lives import affected
from dlqanalysis.profile import Profile


def radius(failures: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """How far it reached: measure, count. Failures, tasks, queues, workers, groups, and distinct values of each
    payload field that the profile calls affected."""
    measures = [("failures", len(failures))]
    for name, word in (
        ("task_id", "distinct tasks (by id)"),
        ("task_name", "kinds of task"),
        ("queue", "queues"),
        ("worker", "workers"),
        ("fingerprint", "groups"),
    ):
        if name in failures.columns and (failures[name].notna().any() or failures.empty):
            measures.append((word, int(failures[name].nunique())))
    for field, rows in affected(failures, profile).groupby("field", sort=False):
        measures.append((f"distinct {field}", len(rows)))
    return pd.DataFrame(measures, columns=["measure", "count"]).astype({"measure": "str"})
