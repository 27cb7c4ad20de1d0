"""A plotly figure whose texts can do nothing: for charts that a reader makes of failures with plotly itself.

Plotly reads <a href>, <b> and $tex$ in every text, and a picture or map by its address; and nothing of it is redacted.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from dlqanalysis.redact import redact

_LONGEST = 2_000  #: letters of a text; a megabyte in a label stops a browser
_MARKS = re.compile(r"(</?(?:b|i|em|s|u|sub|sup|extra)>|<br ?/?>)")  #: what can only look different
_VALUE = re.compile(r"(%\{[^{}]*\})")  #: in a template, the place of a value, with its format
_FETCHED = ("source", "geojson")  #: where plotly would ask an address


def harmless(figure: Mapping[str, Any]) -> dict[str, Any]:
    """A figure as a dict (`figure.to_dict()`) -> the same, its texts redacted, cut at 2,000 letters, without links or
    TeX, and without what it would load from somewhere. Doing it twice changes nothing more."""
    return {key: _part(value, str(key)) for key, value in figure.items()}


def _part(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return _text(value, key)
    if isinstance(value, Mapping):
        # meta is not drawn: its texts are for screen readers, and whoever writes them into a page escapes them
        return {
            name: _part(inner, "meta" if key == "meta" else str(name))
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_part(inner, key) for inner in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        return [_part(inner, key) for inner in value.tolist()]
    if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "tolist"):
        return [_part(inner, key) for inner in value.tolist()]
    return value


@lru_cache(maxsize=50_000)
def _text(text: str, key: str) -> str:
    if key == "bdata" or key.endswith(("format", "color")):
        return text  # numbers in base64; a format, in which $ is a currency
    if key in _FETCHED:
        return text if text.startswith("data:image/") else ""
    shown = redact(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
    shown = "".join(sign if sign.isprintable() else " " for sign in shown)
    if key == "meta":
        return shown
    places = _VALUE.split(shown) if key.endswith("template") else [shown]
    return "".join(part if number % 2 else _plain(part) for number, part in enumerate(places))


def _plain(text: str) -> str:
    """Text in which nothing is a link, an element or a formula."""
    parts = _MARKS.split(text)
    return "".join(
        part if number % 2 else part.replace("<", "&lt;").replace("$", "&#36;")
        for number, part in enumerate(parts)
    )
