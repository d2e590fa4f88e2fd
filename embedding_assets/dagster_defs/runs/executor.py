"""How runs execute that were started by clicking: as those of the sensors and of `ingest`."""

from __future__ import annotations

import dagster as dg

from embedding_assets.dagster_defs.runs.planning import run_config
from embedding_assets.settings import Settings


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """Dagster's executor with `in_process` and `multiprocess`, by default as EMBEDDING_ASSETS_EXECUTOR says.

    Dagster's own default is a process for each step, which takes five times as long for small executions.
    """
    usual = dg.multi_or_in_process_executor
    kinds = usual.config_schema.as_field().config_type
    chosen = run_config(settings)["execution"]["config"]
    schema = dg.Field(kinds, is_required=False, default_value=chosen)
    return usual.configured(lambda config: config, config_schema=schema, name=usual.name)
