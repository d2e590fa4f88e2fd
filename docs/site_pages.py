"""A hook of mkdocs: the pages beside `docs` become pages of the site, and links to them lead there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
}
"""By name: the page of the site."""


def on_files(files: Files, config: Any) -> Files:
    """Add them. In what they say, `docs/page.md` is a page beside them, `NAME.md` another of them."""
    for name, page in BESIDE.items():
        up = "../" * page.count("/")
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", f"]({up}")
        for other, its_page in BESIDE.items():
            text = text.replace(f"]({other}", f"]({up}{its_page}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Links of a page in `docs` to those beside it."""
    up = "../" * page.file.src_uri.count("/")
    for name, its_page in BESIDE.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{re.escape(name)}", f"]({up}{its_page}", markdown)
    return markdown


def on_page_content(html: str, **kwargs: Any) -> str:
    """Names may break after an underscore: columns of long ones stay narrow."""
    return re.sub(r"<code>([^<]+)</code>", lambda found: found[0].replace("_", "_<wbr>"), html)
