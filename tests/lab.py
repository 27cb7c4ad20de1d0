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

_SETTINGS = {  # no news and no updates: both ask the internet; every cell in the page, not those in sight only
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class Lab:
    """A running JupyterLab: where it is, and whether its kernels are busy."""

    def __init__(self, origin: str, token: str) -> None:
        self.origin, self.token = origin, token

    def url(self, notebook: str) -> str:
        return f"{self.origin}/doc/tree/{notebook}?token={self.token}&reset"

    def api(self, path: str, method: str = "GET") -> Any:
        answer = httpx.request(method, f"{self.origin}/api/{path}?token={self.token}", timeout=10)
        return answer.json() if answer.content else None

    def run_all(self, page: Any, seconds: float = 120) -> None:
        """Runs every cell of the notebook in the page, waits until none waits, saves it, ends the kernel."""
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        rested, clicked, until = 0, 0.0, time.monotonic() + seconds
        while rested < 2:
            assert time.monotonic() < until, "the notebook does not come to an end"
            page.wait_for_timeout(200)
            prompts = page.locator(".jp-InputPrompt").all_inner_texts()
            begun = any(prompt.strip("[]: ").isdigit() for prompt in prompts)
            waits = any("*" in prompt for prompt in prompts)
            rested = rested + 1 if begun and not waits else 0
            kernels = self.api("kernels")  # a server that is busy answers with a message at times
            told = isinstance(kernels, list)
            ready = told and [one["execution_state"] for one in kernels] == ["idle"]
            # what is asked of a kernel that has only just come up is lost: ask again
            if ready and not begun and not waits and time.monotonic() - clicked > 3:
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
                clicked = time.monotonic()
        page.wait_for_timeout(300)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(300)
        for kernel in self.api("kernels"):
            self.api(f"kernels/{kernel['id']}", "DELETE")


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
                "JUPYTER_TOKEN": token,
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    started = Lab(f"http://127.0.0.1:{port}", token)
    try:
        for _ in range(300):
            assert server.poll() is None, (home / "log").read_text()[-2000:]
            with contextlib.suppress(httpx.HTTPError):
                started.api("status")
                break
            time.sleep(0.2)
        yield started
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
