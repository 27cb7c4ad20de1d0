"""Groups with a life: what is new, what came back although it was replayed or fixed, what is over, what is held."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import SchemaError, need
from dlqanalysis.frame import error_of
from dlqanalysis.journal import Journal
from dlqanalysis.model import moment
from dlqanalysis.patterns.known import Known, known
from dlqanalysis.payload.signatures import named
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

STATES = ("returned", "new", "recurring", "first report", "superseded", "gone")
_OUT = {
    "state": "str",
    "fingerprint": "str",
    "count": "int64",
    "before": "Int64",
    "task_name": "str",
    "error": "str",
    "first_failed": "datetime64[us, UTC]",
    "last_failed": "datetime64[us, UTC]",
    "replayed": "int64",
    "last_replayed": "datetime64[us, UTC]",
    "owner": "str",
    "ticket": "str",
    "note": "str",
    "held": "bool",
    "because": "str",
}


def lives(
    failures: pd.DataFrame,
    before: Mapping[str, Any] | None = None,
    journal: Journal | None = None,
    executions: pd.DataFrame | None = None,
    notes: Mapping[str, Known] | None = None,
    now: datetime | str | None = None,
) -> pd.DataFrame:
    """One row a group, what needs a look first: state, fingerprint, count, before (in the last report),
    task_name and error (of one of it), first_failed, last_failed, replayed and last_replayed (from the journal),
    owner, ticket and note (from the groups file), held (quiet for now), because (a sentence).

    state is returned (it failed again after a replay or after it was fixed), new, recurring, superseded
    (every task of it succeeded later, by `executions`: task_id, status, at) or gone. `before` is an earlier
    report's numbers (`report.read`); without them it is `first report` in place of new, recurring or gone. A held group is quiet until
    its time is over, it returns, or it grows beyond what was allowed.
    """
    need(failures, "fingerprint")
    when = pd.Timestamp(moment(now) or datetime.now(UTC))
    notes = known() if notes is None else notes
    earlier = dict(before["fingerprints"]) if before is not None else {}
    name = failures["fingerprint"].astype("str")
    seen = failures.groupby(name)["failed_at"].agg(["size", "min", "max"])
    first = ~name.duplicated()
    one_of = failures[first].set_index(name[first])
    replays = _replays(journal)
    over = _superseded(failures, name, executions)
    rows = []
    for one in dict.fromkeys([*seen.index, *earlier]):
        here = one in seen.index
        what = one_of.loc[one] if here else earlier[one]
        last = seen["max"].get(one, pd.NaT)
        sent, at = replays.get(one, (0, pd.NaT))
        note = notes.get(one, Known(fingerprint=one))
        state, because = _state(
            here, one in earlier, before is not None, last, at, note, over.get(one, 0.0)
        )
        count = int(seen["size"].get(one, 0))
        held = _held(note, state, count, when)
        rows.append(
            {
                "state": state,
                "fingerprint": one,
                "count": count,
                "before": earlier.get(one, {}).get("count", 0) if before is not None else pd.NA,
                "task_name": str(what["task_name"]),
                "error": error_of(what),
                "first_failed": seen["min"].get(one, pd.NaT),
                "last_failed": last,
                "replayed": sent,
                "last_replayed": at,
                "owner": note.owner,
                "ticket": note.ticket,
                "note": note.note,
                "held": held,
                "because": f"{because}; held until {note.hold_until:%Y-%m-%d}" if held else because,
            }
        )
    table = pd.DataFrame(rows, columns=list(_OUT))
    for column in ("first_failed", "last_failed", "last_replayed"):
        table[column] = pd.to_datetime(table[column], utc=True)
    table = table.astype(_OUT)
    table.attrs["empty"] = "There is no pattern, now or in an earlier report."
    rank = table["state"].map({state: at for at, state in enumerate(STATES)})
    order = table.assign(_held=table["held"], _rank=rank, _size=-table["count"])
    return table.loc[
        order.sort_values(["_held", "_rank", "_size"], kind="stable").index
    ].reset_index(drop=True)


def affected(failures: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """Who is hit: one row a value of the payload fields that the profile names in `affected`: field, value,
    failures, groups, tasks, first_failed, last_failed; the most hit first.

    Values are as they stand in the payloads: redact the table (`dlq.redact_frame`) before it leaves the team. Where
    it is empty, `attrs["empty"]` says why.
    """
    profile = profile or current_profile()
    parts = []
    for field in profile.affected:
        values = named(failures, field, profile)
        there = failures[values.notna()]
        if not len(there):
            continue
        by = there.assign(field=field, value=values[values.notna()]).groupby(
            ["field", "value"], sort=False
        )
        group = "fingerprint" if "fingerprint" in failures.columns else "exception_type"
        parts.append(
            by.agg(
                failures=("failure_id", "size"),
                groups=(group, "nunique"),
                tasks=(
                    "task_name",
                    lambda names: ", ".join(sorted(names.astype("str").unique())[:3]),
                ),
                first_failed=("failed_at", "min"),
                last_failed=("failed_at", "max"),
            ).reset_index()
        )
    columns = ["field", "value", "failures", "groups", "tasks", "first_failed", "last_failed"]
    if not parts:
        table = pd.DataFrame({name: pd.Series(dtype="str") for name in columns})
        table.attrs = {"empty": _nobody(profile)}
        return table
    table = pd.concat(parts, ignore_index=True).astype(
        {"field": "str", "value": "str", "tasks": "str"}
    )
    return table.sort_values(
        ["failures", "field", "value"], ascending=[False, True, True], ignore_index=True
    )[columns]


def _nobody(profile: Profile) -> str:
    if not profile.affected:
        return "Not known: the profile names no fields of customers (`affected`)."
    return (
        f"No payload has a field that the profile names in affected: {', '.join(profile.affected)}."
    )


def _state(
    here: bool,
    earlier: bool,
    compared: bool,
    last: Any,
    replayed_at: Any,
    note: Known,
    over: float,
) -> tuple[str, str]:
    if not here:
        return "gone", "it is in the last report and not in this one"
    if over >= 1.0:
        return "superseded", "every task of it has succeeded since"
    if note.fixed_at is not None and last == last and last > pd.Timestamp(note.fixed_at):
        return "returned", f"it failed again after it was fixed ({note.fixed_at:%Y-%m-%d %H:%M}Z)"
    if replayed_at == replayed_at and last == last and last > replayed_at:
        return "returned", f"it failed again after a replay ({replayed_at:%Y-%m-%d %H:%M}Z)"
    if compared and not earlier:
        return "new", "it is in no earlier report"
    if not compared:
        return "first report", "there is none before to compare with"
    return "recurring", "it was there before"


def _held(note: Known, state: str, count: int, now: pd.Timestamp) -> bool:
    if note.hold_until is None or now >= pd.Timestamp(note.hold_until) or state == "returned":
        return False
    return note.loud_above is None or count <= note.loud_above


def _replays(journal: Journal | None) -> dict[str, tuple[int, Any]]:
    """fingerprint -> how many of it were replayed, and when the last one was."""
    if journal is None:
        return {}
    table = journal.replayed()
    return {row.fingerprint: (int(row.replayed), row.last_replayed) for row in table.itertuples()}


def _superseded(
    failures: pd.DataFrame, name: pd.Series, executions: pd.DataFrame | None
) -> dict[str, float]:
    """fingerprint -> the share of its failures whose task succeeded later."""
    if executions is None or not len(executions):
        return {}
    for column in ("task_id", "status", "at"):
        if column not in executions.columns:
            raise SchemaError(
                f"The executions have no column '{column}'. They need task_id, status and at."
            )
    good = executions[executions["status"].astype("str").str.lower().isin(["success", "succeeded"])]
    latest = good.groupby("task_id")["at"].max()
    later = failures["task_id"].map(latest)
    done = (pd.to_datetime(later, utc=True) > failures["failed_at"]).to_numpy(bool, na_value=False)
    shares = pd.Series(done.astype(np.float64), index=failures.index).groupby(name).mean()
    return {str(one): float(share) for one, share in shares.items()}
