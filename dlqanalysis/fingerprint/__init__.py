"""What is the same error: a message becomes its template, a failure its fingerprint.

Type and template decide. Values are placeholders, codes and names of schema stay (see `table` and `codes`); frames of
the traceback refine only failures whose message says nothing (`frames`); people merge and split in a file (`hand`),
for which `similar` makes proposals.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from dlqanalysis.distinct import paired
from dlqanalysis.errors import need
from dlqanalysis.fingerprint.columns import Codes, distinct, texts
from dlqanalysis.fingerprint.columns import skeleton_codes as _skeleton_codes
from dlqanalysis.fingerprint.explain import explain
from dlqanalysis.fingerprint.frames import innermost, says_nothing
from dlqanalysis.fingerprint.gathering import Gathering
from dlqanalysis.fingerprint.hand import Hand, by_hand
from dlqanalysis.fingerprint.similar import merge_stub, similar
from dlqanalysis.fingerprint.table import ALGORITHM
from dlqanalysis.fingerprint.templates import templates
from dlqanalysis.text import storable

__all__ = [
    "ALGORITHM",
    "Gathering",
    "explain",
    "fingerprint",
    "merge_stub",
    "similar",
    "skeletons",
    "template",
]


def skeletons(column: "pa.Array | pa.ChunkedArray") -> pa.Array:
    """Text whose values are each one control character, codes and names as they were; nulls stay.

    Equal skeletons have equal templates and hold the same codes, so one of each stands for all.
    """
    codes, shaped = skeleton_codes(column)
    return shaped.take(pa.array(codes))


def skeleton_codes(
    column: "pa.Array | pa.ChunkedArray", once: bool = False
) -> tuple[Codes, pa.Array]:
    """A code for each row, and the distinct skeletons that the codes point at; remembered, unless asked for `once`."""
    codes, shaped = _skeleton_codes(column, by_hand().placeholders, once)
    return codes, shaped.to_arrow().cast(pa.string())


def template_codes(column: "pa.Array | pa.ChunkedArray") -> tuple[Codes, pa.Array]:
    """A code for each row, and the distinct templates that the codes point at."""
    shape_codes, shaped = _skeleton_codes(column, by_hand().placeholders)
    codes, named = templates(shaped)
    return codes[shape_codes], named.to_arrow().cast(pa.string())


def template(text: str | None) -> str:
    """The message with its values as placeholders; what is missing is the empty text.

    >>> template("connect ECONNREFUSED 10.0.3.17:5432")
    'connect ECONNREFUSED <host>'
    """
    if not text:
        return ""
    return str(
        templates(_skeleton_codes(pa.array([storable(str(text))]), by_hand().placeholders)[1])[1][0]
    )


def fingerprint(failures: pd.DataFrame) -> pd.DataFrame:
    """The failures with `fingerprint` (16 hex digits) and `template`.

    A row's fingerprint depends on its type and message alone, whatever else is in the frame; where the message says
    nothing also on its traceback. Where load kept one traceback for each kind of failure, it speaks for its kind.
    """
    need(failures, "exception_type", "exception_message")
    hand = by_hand()
    messages = _arrow(failures["exception_message"])
    shape_codes, shaped = _skeleton_codes(messages, hand.placeholders)
    template_codes, named = templates(shaped)
    type_codes, found = pd.factorize(failures["exception_type"], use_na_sentinel=False)
    types = texts(_arrow(pd.Series(found)))
    rows = template_codes[shape_codes]
    kinds, pairs = paired(type_codes.astype(np.int64), len(types), rows, len(named))
    pair_types = types.gather(pairs // max(1, len(named))).fill_null("").to_list()
    pair_templates = named.gather(pairs % max(1, len(named))).to_list()
    ids = [_id(kind, text) for kind, text in zip(pair_types, pair_templates, strict=True)]
    quiet = [
        number
        for number, (kind, text) in enumerate(zip(pair_types, pair_templates, strict=True))
        if says_nothing(text, kind)
    ]
    frames, frame_names = _frames(failures, kinds, quiet)
    groups, combined = paired(kinds, len(pairs), frames, len(frame_names))
    group_pairs, group_frames = np.divmod(combined, len(frame_names))
    prints = [
        _id(pair_types[pair], pair_templates[pair], frame_names[frame]) if frame else ids[pair]
        for pair, frame in zip(group_pairs, group_frames, strict=True)
    ]
    shown = [pair_templates[pair] for pair in group_pairs]
    if hand.split:
        groups, prints, shown = _split(hand, groups, prints, shown, messages)
    prints = [hand.merged.get(one, one) for one in prints]
    return failures.assign(
        fingerprint=_column(prints, groups, failures.index),
        template=_column(shown, groups, failures.index),
    )


def _id(*parts: str) -> str:
    return hashlib.sha256("\x1f".join((ALGORITHM, *parts)).encode()).hexdigest()[:16]


def _frames(failures: pd.DataFrame, kinds: Codes, quiet: list[int]) -> tuple[Codes, list[str]]:
    """For each row a code of its innermost frames, 0 where the message speaks or there is no traceback."""
    codes = np.zeros(len(failures), dtype=np.int64)
    names = [""]
    if not quiet or "traceback" not in failures.columns:
        return codes, names
    rows = np.flatnonzero(np.isin(kinds, quiet))
    known, distinct_tracebacks = pd.factorize(failures["traceback"].iloc[rows])
    frames, found = pd.factorize(
        np.array([innermost(text) for text in distinct_tracebacks] + [""], dtype=object)
    )
    names += [str(name) for name in found]
    codes[rows] = np.where(known < 0, 0, frames[known] + 1)
    codes[codes == 1 + list(found).index("")] = 0
    if failures.attrs.get("tracebacks") == "representatives":
        codes[rows] = _spread(failures, kinds[rows], rows, codes[rows])
    return codes, names


def _spread(failures: pd.DataFrame, kinds: Codes, rows: Codes, frames: Codes) -> Codes:
    """Rows without a traceback take the frames of their task's representatives, where these agree."""
    if "task_name" in failures.columns:
        tasks = pd.factorize(failures["task_name"].iloc[rows])[0]
        kinds = pd.factorize(kinds.astype(np.int64) * (tasks.max(initial=0) + 2) + tasks + 1)[0]
    table = pd.DataFrame({"kind": kinds, "frames": frames})
    said = table[table["frames"] > 0].groupby("kind")["frames"].agg(["min", "max"])
    agreed = said.loc[said["min"] == said["max"], "min"]
    return np.where(
        frames > 0, frames, table["kind"].map(agreed).fillna(0).astype(np.int64).to_numpy()
    )


