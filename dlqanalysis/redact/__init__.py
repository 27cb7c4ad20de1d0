"""Secrets and personal data out of texts and frames; structure, ids, codes and times stay.

Three passes find spans: what stands behind a telling field name (JSON, repr, query strings, headers, XML),
what has a telling shape, and what the words before it give away (command lines, SQL, prose). What may recur is replaced by a stable pseudonym such as
<email:3fa2c19e>, salted per team, so that rows can still be joined; passwords become <secret>.
"""

import hmac
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.profile import redact_salt
from dlqanalysis.redact.fields import by_field, kind_of_field
from dlqanalysis.redact.idioms import by_idiom
from dlqanalysis.redact.shapes import MASKED, by_shape

#: Columns that hold names, ids and codes of the systems themselves. Never redacted: diagnosis needs them.
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


def redact_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A new frame whose texts are redacted: values, index and column labels. Each distinct text is read once.

    Columns that name things of the systems themselves (KEPT_COLUMNS), numbers and times stay.
    """
    found = frame.copy(deep=False)
    for position, name in enumerate(frame.columns):
        if name not in KEPT_COLUMNS:
            redacted = _column(frame.iloc[:, position])
            if redacted is not None:
                found.isetitem(position, redacted)
    if isinstance(frame.index, pd.MultiIndex):
        levels = redact_frame(frame.index.to_frame(index=False, allow_duplicates=True))
        found.index = pd.MultiIndex.from_frame(levels, names=frame.index.names)
    elif frame.index.name not in KEPT_COLUMNS:
        labels = _column(frame.index.to_series())
        if labels is not None:
            found.index = pd.Index(labels.array, name=frame.index.name)
    if all(isinstance(name, str) for name in frame.columns):
        found.columns = pd.Index([redact(name) for name in frame.columns], name=frame.columns.name)
    return found


def _column(column: pd.Series) -> pd.Series | None:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if dtype.categories.dtype.kind not in "OTSU":
            return None
        values = [_any(value) for value in dtype.categories]
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
        return pd.Series([_any(value) for value in column], column.index, object, column.name)
    codes, distinct = pd.factorize(column)
    values = pd.array([*(_any(value) for value in distinct), None], dtype=dtype)
    return pd.Series(values.take(codes), column.index, name=column.name)


def _any(value: Any) -> Any:
    """A text, bytes, or a list or dict of them, redacted; anything else as it is."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return _redact_bytes(value)
    if isinstance(value, dict):
        return {
            key: item if not isinstance(item, str) else _field_value(str(key), item)
            for key, item in ((key, _any(item)) for key, item in value.items())
        }
    if isinstance(value, list | tuple | set):
        return type(value)(_any(item) for item in value)
    return value


def _field_value(name: str, text: str) -> str:
    kind = kind_of_field(name)
    if not kind or MASKED.fullmatch(text.encode("utf-8", "surrogatepass")):
        return text
    return _written(kind, text.encode("utf-8", "surrogatepass"))


def _redact_bytes(text: bytes) -> bytes:
    found = [*by_field(text), *by_shape(text), *by_idiom(text)]
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
        value = bytes(byte for byte in value if 48 <= byte <= 57).lstrip(b"0")
    return f"<{kind}:{hmac.new(_salt(), value, 'sha256').hexdigest()[:8]}>"


@lru_cache(maxsize=1)
def _salt() -> bytes:
    return redact_salt()
