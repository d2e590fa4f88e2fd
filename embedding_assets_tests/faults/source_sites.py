"""Where the source reaches outside, read from the source itself: no recording can overlook a function here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import embedding_assets

ROOT = Path(embedding_assets.__file__).parent

NOT_THE_PRODUCT = ("local/", "operations/doctor/", "cli/demo.py", "cli/dev.py")
"""The local servers, what starts them, and what examines an account without relying on it."""

PLUMBING = ("bucket/store.py", "bucket/aws.py", "ledger/ledger.py", "ledger/row_table.py")
"""What every call goes through: their callers count."""

CLIENTS = frozenset({"store", "_store", "ledger", "client", "_client", "_renewing_client", "sdk"})
"""What S3, DynamoDB and OpenAI are called through."""

RENAMES = frozenset({"replace", "rename", "symlink"})
LOCAL = frozenset(
    {
        "uri",
        "close",
        "renewing_client",
        "get_collection",
        "list_collections",
        "create_collection",
        "client",
        "table",
    }
)
"""Methods of those names that reach no service."""


def functions_that_reach_outside() -> Iterator[str]:
    """`module.Class.function` of every function that calls a service or renames a local file."""
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT).as_posix()
        if relative.startswith(NOT_THE_PRODUCT) or relative in PLUMBING:
            continue
        module = relative.removesuffix(".py").replace("/", ".")
        yield from _in(ast.parse(path.read_text(encoding="utf-8")), module)


def _in(node: ast.AST, name: str) -> Iterator[str]:
    reaches = False
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _in(child, f"{name}.{child.name}")
        else:
            inner = list(_in(child, name))
            reaches = reaches or bool(inner) or _reaches_outside(child)
    if reaches:
        yield name


def _reaches_outside(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = ast.unparse(node.func.value).split(".")
    if owner == ["os"]:
        return node.func.attr in RENAMES
    return (owner[-1] in CLIENTS or "sdk" in owner) and node.func.attr not in LOCAL
