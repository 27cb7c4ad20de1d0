"""Failures that stand for the same work: copies of an entry, the same business key, an effect already there.

Each question has three answers: yes, no, and cannot tell. What cannot be told is a row too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from string import Formatter

import numpy as np
import pandas as pd

from dlqanalysis.distinct import numbered
from dlqanalysis.errors import SchemaError, SettingsError, did_you_mean, need
from dlqanalysis.model import duration
from dlqanalysis.payload import fields_at, flat, parsed, same_content

Keys = str | Mapping[str, str]


def duplicates(
    failures: pd.DataFrame, key: Keys | None = None, within: str | None = None
) -> pd.DataFrame:
    """One row a failure that has copies, for each kind of copy.

    kind: `entry` (same task_id, in one source or in two; or same task and payload under another id),
    `business_key` (same key, built from the template `key`), `cannot_tell` (the key could not be built;
    copies and first are missing). Then key, copies, first (the oldest whose payload is complete, else
    the oldest), source, failure_id, failed_at, because. `key` is a template such as
    memo_{property_id}_{template_id} for all tasks, or a mapping task -> template: tasks it does not name
    are not asked about. With `within` (such as 24h) equal payloads and keys are copies only when no more
    than that lies between one and the next. `attrs["says"]` counts them in a sentence; `attrs["notes"]` name
    what a template asks for and no payload has.
    """
    need(failures, *_NEEDED, "source", "failure_id")
    if failures.attrs.get("summary_of"):
        raise SchemaError(
            "This is a summary: its rows are samples, so copies cannot be told. Load the failures with dlq.load."
        )
    gap = int(duration(within).total_seconds() * 1_000_000) if within else None
    ranked = _ranked(failures)
    tables, notes = [_entries(ranked, gap)], []
    if key:
        keys, problems, notes = _built(ranked, key)
        codes = _apart(ranked, pd.factorize(keys)[0], gap)
        tables.append(_copies(ranked, codes, "business_key", keys, "same business key"))
        asked = (problems.notna() & (problems != _NO_TEMPLATE)).to_numpy(bool)
        unknown = _part(ranked, asked, "cannot_tell", keys, "cannot tell: " + problems)
        tables.append(unknown)
    table = pd.concat(tables, ignore_index=True)
    order = ["kind", "key", "failed_at", "source", "failure_id"]
    table = table.astype({"source": "str"}).sort_values(order, na_position="last")
    # a key that names no field fits no failure: thousands of such rows would hide the copies
    table = table.sort_values("kind", key=lambda kind: kind == "cannot_tell", kind="stable")
    table = table.reset_index(drop=True)
    table.attrs["says"] = _says(table, len(failures))
    table.attrs["empty"] = "No failure is known to be a copy of another."
    table.attrs["notes"] = notes
    return table


def _says(copies: pd.DataFrame, every: int) -> str:
    """How many failures are copies of how many others, each counted once; and of how many nobody can tell."""
    names = pd.MultiIndex.from_frame(copies[["source", "failure_id"]])
    first = copies["first"].astype("boolean")
    spare = names[first.eq(False).fillna(False).to_numpy(bool)].unique()
    others = names[first.fillna(False).to_numpy(bool)].unique().difference(spare)
    untold = names[first.isna().to_numpy()].unique().difference(spare)
    untold_too = f"; of {len(untold):,} nobody can tell" if len(untold) else ""
    if not len(spare):
        return f"No failure of {every:,} is a copy of another{untold_too}"
    some = f"{len(spare):,} of {every:,} failure{'' if every == 1 else 's'}"
    verb = "is a copy" if len(spare) == 1 else "are copies"
    return f"{some} {verb} of {len(others):,} other{'' if len(others) == 1 else 's'}{untold_too}"


def business_keys(failures: pd.DataFrame, key: Keys) -> pd.Series:
    """The business key of each failure, missing where it cannot be built.

    A name in braces is looked up in kwargs (user.id goes inside), a number in args ({0} is the first).
    {task_name}, {queue}, {task_id}, {idempotency_key}, and the UTC dates {failed_on} and {enqueued_on}
    are the failure's own, where kwargs has no such name.
    """
    return _built(failures, key)[0]


def side_effects(
    failures: pd.DataFrame, key: Keys, done: "pd.DataFrame | Iterable[str] | None"
) -> pd.DataFrame:
    """Whether the work of each failure is already done: source, failure_id, key, effect, evidence.

    `done` holds the keys found in the system: any iterable of texts, or a frame with a column `key`
    whose other columns become the evidence. effect is done, not_done or cannot_tell: the key could not
    be built, or no lookup was made (done=None). `attrs["says"]` counts them in a sentence.
    """
    keys, problems, notes = _built(failures, key)
    seen, texts = _seen(done)
    places = seen.get_indexer(pd.Index(keys)) if len(seen) else np.full(len(keys), -1)
    known = keys.notna().to_numpy()
    hit = known & (places >= 0)
    clean = "not_done" if done is not None else "cannot_tell"
    effect = np.where(hit, "done", np.where(known, clean, "cannot_tell"))
    said = problems.copy()
    said[known] = "its key is not among those found" if done is not None else "nobody looked it up"
    said[hit] = texts.take(places[hit]).to_numpy()
    table = pd.DataFrame(
        {
            "source": failures["source"],
            "failure_id": failures["failure_id"],
            "key": keys,
            "effect": pd.Categorical(effect, ["done", "not_done", "cannot_tell"]),
            "evidence": said,
        }
    ).reset_index(drop=True)
    table.attrs["notes"] = notes
    return counted(table)


def counted(effects: pd.DataFrame) -> pd.DataFrame:
    """The same effects, with the sentence that counts them in `attrs["says"]`."""
    done, not_done, untold = (
        int((effects["effect"] == name).sum()) for name in ("done", "not_done", "cannot_tell")
    )
    said = f"Of {len(effects):,} failure{'' if len(effects) == 1 else 's'} {done:,} {'is' if done == 1 else 'are'}"
    said += f" done already and {not_done:,} {'is' if not_done == 1 else 'are'} not"
    effects.attrs["says"] = said + (f"; of {untold:,} nobody can tell" if untold else "")
    return effects


# -- copies -------------------------------------------------------------------------------------------

_NO_TEMPLATE = "no key template for this task"


def _ranked(failures: pd.DataFrame) -> pd.DataFrame:
    """The failures in the order in which one of several copies would go: complete payloads, the oldest."""
    incomplete = (failures["payload_state"] != "complete").to_numpy(bool, na_value=True)
    times = failures["failed_at"].fillna(pd.Timestamp.max.as_unit("us").tz_localize("UTC"))
    order = np.lexsort((times.dt.tz_localize(None).to_numpy(), incomplete))
    rows = failures[[*_NEEDED, "source", "failure_id"]]
    if (order[1:] < order[:-1]).any():
        rows = rows.iloc[order]
    return rows.reset_index(drop=True)


def _entries(ranked: pd.DataFrame, gap: int | None) -> pd.DataFrame:
    """Copies of an entry. Sets by task_id and sets by payload that overlap are one set, so that of
    three failures linked in a chain exactly one is the first."""
    by_id = numbered(ranked["task_id"].replace("", None))[0]
    by_payload = _apart(ranked, _payloads(ranked), gap)
    labels = np.arange(len(ranked))
    while True:
        before = labels
        for codes in (by_id, by_payload):
            there = codes >= 0
            least = np.full(codes.max(initial=-1) + 1, len(labels))
            np.minimum.at(least, codes[there], labels[there])
            labels = labels.copy()
            labels[there] = least[codes[there]]
        labels = labels[labels]
        if (labels == before).all():
            break
    copies = np.flatnonzero(_sizes(labels) > 1)
    ranked = ranked.iloc[copies].reset_index(drop=True)  # the rest says nothing below
    by_id, labels = by_id[copies], np.searchsorted(copies, labels[copies])
    shared = _sizes(by_id) > 1
    sources = ranked.assign(_id=by_id).loc[shared].groupby("_id")["source"].nunique()
    wide = shared & np.isin(by_id, sources.index[sources > 1])
    bare = ranked["args"].fillna("[]").isin(["[]", ""]) & ranked["kwargs"].fillna("{}").isin(
        ["{}", ""]
    )
    because = np.select(
        [wide, shared, bare.to_numpy(bool)],
        ["same task_id in two sources", "same task_id", "same task, no arguments"],
        "same task and payload",
    )
    handles = ranked["task_id"].fillna(ranked["source"].astype("str") + " " + ranked["failure_id"])
    keys = handles.take(labels).reset_index(drop=True)
    return _copies(ranked, labels, "entry", keys, pd.Series(because, dtype="str"))


def _payloads(ranked: pd.DataFrame) -> np.ndarray:
    """A number for each task and payload, -1 where the payload is not complete."""
    task = pd.factorize(ranked["task_name"])[0]
    args, kwargs = same_content(ranked["args"]), same_content(ranked["kwargs"])
    codes = task.astype(np.int64)
    for part in (args, kwargs):
        codes = pd.factorize(codes * (part.max(initial=0) + 2) + part + 1)[0].astype(np.int64)
    complete = (ranked["payload_state"] == "complete").to_numpy(bool, na_value=False)
    return np.where(complete & (task >= 0), codes, -1)


def _apart(ranked: pd.DataFrame, codes: np.ndarray, gap: int | None) -> np.ndarray:
    """The codes, split where more than `gap` microseconds lie between one failure and the next."""
    if gap is None or not len(codes):
        return codes
    times = ranked["failed_at"].dt.tz_localize(None).to_numpy().astype("M8[us]").view("int64")
    order = np.lexsort((times, codes))
    new = np.diff(codes[order], prepend=-2) != 0
    new |= np.diff(times[order], prepend=0) > gap
    split = np.empty(len(codes), np.int64)
    split[order] = np.cumsum(new)
    return np.where(codes < 0, -1, split)


def _sizes(codes: np.ndarray) -> np.ndarray:
    """For each row how many rows have its code; 0 where it has none."""
    counts = np.bincount(codes + 1, minlength=1)
    return np.where(codes < 0, 0, counts[codes + 1])


def _copies(ranked, codes, kind, keys, because):  # type: ignore[no-untyped-def]
    sizes = _sizes(codes)
    chosen = sizes > 1
    table = _part(ranked, chosen, kind, keys, because)
    first = np.zeros(len(ranked), bool)
    first[np.unique(codes, return_index=True)[1]] = True  # ranked: the first row of a code goes
    return table.assign(
        copies=pd.array(sizes[chosen], "Int64"), first=pd.array(first[chosen], "boolean")
    )


def _part(ranked, chosen, kind, keys, because):  # type: ignore[no-untyped-def]
    rows = ranked.loc[chosen]
    said = because[chosen] if isinstance(because, pd.Series) else because
    return pd.DataFrame(
        {
            "kind": pd.Series(kind, rows.index, dtype="str"),
            "key": keys[chosen].astype("str"),
            "copies": pd.Series(pd.NA, rows.index, dtype="Int64"),
            "first": pd.Series(pd.NA, rows.index, dtype="boolean"),
            "source": rows["source"],
            "failure_id": rows["failure_id"],
            "failed_at": rows["failed_at"],
            "because": pd.Series(said, rows.index, dtype="str"),
        }
    )


# -- keys ---------------------------------------------------------------------------------------------

_DATES = {"failed_on": "failed_at", "enqueued_on": "enqueued_at"}
_OWN = ("task_name", "queue", "task_id", "idempotency_key")
_NEEDED = (*_OWN, "args", "kwargs", "payload_state", *_DATES.values())


def _built(failures: pd.DataFrame, key: Keys) -> tuple[pd.Series, pd.Series, list[str]]:
    """The key of each failure, and what kept it from being built; one of the two is missing. With notes on names that
    no failure has."""
    rows = failures[[*_NEEDED]].reset_index(drop=True)
    keys = [pd.Series(dtype="str")]
    problems = [pd.Series(dtype="str")]
    notes = []
    for template, mask in _templates(failures, key):
        here = rows if mask.all() else rows.loc[mask]
        text, problem = None, pd.Series(None, here.index, dtype="str")
        for literal, name in _parts(template):
            piece = literal if name is None else literal + _field(here, name)
            text = piece if text is None else text + piece  # one missing field, and there is no key
            if name and len(here) and piece.isna().all():
                notes.append(_nowhere(here, name, template))
            if name:
                problem = problem.mask(piece.isna() & problem.isna(), f"{name} is missing")
        state = here["payload_state"].astype("str").fillna("missing")
        problem = problem.mask(problem.notna() & (state != "complete"), "the payload is " + state)
        keys.append(text)
        problems.append(problem)
    unasked = pd.Series(_NO_TEMPLATE, rows.index.difference(pd.concat(problems).index), dtype="str")
    problems.append(unasked)
    keys, problems = pd.concat(keys).reindex(rows.index), pd.concat(problems).reindex(rows.index)
    return keys.set_axis(failures.index), problems.set_axis(failures.index), notes


def _nowhere(failures: pd.DataFrame, name: str, template: str) -> str:
    """That no failure has a field, and which fields some of the payloads have."""
    column, kind = ("args", list) if name.isdecimal() else ("kwargs", dict)
    _, values = parsed(failures[column].dropna().drop_duplicates().head(100))
    paths = Counter(path for value in values if isinstance(value, kind) for path in flat(value))
    there = [path.replace("[", "").replace("]", "") for path, _ in paths.most_common(30)]
    hint = did_you_mean(name, there) if there else f"No {column} could be read."
    return f"No failure has {name}, which the key {template} asks for. {hint}"


def _templates(failures: pd.DataFrame, key: Keys) -> list[tuple[str, np.ndarray]]:
    """Each template with the rows it is for: a mask."""
    if isinstance(key, str):
        return [(key, np.ones(len(failures), bool))]
    rows: dict[str, np.ndarray] = {}
    for template in key.values():
        _parts(template)
    for task in failures["task_name"].dropna().unique():
        template = key.get(task) or key.get(task.rpartition(".")[2])
        if template:
            mask = (failures["task_name"] == task).to_numpy(bool, na_value=False)
            rows[template] = rows.get(template, False) | mask
    return list(rows.items())


def _parts(template: str) -> list[tuple[str, str | None]]:
    """The literal pieces of a template, each with the name that follows it."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise SettingsError(
            f"Key template '{template}' does not hold: {error}. Write it as memo_{{property_id}}."
        ) from None
    names = [name for _, name, _, _ in parts if name is not None]
    if not names or "" in names or any(spec or conversion for _, _, spec, conversion in parts):
        raise SettingsError(
            f"Key template '{template}' needs names of payload fields in braces and nothing else in"
            " them, such as memo_{property_id}_{template_id}."
        )
    return [(literal, name) for literal, name, _, _ in parts]


