"""How far a run is: one table that stays up to date in a notebook, and lines that read well everywhere else.

Under papermill and nbconvert the last state of the table is what stays in the output.
"""

import html
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from dlqanalysis.redact import redact

EVERY = 5.0  #: seconds between two lines of a running stage
_LIVE = 1.0  #: seconds between two updates of the table


class Progress:
    """Says lines, and shows one row a stage: in a notebook as one table, else on standard output, or to
    whatever takes a line."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write
        self._handle: Any = None if write else _handle()
        self._rows: dict[str, dict[str, Any]] = {}
        self._lines: list[str] = []
        self._shown, self._said = 0.0, time.monotonic()

    def say(self, line: str) -> None:
        """A line with the time: what happened; redacted, without signs that a terminal would obey."""
        line = "".join(sign if sign.isprintable() else " " for sign in redact(line))
        self._lines.append(f"{datetime.now(UTC):%H:%M:%S}Z {line}")
        if self._write is not None:
            self._write(line)
        elif self._handle is None:
            sys.stdout.write(f"{self._lines[-1]}\n")
            sys.stdout.flush()
        else:
            self._handle.update(self)

    def stage(self, name: str, counts: Mapping[str, int], left: str = "") -> None:
        """Where a stage stands: its counts, and in words how long it has left when that can be told."""
        name = redact(name)
        self._rows[name] = {**counts, "left": left}
        now = time.monotonic()
        if self._handle is not None:
            if now - self._shown >= _LIVE:
                self._shown = now
                self._handle.update(self)
        elif now - self._said >= EVERY:
            self._said = now
            told = ", ".join(f"{n:,} {word.replace('_', ' ')}" for word, n in counts.items() if n)
            self.say(f"{name}: {told or 'nothing yet'}" + (f"; {left} left" if left else ""))

    @property
    def table(self) -> pd.DataFrame:
        """One row a stage: its counts, and about how long it will take."""
        rows = [{"stage": name, **row} for name, row in self._rows.items()]
        frame = pd.DataFrame(rows)
        numbers = [name for name in frame.columns if name not in ("stage", "left")]
        return frame.assign(**{name: frame[name].fillna(0).astype("int64") for name in numbers})

    def __repr__(self) -> str:
        parts = [self.table.to_string(index=False)] if self._rows else []
        return "\n".join([*parts, *self._lines])

    def _repr_html_(self) -> str:
        table = plain_table(self.table) if self._rows else ""
        lines = html.escape("\n".join(self._lines[-20:]))
        return f'<div role="status" aria-live="polite">{table}<pre>{lines}</pre></div>'


def plain_table(frame: pd.DataFrame) -> str:
    """A small frame of ours as an escaped table: what stands in a column begins at its left, its numbers end at its right."""
    sides = [
        f'style="text-align: {"right" if pd.api.types.is_numeric_dtype(kind) else "left"}"'
        for kind in frame.dtypes
    ]
    head = "".join(
        f'<th scope="col" {side}>{html.escape(str(name))}</th>'
        for side, name in zip(sides, frame.columns, strict=True)
    )
    rows = (
        "".join(
            f"<td {side}>{html.escape(f'{cell:,}' if isinstance(cell, int) else str(cell))}</td>"
            for side, cell in zip(sides, line, strict=True)
        )
        for line in frame.astype("object").itertuples(index=False, name=None)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def span(seconds: float) -> str:
    """A length of time in words, roughly."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _handle() -> Any:
    """A place in a notebook's output that can be written anew; None where there is none."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython import display

    handle: Any = display.DisplayHandle
    return _Place(handle())


class _Place:
    """Shows at the first call, updates from then on."""

    def __init__(self, handle: Any) -> None:
        self._handle, self._fresh = handle, True

    def update(self, view: Progress) -> None:
        if self._fresh:
            self._fresh = False
            self._handle.display(view)
        else:
            self._handle.update(view)
