"""A selection applied to columns in memory: for sources whose system cannot filter."""

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.frame import arrow_type, in_order
from dlqanalysis.model import Selection


def narrowed(table: pa.Table, selection: Selection) -> tuple[pa.Table, bool]:
    """The rows asked for, the newest within the limit, and whether the limit cut some off.

    A row without a time, a queue or a task is not lost: no bound in time leaves it out.
    """
    mask = pc.is_valid(table["failure_id"])
    when = table["failed_at"]
    for bound, compare in ((selection.since, pc.greater_equal), (selection.until, pc.less)):
        if bound:
            hit = compare(when, pa.scalar(bound, arrow_type("failed_at")))
            mask = pc.and_(mask, pc.fill_null(hit, True))
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
        if name in ("task_name", "exception_type"):
            last = pc.replace_substring_regex(values, r"^.*\.", "")
            hit = pc.or_(hit, pc.is_in(last, wanted))
        mask = pc.and_(mask, pc.fill_null(hit, False))
    found = in_order(table.filter(mask))
    if not selection.limit or found.num_rows <= selection.limit:
        return found, False
    return found.slice(found.num_rows - selection.limit), True  # in order: the newest are last
