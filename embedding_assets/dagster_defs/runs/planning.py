"""Planning one execution on the Dagster instance: partitions, manifest, and how its run shall execute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dagster import DagsterInstance

from embedding_assets.databases import Database
from embedding_assets.executions.manifest import write_manifest
from embedding_assets.executions.plan import ExecutionManifest
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.services import Services
from embedding_assets.settings import Settings

STEP_KIND_TAG = "embedding_assets/step"
CHUNK_STEP = "chunk"
GROUP_STEP = "group"

DEFINITIONS = "embedding_assets.definitions"
"""The module of what Dagster loads: above this one, so it is known by its name alone."""
PRELOADED = "embedding_assets.preloaded"
"""The module that the process imports from which those of the steps are forked."""

BROKER_VARIABLE = "EMBEDDING_ASSETS_CELERY_BROKER"
"""Dagster stores a run's configuration: it has the name of the variable, not the URL with its password."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The event log has every event; a console that repeats them hides what matters."""


def batch_partitions(database: Database) -> str:
    """Name of the dynamic partitions that are batch ids."""
    return f"{database.name}_batches"


def execution_partitions(database: Database) -> str:
    """Name of the dynamic partitions that are execution ids."""
    return f"{database.name}_executions"


def begin_execution(
    services: Services, instance: DagsterInstance, database: Database, batches: tuple[BatchSummary, ...]
) -> ExecutionManifest:
    """Write the manifest of an execution over `batches`, and make its partitions known to Dagster.

    Raises SettingsError, before anything is written, where a shared root is demanded that is not there: the
    execution would fail at its end.
    """
    services.shared_versions(database)
    manifest = write_manifest(services.store, database, batches)
    add_missing(instance, batch_partitions(database), (batch.batch_id for batch in batches))
    add_missing(instance, execution_partitions(database), [manifest.execution_id])
    return manifest


def add_missing(instance: DagsterInstance, partitions: str, keys: Iterable[str]) -> None:
    """Add those partition keys that are not there yet."""
    there = set(instance.get_dynamic_partitions(partitions))
    missing = [key for key in keys if key not in there]
    if missing:
        instance.add_dynamic_partitions(partitions, missing)


def run_config(settings: Settings) -> dict[str, Any]:
    """How a run executes: what the executor of the settings is configured with, and a quiet console."""
    return {"execution": {"config": executor_config(settings)}, **QUIET}


def executor_config(settings: Settings) -> dict[str, Any]:
    """The configuration of the executor that EMBEDDING_ASSETS_EXECUTOR names; without any secret.

    Chunks and groups at once are limited by their tags, if the executor can; with Celery by the number of workers.
    On one small machine a process for each step costs more than a chunk: 65 small batches took twice as long so.
    """
    limits = {CHUNK_STEP: settings.chunk_concurrency, GROUP_STEP: settings.group_concurrency}
    most = {"max_concurrent": max(limits.values())}
    by_tag = {
        "tag_concurrency_limits": [
            {"key": STEP_KIND_TAG, "value": kind, "limit": limit} for kind, limit in limits.items()
        ]
    }
    match settings.executor:
        case "in_process":
            return {"in_process": {}}
        case "multiprocess":
            start = {"start_method": {"forkserver": {"preload_modules": [PRELOADED]}}}
            return {"multiprocess": {**most, **start, **by_tag}}
        case "celery":
            broker = {"env": BROKER_VARIABLE}
            return {
                "broker": broker,
                "backend": broker,
                "config_source": celery_config(settings.celery_visibility_seconds),
            }
        case "kubernetes" | "ecs":
            return {**most, **by_tag}


def celery_config(visibility_seconds: int) -> dict[str, Any]:
    """What the application of Celery has on both sides: a step whose worker dies goes to another worker.

    A step is acknowledged when it has ended, and a worker takes one at a time. A broker that hears nothing of a
    step for `visibility_seconds` gives it to another worker: a longer step then runs twice, which is harmless.
    """
    return {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"visibility_timeout": visibility_seconds},
        "result_backend_transport_options": {"visibility_timeout": visibility_seconds},
        "visibility_timeout": visibility_seconds,
    }
