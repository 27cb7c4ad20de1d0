"""`%load_ext dlqanalysis`, or the first verb used in IPython: how frames and charts look in a notebook. Nothing is
injected into it.

Frames are shown redacted, escaped, shortened and with their true size beneath; times in UTC, shares in
percent. The frames themselves stay as they are: `dlq.redact_frame` and `frame.to_csv` are the reader's.

Where JupyterLab has `labextension/`, which comes with the kit, it shows of the same frame a table that sorts, filters
and turns pages; everybody else (GitHub, editors, papermill, nbconvert) sees the plain HTML.
"""

import html
import re
from numbers import Integral
from typing import Any

import pandas as pd
from IPython.core.formatters import JSONFormatter
from traitlets import Unicode

from dlqanalysis.display import EMPTY, REVEALED
from dlqanalysis.display.card import CARD_WIDTH, READ
from dlqanalysis.display.grammars import spare
from dlqanalysis.display.harmless import harmless
from dlqanalysis.display.unshared import shown_as
from dlqanalysis.redact import redact, redact_frame
from dlqanalysis.text import JOINTS

ROWS = 30  #: shown of a frame; the rest is counted beneath it
LIVE = 1_000  #: rows that a live table has
LIVE_MIME = "application/vnd.dlqanalysis.table+json"
WIDTH = 120  #: letters of a cell
SENTENCE = (
    600  #: letters of a cell where it is the only one of its row, such as a sentence of dlq.story
)
_HEAVY = (
    "args",
    "kwargs",
    "traceback",
    "raw",
    "content_hash",
    "work",
)  # a frame of failures is shown without them
#: Letters that stay on one line: a UUID, or a task's name, that is broken over two is hard to compare; and they are no
#: wider than a long column is at least.
_LINE = 36
_LONG_WORD = re.compile(r"\S{31}")  # may be wider than a long column
_PERCENT = ("share", "exhausted")
_SENTENCES = ("text", "says", "because")  # what the kit says itself is not cut


def load(ipython: Any) -> None:
    """Set plotly and the display of frames and series in this kernel."""
    spare()
    shown_as(harmless)
    pd.set_option("display.max_columns", 40, "display.max_colwidth", WIDTH, "display.width", 160)
    formatters = ipython.display_formatter.formatters
    formatters["text/html"].for_type(pd.DataFrame, _shown)
    formatters["text/html"].for_type(pd.Series, lambda series: _shown(series.to_frame()))
    if formatters["text/html"].enabled:  # a terminal shows none of both
        formatters[LIVE_MIME] = LiveTable(parent=ipython.display_formatter)
        formatters[LIVE_MIME].for_type(pd.DataFrame, live)
        formatters[LIVE_MIME].for_type(pd.Series, lambda series: live(series.to_frame()))
    for module, name in _VIEWS:
        formatters["text/html"].for_type_by_name(module, name, _untypeset)
    formatters["text/html"].for_type_by_name("dlqanalysis.display.reveal", "Revealed", _bare)
    formatters["text/plain"].for_type(pd.DataFrame, _plain)
    formatters["text/plain"].for_type(pd.Series, lambda s, p, c: _plain(s.to_frame(), p, c))
    formatters["text/plain"].for_type(str, _text)


#: What shows texts of failures as HTML of its own.
_VIEWS = (
    ("dlqanalysis.plan.frozen", "Plan"),
    ("dlqanalysis.replay.run", "Run"),
    ("dlqanalysis.display.progress", "Progress"),
)


def _untypeset(view: Any) -> str:
    """A view's own HTML, in which JupyterLab sets no LaTeX: a $ in a dead letter is a $."""
    return f'<div class="mathjax_ignore">{view._repr_html_()}</div>'


def _bare(view: Any) -> tuple[str, dict[str, bool]]:
    """What dlq.reveal gave, escaped and not redacted; marked, so that reports leave it out."""
    note = (
        f"Not redacted: {view.run_id} in the journal. It is saved with this notebook; clear this output when you are"
        " done. Reports leave it out."
    )
    shown = "".join(
        table_html(view.frame.iloc[at : at + ROWS], bare=True)
        for at in range(0, len(view.frame), ROWS)
    )
    return f'<p class="mathjax_ignore"><b>{html.escape(note)}</b></p>{shown}', {REVEALED: True}


