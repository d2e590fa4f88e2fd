"""The page of `serve`, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from embedding_assets_tests.browser.conftest import Picture
from embedding_assets_tests.serving.conftest import Served
from embedding_assets_tests.serving.conftest import bench as bench
from embedding_assets_tests.serving.conftest import publish as publish
from embedding_assets_tests.serving.conftest import served as served

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_search_by_typing(page: Page, served: Served, publish: Callable[[int], str], picture: Picture) -> None:
    """Hits with version and batch; two versions side by side; a wrong filter is a line; no other host is asked."""
    first, second = publish(1), publish(2)
    served.until_ready()
    served.until(second)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    address = str(served.client.base_url)
    page.goto(address)
    page.get_by_label("Query").fill("text 21")
    page.get_by_role("button", name="Search").click()
    page.get_by_text(f"version {second}").wait_for()
    assert page.locator("li").count() == 10
    picture(page, "search")
    page.get_by_label("Compare with").fill(first)
    page.get_by_role("button", name="Search").click()
    page.get_by_text(f"version {first}").wait_for()
    picture(page, "search-compared")
    page.get_by_label("Filter of metadata").fill("no JSON")
    page.get_by_role("button", name="Search").click()
    page.locator(".problem").first.wait_for()
    picture(page, "search-wrong-filter")
    assert [url for url in asked if not url.startswith(address)] == []
