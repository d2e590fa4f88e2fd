"""What keeps the libraries under us from calling their makers, for this process and those that it starts."""

from __future__ import annotations

import os

QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}
"""onnxruntime (which also leaves a device id in the home directory), Chroma, Dagster."""


def call_nobody() -> None:
    """Set the variables, also over values that allow telemetry. Before the libraries are imported."""
    os.environ.update(QUIET)
