"""Skeletons to templates: the rest of the table, run on what stands for all."""

import polars as pl

from dlqanalysis.fingerprint.columns import run
from dlqanalysis.fingerprint.table import FINISH, NAME, REST

SHOWN = 2_000  #: characters of a template


def templates(skeletons: pl.Series) -> pl.Series:
    """The template of each skeleton; a missing one has the empty template."""
    whole = skeletons.fill_null("")
    finished = run(whole, (*REST, *FINISH))
    return whole.zip_with(whole.str.contains(NAME), finished).str.slice(0, SHOWN).str.strip_chars()
