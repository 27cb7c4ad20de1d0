"""Whether the work of a failure is already done: its business key beside what a system has."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from dlqanalysis.duplicates.keys import Keys, built
from dlqanalysis.errors import SchemaError
from dlqanalysis.profile import Profile


def side_effects(
    failures: pd.DataFrame,
    key: Keys,
    done: "pd.DataFrame | Iterable[str] | None",
    profile: Profile | None = None,
) -> pd.DataFrame:
    """Whether the work of each failure is already done: source, failure_id, key, effect, evidence.

    `done` holds the keys found in the system: any iterable of texts, or a frame with a column `key`
    whose other columns become the evidence. effect is done, not_done or cannot_tell: the key could not
    be built, or no lookup was made (done=None). `attrs["says"]` counts them in a sentence.
    """
    keys, problems, notes = built(failures, key, profile)
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
