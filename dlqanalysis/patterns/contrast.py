"""What a group of failures has more of than the others: workers, queues, hours, fields of the payload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import SchemaError, did_you_mean, need
from dlqanalysis.patterns.clumps import draws
from dlqanalysis.payload import UNREADABLE, flat, parsed

FEWEST = 5  #: a value seen less often inside says nothing
FEWEST_OUTSIDE = 30  #: failures of the same task that make a fair comparison
SAMPLE = 50_000  #: payloads read on each side; more would not change the answer
SURE = 3.0  #: standard errors that at_least leaves to chance
CHANCE = 0.05  #: how likely chance may show one such value, all that were looked at counted in
NEARLY_ALL = (
    0.9  #: of a group: whose value that is, it is a fact about the group, be it one batch or many
)
_ONE_BATCH = "Where chance is above 0.05, nearly all of the group has the value, but may be one batch that came at once."
_COLUMNS = ("task_name", "queue", "worker", "priority", "source", "status", "payload_state", "hour")
_ROWS = [name for name in _COLUMNS if name != "hour"]
_OUT = (
    *("field", "value", "inside", "inside_share", "outside", "outside_share"),
    *("lift", "at_least", "chance"),
)
_RAN = ("task_name", "queue", "worker", "priority", "hour")  #: what an execution may tell


def lift(
    failures: pd.DataFrame,
    within: "str | pd.Series | Mapping[str, Any]",
    n: int = 20,
    successes: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What is over-represented in a group (a fingerprint, a row of dlq.groups, or a mask of rows).

    One row a value: field, value, inside and outside (rows), their shares, lift (inside share over
    outside share), at_least (the lower end of what chance leaves of it), chance (how likely chance alone
    shows one such value among all that were looked at; Fisher's exact test), compared_with. A value must be
    seen at least 5 times inside. Where failures that come at once share a value more often than others do, such as
    a batch of one tenant, they count for less in at_least and chance (clumps.draws); what nearly all of the group has is told all
    the same. Payload fields are compared with other failures of the same tasks, and
    stand as kwargs.name or args[0]; `(absent)` is a value too.

    With `successes` (rows of executions that went well, such as the query successes gives: task_name, queue,
    worker, at; `count` where a row stands for many) the group is compared with those of the same tasks: a
    worker that takes half of all work has half of all failures and is innocent.
    """
    inside = _mask(failures, within)
    if successes is not None:
        return _beside_successes(failures, inside, successes, n)
    same = _same_tasks(failures, inside)
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
    ]  #: what is read row by row, with a mark: of rows inside, and of the same tasks


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
    return _sure(tables, n, notes, whole)


def _sure(
    tables: Sequence[pd.DataFrame],
    n: int,
    notes: list[str],
    whole: Tally,
) -> pd.DataFrame:
    """The values that chance does not explain, not even chance that draws clumps, the surest first; but for what
    nearly all of the group has."""
    found = pd.concat(tables, ignore_index=True)
    looked_at = int((found["inside"] + found["outside"] >= FEWEST).sum())
    found = found[(found["inside"] >= FEWEST) & (found["inside_share"] >= 0.05)]
    found = _counted(found, looked_at)
    found = found[_sure_of(found)]
    if len(found):
        found = _counted(_weighed(found, *_at_once(found["field"], whole)), looked_at)
        theirs = (found["inside_share"] >= NEARLY_ALL) & (found["field"] != "hour")
        found = found[_sure_of(found) | theirs]
        if not _sure_of(found).all():
            notes = [*notes, _ONE_BATCH]
    found = found.sort_values(["at_least", "field", "value"], ascending=[False, True, True])
    found = found.head(n).reset_index(drop=True)[[*_OUT, "compared_with"]]
    found.attrs = {"notes": notes, "inside": whole.inside}
    return found


def _counted(table: pd.DataFrame, looked_at: int) -> pd.DataFrame:
    return table.assign(chance=(table["chance"] * looked_at).clip(upper=1))


def _sure_of(table: pd.DataFrame) -> pd.Series:
    return (table["at_least"] > 1) & (table["chance"] <= CHANCE)


def _at_once(fields: pd.Series, whole: Tally) -> tuple[pd.Series, pd.Series]:
    """How many failures count as one, inside and outside, of each of these fields (one row each)."""
    sides = [_codes(rows, sorted(set(fields))) for rows in whole.samples]
    found = draws(sides)
    of = whole.inside, whole.same
    more = [size / max(len(rows), 1) for size, rows in zip(of, whole.samples, strict=True)]
    one, other = (
        fields.map({name: 1 + (many[side] - 1) * more[side] for name, many in found.items()})
        for side in (0, 1)
    )
    return one.fillna(1.0), other.fillna(1.0)


