"""Pages in a real Chromium, driven by Playwright; a test that needs one is skipped where there is none.

    from browser import chromium_page

    def test_something():
        with chromium_page(width=390, scheme="dark") as page:
            page.goto(path.as_uri())

No browser is ever downloaded: the one that the system has is used.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HEIGHT = 900  # of the window, in CSS pixels


def find_chromium() -> str | None:
    """The path of a Chromium of the system, None when it has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A headless Chromium; skips the test when it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    executable = find_chromium()
    if executable is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(NAMES)})")
    with playwright.sync_playwright() as driver:
        # Containers often run as root, where the sandbox cannot start; the pages are our own.
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: "Browser", width: int = 1200, scheme: str = "light", **options: object) -> Iterator["Page"]:
    """A fresh page `width` CSS pixels wide in a light or dark scheme; `options` go to Playwright's new_context.

    `page.problems` collects what went wrong on the page: errors in the console and uncaught exceptions.
    `page.requests` collects the addresses of everything that was loaded, data: URLs left out.
    """
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, **options)
    page = context.new_page()
    page.problems, page.requests = [], []
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: request.url.startswith("data:") or page.requests.append(request.url))
    try:
        yield page
    finally:
        context.close()


@contextmanager
def chromium_page(width: int = 1200, scheme: str = "light", **options: object) -> Iterator["Page"]:
    """A page in a Chromium of its own, for a test that needs only one; see open_page."""
    with chromium() as browser, open_page(browser, width, scheme, **options) as page:
        yield page
