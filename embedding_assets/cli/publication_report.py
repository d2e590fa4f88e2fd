"""What a command published, reported to the Dagster instance of this machine, if there is one."""

from __future__ import annotations

import os
from pathlib import Path

from embedding_assets.cli.output import warn
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.services import Services


def report_to_dagster(services: Services, database: Database, why: str) -> None:
    """Show in Dagster what is published now. Makes no instance; if the instance fails, only warns."""
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster_home")
    if not (home / "dagster.yaml").exists():
        return
    from embedding_assets.cli.home import dagster_instance
    from embedding_assets.dagster_defs.runs.publication_event import report_published

    try:
        with dagster_instance() as instance:
            report_published(services, instance, database, why)
    except EmbeddingAssetsError as error:
        warn(f"Dagster does not show what is published now: {error}")
