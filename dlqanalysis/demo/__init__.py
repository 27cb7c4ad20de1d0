"""A shop with an incident, on private servers: `dlq demo` plays it, `dlq lab` opens notebooks on it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def run_demo(
    out: "str | Path" = "reports/demo", progress: "Callable[[str], None]" = lambda line: None
) -> str:
    """Play the demo; reports stay in `out`. Gives what happened and which file to open, under 20 lines."""
    from dlqanalysis.demo.play import run_demo as run

    return run(out, progress)


def run_lab(
    port: int | None = None,
    browser: bool = True,
    progress: "Callable[[str], None]" = lambda line: None,
) -> None:
    """JupyterLab on the notebooks, with the demo's servers behind it, until Ctrl-C."""
    from dlqanalysis.demo.lab import run_lab as run

    run(port, browser, progress)
