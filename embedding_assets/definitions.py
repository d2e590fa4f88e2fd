"""What Dagster loads: the definitions by the settings of the environment."""

from __future__ import annotations

import dagster as dg

from embedding_assets.dagster_defs.runs.executor import executor_of
from embedding_assets.factory import build_definitions
from embedding_assets.settings import load_settings

settings = load_settings()
defs = dg.Definitions.merge(build_definitions(settings), dg.Definitions(executor=executor_of(settings)))


def load_job(name: str) -> dg.JobDefinition:
    """The job `name` of the definitions; the processes of a run's steps find it through here."""
    return defs.resolve_job_def(name)
