"""The page's tables are written again, what stands around them stays."""

from __future__ import annotations

import pytest

from benchmarks.page import filled, table

PAGE = "before\n<!-- one -->\nold\n<!-- /one -->\nafter\n<!-- two -->\n<!-- /two -->\n"


def test_a_place_is_filled_again_and_again() -> None:
    once = filled(PAGE, "one", "new")
    assert once == PAGE.replace("old", "new")
    assert filled(once, "one", "new") == once
    assert filled(once, "two", "more").endswith("after\n<!-- two -->\nmore\n<!-- /two -->\n")


@pytest.mark.parametrize("page", ["nothing", "<!-- one -->", "<!-- /one -->"])
def test_a_page_without_the_place_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        filled(page, "one", "new")


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