def _shown(frame: pd.DataFrame) -> str | tuple[str, dict[str, str]]:
    """A frame's table; one without rows says so to a report, too, which need not read HTML for it."""
    table = table_html(frame)
    return table if len(frame) else (table, {EMPTY: _why_empty(frame, readable(frame))})


class LiveTable(JSONFormatter):
    """The formatter of what only our extension of JupyterLab shows; a report turns it off by its name."""

    format_type = Unicode(LIVE_MIME)


def live(frame: pd.DataFrame) -> dict[str, Any] | None:
    """What a table in JupyterLab is made of: at most 1,000 rows as texts, redacted; None where there is nothing to sort."""
    if len(frame) < 2:
        return None
    shown = readable(frame, rows=LIVE)
    columns = _columns(frame, shown)
    return {
        "columns": [[name, look] for name, look, _ in columns],
        "rows": [list(line) for line in zip(*(texts for _, _, texts in columns), strict=True)],
        "note": _size(frame, shown),
    }


def table_html(frame: pd.DataFrame, bare: bool = False) -> str:
    """A frame as an HTML table that is safe to keep: redacted unless bare, escaped, at most 30 rows, its size beneath.

    A frame without rows is the sentence in its `attrs["empty"]`: why there are none says more than of which columns.
    """
    shown = readable(frame, bare)
    columns = _columns(frame, shown)
    note = html.escape(_size(frame, shown))
    if not len(frame):
        said = html.escape(_why_empty(frame, shown))
        return f'<div class="dlq-table mathjax_ignore"><p>{said}</p></div>'
    top = "".join(
        f'<th scope="col" style="{LOOKS[look].split(";")[0]};vertical-align:bottom">{_broken(name)}</th>'
        for name, look, _ in columns
    )
    looks = [look for _, look, _ in columns]
    lines = (
        "".join(
            f'<td style="{LOOKS[look]}">{_broken(text) if _torn(text, look) else html.escape(text)}</td>'
            for text, look in zip(line, looks, strict=True)
        )
        for line in zip(*(texts for _, _, texts in columns), strict=True)
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f'<table class="dataframe"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="dlq-table mathjax_ignore">{table}<p>{note}</p></div>'


def _columns(frame: pd.DataFrame, shown: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Name, look and texts of each column, the index first where it says something."""
    found = []
    if not _plain_index(frame):
        found.append((str(shown.index.name or ""), "short", list(shown.index)))
    kinds = frame[_names(frame)].dtypes
    for place, name in enumerate(shown.columns):
        texts = list(shown.iloc[:, place])
        number = pd.api.types.is_numeric_dtype(kinds.iloc[place])
        longest = max(map(len, [*texts, name]), default=0)
        look = "number" if number else "short" if longest <= _LINE else "long"
        found.append((name, look, texts))
    return found


#: A live table names the look and has its style in table.js: a style that a notebook brings could ask another host.
LOOKS = {
    "number": "text-align:right;white-space:nowrap",
    "short": "text-align:left;white-space:nowrap",
    "long": "text-align:left;min-width:20em;overflow-wrap:anywhere;white-space:pre-wrap",
}


def _torn(text: str, look: str) -> bool:
    """Whether a cell would break in the middle of a word."""
    return look == "long" and _LONG_WORD.search(text) is not None


def _broken(name: str) -> str:
    """A name that may break between its parts: a long one makes no wide column, and is not torn in the middle of a word."""
    return "<wbr>".join(map(html.escape, JOINTS.split(name)))


def _names(frame: pd.DataFrame) -> list[Any]:
    return [name for name in frame.columns if name not in _HEAVY or len(frame.columns) < 8]


def readable(frame: pd.DataFrame, bare: bool = False, rows: int = ROWS) -> pd.DataFrame:
    """The first rows of a frame as texts for a person: redacted unless bare, times in UTC, shares in percent."""
    first = _head(frame[_names(frame)].head(rows))
    first = first if bare else redact_frame(first)
    width = WIDTH if len(first.columns) > 1 else SENTENCE
    if len(first.columns) <= 2 and not _plain_index(frame):
        width = CARD_WIDTH
    texts = {}
    for place, name in enumerate(first.columns):
        room = SENTENCE if name in _SENTENCES else width
        texts[place] = [_cell(str(name), value, room) for value in first.iloc[:, place]]
    shown = pd.DataFrame(texts, index=first.index, dtype="str")
    shown.columns = [_short(str(name)) for name in first.columns]
    if not _plain_index(frame):
        shown.index = pd.Index([_cell("", value) for value in first.index], name=first.index.name)
    return shown


def _head(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the beginnings of their texts: what is cut off anyway need not be redacted first."""
    found = rows.copy(deep=False)
    for place, kind in enumerate(rows.dtypes):
        column = rows.iloc[:, place]
        if isinstance(kind, pd.CategoricalDtype):
            found.isetitem(place, column.cat.remove_unused_categories())
        elif pd.api.types.is_string_dtype(kind) and column.dtype != object:
            found.isetitem(place, column.str.slice(0, READ))
        elif column.dtype == object:
            cut = [value[:READ] if isinstance(value, str | bytes) else value for value in column]
            found.isetitem(place, pd.Series(cut, column.index, dtype=object))
    return found


def _cell(name: str, value: Any, width: int = WIDTH) -> str:
    if isinstance(value, tuple):
        return ", ".join(_cell(name, part) for part in value)
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, pd.Timestamp):
        spoken = value.tz_convert("UTC") if value.tzinfo else value
        return f"{spoken:%Y-%m-%d %H:%M:%S}" + ("Z" if value.tzinfo else "")
    if isinstance(value, pd.Timedelta):
        return _length(value)
    if isinstance(value, float):
        if name.endswith(_PERCENT):
            return f"{value:.1%}"
        if name == "chance" and value < 0.01:
            return "<0.01"
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _short(str(value), width)
    return str(value) if name.endswith("id") else f"{value:,}"


def _length(value: pd.Timedelta) -> str:
    """Two units of a length of time: 5 h 21 min."""
    seconds = round(abs(value.total_seconds()))
    parts = [
        (seconds // 86_400, "d"),
        (seconds // 3_600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def _short(text: str, width: int = WIDTH) -> str:
    """One line of at most so many letters; on a card its lines stay."""
    keep = "\n" if width == CARD_WIDTH else ""
    line = "".join(letter if letter.isprintable() or letter == keep else " " for letter in text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _why_empty(frame: pd.DataFrame, shown: pd.DataFrame) -> str:
    """Why a frame has no rows, with its notes; where nobody said, of which columns it has none."""
    if not (said := frame.attrs.get("empty")):
        size = _size(frame, shown)
        # a note says more than names of columns
        return size if "; " in size else f"{size} (of {', '.join(shown.columns)})"
    return " ".join(
        redact(str(one)) for one in dict.fromkeys([said, *frame.attrs.get("notes", ())])
    )


def _size(frame: pd.DataFrame, shown: pd.DataFrame) -> str:
    rows = f"{len(frame):,} row{'' if len(frame) == 1 else 's'}"
    if len(shown) < len(frame):
        rows = f"the first {len(shown):,} of {rows}"
    left = [name for name in frame.columns if name in _HEAVY and name not in shown.columns]
    notes = [f"without {', '.join(left)}"] if left else []
    notes += [redact(str(note)) for note in frame.attrs.get("notes", ()) if note]
    if frame.attrs.get("truncated"):
        notes.append("cut off by the limit: there are more in the source")
    *before, last = dict.fromkeys([rows, *notes])
    return "; ".join([*(note.removesuffix(".") for note in before), last])


def _plain_index(frame: pd.DataFrame) -> bool:
    return isinstance(frame.index, pd.RangeIndex) or (
        frame.index.name is None and frame.index.dtype.kind == "i"
    )


def _plain(frame: pd.DataFrame, printer: Any, cycle: bool) -> None:
    shown = readable(frame)
    if not len(frame):
        printer.text(_why_empty(frame, shown))
        return
    padded = []
    for name, look, told in _columns(frame, shown):
        texts = [text.replace("\n", "\\n") for text in [name, *told]]
        wide = max(map(len, texts))
        padded.append(
            [text.rjust(wide) if look == "number" else text.ljust(wide) for text in texts]
        )
    lines = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
    printer.text("\n".join([*lines, f"[{_size(frame, shown)}]"]))


def _text(text: str, printer: Any, cycle: bool) -> None:
    """Sentences and lines as they are, redacted; a single word as Python writes it."""
    shown = redact(text)
    printer.text(shown if any(map(str.isspace, shown)) else repr(shown))
