"""What Dagster's catalog shows of each asset: what a partition is, the columns, how old it may get."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from embedding_assets import Settings, build_definitions
from embedding_assets.dagster_defs.assets.columns import COLUMN_SCHEMA
from embedding_assets_tests.dagster_defs.assets.test_databases import ASSETS

GIVEN = {"table_name": "t", "bucket": "b"}


def specs(settings: Settings) -> dict[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in build_definitions(settings).resolve_all_asset_specs()}


@pytest.mark.parametrize("name", ASSETS)
def test_a_description_says_what_a_partition_is(name: str) -> None:
    for database in ("lines", "words"):
        assert "A partition is a" in str(specs(Settings(**GIVEN))[dg.AssetKey([database, name])].description)


def test_records_have_their_columns() -> None:
    found = specs(Settings(**GIVEN))
    for name in ("poll_results", "intermediate_snapshots", "final_snapshot"):
        columns = found[dg.AssetKey(["lines", name])].metadata[COLUMN_SCHEMA].columns
        assert [column.name for column in columns] == ["id", "vector", "document", "metadata"]


def test_the_published_version_is_overdue_if_a_setting_says_when() -> None:
    key = dg.AssetKey(["words", "final_snapshot"])
    assert specs(Settings(**GIVEN))[key].freshness_policy is None
    policy = specs(Settings(**GIVEN, fresh_seconds=7200))[key].freshness_policy
    assert policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=2))
