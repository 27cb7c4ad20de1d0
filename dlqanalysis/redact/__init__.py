"""Secrets and personal data out of texts and frames; structure, ids, codes and times stay.

Four passes find spans: what stands behind a telling field name (JSON, repr, query strings, headers, XML), what has a
telling shape, what the words before it give away (command lines, SQL, prose), and what stands in a row that a
database printed. What may recur is replaced by a stable pseudonym such as <email:3fa2c19e>, salted per team, so that rows can still be joined; passwords become <secret>.
"""

import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.profile import redact_salt
from dlqanalysis.redact.fields import by_field, kind_of_field
from dlqanalysis.redact.idioms import by_idiom
from dlqanalysis.redact.rows import by_row
from dlqanalysis.redact.shapes import KEYS, MASKED, Span, by_shape, with_keys

#: Columns that hold names, ids and codes of the systems themselves. Diagnosis needs them: only what has the shape of a
#: key or is a URL's password goes, for a pseudonym, so that rows can still be told apart and joined.
KEPT_COLUMNS = frozenset(
    [
        "source",
        "failure_id",
        "task_id",
        "task_name",
        "queue",
        "status",
        "priority",
        "payload_state",
        "exception_type",
        "worker",
        "trace_id",
        "failure_class",
        "rule",
        "confidence",
        "fingerprint",
        "run_id",
        "plan_id",
        "sent_id",
        "content_hash",
        "work",
    ]
)


def redact(text: str) -> str:
    """The text without secrets and personal data; None and other non-texts are returned as they are.

    >>> redact('{"user": 7, "password": "hunter2"}')
    '{"user": 7, "password": "<secret>"}'
    """
    if not isinstance(text, str):
        return text
    return _redact_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def redact_name(text: str) -> str:
    """A name or id without what has the shape of a key or is a URL's password; pseudonyms keep it joinable."""
    raw = text.encode("utf-8", "surrogatepass")
    spans = [(*span[:2], "token", *span[3:]) for span in by_shape(raw) if span[2] in KEYS]
    return _replaced(raw, spans).decode("utf-8", "surrogatepass")


def redact_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A new frame whose texts are redacted: values, index and column labels. Each distinct text is read once.

    Columns that name things of the systems themselves (KEPT_COLUMNS) lose keys and passwords of URLs only; numbers
    and times stay.
    """
    need(frame)
    found = frame.copy(deep=False)
    for position, name in enumerate(frame.columns):
        redacted = _column(frame.iloc[:, position], name in KEPT_COLUMNS)
        if redacted is not None:
            found.isetitem(position, redacted)
    if isinstance(frame.index, pd.MultiIndex):
        levels = redact_frame(frame.index.to_frame(index=False, allow_duplicates=True))
        found.index = pd.MultiIndex.from_frame(levels, names=frame.index.names)
    else:
        labels = _column(frame.index.to_series(), frame.index.name in KEPT_COLUMNS)
        if labels is not None:
            found.index = pd.Index(labels.array, name=frame.index.name)
    if all(isinstance(name, str) for name in frame.columns):
        found.columns = pd.Index([redact(name) for name in frame.columns], name=frame.columns.name)
    return found


def _column(column: pd.Series, kept: bool) -> pd.Series | None:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if dtype.categories.dtype.kind not in "OTSU":
            return None
        values = _values(dtype.categories, kept)
        if values == list(dtype.categories):
            return None
        codes, known = pd.factorize(pd.array(values, dtype="str"))
        picked = np.append(codes, -1)[column.cat.codes.to_numpy()]
        kind = pd.CategoricalDtype(known, ordered=bool(dtype.ordered))
        return pd.Series(
            pd.Categorical.from_codes(picked, dtype=kind), column.index, name=column.name
        )
    if (
        dtype.kind not in "OTSU"
        and not pd.api.types.is_string_dtype(dtype)
        and "binary" not in str(dtype)
    ):
        return None
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return pd.Series(_values(column, kept), column.index, object, column.name)
    codes, distinct = pd.factorize(column)
    values = pd.array([*_values(distinct, kept), None], dtype=dtype)
    return pd.Series(values.take(codes), column.index, name=column.name)


def _values(values: Iterable[Any], kept: bool) -> list[Any]:
    if not kept:
        return [redacted(value) for value in values]
    found = list(values)
    for place in with_keys([value if isinstance(value, str) else "" for value in found]):
        found[place] = redact_name(found[place])
    return found


def redacted(value: Any) -> Any:
    """A text, bytes, or a list or dict of them, redacted; anything else as it is."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return _redact_bytes(value)
    if isinstance(value, dict):
        return {key: _field_value(str(key), redacted(item)) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(redacted(item) for item in value)
    return value


def _field_value(name: str, value: Any) -> Any:
    """What stands behind a name: hidden as a whole where the name tells and there is text in it; numbers stay."""
    kind = kind_of_field(name)
    text = value if isinstance(value, str) else repr(value) if _has_text(value) else ""
    raw = text.encode("utf-8", "surrogatepass")
    return value if not kind or not raw or MASKED.fullmatch(raw) else _written(kind, raw)


def _has_text(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        return any(map(_has_text, value))
    return isinstance(value, str | bytes) and bool(value)


def _redact_bytes(text: bytes) -> bytes:
    return _replaced(text, [*by_field(text), *by_shape(text), *by_idiom(text), *by_row(text)])


def _replaced(text: bytes, found: list[Span]) -> bytes:
    spans = sorted(found, key=lambda span: (span[0], -span[1]))
    if not spans:
        return text
    parts, position = [], 0
    for start, end, kind, value, quote in spans:
        if end <= position:
            continue
        if start < position:  # overlaps the span before it: the rest goes with that one
            position = end
            continue
        parts += [text[position:start], quote, _written(kind, value).encode(), quote]
        position = end
    return b"".join([*parts, text[position:]])


def _written(kind: str, value: bytes) -> str:
    if kind == "secret":
        return "<secret>"
    if kind in ("email", "iban"):
        value = value.replace(b"%40", b"@").replace(b" ", b"").lower()
    elif kind in ("card", "phone"):
        value = value.upper().removeprefix(b"%2B")
        value = bytes(byte for byte in value if 48 <= byte <= 57).lstrip(b"0")
    return f"<{kind}:{hmac.new(_salt(), value, 'sha256').hexdigest()[:8]}>"


@lru_cache(maxsize=1)
def _salt() -> bytes:
    return redact_salt()
