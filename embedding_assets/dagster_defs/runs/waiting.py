"""Ingesting in the foreground until OpenAI has ended every batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dagster import DagsterInstance

from embedding_assets.dagster_defs.runs.ingest import IngestReport, ingest
from embedding_assets.databases import Database
from embedding_assets.progress import Progress
from embedding_assets.services import Services

OPENAI_SECONDS = 15.0
"""Between two looks at batches that are running at OpenAI."""


def ingest_until_ended(
    services: Services,
    instance: DagsterInstance,
    databases: Sequence[Database],
    *,
    seconds: float | None,
    progress: Progress,
) -> IngestReport:
    """As `ingest` until nothing is ready, and again until no batch is running at OpenAI, or `seconds` are over.

    A failure ends it at once. What is still running then is in `waiting`.
    """
    started = time.monotonic()
    whole = IngestReport()
    while True:
        whole.add(ingest(services, instance, databases, until_drained=True, progress=progress))
        passed = time.monotonic() - started
        if whole.failures or not whole.waiting or (seconds is not None and passed >= seconds):
            return whole
        pause = OPENAI_SECONDS if seconds is None else min(OPENAI_SECONDS, seconds - passed)
        progress(f"{len(whole.waiting)} batches are running at OpenAI, waiting since {passed:.0f} s")
        time.sleep(pause)
