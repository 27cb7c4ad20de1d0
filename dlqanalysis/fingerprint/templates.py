"""Messages to templates: skeletons first, the rest of the table on what stands for all."""

from collections.abc import Sequence

import polars as pl

from dlqanalysis.fingerprint.columns import Codes, distinct, run, shapes
from dlqanalysis.fingerprint.table import ANY, FINISH, NAME, NUMBERS, TEXT, VALUES, Step

SHOWN = 2_000  #: characters of a template, each placeholder counted as one


_MAY_CHANGE = "[0-9<]"  # in a template that has neither, nothing is left to find


def templates(shaped: pl.Series) -> tuple[Codes, pl.Series]:
    """A code for each skeleton, and the distinct templates behind the codes; a missing message has the empty one.

    Those of the last skeletons are remembered, like the skeletons themselves.
    """
    global _last
    known = _last
    if known is None or known[0] is not shaped:
        known = _last = shaped, *_templates(shaped)
    return known[1], known[2]


_last: tuple[pl.Series, Codes, pl.Series] | None = None


def _templates(shaped: pl.Series) -> tuple[Codes, pl.Series]:
    """The table is run twice, on the few templates of its first run too: what a placeholder stands beside can be read
    otherwise then, and the template of a template must be itself.
    """
    first_codes, first = distinct(_finished(shaped))
    again = first.str.contains(_MAY_CHANGE).arg_true()
    second_codes, second = shapes(first.gather(again), {})
    settled = first.clone().scatter(again, _finished(second).gather(second_codes))
    final_codes, final = distinct(settled)
    return final_codes[first_codes], final


def _finished(skeletons: pl.Series) -> pl.Series:
    whole = skeletons.fill_null("").str.strip_chars()
    named = whole.str.contains(NAME)
    text = _where(run(whole, TEXT), "[0-9]", NUMBERS)
    marked = whole.zip_with(named, _where(text, f"[{ANY}]|(?i-u:user)|for ", VALUES))
    return (
        marked.str.strip_chars().str.slice(0, SHOWN).str.strip_chars_end().str.replace_many(FINISH)
    )


def _where(texts: pl.Series, found: str, steps: Sequence[Step]) -> pl.Series:
    """The texts after steps that change nothing but texts in which the pattern is found."""
    rows = texts.str.contains(found).arg_true()
    return texts.clone().scatter(rows, run(texts.gather(rows), steps)) if len(rows) else texts
