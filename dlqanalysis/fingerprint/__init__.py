"""What is the same error: a message becomes its template, a failure its fingerprint."""

import hashlib

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from dlqanalysis.errors import SchemaError
from dlqanalysis.fingerprint.columns import distinct, run, shapes, texts
from dlqanalysis.fingerprint.table import ALGORITHM, FINISH, NAME, REST

__all__ = ["ALGORITHM", "fingerprint", "skeletons", "template"]


SHOWN = 2_000  #: characters of a template


def skeletons(column: "pa.Array | pa.ChunkedArray") -> pa.Array:
    """Text with its number-bearing tokens collapsed and its codes kept; nulls stay.

    Equal skeletons have equal templates and hold the same codes, so one of each stands for all.
    """
    codes, values = distinct(texts(column))
    shape_codes, shaped = shapes(values)
    return shaped.gather(shape_codes[codes]).to_arrow().cast(pa.string())


def template(text: str | None) -> str:
    """The message with its values as placeholders; what is missing is the empty text.

    >>> template("connect ECONNREFUSED 10.0.3.17:5432")
    'connect ECONNREFUSED <ip>'
    """
    if not text:
        return ""
    clean = str(text).encode("utf-8", "backslashreplace").decode()
    return str(_templates(shapes(texts(pa.array([clean])))[1])[0])


def fingerprint(failures: pd.DataFrame) -> pd.DataFrame:
    """The failures with `fingerprint` (16 hex digits, the same for the same error in every frame) and `template`."""
    for name in ("exception_type", "exception_message"):
        if name not in failures.columns:
            raise SchemaError(
                f"The frame has no column '{name}'. Build it with dlq.load or dlq.from_records."
            )
    message_codes, messages = distinct(texts(_arrow(failures["exception_message"])))
    shape_codes, skeleton = shapes(messages)
    template_codes, templates = distinct(_templates(skeleton))
    type_codes, types = distinct(texts(_arrow(failures["exception_type"])))
    row_template = template_codes[shape_codes[message_codes]]
    pairs, where = _pairs(type_codes, row_template, len(templates))
    ids = _hashes(
        types.gather(pairs // max(1, len(templates))),
        templates.gather(pairs % max(1, len(templates))),
    )
    return failures.assign(
        fingerprint=_column(ids.gather(where), failures.index),
        template=_column(templates.gather(row_template), failures.index),
    )


def _pairs(left: np.ndarray, right: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    where, pairs = pd.factorize(left * max(1, width) + right)
    return pairs, where


def _hashes(types: pl.Series, templates: pl.Series) -> pl.Series:
    digests = [
        hashlib.sha256(f"{ALGORITHM}\x1f{kind or ''}\x1f{text}".encode()).hexdigest()[:16]
        for kind, text in zip(types, templates, strict=True)
    ]
    return pl.Series("text", digests, dtype=pl.String)


def _templates(skeletons: pl.Series) -> pl.Series:
    whole = skeletons.fill_null("")
    named = whole.str.contains(NAME)
    finished = run(whole, REST + FINISH)
    return whole.zip_with(named, finished).str.slice(0, SHOWN).str.strip_chars()


def _arrow(column: pd.Series) -> "pa.Array | pa.ChunkedArray":
    arrow = pa.array(column, from_pandas=True)
    return arrow.cast(pa.string()) if pa.types.is_null(arrow.type) else arrow


def _column(series: pl.Series, index: pd.Index) -> pd.Series:
    arrow = (
        pa.chunked_array([series.to_arrow()]) if len(series) else pa.array([], pa.large_string())
    )
    return pd.Series(pd.array(arrow, dtype="str"), index=index)
