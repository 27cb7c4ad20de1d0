"""The incident page as Markdown in which nothing from the failures means anything, and times in it as words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.redact import redact


def page(head: pd.DataFrame, parts: Mapping[str, pd.DataFrame | str], out: str | Path = "") -> str:
    """The incident page as Markdown: the facts, then each part under its heading; written to `out` when named.

    Tables are cut at 50 rows. Everything is redacted and made harmless: no cell is more than text.
    """
    lines = ["# Incident", "", *_table(head), ""]
    for title, part in parts.items():
        lines += [f"## {_safe(title)}", ""]
        lines += [_safe(part)] if isinstance(part, str) else _table(part)
        lines.append("")
    text = "\n".join(lines)
    if out:
        try:
            Path(out).write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"{out} cannot be written: {error.strerror}. Name another file, or leave out empty."
            ) from None
    return text


def _table(frame: pd.DataFrame) -> list[str]:
    if not len(frame):
        return [_safe(frame.attrs.get("empty") or "Nothing.")]
    shown = frame.head(50)
    lines = ["| " + " | ".join(_safe(name) for name in shown.columns) + " |"]
    lines.append("|" + " --- |" * len(shown.columns))
    for row in shown.astype("object").itertuples(index=False, name=None):
        lines.append("| " + " | ".join(_safe(stamp(cell)) for cell in row) + " |")
    if len(frame) > len(shown):
        lines.append(f"\n{len(frame) - len(shown):,} more rows.")
    return lines


#: In one step: one after the other would spell the # of an earlier one. Brackets of a link need their square ones.
_DEAD = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    | {sign: f"&#{ord(sign)};" for sign in "\\`*_{}[]#!|~$^"}
)


def _safe(text: Any) -> str:
    """One redacted line in which Markdown and HTML mean nothing."""
    line = "".join(c if c.isprintable() else " " for c in redact(str(text))).strip()[:300]
    return (
        line.translate(_DEAD)
        .replace("://", "&#58;//")
        .replace("@", "&#64;")
        .replace("www.", "www&#46;")
    )


def stamp(value: Any) -> str:
    """A cell as text: a time to the second in UTC, nothing for what is missing."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    return "" if value is None or value is pd.NA or value != value else str(value)


def words_of(length: Any) -> str:
    """A length of time as people say it: 7 minutes, 1 hour."""
    seconds = abs(pd.Timedelta(length).total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size * (1 if size == 60 else 2):
            count = round(seconds / size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    count = round(seconds)
    return f"{count} second{'' if count == 1 else 's'}"
