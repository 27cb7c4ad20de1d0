"""Notebook -> executed notebook -> one HTML file that opens anywhere; and the weekly and daily reports made of them."""

import json
import os
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import dlqanalysis
from dlqanalysis import errors
from dlqanalysis.errors import DLQError, SettingsError, did_you_mean
from dlqanalysis.headline import archivable, compare, headline, keep, novelty, read
from dlqanalysis.journal import Journal
from dlqanalysis.plan import plan
from dlqanalysis.profile import jupyter_folders
from dlqanalysis.redact import redact

__all__ = [
    "archivable", "compare", "daily", "headline", "html", "keep", "must_look", "novelty", "periodic", "read",
    "rehearse", "run", "weekly",
]  # fmt: skip

_FIGURE = "application/vnd.plotly.v1+json"
_SHOWN_AS = [_FIGURE, "text/html", "image/svg+xml", "image/png", "text/markdown", "text/plain"]


def run(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Path:
    """Execute a notebook with these parameters and keep it, outputs and all, at `out`.

    `notebook` is a path, or the name of one of the kit's own (weekly_report). The kernel works in the
    notebook's folder. `out` defaults to reports/<name>.ipynb. An unknown parameter is a SettingsError;
    an error in a cell comes out as itself when it is a DLQError; what was done so far is at `out` then.
    """
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    where = _found(notebook)
    target = Path(out) if out is not None else Path("reports") / where.name
    if target.resolve() == where.resolve():
        raise SettingsError(f"{target} is the notebook itself. Give another file for the outputs.")
    chosen, hidden = _checked(where, dict(parameters or {}))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part.ipynb")
    failed: PapermillExecutionError | None = None
    try:
        with jupyter_folders():
            papermill.execute_notebook(
                str(where),
                str(part),
                chosen,
                cwd=str(where.parent),
                kernel_name="python3",
                progress_bar=False,
                start_timeout=120,
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            )
    except PapermillExecutionError as error:
        failed = error
    finally:
        if part.exists():
            nbformat.write(_scrubbed(nbformat.read(part, 4), hidden), target)
            part.unlink()
    if failed is not None:
        raise _as_ours(failed, where, target) from None
    return target


def html(notebook: str | Path, out: str | Path | None = None, code: bool = False) -> Path:
    """One self-contained HTML file of an executed notebook: its figures inside, no request to anywhere.

    Scripts in the data cannot run (strict content policy), code cells are left out unless asked for.
    About 5 MB when it has a figure (one copy of plotly.js), else a few KB.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from plotly.offline import get_plotlyjs
    from traitlets.config import Config

    from dlqanalysis.charts import CONFIG

    where = Path(notebook)
    try:
        book = nbformat.read(where, 4)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{where} cannot be read as a notebook: {error}. Make it with report.run first."
        ) from None
    here = Path(__file__).parent / "report_template"
    book.metadata.pop("widgets", None)
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
        "nonce": secrets.token_urlsafe(16),
        "css": (here / "dlqreport" / "report.css").read_text(encoding="utf-8"),
        "plotlyjs": get_plotlyjs() if figures else "",
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
    target.write_text(page, encoding="utf-8", errors="backslashreplace")
    return target


def weekly(
    source: str,
    since: str = "7d",
    out: str | Path = "reports",
    now: datetime | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Run weekly_report and leave weekly-<date>.html, .json and .ipynb in `out`: see periodic."""
    return periodic("weekly", source, since, out, now, **parameters)


def daily(
    source: str,
    since: str = "24h",
    out: str | Path = "reports",
    now: datetime | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Run daily_report and leave daily-<date>.html, .json and .ipynb in `out`: see periodic."""
    return periodic("daily", source, since, out, now, **parameters)


def periodic(
    kind: str,
    source: str,
    since: str,
    out: str | Path = "reports",
    now: datetime | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Run <kind>_report and leave <kind>-<date>.html, .json and .ipynb in `out`; parameters are the notebook's.

    Gives html, json and notebook (paths), numbers (see headline; story: the sentences on top) and
    compared_with (the JSON of the last report of this kind and source in `out`, or None).
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{kind}-{now or datetime.now(UTC):%Y-%m-%d}"
    numbers = folder / f"{stem}.json"
    last = _last(folder, kind, stem, source)
    chosen = {"source": source, "since": since, **parameters}
    chosen |= {"keep": str(numbers.resolve()), "previous": str(last.resolve()) if last else ""}
    book = run(f"{kind}_report", chosen, folder / f"{stem}.ipynb")
    keep({**(read(numbers) or {}), "asked": _asked(source)}, numbers)
    page = html(book, folder / f"{stem}.html")
    return {
        "html": page,
        "json": numbers,
        "notebook": book,
        "numbers": read(numbers),
        "compared_with": last,
    }


def must_look(numbers: Mapping[str, Any]) -> bool:
    """Whether a report's numbers want somebody to look: its story is not that it was quiet, or a finding is
    critical."""
    told = numbers.get("story") or [""]
    return not told[0].startswith("Quiet") or numbers.get("severity") == "critical"


def rehearse(failures: pd.DataFrame, limit: int = 50) -> pd.DataFrame:
    """What a replay of at most `limit` failures of each source would do: one row a decision and reason.

    It makes the plan and sends nothing. Where no journal can be opened, earlier replays are unknown to it.
    """
    try:
        journal = Journal()
    except (DLQError, OSError):
        journal = None
    reason = "rehearsal: nothing is sent"
    tables = [
        plan(failures[failures["source"] == name], journal, reason=reason, limit=limit).summary
        for name in failures["source"].dropna().unique()
    ]
    if not tables:
        columns = {"decision": "str", "because": "str", "failures": "int64", "tasks": "str"}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    return pd.concat(tables, ignore_index=True)


# -- finding and checking -------------------------------------------------------------------------------


def _found(notebook: str | Path) -> Path:
    path = Path(notebook)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    for folder in _FOLDERS:
        if (own := folder / f"{path.stem}.ipynb").is_file() and path.parent == Path():
            return own
    known = sorted({own.stem for folder in _FOLDERS for own in folder.glob("*.ipynb")})
    raise SettingsError(f"There is no notebook '{notebook}'. {did_you_mean(path.stem, known)}")


_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE.parent / "notebooks", _PACKAGE / "_share" / "notebooks")


def _checked(where: Path, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters as the notebook takes them; and the paths that must not stand in what is kept."""
    import papermill

    known = papermill.inspect_notebook(str(where))
    hidden = {}
    for name, value in parameters.items():
        if name not in known:
            raise SettingsError(
                f"{where.name} has no parameter '{name}'. {did_you_mean(name, known)}"
            )
        parameters[name] = value = _typed(name, value, known[name]["inferred_type_name"])
        if not isinstance(value, str):
            continue
        if re.search(r"://[^/\s]*@", value):
            raise SettingsError(
                f"{name} is a URL with credentials, and parameters are written into the report. Set"
                f" DLQ_<NAME>_URL to it and give the name as {name}."
            )
        # the kernel works in the notebook's folder: what the caller means is in the caller's
        reads = name in ("source", "changes", "previous", "done") and Path(value).is_file()
        if value and (reads or name in ("out", "keep")):
            parameters[name] = value = str(Path(value).resolve())
        if Path(value).is_absolute():
            hidden[value] = Path(value).name
    return parameters, hidden


def _typed(name: str, value: Any, kind: str) -> Any:
    """A value from a command line or a config file, as the annotated type."""
    words = {"true": True, "false": False}
    try:
        if kind == "int" and not isinstance(value, bool):
            return int(value)
        if kind == "float":
            return float(value)
        if kind == "bool":
            return words[str(value).lower()]
        return "" if value is None else str(value)
    except (ValueError, TypeError, KeyError):
        raise SettingsError(f"Parameter {name} must be {kind}, not '{value}'.") from None


def _last(folder: Path, kind: str, stem: str, source: str) -> Path | None:
    """The newest earlier report's numbers of this kind and source."""
    for path in sorted(folder.glob(f"{kind}-*.json"), reverse=True):
        if path.stem < stem:
            try:
                numbers = read(path)
            except SettingsError:
                continue
            if numbers and numbers.get("asked") == _asked(source):
                return path
    return None


def _asked(source: str) -> str:
    """A source as a report remembers it: a name, or a file's name without its folder."""
    return Path(source).name


# -- running --------------------------------------------------------------------------------------------


def _scrubbed(book: Any, hidden: Mapping[str, str]) -> Any:
    """The notebook without what papermill writes about the machine: paths, parameters, times."""
    book.metadata.pop("papermill", None)
    for cell in book.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            for path, name in hidden.items():
                cell.source = cell.source.replace(path, name)
    return book


def _as_ours(error: Any, where: Path, target: Path) -> DLQError:
    """What stopped a cell, as the error it is where it is one of ours."""
    kind = getattr(errors, error.ename, None)
    if isinstance(kind, type) and issubclass(kind, DLQError):
        return kind(str(error.evalue))
    return DLQError(
        f"{where.name} stopped in cell {error.cell_index} with {error.ename}:"
        f" {redact(str(error.evalue))[:300]}. What was done so far is in {target}."
    )


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
