"""The environment of this process and of those that it starts: libraries under us do not call their makers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import embedding_assets

QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}
"""onnxruntime (which also leaves a device id in the home directory), Chroma, Dagster."""


def call_nobody() -> None:
    """Set the variables, also over values that allow telemetry. Before the libraries are imported."""
    os.environ.update(QUIET)


def with_this_package(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a child imports the package that is running, installed or not, and calls nobody."""
    root = str(Path(embedding_assets.__file__).parent.parent)
    paths = [root, *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, **QUIET, "PYTHONPATH": os.pathsep.join(paths)}
