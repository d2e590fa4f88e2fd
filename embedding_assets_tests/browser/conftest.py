"""A browser, and pictures of what it saw in `screenshots/`, which git ignores."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium")
INSTALL_SECONDS = 240
ACTION_MILLISECONDS = 90_000
"""A machine that is busy takes long to show Dagster's first page."""

Picture = Callable[["Page", str], None]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; installed where that is possible, else the test is skipped with a line."""
    found = _found()
    if found is None and os.geteuid() == 0 and shutil.which(INSTALL[0]) is not None:
        subprocess.run(INSTALL, capture_output=True, timeout=INSTALL_SECONDS, check=False)
        found = _found()
    if found is None:
        pytest.skip("no chromium, and it cannot be installed here (apt-get install chromium)")
    return found


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A page of a new browser."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install playwright)"
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            made = browser.new_page(viewport={"width": 1280, "height": 800})
            made.set_default_timeout(ACTION_MILLISECONDS)
            yield made
        finally:
            browser.close()


@pytest.fixture
def picture() -> Picture:
    """Keeps what the page shows, by name."""
    SCREENSHOTS.mkdir(exist_ok=True)

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return keep
