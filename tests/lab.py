"""A private JupyterLab for tests: its own port, token and settings; notebooks run in it as a person runs them."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

import dlqanalysis
from tests.waiting import until

_SETTINGS = {  # no news and no updates: both ask the internet; every cell in the page, not those in sight only
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class Lab:
    """A running JupyterLab: where it is, and whether its kernels are busy."""

    def __init__(self, origin: str, token: str, folder: Path) -> None:
        self.origin, self.token, self.folder = origin, token, folder
        self._client = httpx.Client(verify=False, trust_env=False, timeout=60)

    def url(self, notebook: str) -> str:
        return f"{self.origin}/doc/tree/{notebook}?token={self.token}&reset"

    def api(self, path: str, method: str = "GET") -> Any:
        answer = self._client.request(method, f"{self.origin}/api/{path}?token={self.token}")
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._client.close()

    def kernels(self) -> list[dict[str, Any]]:
        """The kernels; none while the server is so busy that it answers with a message."""
        told = self.api("kernels")
        return told if isinstance(told, list) else []

    def saved(self, notebook: str) -> int:
        """How many cells of the notebook on the disk have been run."""
        with contextlib.suppress(json.JSONDecodeError):  # it is being written
            cells = json.loads((self.folder / notebook).read_text(encoding="utf-8"))["cells"]
            return sum(bool(cell.get("execution_count")) for cell in cells)
        return -1

    def run_all(self, page: Any, notebook: str, seconds: float = 300) -> None:
        """Runs every cell of the notebook in the page, waits until none waits, saves it, ends the kernel."""
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        rested, clicked, patient = 0, 0.0, time.monotonic() + seconds
        while rested < 2:
            assert time.monotonic() < patient, "the notebook does not come to an end"
            page.wait_for_timeout(200)
            prompts = page.locator(".jp-InputPrompt").all_inner_texts()
            begun = any(prompt.strip("[]: ").isdigit() for prompt in prompts)
            waits = any("*" in prompt for prompt in prompts)
            rested = rested + 1 if begun and not waits else 0
            ready = [one["execution_state"] for one in self.kernels()] == ["idle"]
            # what is asked of a kernel that has only just come up is lost: ask again
            if ready and not begun and not waits and time.monotonic() - clicked > 3:
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
                clicked = time.monotonic()
        page.wait_for_timeout(300)
        ran, pressed = sum(prompt.strip("[]: ").isdigit() for prompt in prompts), 0.0
        while self.saved(notebook) != ran:
            assert time.monotonic() < patient, f"{notebook} cannot be saved"
            if time.monotonic() - pressed > 5:  # a page that is busy may miss it
                page.keyboard.press("Control+s")
                pressed = time.monotonic()
            page.wait_for_timeout(100)
        for kernel in until(self.kernels):
            self.api(f"kernels/{kernel['id']}", "DELETE")


def answers(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether JupyterLab answers yet; fails with what it said when it has ended."""
    assert server.poll() is None, log.read_text()[-2000:]
    with contextlib.suppress(httpx.HTTPError):
        return bool(lab.api("status"))
    return False


@contextlib.contextmanager
def lab(folder: Path, home: Path, env: Mapping[str, str]) -> Iterator[Lab]:
    """JupyterLab on the notebooks of `folder`, with nothing of this user's settings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {
        "HOME": "", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    for name, settings in _SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    ours = home / "share/labextensions/dlqanalysis"  # as the wheel lays it out
    ours.parent.mkdir(parents=True, exist_ok=True)
    ours.symlink_to(Path(dlqanalysis.__file__).parent / "display/labextension")
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={folder}", "--allow-root", "--ServerApp.port_retries=0",
    ]  # fmt: skip
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env={
                **os.environ,
                **{name: str(home / place) for name, place in places.items()},
                **env,
                "JUPYTER_PATH": str(home / "share"),
                "JUPYTER_TOKEN": token,
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    started = Lab(f"http://127.0.0.1:{port}", token, folder)
    try:
        until(lambda: answers(started, server, home / "log"), "JupyterLab", seconds=120, every=0.2)
        yield started
    finally:
        started.close()
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
