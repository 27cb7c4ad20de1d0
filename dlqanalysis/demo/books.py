"""The notebooks of the demo, run side by side, each in a process that ends with the den.

python -m dlqanalysis.demo.books NOTEBOOK OUT [NAME=VALUE ...]     one notebook to OUT.ipynb and OUT.html
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from dlqanalysis.demo.den import Den
from dlqanalysis.demo.stage import environment
from dlqanalysis.errors import DLQError

AT_ONCE = min(5, (os.cpu_count() or 2) + 1)  #: one more than cores: each waits now and then


def run(
    home: Den,
    notebooks: Mapping[str, Mapping[str, object]],
    variables: Mapping[str, str],
    out: Path,
    done: Callable[[Path], None] = lambda path: None,
) -> list[Path]:
    """Run notebooks (name -> parameters) AT_ONCE at a time; gives the HTML files.

    .ipynb and .html files come to `out` when they are whole.
    """
    part = home.path / "reports"
    part.mkdir(exist_ok=True)
    waiting, running, pages = list(notebooks), {}, []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            log = f"{name}.notebook.log"
            command = [sys.executable, "-m", "dlqanalysis.demo.books", name, part / name]
            running[name] = home.start(
                [*command, json.dumps(dict(notebooks[name]))],
                log=log,
                env=environment(home, {**jupyter(home), **variables}),
                cwd=Path.cwd(),
            )
        for name, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            home.gone(process)
            if process.returncode:
                raise DLQError(
                    f"Notebook {name} did not run to its end: {home.tail(f'{name}.notebook.log', 1)}"
                )
            for suffix in (".ipynb", ".html"):
                shutil.move(part / f"{name}{suffix}", out / f"{name}{suffix}")
            pages.append(out / f"{name}.html")
            done(pages[-1])
        time.sleep(0.05)
    return sorted(pages)


def jupyter(home: Den) -> dict[str, str]:
    """Where Jupyter keeps its run-time files: in the den; its settings too where HOME cannot be written."""
    places = {"JUPYTER_RUNTIME_DIR": "jupyter/runtime"}
    if not os.access(Path.home(), os.W_OK):
        places |= {
            "JUPYTER_CONFIG_DIR": "jupyter/config",
            "JUPYTER_DATA_DIR": "jupyter/data",
            "JUPYTERLAB_SETTINGS_DIR": "jupyter/lab",
            "IPYTHONDIR": "jupyter/ipython",
        }
    return {name: str(home.path / place) for name, place in places.items()}


def main(notebook: str, out: str, parameters: str) -> None:
    """What the child does."""
    from dlqanalysis import report

    try:
        book = report.run(notebook, json.loads(parameters), f"{out}.ipynb")
        report.html(book, f"{out}.html")
    except DLQError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
