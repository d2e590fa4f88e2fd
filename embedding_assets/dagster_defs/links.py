"""Links of Dagster's UI from its metadata: a job's launchpad with the configuration filled in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import yaml

from embedding_assets.databases import Database


def launchpad(location: str, job: str, config: Mapping[str, object]) -> str:
    """The launchpad of a job of a code location, from an asset's page, also if the UI is served below a path.

    The UI reads `config` from the address (`playground/setup` of its webserver, 1.13).
    """
    typed = quote(yaml.safe_dump(config, sort_keys=False), safe="")
    return f"../../locations/{quote(location, safe='')}/jobs/{job}/playground/setup?config={typed}"


def resubmit_link(location: str, database: Database, batch_id: str) -> str:
    """Markdown: one click to the launchpad that sends a batch again, a second one launches it."""
    job = f"resubmit_{database.name}"
    config = {"ops": {f"{job}_batches": {"config": {"batch_ids": [batch_id], "now": True}}}}
    return f"[send it again…]({launchpad(location, job, config)})"
