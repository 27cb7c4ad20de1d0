"""Messages to templates: skeletons first, the rest of the table on what stands for all."""

from collections.abc import Mapping

import polars as pl

from dlqanalysis.fingerprint.columns import Codes, distinct, run, shapes
from dlqanalysis.fingerprint.table import FINISH, NAME, REST

SHOWN = 2_000  #: characters of a template, each placeholder counted as one


def templates(messages: pl.Series, own: Mapping[str, str]) -> tuple[Codes, pl.Series]:
    """A code for each message, and the distinct templates behind the codes; a missing message has the empty one.

    The table is run twice, on the few templates of its first run too: what a placeholder stands beside can be read
    otherwise then, and the template of a template must be itself.
    """
    codes, shaped = shapes(messages, own)
    first_codes, first = distinct(_finished(shaped))
    second_codes, second = shapes(first, {})
    final_codes, final = distinct(_finished(second))
    return final_codes[second_codes[first_codes[codes]]], final


def _finished(skeletons: pl.Series) -> pl.Series:
    whole = skeletons.fill_null("")
    named = whole.str.contains(NAME)
    marked = whole.zip_with(named, run(whole, REST)).str.strip_chars()
    return marked.str.slice(0, SHOWN).str.strip_chars_end().str.replace_many(FINISH)
