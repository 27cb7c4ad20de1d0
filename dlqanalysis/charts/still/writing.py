"""Text on a still picture: its lines, how wide it is, and how it stands in SVG."""

import html
from collections.abc import Mapping
from typing import Any

_LETTER = 0.62  #: the mean width of a letter, in its size
LINE = 1.25  #: the height of a line, in its size


def title_of(about: Mapping[str, Any]) -> str:
    """What an axis is called."""
    return str((about.get("title") or {}).get("text") or "")


def lines_of(text: Any) -> list[str]:
    """A label's lines, without plotly's marks."""
    return [html.unescape(line) for line in str(text).split("<br>")]


def width_of(text: str, size: float) -> float:
    """How wide a text is, about, in pixels."""
    return len(text.strip()) * size * _LETTER


def written(text: str) -> str:
    """Text as it may stand in SVG: escaped, and without what XML does not allow."""
    return html.escape("".join(one if one.isprintable() else " " for one in text))


def attributes(given: Mapping[str, Any]) -> str:
    """How something looks, as SVG says it: `_` stands for -, None for nothing said."""
    return "".join(
        f' {name.replace("_", "-")}="{written(str(value))}"' for name, value in given.items() if value is not None
    )  # fmt: skip


def short(number: float) -> str:
    """A length in pixels; a tenth of one is not seen."""
    return f"{number:.1f}".removesuffix(".0")
