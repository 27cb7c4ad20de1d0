"""A report's page out of an executed notebook with ten charts, beside papermill on an empty notebook."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.beside import beside, table
from bench.goals import Section, at_most

REPEAT, CHARTS = 3, 10
PAGE, LIVE = "report.html, ten still charts", "report.html, ten live charts"
PAPERMILL = "papermill CLI, an empty notebook"


def run(repeat: int = REPEAT) -> Section:
    """The section, P12's report."""
    with tempfile.TemporaryDirectory() as folder:
        found = beside({PAGE: still, LIVE: live, PAPERMILL: papermill}, repeat, folder=folder)
    said = {**found[PAGE].answer, "live": found[LIVE].answer["bytes"]}
    slower = max(found[PAGE].seconds, found[LIVE].seconds)
    outside = found[PAGE].answer["outside"] + found[LIVE].answer["outside"]
    figures = [
        at_most("P12", "a page of ten charts without a kernel / papermill CLI, an empty notebook", slower / found[PAPERMILL].seconds, 0.25),
        at_most("P12", "its bytes / plotly.js and the charts alone", said["bytes"] / said["plotly"], 0.1),
        at_most("P12", "addresses that the page would load from", outside, 0),
    ]  # fmt: skip
    lines = [
        f"{said['bytes'] / 1e6:.2f} MB with {CHARTS} still charts, {said['live'] / 1e6:.2f} MB with live ones:", "",
        *table(found, PAGE),
    ]  # fmt: skip
    return Section(lines, figures, found)


def still(folder: str) -> Iterator[Any]:
    """Charts as pictures, no script."""
    yield from _page(folder, still=True)


def live(folder: str) -> Iterator[Any]:
    """Charts that answer the mouse, and one plotly.js."""
    yield from _page(folder, still=False)


def _page(folder: str, still: bool) -> Iterator[Any]:
    """Ten charts in a notebook, made a page; what plotly.js and the charts have in bytes."""
    import re

    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook, new_output
    from plotly.offline import get_plotlyjs

    import dlqanalysis as dlq
    from bench.beside import ROOT
    from dlqanalysis import charts, report

    failures = dlq.load(ROOT / "notebooks" / "data" / "demo_export.parquet", since=None)
    groups = dlq.groups(failures.pipe(dlq.classify).pipe(dlq.fingerprint))
    figures = [charts.timeline(failures), charts.pareto(groups)] * (CHARTS // 2)
    kind = "application/vnd.plotly.v1+json"
    outputs = [new_output("display_data", {kind: one.to_plotly_json()}) for one in figures]
    cells = [new_code_cell("", outputs=[one]) for one in outputs]
    book = Path(folder) / "ten.ipynb"
    text = nbformat.writes(nbformat.from_dict(_plain(new_notebook(cells=cells))))
    book.write_text(text, encoding="utf-8")
    yield
    made = report.html(book, still=still)
    html = made.read_text(encoding="utf-8")
    outside = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", html)
    yield {
        "bytes": made.stat().st_size,
        "plotly": len(get_plotlyjs()) + sum(len(one.to_json()) for one in figures),
        "outside": len(outside),
    }


def _plain(book: Any) -> Any:
    """A notebook as JSON has it: no arrays of numpy's."""
    import json

    from plotly.utils import PlotlyJSONEncoder

    return json.loads(json.dumps(book, cls=PlotlyJSONEncoder))


def papermill(folder: str) -> Iterator[Any]:
    """What a nightly job does."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    book, out = Path(folder) / "empty.ipynb", Path(folder) / "empty-out.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("")]), book)
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"]
    yield
    subprocess.run([*command, str(book), str(out)], check=True, capture_output=True)
    yield out.stat().st_size
