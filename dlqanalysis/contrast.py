"""What a group of failures has more of than the others: workers, queues, hours, fields of the payload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import SchemaError, did_you_mean
from dlqanalysis.payload import UNREADABLE, flat, parsed

FEWEST = 5  #: a value seen less often inside says nothing
FEWEST_OUTSIDE = 30  #: failures of the same task that make a fair comparison
SAMPLE = 50_000  #: payloads read on each side; more would not change the answer
SURE = 3.0  #: standard errors: with hundreds of values looked at, two would find chance
_COLUMNS = ("task_name", "queue", "worker", "priority", "source", "status", "payload_state", "hour")
_OUT = ("field", "value", "inside", "inside_share", "outside", "outside_share", "lift", "at_least")


def lift(
    failures: pd.DataFrame, within: "str | pd.Series | Mapping[str, Any]", n: int = 20
) -> pd.DataFrame:
    """What is over-represented in a group (a fingerprint, a row of dlq.groups, or a mask of rows).

    One row a value: field, value, inside and outside (rows), their shares, lift (inside share over
    outside share), at_least (the lower end of what chance leaves of it), compared_with. A value must be
    seen at least 5 times inside. Payload fields are compared with other failures of the same tasks, and
    stand as kwargs.name or args[0]; `(absent)` is a value too.
    """
    inside = _mask(failures, within)
    same = failures["task_name"].isin(failures["task_name"][inside].unique()).to_numpy() & ~inside
    return told([tally(failures, inside, same)], n)


@dataclass(frozen=True, slots=True)
class Tally:
    """What the comparison needs of some failures; those of several parts are put together by `together`."""

    inside: int  #: rows of the group
    same: int  #: other rows of its tasks
    outside: int  #: all other rows
    values: pd.DataFrame  #: field, value, and how many rows have it: inside, same, outside
    samples: tuple[
        pd.DataFrame, pd.DataFrame
    ]  #: args, kwargs, mark of rows inside, and of the same tasks


def tally(failures: pd.DataFrame, inside: np.ndarray, same: np.ndarray) -> Tally:
    """The counts of a group (a mask) and of the other rows of its tasks (a mask)."""
    tables = [_of_column(failures, field, inside, same) for field in _COLUMNS]
    values = pd.concat(tables, ignore_index=True)
    samples = _sample(failures, inside), _sample(failures, same)
    return Tally(
        int(inside.sum()), int(same.sum()), len(failures) - int(inside.sum()), values, samples
    )


def together(tallies: Sequence[Tally]) -> Tally:
    """The tally of all rows, from those of parts of them."""
    values = pd.concat([one.values for one in tallies], ignore_index=True)
    values = values.groupby(["field", "value"], sort=False, as_index=False).sum()
    left, right = (
        _smallest(pd.concat([one.samples[side] for one in tallies], ignore_index=True))
        for side in (0, 1)
    )
    inside, same, outside = (
        sum(getattr(one, name) for one in tallies) for name in ("inside", "same", "outside")
    )
    return Tally(inside, same, outside, values, (left, right))


def told(tallies: Sequence[Tally], n: int = 20) -> pd.DataFrame:
    """What `lift` says, from the tallies of all parts."""
    whole = together(tallies)
    if not whole.inside or not whole.outside:
        return _empty(
            "There is nothing to compare: "
            + ("no row is in the group." if not whole.inside else "every row is in the group.")
        )
    enough = whole.same >= FEWEST_OUTSIDE
    tables, notes = [], []
    for field in _COLUMNS:
        rest = "same" if enough and field not in ("task_name", "source") else "outside"
        rows = whole.values[whole.values["field"] == field]
        rows = rows[["field", "value", "inside"]].assign(outside=rows[rest])
        tables.append(_judged(rows, whole.inside, getattr(whole, rest), rest == "same"))
    if enough:
        tables.append(_of_payload(whole, notes))
    else:
        notes.append(
            "Payload fields are left out: there are too few other failures of these tasks."
        )
    found = pd.concat(tables, ignore_index=True)
    found = found[(found["inside"] >= FEWEST) & (found["inside_share"] >= 0.05)]
    found = found[found["at_least"] > 1]
    found = found.sort_values(["at_least", "field", "value"], ascending=[False, True, True])
    found = found.head(n).reset_index(drop=True)
    found.attrs = {"notes": notes, "inside": whole.inside}
    return found


def _mask(failures: pd.DataFrame, within: "str | pd.Series | Mapping[str, Any]") -> np.ndarray:
    if isinstance(within, pd.Series) and within.dtype in (bool, "boolean"):
        if len(within) != len(failures):
            raise SchemaError("The mask is of another frame. Build it from these failures.")
        return within.to_numpy(bool, na_value=False)
    name = within if isinstance(within, str) else within["fingerprint"]
    if "fingerprint" not in failures.columns:
        raise SchemaError("The frame has no fingerprints. Run dlq.fingerprint(failures) first.")
    mask = (failures["fingerprint"] == name).to_numpy(bool, na_value=False)
    if not mask.any() and len(failures):
        known = failures["fingerprint"].dropna().unique()[:1000]
        raise SchemaError(f"No failure has the fingerprint '{name}'. {did_you_mean(name, known)}")
    return mask


def _of_column(failures, field, inside, same):  # type: ignore[no-untyped-def]
    hours = field == "hour"
    values = failures["failed_at"].dt.hour if hours else failures[field]
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    there = codes >= 0
    texts = [f"{int(value):02d}:00 UTC" if hours else str(value) for value in distinct]
    table = pd.DataFrame({"field": field, "value": pd.Series(texts, dtype="str")})
    for name, mask in (("inside", inside), ("same", same), ("outside", ~inside)):
        table[name] = np.bincount(codes[there & mask], minlength=len(distinct))
    return table.astype({"field": "str"})


def _of_payload(whole, notes):  # type: ignore[no-untyped-def]
    left, right = whole.samples
    if len(left) < whole.inside or len(right) < whole.same:
        notes.append(f"Payload fields are counted on {len(left):,} and {len(right):,} failures.")
    rows = pd.concat([left, right], ignore_index=True)
    is_inside = np.arange(len(rows)) < len(left)
    tables = []
    for column in ("kwargs", "args"):
        codes, values = parsed(rows[column])
        a = np.bincount(codes[is_inside], minlength=len(values))
        b = np.bincount(codes[~is_inside], minlength=len(values))
        fields, texts, owners = [], [], []
        for owner, value in enumerate(values):
            if value is not UNREADABLE:
                for field, text in flat(value, column).items():
                    fields.append(field)
                    texts.append(text)
                    owners.append(owner)
        readable = np.array([value is not UNREADABLE for value in values], bool)
        table = pd.DataFrame({"field": fields, "value": texts}, dtype="str")
        table = table.assign(inside=a[owners], outside=b[owners]) if owners else None
        if table is None:
            continue
        table = table.groupby(["field", "value"], sort=False, as_index=False).sum()
        n1, n0 = int(a[readable].sum()), int(b[readable].sum())
        seen = table.groupby("field", as_index=False)[["inside", "outside"]].sum()
        absent = seen.assign(value="(absent)", inside=n1 - seen["inside"])
        absent["outside"] = n0 - seen["outside"]
        tables.append(_judged(pd.concat([table, absent], ignore_index=True), n1, n0, True))
    return pd.concat(tables, ignore_index=True) if tables else _empty("")


def _sample(failures: pd.DataFrame, mask: np.ndarray) -> pd.DataFrame:
    """Payloads of at most SAMPLE of these rows, each with a mark made of its id: the rows with the smallest marks, so
    that they are the same ones each time, in whatever parts the failures come."""
    places = np.flatnonzero(mask)
    ids = failures["failure_id"].iloc[places].to_numpy(object, na_value="")
    marks = pd.util.hash_array(ids, categorize=False)
    few = _smallest(pd.DataFrame({"place": places, "mark": marks}))
    rows = failures[["args", "kwargs"]].iloc[few["place"]]
    return rows.reset_index(drop=True).assign(mark=few["mark"].to_numpy())


def _smallest(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= SAMPLE:
        return rows
    last = np.partition(rows["mark"].to_numpy(), SAMPLE - 1)[SAMPLE - 1]
    return rows[rows["mark"] <= last].reset_index(drop=True)


def _judged(table, n1, n0, within_task):  # type: ignore[no-untyped-def]
    """Shares, lift and its lower bound. Half a row is added on each side (Haldane and Anscombe), so that
    a value never seen outside has a lift too."""
    a, b = table["inside"] + 0.5, table["outside"] + 0.5
    ratio = (a / (n1 + 1)) / (b / (n0 + 1))
    error = np.sqrt((1 / a - 1 / (n1 + 1) + 1 / b - 1 / (n0 + 1)).clip(lower=0))
    return table.assign(
        inside_share=table["inside"] / max(n1, 1),
        outside_share=table["outside"] / max(n0, 1),
        lift=ratio.round(2),
        at_least=(ratio * np.exp(-SURE * error)).round(2),
        compared_with="other failures of these tasks" if within_task else "all other failures",
    )[[*_OUT, "compared_with"]]


def _empty(note: str) -> pd.DataFrame:
    kinds = {name: "float64" for name in ("inside_share", "outside_share", "lift", "at_least")}
    kinds |= {"field": "str", "value": "str", "inside": "int64", "outside": "int64"}
    table = pd.DataFrame({name: pd.Series(dtype=kinds[name]) for name in _OUT})
    table["compared_with"] = pd.Series(dtype="str")
    table.attrs = {"notes": [note], "inside": 0}
    return table
