"""A frame as a CSV that people open in a spreadsheet: redacted, and no cell of it is a formula."""

from pathlib import Path
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.redact import redact_frame
from dlqanalysis.text import decoded

_FORMULA = tuple(
    "=+-@\t\r\n|%\uff1d\uff0b\uff0d\uff20"
)  # full-width, too: some spreadsheets fold them
_LONGEST = 32_000  #: letters; Excel keeps 32,767 of a cell


def sheet(frame: pd.DataFrame, out: str | Path) -> Path:
    """Writes a frame as CSV to `out` and gives its path: redacted, formulas made text, invisible signs made visible.

    Text that a spreadsheet would run gets an apostrophe in front; control and right-to-left signs are shown as
    \\u202e; a cell is cut at 32,000 letters. For programs take `frame.to_parquet` of `dlq.redact_frame(frame)`.
    """
    path = Path(out)
    if path.suffix.lower() != ".csv":
        raise SettingsError(
            f"{path.name} is no CSV. Give a name that ends in .csv; a spreadsheet opens it."
        )
    named = not isinstance(frame.index, pd.RangeIndex)
    shown = redact_frame(frame)
    shown = shown.reset_index(allow_duplicates=True) if named else shown
    cells = [_column(shown.iloc[:, place]) for place in range(shown.shape[1])]
    table = pd.DataFrame(dict(enumerate(cells)), index=shown.index)
    table.columns = pd.Index([_cell(name) for name in shown.columns])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}. Name another file."
        ) from None
    return path


def _column(column: pd.Series) -> pd.Series:
    kind = column.dtype
    if (
        pd.api.types.is_numeric_dtype(kind)
        or isinstance(kind, pd.DatetimeTZDtype)
        or kind.kind in "mM"
    ):
        return column
    codes, distinct = pd.factorize(column.astype("object").map(_written, na_action="ignore"))
    known = pd.Series([*(_cell(value) for value in distinct), ""], dtype="object")
    return pd.Series(known.take(codes).array, column.index)


def _written(value: Any) -> str:
    return decoded(value) if isinstance(value, bytes) else str(value)


def _cell(value: Any) -> str:
    text = str(value)
    cut = (
        text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\u2026 {len(text) - _LONGEST:,} more"
    )
    plain = "".join(sign if sign.isprintable() else _visible(sign) for sign in cut)
    return f"'{plain}" if text.lstrip(" \xa0\ufeff\u200b").startswith(_FORMULA) else plain


def _visible(sign: str) -> str:
    """An invisible sign as its name: \\n, \\x1b, \\u202e."""
    return sign.encode("unicode_escape").decode("ascii")
