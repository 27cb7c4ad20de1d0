"""Executed notebook -> one HTML file that opens anywhere."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlqanalysis
from dlqanalysis.display.harmless import harmless
from dlqanalysis.errors import SettingsError
from dlqanalysis.files import keep_whole
from dlqanalysis.report.calm import calm
from dlqanalysis.report.naming import asked_with
from dlqanalysis.report.running import without_revealed

_PACKAGE = Path(__file__).parents[1]
_FIGURE = "application/vnd.plotly.v1+json"
_SHOWN_AS = [_FIGURE, "text/html", "image/svg+xml", "image/png", "text/markdown", "text/plain"]


def html(
    notebook: str | Path, out: str | Path | None = None, code: bool = False, still: bool = False
) -> Path:
    """One self-contained HTML file of an executed notebook: its figures inside, no request to anywhere.

    Scripts in the data cannot run (strict content policy), code cells are left out unless asked for.
    About 5 MB when it has a figure (one copy of plotly.js), else a few KB. With `still` its figures are
    pictures, and the page has no script at all: some 100 KB, for a mail or where scripts are not run.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from plotly.offline import get_plotlyjs
    from traitlets.config import Config

    from dlqanalysis.charts import CONFIG
    from dlqanalysis.charts.still import svg

    where = Path(notebook)
    try:
        book = nbformat.read(where, 4)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{where} cannot be read as a notebook: {error}. Make it with report.run first."
        ) from None
    here = Path(__file__).parent / "template"
    book.metadata.pop("widgets", None)
    for cell in book.cells:
        without_revealed(cell)
        for output in cell.get("outputs", []):  # a notebook may have been run without our extension
            if _FIGURE in output.get("data", {}):
                output.data[_FIGURE] = harmless(output.data[_FIGURE])
    calm(book)
    title, sections = _headings(book)
    figures = any(
        _FIGURE in output.get("data", {})
        for cell in book.cells
        for output in cell.get("outputs", [])
    )
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": _SHOWN_AS}}),
        template_name="dlqreport",
        extra_template_basedirs=[str(here)],
    )
    details = {
        "title": title or where.stem,
        "sections": sections,
        "asked": asked_with(book),
        "nonce": secrets.token_urlsafe(16),
        "css": (here / "dlqreport" / "report.css").read_text(encoding="utf-8"),
        "table": (_PACKAGE / "display/labextension/static/table.js").read_text(encoding="utf-8"),
        "plotlyjs": get_plotlyjs() if figures and not still else "",
        "picture": svg if still else None,
        "config": json.dumps(CONFIG),
        "code": code,
        "made": f"Made with dlqanalysis {dlqanalysis.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC,"
        f" from {where.name}. Times are UTC.",
    }
    page, _ = exporter.from_notebook_node(
        book, resources={"metadata": {"name": where.stem, "path": ""}, "dlq": details}
    )
    target = Path(out) if out is not None else where.with_suffix(".html")
    target.parent.mkdir(parents=True, exist_ok=True)
    keep_whole(target, page)
    return target


def _headings(book: Any) -> tuple[str, list[dict[str, str]]]:
    """The title, and the sections with the ids that nbconvert gives their headings."""
    lines = [
        line
        for cell in book.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
    ]
    titles = [line[2:].strip() for line in lines if line.startswith("# ")]
    names = [line[3:].strip() for line in lines if line.startswith("## ")]
    sections = [{"text": name, "id": name.replace(" ", "-")} for name in names]
    return (titles[0] if titles else ""), sections
