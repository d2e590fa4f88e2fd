"""Engines of Dagster's event log: one for each file while they are kept, and the same events as without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, AssetMaterialization, DagsterInstance
from dagster._core.storage.event_log.sqlite import sqlite_event_log

from embedding_assets.dagster_defs.runs.kept_engines import CREATE, kept_engines

PARTITIONS = ["a", "b", "c"]


def materialized(home: Path) -> list[str | None]:
    """The partitions that a new instance tells, after each was told to it."""
    home.mkdir()
    with DagsterInstance.local_temp(str(home)) as instance:
        for partition in PARTITIONS:
            instance.report_runless_asset_event(AssetMaterialization("kept", partition=partition))
        records = instance.fetch_materializations(AssetKey("kept"), limit=100, ascending=True).records
    return [record.asset_materialization.partition for record in records if record.asset_materialization]


def test_events_are_stored_as_ever_with_few_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create = vars(sqlite_event_log)[CREATE]

    def counted(address: str, **options: Any) -> Any:
        made.append(address)
        return create(address, **options)

    monkeypatch.setattr(sqlite_event_log, CREATE, counted)
    with kept_engines():
        assert materialized(tmp_path / "kept") == PARTITIONS
    assert len(made) == len(set(made)) == 2
    made.clear()
    assert materialized(tmp_path / "plain") == PARTITIONS
    assert len(made) > 2 * len(PARTITIONS)


def test_dagster_makes_its_own_again_afterwards() -> None:
    before = vars(sqlite_event_log)[CREATE]
    with kept_engines():
        assert vars(sqlite_event_log)[CREATE] is not before
    assert vars(sqlite_event_log)[CREATE] is before
