"""The rules of the layout: imports run one way, and what only one room may know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedding_assets

ROOT = Path(embedding_assets.__file__).parent
PACKAGE = ROOT.name

ORDER = (
    "text",
    "errors",
    "tls",
    "extras",
    "progress",
    "telemetry",
    "processes",
    "calls",
    "databases",
    "settings",
    "bucket",
    "rows",
    "chroma",
    "ledger",
    "versions",
    "openai_batches",
    "snapshot",
    "changes",
    "serving",
    "submission",
    "targets",
    "executions",
    "upkeep",
    "operations",
    "services",
    "dagster_defs",
    "factory",
    "component",
    "definitions",
    "local",
    "cli",
    "command",
    "preloaded",
)
"""The rooms from the lowest to the highest: each imports only those below. `docs/architecture.md` says why."""

WITH_DAGSTER = ("dagster_defs", "factory", "component", "definitions", "cli", "preloaded")
WITH_CHROMA = ("chroma",)
MOST_LINES = 300
PREFIXES = re.compile(
    r"^(records|manifests|poll_results|chunks|chunk_groups|intermediate|dagster/(outputs|doctor))/"
    r"|/(delta|snapshot|inbox|submitted|versions|latest|tags|receipts)/"
)
"""How a key of the contract begins or what it has in its middle."""

MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def tree_of(module: str) -> ast.Module:
    """The source of a module, parsed."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def room_of(name: str) -> str:
    """The room of a module, named by its path or with dots."""
    return name.removesuffix(".py").replace("/", ".").split(".")[0]


def imported(module: str) -> Iterator[str]:
    """Full names of everything that a module imports, also inside functions and for types."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == PACKAGE)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def constants(module: str) -> Iterator[str]:
    """Texts of a module, without docstrings; a text with values in it comes without them."""
    tree = tree_of(module)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation | parts
        ):
            yield str(node.value)


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__init__.py"])
def test_imports_run_one_way(module: str) -> None:
    """A room imports only rooms below it."""
    own = room_of(module)
    assert own in ORDER, f"{own} has no place in ORDER"
    for name in imported(module):
        if not name.startswith(f"{PACKAGE}.") or name.endswith("__"):
            continue
        other = room_of(name.removeprefix(f"{PACKAGE}."))
        assert other == own or ORDER.index(other) < ORDER.index(own), f"{module} imports {name}"


@pytest.mark.parametrize(("library", "rooms"), [("dagster", WITH_DAGSTER), ("chromadb", WITH_CHROMA)])
def test_a_library_is_known_to_its_rooms_alone(library: str, rooms: tuple[str, ...]) -> None:
    """The pure core imports no Dagster; what rests on Chroma is in one room."""
    users = {
        module
        for module in MODULES
        if any(name == library or name.startswith((f"{library}.", f"{library}_")) for name in imported(module))
    }
    assert {module for module in users if room_of(module) not in rooms} == set()


def test_keys_are_made_in_one_module() -> None:
    """No other module has a part of a key of the contract in a text of its own."""
    found = {
        (module, text)
        for module in MODULES
        if module != "bucket/keys.py" and room_of(module) != "local"
        for text in constants(module)
        if PREFIXES.search(text) and " " not in text
    }
    assert found == set()


def test_no_module_is_long() -> None:
    """Over 300 lines a file holds more than one thought."""
    lengths = {module: len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {module: length for module, length in lengths.items() if length > MOST_LINES} == {}


def test_rooms_are_all_there() -> None:
    """`ORDER` names no room that is gone."""
    assert {room_of(module) for module in MODULES} - {"__init__"} == set(ORDER)
