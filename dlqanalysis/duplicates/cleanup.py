"""SQL for a person to read and run: the rows that duplicates left behind. Nothing here runs anything."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_MOST = 5_000


def cleanup_sql(rows: "pd.DataFrame | Iterable[Any]", table: str, column: str = "id") -> str:
    """Text with a SELECT that shows the later copies, and the DELETE as a comment below it.

    `rows` are the ids themselves, or the answer of a query with a column `later_ids` (such as
    `duplicate_communications`, which keeps the first of each set). Whether a second message of the same day
    was meant is for a person to see: look at every row first.
    """
    for name in (table, column):
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"'{name}' is no plain name of a table or column. Write it as schema.table, without quotes."
            )
    ids = list(dict.fromkeys(_ids(rows)))
    if not ids:
        return "-- No copies: there is nothing to clean up.\n"
    if len(ids) > _MOST:
        raise SettingsError(
            f"{len(ids):,} ids are too many for a text that a person reads. Narrow the query with since."
        )
    places = ", ".join(map(_literal, ids))
    rows = f"FROM {table} WHERE {column} IN ({places})"
    return (
        f"-- {len(ids):,} later copies in {table}. Nothing of this was run. Look at them first:\n"
        + f"SELECT * {rows} ORDER BY {column};\n"
        + "-- A second one may have been meant. Then, after a backup, with a role that may:\n"
        + f"-- BEGIN;\n-- DELETE {rows};  -- {len(ids):,} rows, or ROLLBACK\n-- COMMIT;\n"
    )


def _ids(rows: "pd.DataFrame | Iterable[Any]") -> Iterable[Any]:
    if not isinstance(rows, pd.DataFrame):
        return list(rows)
    if "later_ids" not in rows.columns:
        raise SettingsError(
            "The rows have no column later_ids. Take the answer of duplicate_communications, or give the ids."
        )
    return [one for text in rows["later_ids"].dropna() for one in _listed(text)]


def _listed(value: Any) -> list[Any]:
    found = json.loads(value) if isinstance(value, str) else list(value)
    return found if isinstance(found, list) else [found]


def _literal(value: Any) -> str:
    """A number, or a text in quotes; a text that could leave them is refused."""
    if isinstance(value, bool) or value is None:
        raise SettingsError(f"{value!r} is no id.")
    if isinstance(value, int) or re.fullmatch(r"-?\d+", str(value)):
        return str(int(value))
    text = str(value)
    if not text.isprintable() or "\\" in text:
        raise SettingsError(
            "An id holds control characters or backslashes. Clean these up by hand, with bound parameters."
        )
    return "'" + text.replace("'", "''") + "'"
