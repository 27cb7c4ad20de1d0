"""`%load_ext dlqanalysis`: how frames and charts look in a notebook. Nothing is injected into it.

Frames are shown redacted, escaped, shortened and with their true size beneath; times in UTC, shares in
percent. The frames themselves stay as they are: `dlq.redact_frame` and `frame.to_csv` are the reader's.
"""

import html
from numbers import Integral
from typing import Any

import pandas as pd

from dlqanalysis.redact import redact, redact_frame

ROWS = 30  #: shown of a frame; the rest is counted beneath it
WIDTH = 120  #: letters of a cell
CARD_WIDTH = (
    6_000  #: letters of a cell where a frame is a card: one or two columns, such as one failure
)
_HEAVY = ("args", "kwargs", "traceback", "raw")  # a failures frame is shown without them
_PERCENT = ("share", "exhausted")


def load(ipython: Any) -> None:
    """Set plotly and the display of frames and series in this kernel."""
    from dlqanalysis.charts import no_share_button

    no_share_button()
    pd.set_option("display.max_columns", 40, "display.max_colwidth", WIDTH, "display.width", 160)
    formatters = ipython.display_formatter.formatters
    formatters["text/html"].for_type(pd.DataFrame, table_html)
    formatters["text/html"].for_type(pd.Series, lambda series: table_html(series.to_frame()))
    for module, name in _VIEWS:
        formatters["text/html"].for_type_by_name(module, name, _untypeset)
    formatters["text/plain"].for_type(pd.DataFrame, _plain)
    formatters["text/plain"].for_type(pd.Series, lambda s, p, c: _plain(s.to_frame(), p, c))
    formatters["text/plain"].for_type(str, _text)


#: What shows texts of failures as HTML of its own.
_VIEWS = (
    ("dlqanalysis.plan.frozen", "Plan"),
    ("dlqanalysis.run", "Run"),
    ("dlqanalysis.progress", "Progress"),
)


def _untypeset(view: Any) -> str:
    """A view's own HTML, in which JupyterLab sets no LaTeX: a $ in a dead letter is a $."""
    return f'<div class="mathjax_ignore">{view._repr_html_()}</div>'


def table_html(frame: pd.DataFrame) -> str:
    """A frame as an HTML table that is safe to keep: redacted, escaped, at most 30 rows, its size beneath."""
    shown = readable(frame)
    heads = [] if _plain_index(frame) else [str(shown.index.name or "")]
    columns = [] if _plain_index(frame) else [list(shown.index)]
    looks = [_SHORT] * len(columns)
    for place, name in enumerate(shown.columns):
        texts = list(shown.iloc[:, place])
        heads.append(name)
        columns.append(texts)
        longest = max(map(len, [*texts, name]), default=0)
        number = pd.api.types.is_numeric_dtype(frame[_names(frame)].dtypes.iloc[place])
        looks.append(_NUMBER if number else _SHORT if longest <= 26 else _LONG)
    top = "".join(
        f'<th scope="col" style="{look}">{html.escape(head)}</th>'
        for head, look in zip(heads, looks, strict=True)
    )
    lines = (
        "".join(
            f'<td style="{look}">{html.escape(text)}</td>'
            for text, look in zip(line, looks, strict=True)
        )
        for line in zip(*columns, strict=True)
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f'<table class="dataframe"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="dlq-table mathjax_ignore">{table}<p>{html.escape(_size(frame, shown))}</p></div>'


_NUMBER = "text-align:right;white-space:nowrap"
_SHORT = "text-align:left;white-space:nowrap"
_LONG = "text-align:left;min-width:20em;overflow-wrap:anywhere;white-space:pre-wrap"


def _names(frame: pd.DataFrame) -> list[Any]:
    return [name for name in frame.columns if name not in _HEAVY or len(frame.columns) < 8]


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The first rows of a frame as texts for a person: redacted, times in UTC, shares in percent."""
    rows = redact_frame(frame[_names(frame)].head(ROWS))
    card = len(rows.columns) <= 2 and not _plain_index(frame)
    texts = {}
    for place, name in enumerate(rows.columns):
        texts[place] = [_cell(str(name), value, card) for value in rows.iloc[:, place]]
    shown = pd.DataFrame(texts, index=rows.index, dtype="str")
    shown.columns = [_short(str(name)) for name in rows.columns]
    if not _plain_index(frame):
        shown.index = pd.Index([_cell("", value) for value in rows.index], name=rows.index.name)
    return shown


def _cell(name: str, value: Any, card: bool = False) -> str:
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
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _short(str(value), card)
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


def _short(text: str, card: bool = False) -> str:
    """One line of at most WIDTH letters; on a card more, and its lines stay."""
    keep, width = ("\n", CARD_WIDTH) if card else ("", WIDTH)
    line = "".join(letter if letter.isprintable() or letter == keep else " " for letter in text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _size(frame: pd.DataFrame, shown: pd.DataFrame) -> str:
    rows = f"{len(frame):,} row{'' if len(frame) == 1 else 's'}"
    if len(shown) < len(frame):
        rows = f"the first {len(shown)} of {rows}"
    left = [name for name in frame.columns if name in _HEAVY and name not in shown.columns]
    notes = [f"without {', '.join(left)}"] if left else []
    notes += [redact(str(note)) for note in frame.attrs.get("notes", ()) if note]
    if frame.attrs.get("truncated"):
        notes.append("cut off by the limit: there are more in the source")
    return "; ".join([rows, *notes])


def _plain_index(frame: pd.DataFrame) -> bool:
    return isinstance(frame.index, pd.RangeIndex) or (
        frame.index.name is None and frame.index.dtype.kind == "i"
    )


def _plain(frame: pd.DataFrame, printer: Any, cycle: bool) -> None:
    shown = readable(frame)
    printer.text(shown.to_string(index=not _plain_index(frame)) + f"\n[{_size(frame, shown)}]")


def _text(text: str, printer: Any, cycle: bool) -> None:
    """A text of several lines as lines, redacted; a short one as Python writes it."""
    shown = redact(text)
    printer.text(shown if "\n" in shown else repr(shown))
