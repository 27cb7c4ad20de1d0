"""What a report asks beside its failures, where somebody can tell: what a replay would do,
what went well later, what lies there from before."""

import pandas as pd

from dlqanalysis.errors import DLQError
from dlqanalysis.text import some


def rehearse(failures: pd.DataFrame, limit: int = 50, source: "str | None" = None) -> pd.DataFrame:
    """What a replay of at most `limit` failures of each source would do: one row a decision and reason.

    It makes the plan and sends nothing. Where no journal can be opened, earlier replays are unknown to it. `source` is
    asked by the profile's [effects] what is done already; where it does not answer, a note says so.
    """
    from dlqanalysis.journal import Journal
    from dlqanalysis.plan import plan
    from dlqanalysis.profile import profile
    from dlqanalysis.replay.probe import probe

    try:
        journal = Journal()
    except (DLQError, OSError):
        journal = None
    reason = "rehearsal: nothing is sent"
    effects, notes = None, []
    if source:
        try:
            effects = probe(failures, source)
            notes = effects.attrs.get("notes", []) if profile().effects else []
        except DLQError as error:  # the report has more to say than this
            notes = [f"What is done already is not known: {error}"]
    tables = [
        plan(
            failures[failures["source"] == name],
            journal,
            reason=reason,
            limit=limit,
            effects=effects,
        ).summary
        for name in failures["source"].dropna().unique()
    ]
    if not tables:
        columns = {"decision": "str", "because": "str", "failures": "int64", "tasks": "str"}
        table = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
        table.attrs["empty"] = "There is nothing to replay."
        return table
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"notes": notes}
    return table


def went_well(source: str, since: str = "") -> tuple[pd.DataFrame | None, str]:
    """Later successes of failed tasks for `dlq.lives(executions=)`, and a sentence on them; None, and why, where
    the source knows none (an export, a list, a database without task_executions)."""
    from dlqanalysis.queries import queries
    from dlqanalysis.sources import connect

    try:
        asked = queries(connect(source))
        known = asked.later_successes(since=since or None)
    except DLQError as error:
        return None, f"Later successes are not known: {error}"
    return known, f"{some(len(known), 'failed task')} went well later."


def lying(
    source: str, failures: pd.DataFrame, until: str, queue: str = "", task: str = ""
) -> pd.DataFrame:
    """What lies in a source from before `until`, however old, as counts. One that cannot archive is not asked again:
    there is nothing to do about it, and a look may cost a message a delivery. Then it is `failures`, which were read."""
    from dlqanalysis.sources import capabilities
    from dlqanalysis.summary import summary

    can = capabilities(source).set_index("capability")["can"]
    if not can.get("archive", False):
        return failures
    return summary(source, since="", until=until, queue=queue, task=task)
