"""A shop with an incident, on private servers: `dlq demo` plays it, `dlq lab` opens notebooks on it."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dlqanalysis.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable


def run_demo(
    out: "str | Path" = "reports/demo", progress: "Callable[[str], None]" = lambda line: None
) -> str:
    """Play the demo; reports stay in `out`. Gives what happened and which file to open, under 20 lines."""
    _require()
    from dlqanalysis.demo.play import run_demo as run

    return run(out, progress)


def run_lab(
    port: int | None = None,
    browser: bool = True,
    progress: "Callable[[str], None]" = lambda line: None,
) -> None:
    """JupyterLab on the notebooks, with the demo's servers behind it, until Ctrl-C."""
    _require()
    from dlqanalysis.demo.lab import run_lab as run

    run(port, browser, progress)


def _require() -> None:
    """The demo's own packages, or a sentence that says how to get them."""
    if missing := [name for name in ("celery", "kombu") if find_spec(name) is None]:
        raise SettingsError(
            f"The demo needs {' and '.join(missing)}, which a plain install leaves out. Install it with"
            " pip install 'dlqanalysis[demo]', or use make demo in a checkout."
        )
