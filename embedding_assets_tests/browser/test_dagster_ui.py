"""Dagster's UI as somebody clicks through it: lineage, a failed batch sent again, a backfill, checks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from embedding_assets.cli.home import project_file
from embedding_assets.databases import LINES, WORDS
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.processes.quiet_environment import with_this_package
from embedding_assets_tests.browser.conftest import Picture
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page

ASSETS = ("batches", "poll_results", "chunks", "final_snapshot")
LOCATION = "/locations/embedding_assets.definitions"
FAILED = "failed-at-openai"
WORD_BATCHES = ("first-words", "second-words")
WAIT_SECONDS = 120
QUIET = {"PYTHONWARNINGS": "ignore", "EMBEDDING_ASSETS_SENSOR_SECONDS": "30"}


@pytest.fixture
def world(
    chromium: str,
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
) -> Iterator[World]:
    """Both databases published, lines twice, and a batch of lines that OpenAI failed."""
    with open_world(stack, aws, openai_clients[1], tmp_path / "home", **QUIET) as opened:
        opened.plant("good-lines", texts("line", 3), kept=True)
        for name in WORD_BATCHES:
            opened.plant(name, texts(name, 3), database=WORDS, kept=True)
        opened.plant(FAILED, texts("lost", 2), status="failed", answered=[], kept=True, row={"request_count": 2})
        assert opened.ingest(LINES, WORDS).failures == []
        opened.plant("more-lines", texts("more", 3), kept=True)
        assert opened.ingest(LINES).failures == []
        assert opened.row(FAILED)["status"] == "FAILED"
        yield opened


@pytest.fixture
def ui(world: World) -> Iterator[str]:
    """The address of `dagster dev`, as a user starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(project_file("workspace.yaml"))]
    with _running([*command, "-h", "127.0.0.1", "-p", str(port), "--log-level", "warning"], world.home) as log:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(address), log)
        yield address


@contextmanager
def _running(command: list[str], home: Path) -> Iterator[Path]:
    """A process group of its own, ended politely and then for sure; gives the file of its output."""
    log = home / "dev.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=sink, stderr=sink, env=with_this_package(os.environ)
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/server_info", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(reached: Callable[[], object], log: Path) -> None:
    """Soon."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached():
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.2)


class Clicks:
    """Clicks that a person needs from the front page, counted by task."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.count = 0

    def begin(self) -> None:
        """A task begins on the front page."""
        self.page.goto(self.address)
        self.count = 0

    def __call__(self, role: Any, name: str, *, exact: bool = False) -> None:
        self.page.get_by_role(role, name=name, exact=exact).first.click()
        self.count += 1

    def text(self, text: str) -> None:
        """On a text that is no link or button of its own."""
        self.page.get_by_text(text).first.click()
        self.count += 1

    def launch(self, job: str, config: str | None = None) -> None:
        """A job with what is typed into its launchpad, until its run is shown."""
        self("link", "Jobs")
        self("link", job)
        self("tab", "Launchpad")
        self.page.locator(".CodeMirror").first.wait_for()
        if config is not None:
            write = "text => document.querySelector('.CodeMirror').CodeMirror.setValue(text)"
            self.page.evaluate(write, config)
        self("button", "Launch Run")
        self.page.wait_for_url("**/runs/**")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_ui_by_clicking(world: World, ui: str, page: Page, picture: Picture) -> None:
    """Lineage of both databases; checks; a failed batch, a rollback and a batch again, each in so many clicks.

    The clicks are those of the table in `docs/getting-started.md`, from the front page on.
    """
    clicks, log = Clicks(page, ui), world.home / "dev.log"
    page.goto(ui)
    clicks("link", "Lineage")
    page.get_by_text("6 assets").nth(1).wait_for()
    picture(page, "lineage")
    for database in ("lines", "words"):
        page.goto(f"{ui}{LOCATION}/asset-groups/{database}")
        for asset in ASSETS:
            page.get_by_text(asset, exact=True).first.wait_for()
        picture(page, f"lineage-{database}")

    page.goto(f"{ui}/assets/lines/final_snapshot?view=checks")
    for check in ("published", "marked"):
        page.get_by_text(check, exact=True).first.wait_for()
    picture(page, "checks")
    page.goto(f"{ui}/assets/lines/execution_poll_results?view=events")
    page.get_by_alt_text("requests by execution").wait_for()
    picture(page, "outcomes")
    page.goto(f"{ui}/assets/lines/batches?view=partitions")
    page.get_by_text(FAILED).first.click()
    page.get_by_text("FAILED", exact=True).first.wait_for()
    picture(page, "failed-batch")

    clicks.begin()
    clicks("link", "Catalog")
    clicks("link", "lines / batches")
    clicks("tab", "Checks")
    page.get_by_text("Next: ").first.wait_for()
    picture(page, "needs-attention")
    clicks("link", "send it again")
    page.locator(".CodeMirror").get_by_text(FAILED).first.wait_for()
    picture(page, "send-again")
    clicks("button", "Launch Run")
    page.wait_for_url("**/runs/**")
    assert clicks.count == 5, "a failed batch is found, understood and sent again"
    wait_until(lambda: "resubmitted_as" in world.row(FAILED), log)

    before = world.published()
    clicks.begin()
    clicks.launch("rollback_lines")
    assert clicks.count == 4, "a rollback"
    wait_until(lambda: world.published().rolled_back_to is not None, log)
    older = world.published().rolled_back_to
    assert older in (before.parent, before.version), "the sensor may have published what was sent again"
    page.goto(f"{ui}/assets/lines/final_snapshot?view=events")
    page.get_by_text("rolled_back_to").first.wait_for()
    page.get_by_text(f"the content of {older} again").first.wait_for()
    picture(page, "rolled-back")

    clicks.begin()
    config = f"ops:\n  reprocess_words_batches:\n    config:\n      batch_ids: [{WORD_BATCHES[0]}]\n"
    clicks.launch("reprocess_words", config)
    assert clicks.count == 4, "a batch again"
    wait_until(lambda: world.row(WORD_BATCHES[0]).get("generation") == 1, log)
    page.goto(f"{ui}/assets/words/poll_results")
    clicks("button", "Materialize")
    clicks("button", "All", exact=True)
    clicks("button", "Launch backfill")
    page.get_by_text("Created backfill").wait_for()
    picture(page, "backfill")
    wait_until(lambda: world.row(WORD_BATCHES[1]).get("generation") == 1, log)
    page.goto(f"{ui}/runs")
    page.get_by_text("resubmit_lines").first.wait_for()
    picture(page, "runs")
