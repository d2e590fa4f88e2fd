"""The executor of the settings: for what is started by clicking as for the runs of the sensors and of `ingest`."""

from __future__ import annotations

import dagster as dg

from embedding_assets.dagster_defs.runs.planning import executor_config
from embedding_assets.extras import require_extra
from embedding_assets.settings import Settings


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """Dagster's executor that EMBEDDING_ASSETS_EXECUTOR names, by default with the limits of the settings.

    `in_process` and `multiprocess` are one executor, and the launchpad offers both. Dagster's own default is a
    process for each step, which takes five times as long for small executions. Raises MissingExtraError if the
    package of the executor is not installed.
    """
    usual = _executor(settings)
    kinds = usual.config_schema.as_field().config_type
    schema = dg.Field(kinds, is_required=False, default_value=executor_config(settings))
    return usual.configured(lambda config: config, config_schema=schema, name=usual.name)


def has_step_per_chunk(settings: Settings) -> bool:
    """Whether chunks and groups are steps of their own, because steps can run side by side."""
    return settings.executor != "in_process"


def _executor(settings: Settings) -> dg.ExecutorDefinition:
    user = f"EMBEDDING_ASSETS_EXECUTOR={settings.executor}"
    match settings.executor:
        case "celery":
            require_extra("celery", user)
            from dagster_celery import celery_executor

            return celery_executor
        case "kubernetes":
            require_extra("kubernetes", user)
            from dagster_k8s import k8s_job_executor

            return k8s_job_executor
        case "ecs":
            from dagster_aws.ecs.executor import ecs_executor

            return ecs_executor
        case _:
            return dg.multi_or_in_process_executor
