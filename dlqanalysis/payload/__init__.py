"""Payload texts (JSON), read once for each distinct text and never evaluated."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dlqanalysis.distinct import numbered
from dlqanalysis.text import storable

UNREADABLE = object()  #: stands for a text that is no JSON, or for no text
_DEPTH, _FIELDS, _WIDTH = 4, 200, 120  # a hostile payload may be deep, wide or long


def parsed(texts: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """For each row the number of its distinct text, and the value of each distinct text (or UNREADABLE)."""
    codes, found = numbered(texts)
    values = [value_of(text) for text in found]
    missing = codes < 0
    if missing.any():
        codes = np.where(missing, len(values), codes)
        values.append(UNREADABLE)
    return codes, values


def value_of(text: str) -> Any:
    """What a JSON text says, or UNREADABLE.

    >>> value_of('{"a": [1]}'), value_of("{'a': 1}") is UNREADABLE
    ({'a': [1]}, True)
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return UNREADABLE


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Path -> text of the scalars in a payload; the length of each list; bounded in depth and number.

    >>> flat({"tenant": {"id": 7}, "rows": [1, 2], "dry": True}, "kwargs")
    {'kwargs.tenant.id': '7', 'kwargs.rows.length': '2', 'kwargs.dry': 'true'}
    """
    found: dict[str, str] = {}
    for path, text in _walk(value, prefix, 0):
        if len(found) >= _FIELDS:
            break
        found[storable(path)] = text
    return found


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < _DEPTH:
        for name, inner in value.items():
            yield from _walk(inner, f"{path}.{name[:_WIDTH]}" if path else name[:_WIDTH], depth + 1)
    elif isinstance(value, list):
        if depth == 0:  # positional arguments: each has a meaning of its own
            for place, inner in enumerate(value[:20]):
                yield from _walk(inner, f"{path}[{place}]", depth + 1)
        else:
            yield f"{path}.length", str(len(value))
    elif not isinstance(value, dict):
        yield path, scalar(value)[:_WIDTH]


def scalar(value: Any) -> str:
    """A JSON scalar as text that a frame can hold: strings bare, the rest as JSON writes it."""
    return storable(value) if isinstance(value, str) else json.dumps(value)


def lookup(value: Any, path: str) -> str | None:
    """The scalar at a dotted path, or None where there is none; null and the empty text are none either.

    >>> lookup({"user": {"id": 5}}, "user.id"), lookup({"user": None}, "user.id"), lookup([7], "0")
    ('5', None, '7')
    """
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    if value is None or value == "" or isinstance(value, dict | list):
        return None
    return scalar(value)


def fields_at(texts: pd.Series, path: str) -> pd.Series:
    """`lookup` for a column of JSON texts: the scalar at a path, as text; missing where there is none."""
    import polars as pl

    if not _PLAIN.fullmatch(path):
        codes, values = parsed(texts)
        found = [None if value is UNREADABLE else lookup(value, path) for value in values]
        return pd.Series(np.array([*found, None], object)[codes], texts.index, dtype="str")
    column = pl.from_arrow(
        pa.chunked_array([texts.array.__arrow_array__()]).cast(pa.large_string())
    )
    step = f"[{path}]" if path.isdecimal() else f".{path}"
    found = column.str.json_path_match(f"${step}").to_arrow().to_pandas().astype("str")
    found = found.set_axis(texts.index)
    # Numbers that passed through a double, and lists and objects, are read again: exactly.
    odd = found.str.match(r"[\[{]|-0|[-0-9.]+e").fillna(False).to_numpy(bool)
    if odd.any():
        values = map(value_of, texts[odd])
        exact = [None if value is UNREADABLE else lookup(value, path) for value in values]
        found[odd] = np.array(exact, object)
    return found.mask(found == "")


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*|[0-9]{1,4}")


def same_content(texts: pd.Series) -> np.ndarray:
    """A number for each row, equal where the JSON is equal apart from white space and the order of keys.

    Rows without a text get -1; texts that are no JSON never equal another. Only texts that may equal another one are
    parsed, so that a million distinct payloads cost no million objects.
    """
    codes, found = numbered(texts)
    if not len(found):
        return codes
    sums, _ = pd.factorize(_order_free(found.to_arrow()))
    alike = np.flatnonzero(np.bincount(sums)[sums] > 1)
    number = np.arange(len(found))
    canonical: dict[str, int] = {}
    for place, text in zip(alike, found.gather(alike), strict=True):
        value = value_of(text)
        if value is UNREADABLE:
            number[place] = -1
            continue
        text = json.dumps(value, sort_keys=True)
        number[place] = canonical.setdefault(text, int(place))
    return np.where(codes < 0, -1, number[codes])


#: a random number for each two letters that stand together; none where one of them is a sign or a space, beside which
#: the same member may stand otherwise
_PAIRS = np.random.default_rng(20240115).integers(1, 2**63, (256, 256), dtype=np.uint64)
_SIGNS = [ord(sign) for sign in ",:{}[] \t\r\n"]
_PAIRS[_SIGNS, :] = _PAIRS[:, _SIGNS] = 0


def _order_free(array: pa.LargeStringArray, at_once: int = 1_000_000) -> np.ndarray:
    """A 64-bit sum for each text that no reordering of its members changes: a sieve, not a proof."""
    ends = np.frombuffer(array.buffers()[1], np.int64)[array.offset :][: len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    sums = np.zeros(len(array), np.uint64)
    pairs = _PAIRS.ravel()
    start = 0
    while start < len(array):
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + at_once, "right")) - 1)
        stop = min(stop, len(array))
        part = data[ends[start] : ends[stop]].astype(np.uint16)
        full = start + np.flatnonzero(np.diff(ends[start : stop + 1]))
        if len(full):
            found = np.zeros(len(part), np.uint64)
            found[:-1] = pairs[part[:-1] << 8 | part[1:]]
            found[ends[full + 1] - ends[start] - 1] = 0  # what follows is another text's
            sums[full] = np.add.reduceat(found, ends[full] - ends[start])
        start = stop
    return sums
