"""What the pages say about the project exists: files, headings, commands, options, variables, targets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from embedding_assets.cli.main import app
from embedding_assets.settings import PREFIX, Settings
from embedding_assets_tests.docs import reference
from embedding_assets_tests.docs.pages import (
    PAGES,
    ROOT,
    Line,
    ShownCommand,
    all_lines,
    anchors,
    lines_of,
    links,
    shown_commands,
)

CONTRACT = ROOT / "docs" / "contract.md"
DECISIONS = ROOT / "docs" / "decisions"
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

COMMAND_ROW = re.compile(r"^\| `([a-z][^`]*)` \|")
"""A row of the contract's table of commands."""
ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=[\"']?https?:[^>]+|<link[^>]+stylesheet[^>]+https?:[^>]+"
)
"""What a browser would fetch from another host."""
VARIABLE_ROW = re.compile(r"^\| (`EMBEDDING_ASSETS_[^|]*)\|")
"""A row of the contract's table of variables."""


def variables() -> set[str]:
    """The environment variables that `Settings` reads."""
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        alias: Any = field.validation_alias
        names |= set(alias.choices) if alias is not None else {PREFIX + name.upper()}
    return names


def find_command(words: tuple[str, ...]) -> tuple[Any, tuple[str, ...]] | None:
    """The command that `words` begin with, and the words after its name; None if there is none."""
    found: Any = typer.main.get_command(app)
    while hasattr(found, "list_commands"):
        if not words:
            return None
        found = found.get_command(None, words[0])
        if found is None:
            return None
        words = words[1:]
    return found, words


def options_of(command: Any) -> set[str]:
    """Every option of a command, `--help` included."""
    return {"--help"} | {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


def problem_of(words: tuple[str, ...]) -> str | None:
    """Why a command line that begins with `words` cannot run; None if it can."""
    if words in (("--help",), ("COMMAND",)):
        return None
    found = find_command(words)
    if found is None:
        return "no such command"
    command, rest = found
    given = {word.split("=")[0].rstrip("…").strip("[]") for word in rest if word.lstrip("[").startswith("-")}
    unknown = {option for option in given if len(option) > 1} - options_of(command)
    return f"no option {', '.join(sorted(unknown))}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the project, and every anchor a heading of that page."""
    wrong: list[str] = []
    for line, target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT):
            wrong.append(f"{line}: {target}: no such file")
        elif anchor and anchor not in anchors(file):
            wrong.append(f"{line}: {target}: no such heading")
    assert wrong == []


def every_shown_command() -> list[ShownCommand]:
    return [shown for page in PAGES for shown in shown_commands(page)]


def test_shown_commands_exist() -> None:
    """Every command line on a page names a command, and only options that it has, unless marked as planned."""
    shown = every_shown_command()
    problems = {
        f"{one.line}: {' '.join(one.words)}": problem_of(one.words) for one in shown if not one.line.planned
    }
    assert {where: problem for where, problem in problems.items() if problem} == {}
    assert len(shown) > 20, "the pages show no commands any more, or this test does not find them"


def variable_rows() -> list[Line]:
    return [line for line in lines_of(CONTRACT) if VARIABLE_ROW.match(line.text)]


def test_named_variables_exist() -> None:
    """A variable that a page names is one that Settings reads, or the contract marks it as planned."""
    planned = {name for line in variable_rows() if line.planned for name in line.variables}
    unknown = {f"{line}: {name}" for line in all_lines() for name in line.variables - variables() - planned}
    assert unknown == set()


def test_every_setting_is_documented() -> None:
    """In the contract by its full name; the page of settings is made from the code."""
    contract = CONTRACT.read_text(encoding="utf-8")
    assert {name for name in variables() if not re.search(rf"`{name}\b", contract)} == set()


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_made_pages_are_not_stale(page: Path) -> None:
    """`make reference` would change nothing, and no setting or option lacks its meaning."""
    made = reference.PAGES[page]()
    assert page.read_text(encoding="utf-8") == made, "run `make reference`"
    assert [line for line in made.splitlines() if line.endswith("|  |")] == []


def test_the_site_needs_no_other_host(tmp_path: Path) -> None:
    """It builds without a warning; no script, style, font or image of a page comes from elsewhere."""
    if find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed (make docs)")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    assert {hit for page in pages for hit in ELSEWHERE.findall(page.read_text(encoding="utf-8"))} == set()
    sheets = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css")]
    assert [url for sheet in sheets for url in re.findall(r"(?:@import|url\()\s*[\"']?https?:", sheet)] == []


def test_no_mark_is_stale() -> None:
    """A row of the contract that is marked as planned names something that does not exist yet: remove the mark."""
    stale = [str(line) for line in variable_rows() if line.planned and line.variables <= variables()]
    stale += [str(line) for line, words in command_rows() if line.planned and problem_of(words) is None]
    assert stale == []


def test_commands_of_the_contract_exist() -> None:
    """Each row of the table of commands can be typed as it is shown, unless marked as planned."""
    rows = [(line, words) for line, words in command_rows() if not line.planned]
    problems = {f"{line}: {' '.join(words)}": problem_of(words) for line, words in rows}
    assert {where: problem for where, problem in problems.items() if problem} == {}
    assert len(rows) >= 18


def test_every_command_is_in_the_contract() -> None:
    """A new command gets a row in the contract."""
    named = {words[:2] if words[0] in ("snapshots", "targets") else words[:1] for _, words in command_rows()}
    root: Any = typer.main.get_command(app)
    there: set[tuple[str, ...]] = set()
    for name in root.list_commands(None):
        command = root.get_command(None, name)
        inner = command.list_commands(None) if hasattr(command, "list_commands") else []
        there |= {(name, part) for part in inner} or {(name,)}
    assert there - named == set()


def command_rows() -> list[tuple[Line, tuple[str, ...]]]:
    """The rows of the table under "embedding-assets" in the contract."""
    rows: list[tuple[Line, tuple[str, ...]]] = []
    inside = False
    for line in lines_of(CONTRACT):
        if line.text.startswith("#"):
            inside = line.text == "### embedding-assets"
        match = COMMAND_ROW.match(line.text) if inside else None
        if match is not None:
            rows.append((line, tuple(match.group(1).replace("[", "").replace("]", "").split())))
    return rows


def test_decisions_are_listed() -> None:
    """Every decision is in the index with its own title, and its status."""
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    pages = sorted(DECISIONS.glob("0*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        number, _, title = text.splitlines()[0].removeprefix("# ").partition(" · ")
        status = re.search(r"^Status: \W*(in force|planned|reference)", text, re.MULTILINE)
        assert page.name.startswith(number)
        assert status is not None, page.name
        row = next(
            line for line in index.splitlines() if line.startswith(f"| [{number}]({page.name}) | {title} |")
        )
        assert row.endswith(f" | {status.group(1)} |")


def test_make_help_lists_every_target() -> None:
    """`make help` prints the lines that begin with `#:`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = {name for names in re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE) for name in names.split()}
    listed = re.findall(r"^#: (\S+)  +\S", makefile, re.MULTILINE)
    assert set(listed) >= phony
    assert len(listed) == len(set(listed))