def _split(
    hand: Hand,
    groups: Codes,
    prints: list[str],
    shown: list[str],
    column: pa.Array | pa.ChunkedArray,
) -> tuple[Codes, list[str], list[str]]:
    """Groups that a person split, told apart by what the pattern finds in their messages."""
    groups = groups.copy()
    message_codes, messages = distinct(texts(column))
    for number, one in enumerate(list(prints)):
        if pattern := hand.split.get(one):
            rows = np.flatnonzero(groups == number)
            codes, inside = np.unique(message_codes[rows], return_inverse=True)
            found = messages.gather(codes).str.extract(f"({pattern})", 1).fill_null("").to_list()
            for word in sorted(set(found) - {""}):
                hit = np.array([other == word for other in found])[inside]
                groups[rows[hit]] = len(prints)
                prints = [*prints, _id(one, word)]
                shown = [*shown, f"{shown[number]} [{word}]"]
    return groups, prints, shown


def _arrow(column: pd.Series) -> "pa.Array | pa.ChunkedArray":
    arrow = pa.array(column, from_pandas=True)
    return arrow.cast(pa.string()) if pa.types.is_null(arrow.type) else arrow


def _column(values: Iterable[str], codes: Codes, index: pd.Index) -> pd.Series:
    taken = pa.array(list(values), pa.large_string()).take(pa.array(codes))
    return pd.Series(pd.array(taken, dtype="str"), index=index)
