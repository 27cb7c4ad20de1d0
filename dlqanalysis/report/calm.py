"""A section of an executed notebook that has nothing to show -> one line that says so."""

import html as markup
from typing import Any

from dlqanalysis.display import EMPTY

_FIGURE = "application/vnd.plotly.v1+json"
_GUIDE = "*How to read this:*"


def calm(book: Any) -> None:
    """Where a section has nothing to show, its sentences that say so become one line, without a guide to reading it."""
    section: list[Any] = []
    for cell in book.cells:
        if cell.cell_type == "code":
            section += [cell] if cell.outputs else []
            continue
        kept = []
        for line in cell.get("source", "").splitlines():
            if line.startswith("## "):
                section = []
            if not line.startswith(_GUIDE) or not _emptied(section):
                kept.append(line)
        cell.source = "\n".join(kept)


def _emptied(section: list[Any]) -> bool:
    """Whether the cells of a section have nothing to show; then the first of them says so, and the others nothing."""
    said = [_nothing(output) for cell in section for output in cell.outputs]
    told = [text if text.endswith(".") else f"{text}." for text in dict.fromkeys(said) if text]
    if None in said or not told:
        return False
    line = f'<div class="dlq-table"><p>{markup.escape(" ".join(told))}</p></div>'
    for cell in section[1:]:
        cell.outputs = []
    del section[0].outputs[1:]
    section[0].outputs[0].data = {"text/html": line}
    return True


def _nothing(output: Any) -> str | None:
    """How an output says that there is nothing; a chart without anything says no more than that; None where there is
    something."""
    data = output.get("data", {})
    if _FIGURE in data:
        return None if data[_FIGURE].get("data") else ""
    if "text/html" in data:
        said = output.get("metadata", {}).get("text/html", {}).get(EMPTY)
        return said if isinstance(said, str) else None
    text = data.get("text/plain", "\n")
    return None if "\n" in text else str(text).removeprefix("# ")
