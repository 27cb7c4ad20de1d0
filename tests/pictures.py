"""The pictures of README and docs: parts of the demo export's reports, seen in Chromium. `make pictures` makes them again.

Each PNG carries the words and chart data that its part showed (the text chunk WORDS), so that a test can tell whether
the page still says the same, without comparing pixels.
"""

import hashlib
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from dlqanalysis import report

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH = 960
WORDS = b"Seen"
_SIGN = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Part:
    """What of which report a picture shows: elements of its page from the one with this heading on."""

    notebook: str
    heading: str
    first: int = 1  # 0 is the heading's own section
    last: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)


_DEPLOYS = {"changes": "data/demo_deploys.csv"}
PICTURES = {
    "weekly": Part("weekly_report", "Dead letters of the week", 0, 4, _DEPLOYS),
    "changes": Part("20_patterns", "What began when, and after which change?", 1, 1),
    "verdicts": Part("10_triage", "What is the verdict of each group, and why?", 1, 1),
    "plan": Part("40_replay", "What goes, and what stays?", 1, 1),
    "funnel": Part("40_replay", "What goes, and what stays?", 2, 2),
}

_FIND = """
([heading, first, last]) => {
  const all = [...document.querySelector('main').children].filter(one => one.offsetHeight);
  const start = all.findIndex(one => [...one.querySelectorAll('h1, h2')].some(
    head => head.innerText.replace('¶', '').trim() === heading));
  const part = start < 0 ? [] : all.slice(start + first, start + last + 1);
  const boxes = part.map(one => one.getBoundingClientRect());
  const charts = part.flatMap(one => [...one.querySelectorAll('figure')]);
  const drawn = charts.map(one => [
    one.querySelector('[role=img]').getAttribute('aria-label'),
    one.querySelector('script[type="application/json"]').textContent]);
  const marks = charts.filter(one => one.querySelector('.point, .hm, .textpoint, .js-line')).length;
  const top = Math.min(...boxes.map(box => box.top)), end = Math.max(...boxes.map(box => box.bottom));
  const plots = [...document.querySelectorAll('.chart')];
  plots.forEach(one => one.style.display = 'none');
  const text = part.map(one => one.innerText).join('\\n');
  plots.forEach(one => one.style.display = '');
  return {found: part.length, text, drawn, marks, top: top + scrollY, height: end - top};
}
"""


def seen(browser: Any, folder: Path) -> Iterator[tuple[str, bytes, list[str]]]:
    """Each picture's name, its PNG as it would be now, and the words and chart data that it shows."""
    pages: dict[str, Path] = {}
    for name, part in PICTURES.items():
        if part.notebook not in pages:
            pages[part.notebook] = _page(part, folder)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(pages[part.notebook].as_uri(), wait_until="load", timeout=120_000)
        page.wait_for_timeout(300)
        told = page.evaluate(_FIND, [part.heading, part.first, part.last])
        assert told["found"] == part.last - part.first + 1, f"{name}: {part} is not on the page"
        assert told["marks"] == len(told["drawn"]), f"{name}: a chart shows nothing"
        clip = {"x": 0, "y": told["top"] - 8, "width": WIDTH, "height": told["height"] + 16}
        png = page.screenshot(clip={**clip, "y": max(0, clip["y"])}, full_page=True)
        page.close()
        charts = [
            f"chart {hashlib.sha256(data.encode()).hexdigest()}: {alt}"
            for alt, data in told["drawn"]
        ]
        yield name, png, [line for line in told["text"].splitlines() if line.strip()] + charts


def _page(part: Part, folder: Path) -> Path:
    """The report as HTML, made with no settings but the kit's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DLQ_")}
    book = folder / f"{part.notebook}.ipynb"
    with mock.patch.dict(os.environ, {**clean, "DLQ_HOME": str(folder / "home")}, clear=True):
        report.run(part.notebook, part.parameters, book)
        return report.html(book).resolve()


def with_words(png: bytes, words: list[str]) -> bytes:
    """The PNG with these words in it, as a text chunk after its header."""
    text = WORDS + b"\0\1\0\0\0" + zlib.compress("\n".join(words).encode(), 9)
    chunk = struct.pack(">I", len(text)) + b"iTXt" + text
    chunk += struct.pack(">I", zlib.crc32(b"iTXt" + text))
    head = len(_SIGN) + 25  # the signature, and the IHDR chunk
    return png[:head] + chunk + png[head:]


def words_of(png: bytes) -> list[str]:
    """The words that `with_words` put into a PNG; none when it has none."""
    at = len(_SIGN)
    while at < len(png):
        [size] = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        if kind == b"iTXt" and body.startswith(WORDS + b"\0\1\0\0\0"):
            return zlib.decompress(body[len(WORDS) + 5 :]).decode().splitlines()
        at += 12 + size
    return []


def width_of(png: bytes) -> int:
    return int(struct.unpack_from(">I", png, len(_SIGN) + 8)[0])


def main() -> int:
    """Writes the pictures whose words have changed, or which are not there; gives the exit code."""
    from tests.browser import running

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running() as browser:
        for name, png, words in seen(browser, Path(folder)):
            path = FOLDER / f"{name}.png"
            if not path.exists() or words_of(path.read_bytes()) != words:
                path.write_bytes(with_words(png, words))
                print(f"wrote {path.relative_to(FOLDER.parents[1])}, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
