"""JupyterLab on the notebooks, with the demo's servers, incident and worker behind it, until Ctrl-C."""

import json
import os
import secrets
import shutil
import sys
import time
import webbrowser
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dlqanalysis.demo import books, incident, live, servers
from dlqanalysis.demo.den import Den
from dlqanalysis.demo.play import terminable
from dlqanalysis.demo.stage import environment, stage, start_worker
from dlqanalysis.errors import ConnectError, SettingsError

_READY_WITHIN = 60.0  # seconds


def run_lab(
    port: int | None = None,
    browser: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve the notebooks until Ctrl-C or SIGTERM; then everything is gone again, but for the notebooks.

    The environment of the kernels connects "celery" to the demo's shop. Opens a browser unless told not to;
    the address, with its token, goes to `progress`.
    """
    if port is not None and servers.listens(port):
        raise SettingsError(f"Port {port} is taken. Give another one with --port, or leave it out.")
    began = time.monotonic()

    def step(line: str) -> None:
        progress(f"{time.monotonic() - began:5.1f} s  {line}")

    try:
        with terminable(), stage() as playing:
            step("servers are up; starting a Celery worker and loading two weeks of failures")
            now = datetime.now(UTC)
            start_worker(
                playing.home,
                playing.shop_environment(),
                meanwhile=lambda: incident.load(playing.database, end=now),
            )
            live.fail(playing)
            step("failures are there, the worker waits for replays; starting JupyterLab")
            token = secrets.token_urlsafe(16)
            place = port or servers.free_port()
            variables = (
                playing.environment()
                | books.jupyter(playing.home)
                | {"JUPYTER_TOKEN": token, "JUPYTER_CONFIG_PATH": _quiet(playing.home)}
            )
            process = playing.home.start(
                [sys.executable, "-m", "jupyterlab", *_options(place, _notebooks(playing.home))],
                log="jupyterlab.log",
                env=environment(playing.home, variables),
            )
            patient_until = time.monotonic() + _READY_WITHIN
            while not servers.listens(place):
                if process.poll() is not None or time.monotonic() > patient_until:
                    raise ConnectError(
                        f"JupyterLab did not start. Its log ends: {playing.home.tail('jupyterlab.log')}"
                    )
                time.sleep(0.1)
            address = f"http://127.0.0.1:{place}/lab/tree/00_start_here.ipynb?token={token}"
            step(
                'in each notebook, source = "celery" reads the shop. Ctrl-C ends everything. Open:'
            )
            step(address)
            if browser:
                webbrowser.open(address)
            while process.poll() is None:
                time.sleep(0.2)  # wait() would not wake up when another thread takes the signal
    except KeyboardInterrupt:
        pass
    step("everything is stopped")


def _quiet(home: Den) -> str:
    """A config folder before the user's own, in which JupyterLab does not ask about news and updates."""
    said = home.path / "jupyter" / "quiet" / "labconfig" / "default_setting_overrides.json"
    said.parent.mkdir(parents=True, exist_ok=True)
    asks = {"fetchNews": "false", "checkForUpdates": False}
    said.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": asks}))
    own = os.environ.get("JUPYTER_CONFIG_PATH")
    return os.pathsep.join([str(said.parents[1]), *([own] if own else [])])


def _options(port: int, folder: Path) -> list[str]:
    options = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
        "--LabApp.extension_manager=readonly",
    ]
    return [*options, "--allow-root"] if os.geteuid() == 0 else options


def _notebooks(home: Den) -> Path:
    """The folder of the notebooks; a copy in the den where it cannot be written."""
    package = Path(__file__).parents[1]
    folder = package.parent / "notebooks"  # of a checkout; else the installed ones
    if not (folder / "00_start_here.ipynb").is_file():
        folder = package / "_share/notebooks"
    if os.access(folder, os.W_OK):
        return folder
    return Path(shutil.copytree(folder, home.path / "notebooks"))
