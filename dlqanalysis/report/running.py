"""Notebook -> executed notebook: found, its parameters checked, run by papermill, and without what tells of the machine."""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dlqanalysis import errors
from dlqanalysis.display import REVEALED
from dlqanalysis.errors import DLQError, SettingsError, did_you_mean
from dlqanalysis.files import keep_whole
from dlqanalysis.profile import jupyter_folders
from dlqanalysis.redact import redact
from dlqanalysis.report.sending import stopped_by

_QUIET_KERNEL = [
    "--LiveTable.enabled=False",  # nobody sorts what a timer ran
    # A kernel is ended with an interrupt, and says so on stderr when it was still answering: cron would mail it.
    "--IPKernelApp.log_level=CRITICAL",
]
_RED_BOX = "papermill-error-cell-tag"  #: what papermill puts on top of a notebook that stopped
_STARTS = 3  #: how often a kernel is started at most
_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE.parent / "notebooks", _PACKAGE / "_share" / "notebooks")


def run(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Path:
    """Execute a notebook with these parameters and keep it, outputs and all, at `out`.

    `notebook` is a path, or the name of one of the kit's own (weekly_report). The kernel works in the
    notebook's folder. `out` defaults to reports/<name>.ipynb. An unknown parameter is a SettingsError;
    an error in a cell comes out as itself when it is a DLQError; what was done so far is at `out` then.
    That a cell which sends refuses when nobody gave its own id (`confirm`, `confirm_undo`, DLQ_ARM) is no error.
    """
    target, stopped = execute(notebook, parameters, out)
    if stopped is not None:
        raise stopped
    return target


def execute(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> tuple[Path, DLQError | None]:
    """The same as run, with what stopped it given instead of raised: what was done so far can be shown, too."""
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
    failed = False
    play = partial(
        papermill.execute_notebook,
        str(where),
        str(part),
        chosen,
        cwd=str(where.parent),
        kernel_name="python3",
        progress_bar=False,
        start_timeout=120,
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        extra_arguments=_QUIET_KERNEL,
    )
    try:
        with jupyter_folders():
            _with_a_kernel(play)
    except PapermillExecutionError:
        failed = True
    finally:
        if part.exists():
            try:
                keep_whole(target, nbformat.writes(_scrubbed(nbformat.read(part, 4), hidden)))
            except ValueError:  # cut off by a full disk: that error is the one to tell
                pass
            finally:
                part.unlink()
    stopped = stopped_by(nbformat.read(target, 4), chosen) if failed else None
    return target, None if stopped is None else _as_ours(*stopped, where, target)


def _with_a_kernel(play: Callable[[], Any]) -> None:
    """Again where the kernel could not begin: its ports are chosen before it binds them, and another process may take
    one meanwhile. No cell has run then."""
    for left in range(_STARTS - 1, -1, -1):
        try:
            play()
            return
        except RuntimeError as error:
            if "died before replying" not in str(error):
                raise
            if not left:
                raise DLQError(
                    f"The notebook's kernel ended before its first cell, {_STARTS} times. See why with"
                    " `python -m ipykernel_launcher`."
                ) from None


def _found(notebook: str | Path) -> Path:
    path = Path(notebook)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    for folder in _FOLDERS:
        if (own := folder / f"{path.stem}.ipynb").is_file() and path.parent == Path():
            return own
    known = sorted({own.stem for folder in _FOLDERS for own in folder.glob("*.ipynb")})
    raise SettingsError(f"There is no notebook '{notebook}'. {did_you_mean(path.stem, known)}")


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


def _scrubbed(book: Any, hidden: Mapping[str, str]) -> Any:
    """The notebook without what papermill writes about the machine: paths, parameters, times; nor the folders of the
    caller's files where a cell says what it read."""
    book.metadata.pop("papermill", None)
    book.cells = [cell for cell in book.cells if _RED_BOX not in cell.metadata.get("tags", [])]
    for cell in book.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        without_revealed(cell)
        for path, name in hidden.items():
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.source = cell.source.replace(path, name)
            for output in cell.get("outputs", []):
                for kind, text in output.get("data", {}).items():
                    if isinstance(text, str):
                        output.data[kind] = text.replace(path, name)
    return book


def without_revealed(cell: Any) -> None:
    """Takes out what dlq.reveal showed: it was for the eyes of one person."""
    for output in cell.get("outputs", []):
        if output.get("metadata", {}).get("text/html", {}).get(REVEALED):
            output["data"].pop("text/html", None)


def _as_ours(number: int, error: Any, where: Path, target: Path) -> DLQError:
    """What stopped a cell, as the error it is where it is one of ours."""
    from dlqanalysis.sources import (
        _http,
    )  # has kinds of its own, and httpx, which a good run does not need

    kind = getattr(errors, error.ename, None) or getattr(_http, error.ename, None)
    if isinstance(kind, type) and issubclass(kind, DLQError):
        return kind(str(error.evalue))
    return DLQError(
        f"{where.name} stopped in cell {number} with {error.ename}:"
        f" {redact(str(error.evalue))[:300].rstrip('.')}. What was done so far is in {target}."
    )
