"""A selection applied to columns in memory: for sources whose system cannot filter."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.frame import arrow_type, in_order
from dlqanalysis.model import Selection
from dlqanalysis.text import many

if TYPE_CHECKING:
    import sqlalchemy as sa

#: asked for by their whole name, or by what follows its last dot: ValueError finds builtins.ValueError
DOTTED = ("task_name", "exception_type")


def last_part(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """What follows the last dot of each name."""
    return pc.replace_substring_regex(names, r"(?s)^.*\.", "")


def last_part_sql(name: "sa.ColumnElement") -> "sa.ColumnElement":
    """The same in SQL; quicker than a regular expression there."""
    import sqlalchemy as sa

    return sa.func.reverse(sa.func.split_part(sa.func.reverse(name), ".", 1))


def is_named(name: object, wanted: Collection[str]) -> bool:
    """The same for one name: whether it is wanted, whole or by its last part."""
    return isinstance(name, str) and (name in wanted or name.rpartition(".")[2] in wanted)


def narrowed(table: pa.Table, selection: Selection) -> tuple[pa.Table, bool, list[str]]:
    """The rows asked for, the newest within the limit; whether the limit cut some off; and notes: how many
    were left out because they have no time."""
    mask, notes = pc.is_valid(table["failure_id"]), []
    when = table["failed_at"]
    if when.null_count and (selection.since or selection.until):
        notes.append(
            f"{many(when.null_count, 'rows have')} no time of failure (left out by since and until):"
            " since=None shows them."
        )
    for bound, compare in ((selection.since, pc.greater_equal), (selection.until, pc.less)):
        if bound:
            hit = compare(when, pa.scalar(bound, arrow_type("failed_at")))
            mask = pc.and_(mask, pc.fill_null(hit, False))
    for name, words in (
        ("queue", selection.queue),
        ("task_name", selection.task),
        ("exception_type", selection.exception),
        ("status", selection.status),
    ):
        if not words:
            continue
        values, wanted = table[name].cast(pa.string()), pa.array(words, pa.string())
        hit = pc.is_in(values, wanted)
        if name in DOTTED:
            hit = pc.or_(hit, pc.is_in(last_part(values), wanted))
        mask = pc.and_(mask, pc.fill_null(hit, False))
    # half a gigabyte of tracebacks need not be copied to find that all are wanted
    found = in_order(table if pc.all(mask).as_py() is not False else table.filter(mask))
    if not selection.limit or found.num_rows <= selection.limit:
        return found, False, notes
    notes.append(
        f"Cut at {many(selection.limit, 'rows')}, the newest first. Raise limit=, or narrow the selection."
    )
    undated = found["failed_at"].null_count  # last in order, but not the newest
    dated = found.slice(0, found.num_rows - undated)
    cut = dated.slice(max(0, dated.num_rows - selection.limit))
    if cut.num_rows < selection.limit:
        rest = found.slice(dated.num_rows, selection.limit - cut.num_rows)
        cut = pa.concat_tables([cut, rest])
    return cut, True, notes