def _field(failures: pd.DataFrame, name: str) -> pd.Series:
    """One field of a template for each failure, as text; missing where there is none."""
    column = fields_at(failures["args" if name.isdecimal() else "kwargs"], name)
    if name in _DATES:
        return column.fillna(failures[_DATES[name]].dt.strftime("%Y-%m-%d").astype("str"))
    if name in _OWN:
        return column.fillna(failures[name].astype("str"))
    return column


def _seen(done: "pd.DataFrame | Iterable[str] | None") -> tuple[pd.Index, pd.Series]:
    """The distinct keys that were found, and what is known of each."""
    if done is None:
        done = ()
    if isinstance(done, pd.DataFrame):
        if "key" not in done.columns:
            raise SchemaError(
                "The frame of effects has no column 'key'. Build it with the same template, such as"
                " frame.assign(key=...)."
            )
        rows = done.dropna(subset="key").drop_duplicates("key")
        others = [name for name in rows.columns if name != "key"]
        texts = pd.Series("found", rows.index, dtype="str")
        for name in others:
            texts = texts + f", {name} " + rows[name].astype("str").fillna("?")
        return pd.Index(rows["key"].astype("str")), texts.reset_index(drop=True)
    keys = pd.Index(pd.Series(list(done), dtype="object").dropna().astype("str")).unique()
    return keys, pd.Series("found", range(len(keys)), dtype="str")
