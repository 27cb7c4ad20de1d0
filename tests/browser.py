"""Chromium for tests, and what a page did in it: requests, errors, dialogs."""

import contextlib
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.waiting import until

#: whether each chart of the page is there
_DRAWN = "[...document.querySelectorAll('figure [role=img]')].every(one => one.querySelector('.main-svg'))"
CHROMIUM = Path(os.environ.get("DLQ_TEST_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="module", name="browser")
def chromium():
    """Chromium, headless. Without it these tests fail in CI, and are skipped with a reason elsewhere."""
    if not CHROMIUM.exists():
        said = f"no Chromium at {CHROMIUM}: apt-get install chromium, or set DLQ_TEST_CHROMIUM"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    with running() as started:
        yield started


@contextlib.contextmanager
def running():
    """Chromium, headless, until the end of the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield started
        started.close()


#: JupyterLab's own, while cells come and go under its table of contents (jupyterlab/jupyterlab#16401; seen in 4.6.0).
_KNOWN = re.compile(
    r"TypeError: Cannot (read|set) properties of undefined \((reading|setting) 'isRunning'\)"
)


class Seen:
    """A page, and everything that went wrong or out while it loaded: a file, with the network off, or a URL."""

    def __init__(self, browser, page: Path | str, **context) -> None:
        self.context = browser.new_context(offline=isinstance(page, Path), **context)
        self.page = self.context.new_page()
        self.requests, self.errors, self.dialogs, self.blocked = [], [], [], []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", lambda r: r.failure == "csp" and self.blocked.append(r.url))
        self.page.on("console", lambda m: m.type == "error" and self._error(m.text))
        self.page.on("pageerror", lambda error: self._error(str(error)))
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        self.page.goto(
            page if isinstance(page, str) else page.resolve().as_uri(), wait_until="load"
        )
        until(lambda: self.page.evaluate(_DRAWN), "the charts")
        self.page.wait_for_timeout(300)

    def _error(self, said: str) -> None:
        if not _KNOWN.search(said):
            self.errors.append(said)

    def outside(self) -> list[str]:
        asked = Counter(self.requests) - Counter(self.blocked)
        return [url for url in asked.elements() if not re.match(r"(file|data|blob|about):", url)]
