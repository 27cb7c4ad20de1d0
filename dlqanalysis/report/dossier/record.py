"""The head of the incident's record, and the page as Markdown in which nothing from the failures means anything."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.model import Finding
from dlqanalysis.profile import Profile
from dlqanalysis.redact import redact
from dlqanalysis.report.dossier.ending import CONFIRM
from dlqanalysis.report.dossier.fates import GONE
from dlqanalysis.report.dossier.words import stamp, words_of
from dlqanalysis.text import many

OPEN = "(to be filled in by a person)"


def facts(
    failures: pd.DataFrame,
    found: list[Finding],
    table: pd.DataFrame,
    profile: Profile | None = None,
    ended: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The head of the incident's record: field, value; what only a person knows says so. `table` is what `aftermath`
    gives, `ended` what `resolution` does: with it the time of the end is computed, for a person to confirm."""
    times = failures["failed_at"].dropna()
    first, last = (times.min(), times.max()) if len(times) else (pd.NaT, pd.NaT)
    length = last - first if len(times) else pd.NaT
    # when those failed that runs took away, nobody can tell any more: the incident may have been longer
    those = " (of those still there)" if (table["failure_class"] == GONE).any() else ""
    rows = [
        ("title", OPEN),
        ("severity", OPEN),
        ("first failure", f"{stamp(first)}{those}" if len(times) else ""),
        ("last failure", f"{stamp(last)}{those}" if len(times) else ""),
        ("failing for", f"{words_of(length)}{those}" if len(times) else ""),
        ("detected by, at", OPEN),
        *_resolved(found, ended),
        ("failures", _counted(len(failures), table)),
        ("replayed", f"{int(table['replayed'].sum()):,}"),
        ("succeeded after replay", f"{int(table['succeeded'].sum()):,}"),
        ("root cause", OPEN),
        ("what customers noticed", OPEN),
        ("lessons, actions, owners", OPEN),
    ]
    owners = sorted({who for queue, who in (profile.owners.items() if profile else ())
                     if queue in set(failures["queue"].astype("str"))})  # fmt: skip
    if owners:
        rows.insert(2, ("owners", ", ".join(owners)))
    return pd.DataFrame(rows, columns=["field", "value"], dtype="str")


def _resolved(found: list[Finding], ended: pd.DataFrame | None) -> list[tuple[str, str]]:
    """When it was over and how long it took: nothing is said to be over while a check is critical."""
    rows = None if ended is None else ended.set_index("what")
    if rows is not None and pd.isna(rows.loc["resolved", "at"]):
        return [("resolved at", str(rows.loc["resolved", "because"]))]
    if any(one.severity == "critical" for one in found):
        return [("resolved at", "not over: see the checklist")]
    if rows is None:
        return [("resolved at", OPEN)]
    at, began = rows.loc["resolved", "at"], rows.loc["began", "at"]
    return [
        ("resolved at", f"{stamp(at)} ({CONFIRM})"),
        ("time to resolve", f"{words_of(at - began)} from {stamp(began)} ({CONFIRM})"),
    ]


def _counted(there: int, table: pd.DataFrame) -> str:
    """How many failures there were; where runs took some out of the source, how many are still there."""
    gone = table[table["failure_class"] == GONE]
    if not len(gone):
        return f"{there:,}"
    aside = int(gone["other"].sum())
    replayed = int(gone["failures"].sum()) - aside
    parts = [(there, "still there"), (replayed, "replayed"), (aside, "put aside")]
    told = ", ".join(f"{count:,} {word}" for count, word in parts if count or word == "still there")
    return f"{there + replayed + aside:,} ({told})"


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
        lines.append(f"\n{many(len(frame) - len(shown), 'more rows')}.")
    return lines


#: In one step: one after the other would spell the # of an earlier one. Brackets of a link and a picture's sign need
#: their square ones.
_DEAD = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {sign: f"&#{ord(sign)};" for sign in "\\`*{}[]#|~$^"}
)
_EDGE = re.compile(
    r"(?<![^\W_])_|_(?![^\W_])"
)  # one inside of a word, as names have it, means nothing


def _safe(text: Any) -> str:
    """One redacted line in which Markdown and HTML mean nothing."""
    line = "".join(c if c.isprintable() else " " for c in redact(str(text))).strip()[:300]
    return (
        _EDGE.sub("&#95;", line.translate(_DEAD))
        .replace("://", "&#58;//")
        .replace("@", "&#64;")
        .replace("www.", "www&#46;")
    )