def _codes(rows: pd.DataFrame, fields: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """When the dated rows failed (microseconds), and their values of these fields as codes."""
    dated = rows[rows["failed_at"].notna()]
    times = dated["failed_at"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    found = {}
    for field in fields:
        if field in _COLUMNS:
            values = dated["failed_at"].dt.hour if field == "hour" else dated[field]
            found[field] = pd.factorize(values.astype("object"))[0].astype("int64")
    for column in ("kwargs", "args"):
        asked = [field for field in fields if field not in found and field not in _COLUMNS]
        codes, values = parsed(dated[column])
        told = [{} if value is UNREADABLE else flat(value, column) for value in values]
        for field in asked:
            texts = pd.factorize(np.array([one.get(field) for one in told], dtype=object))[0]
            if (texts >= 0).any():
                found[field] = texts.astype("int64")[codes]
    return times, found


def _same_tasks(failures: pd.DataFrame, inside: np.ndarray) -> np.ndarray:
    """The other failures of the group's tasks, as a mask."""
    tasks = failures["task_name"][inside].unique()
    return failures["task_name"].isin(tasks).to_numpy() & ~inside


def _beside_successes(
    failures: pd.DataFrame, inside: np.ndarray, successes: pd.DataFrame, n: int
) -> pd.DataFrame:
    """The group against what went well; of each column that both have."""
    group = failures[inside]
    if "task_name" not in successes.columns:
        raise SchemaError(
            "The successes have no column 'task_name'. The query successes gives a frame that fits."
        )
    many = successes["count"] if "count" in successes.columns else pd.Series(1, successes.index)
    same = successes["task_name"].isin(group["task_name"].unique()).to_numpy()
    tables = []
    for name in _RAN:
        if ("at" if name == "hour" else name) not in successes.columns:
            continue
        rest = np.ones(len(successes), bool) if name == "task_name" else same
        a = _texts(group, name, "failed_at").value_counts()
        b = many[rest].groupby(_texts(successes[rest], name, "at")).sum()
        table = pd.DataFrame({"inside": a, "outside": b}).fillna(0).astype("int64")
        table = table.rename_axis("value").reset_index().assign(field=name)
        if not table["outside"].sum() or not table["inside"].sum():
            continue  # one of the two says nothing of it
        judged = _judged(table.astype({"value": "str"}), len(group), int(many[rest].sum()), True)
        judged["compared_with"] = "successes" + ("" if name == "task_name" else " of these tasks")
        tables.append(judged)
    if not tables:
        return _empty("There is nothing to compare: no success of these tasks is known.")
    others = _sample(failures, _same_tasks(failures, inside))
    clumps = Tally(len(group), 0, 0, pd.DataFrame(), (_sample(failures, inside), others))
    return _sure(
        tables, n, [], clumps
    )  # successes count one by one: where, not when, is known of them


def _texts(rows: pd.DataFrame, name: str, at: str) -> pd.Series:
    """A column's values as lift tells them."""
    if name == "hour":
        return rows[at].dt.strftime("%H:00 UTC")
    return rows[name].astype("str").where(rows[name].notna())


def _mask(failures: pd.DataFrame, within: "str | pd.Series | Mapping[str, Any]") -> np.ndarray:
    if isinstance(within, pd.Series) and within.dtype in (bool, "boolean"):
        if len(within) != len(failures):
            raise SchemaError("The mask is of another frame. Build it from these failures.")
        return within.to_numpy(bool, na_value=False)
    need(failures, "fingerprint")
    if isinstance(within, str):
        name = within
    elif isinstance(within, Mapping | pd.Series) and "fingerprint" in within:
        name = within["fingerprint"]
    else:
        raise SchemaError(
            "within says which group: a fingerprint, a row of dlq.groups (groups.iloc[0]), or a mask of these failures."
        )
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
    """What is read of single rows, of at most SAMPLE of these, each with a mark made of its id: the rows with the smallest marks, so
    that they are the same ones each time, in whatever parts the failures come."""
    places = np.flatnonzero(mask)
    ids = failures["failure_id"].iloc[places].to_numpy(object, na_value="")
    marks = pd.util.hash_array(ids, categorize=False)
    few = _smallest(pd.DataFrame({"place": places, "mark": marks}))
    rows = failures[["args", "kwargs", "failed_at", *_ROWS]].iloc[few["place"]]
    return rows.reset_index(drop=True).assign(mark=few["mark"].to_numpy())


def _smallest(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= SAMPLE:
        return rows
    last = np.partition(rows["mark"].to_numpy(), SAMPLE - 1)[SAMPLE - 1]
    return rows[rows["mark"] <= last].reset_index(drop=True)


def _judged(table, n1, n0, within_task):  # type: ignore[no-untyped-def]
    """Shares, lift, its lower bound and chance, of n1 rows inside and n0 outside."""
    table = table.assign(
        inside_share=table["inside"] / max(n1, 1),
        outside_share=table["outside"] / max(n0, 1),
        of_inside=n1,
        of_outside=n0,
        compared_with="other failures of these tasks" if within_task else "all other failures",
    )
    return _weighed(table, 1.0, 1.0)


def _weighed(table, inside, outside):  # type: ignore[no-untyped-def]
    """Lift, its lower bound and chance, where so many rows inside and outside count as one. Half a row is added on
    each side (Haldane and Anscombe), so that a value never seen outside has a lift too. `chance` is Fisher's, of this
    value alone."""
    from scipy.stats import hypergeom

    a, n1 = table["inside"] // inside, (table["of_inside"] / inside).round()
    b, n0 = (table["outside"] / outside).round(), (table["of_outside"] / outside).round()
    one, other = a + 0.5, b + 0.5
    error = np.sqrt((1 / one - 1 / (n1 + 1) + 1 / other - 1 / (n0 + 1)).clip(lower=0))
    ratio = (one / (n1 + 1)) / (other / (n0 + 1))
    lift = (table["inside"] + 0.5) / (table["of_inside"] + 1)
    lift = lift / ((table["outside"] + 0.5) / (table["of_outside"] + 1))
    return table.assign(
        lift=lift.round(2),
        at_least=(ratio * np.exp(-SURE * error)).round(2),
        chance=hypergeom.sf(a - 1, n1 + n0, a + b, n1),
    )


def _empty(note: str) -> pd.DataFrame:
    kinds = dict.fromkeys(
        ("inside_share", "outside_share", "lift", "at_least", "chance"), "float64"
    )
    kinds |= {"field": "str", "value": "str", "inside": "int64", "outside": "int64"}
    table = pd.DataFrame({name: pd.Series(dtype=kinds[name]) for name in _OUT})
    table["compared_with"] = pd.Series(dtype="str")
    table.attrs = {"notes": [note], "inside": 0}
    return table
