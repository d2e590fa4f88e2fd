"""Dagster's own parts for writing many events of assets into its SQLite or Postgres storage at once.

Everything here is private to Dagster and was tried with the versions in `constraints.txt`. Only `event_batches`
imports it, and does without it if a release moves one of these names.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence

from dagster import (
    AssetMaterialization,
    AssetObservation,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterInvariantViolationError,
    EventLogEntry,
)
from dagster._core.events import AssetObservationData, StepMaterializationData
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
from dagster._core.storage.event_log.schema import DynamicPartitionsTable
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from sqlalchemy import Connection, Insert

PARTS = (
    "prepare_insert_event",
    "prepare_insert_event_batch",
    "run_connection",
    "index_transaction",
    "index_connection",
    "_store_asset_event_tags",
    "_store_asset_event",
)
POSTGRES = "PostgresEventLogStorage"
"""By name, because dagster-postgres need not be installed."""
ROWS_AN_INSERT = 500
DELETED_AT_ONCE = 500
"""Partitions named in one statement: SQLite takes at least 999 values."""


def suits(instance: DagsterInstance) -> bool:
    """Whether this instance's events are in a storage that is known here, with all its parts."""
    storage = instance.event_log_storage
    known = type(storage) is SqliteEventLogStorage or type(storage).__name__ == POSTGRES
    return known and all(hasattr(storage, part) for part in PARTS)


def runless_entries(events: Sequence[AssetMaterialization | AssetObservation]) -> list[EventLogEntry]:
    """What `instance.report_runless_asset_event` makes of each."""
    return [_entry(_runless_event(event), RUNLESS_RUN_ID, logging.INFO) for event in events]


def _runless_event(event: AssetMaterialization | AssetObservation) -> DagsterEvent:
    observed = isinstance(event, AssetObservation)
    kind = DagsterEventType.ASSET_OBSERVATION if observed else DagsterEventType.ASSET_MATERIALIZATION
    data = AssetObservationData(event) if isinstance(event, AssetObservation) else StepMaterializationData(event)
    return DagsterEvent(event_type_value=kind.value, event_specific_data=data, job_name=RUNLESS_JOB_NAME)


def step_entries(
    step: StepExecutionContext, materializations: Sequence[AssetMaterialization]
) -> list[EventLogEntry]:
    """What `context.log_event` makes of each."""
    return [
        _entry(
            DagsterEvent(
                event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
                event_specific_data=StepMaterializationData(materialization),
                job_name=step.job_name,
                step_handle=step.step.handle,
                node_handle=step.step.node_handle,
                step_kind_value=step.step.kind.value,
                logging_tags=step.event_tags,
                message=f"Materialized value {' '.join(materialization.asset_key.path)}.",
                pid=os.getpid(),
            ),
            step.run_id,
            logging.DEBUG,
        )
        for materialization in materializations
    ]


def store(instance: DagsterInstance, entries: Sequence[EventLogEntry]) -> None:
    """As the storage's own `store_event` does for one: the events, then what is kept of them by asset.

    What is kept of an asset as a whole is that of its last event.
    """
    storage = instance.event_log_storage
    if not entries or not isinstance(storage, SqlEventLogStorage):
        return
    if isinstance(storage, SqliteEventLogStorage):
        _store_in_sqlite(storage, entries)
    else:
        for start in range(0, len(entries), ROWS_AN_INSERT):
            _store_in_one_database(storage, entries[start : start + ROWS_AN_INSERT])


def _store_in_sqlite(storage: SqliteEventLogStorage, entries: Sequence[EventLogEntry]) -> None:
    """Into the run's database, then into that of all runs, each in one transaction."""
    inserts = [storage.prepare_insert_event(entry) for entry in entries]
    with storage.run_connection(entries[0].run_id) as connection:
        for insert in inserts:
            connection.execute(insert)
    with storage.index_transaction() as connection:
        ids = [_inserted_id(connection, insert) for insert in inserts]
        _store_by_asset(storage, connection, entries, ids)


def _store_in_one_database(storage: SqlEventLogStorage, entries: Sequence[EventLogEntry]) -> None:
    """In one statement, whose ids rise in the order of its rows; then by asset, in one transaction."""
    insert = storage.prepare_insert_event_batch(entries).returning(SqlEventLogStorageTable.c.id)
    with storage.run_connection(entries[0].run_id) as connection:
        ids = sorted(int(row[0]) for row in connection.execute(insert))
    with storage.index_transaction() as connection:
        _store_by_asset(storage, connection, entries, ids)


def _store_by_asset(
    storage: SqlEventLogStorage, connection: Connection, entries: Sequence[EventLogEntry], ids: Sequence[int]
) -> None:
    storage._store_asset_event_tags(connection, entries, ids)
    last = {
        entry.get_dagster_event().asset_key: (entry, event_id)
        for entry, event_id in zip(entries, ids, strict=True)
    }
    for entry, event_id in last.values():
        storage._store_asset_event(connection, entry, event_id)


def delete_partitions(instance: DagsterInstance, partitions: str, keys: Sequence[str]) -> None:
    """As `SqlEventLogStorage.delete_dynamic_partition` does for one, many in one statement."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    columns = DynamicPartitionsTable.c
    for start in range(0, len(keys), DELETED_AT_ONCE):
        chosen = columns.partition.in_(keys[start : start + DELETED_AT_ONCE])
        with storage.index_connection() as connection:
            connection.execute(
                DynamicPartitionsTable.delete().where(columns.partitions_def_name == partitions, chosen)
            )


def _entry(event: DagsterEvent, run_id: str, level: int) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]  # a named tuple whose constructor has no types
        error_info=None,
        level=level,
        user_message=event.message or "",
        run_id=run_id,
        timestamp=time.time(),
        step_key=event.step_key,
        job_name=event.job_name,
        dagster_event=event,
    )


def _inserted_id(connection: Connection, insert: Insert) -> int:
    key = connection.execute(insert).inserted_primary_key
    if key is None:
        raise DagsterInvariantViolationError("an event was stored without an id")
    return int(key[0])
