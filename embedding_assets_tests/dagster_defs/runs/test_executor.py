"""What is started by clicking runs as what the sensors start."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs.executor import executor_of
from embedding_assets.dagster_defs.runs.planning import run_config
from embedding_assets.settings import Settings


@pytest.mark.parametrize("chosen", ["in_process", "multiprocess"])
def test_the_setting_is_the_default(settings: Settings, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    """Of assets without a job of their own too; both kinds can be chosen in the launchpad."""
    monkeypatch.setenv("EMBEDDING_ASSETS_EXECUTOR", chosen)
    executor = executor_of(Settings())
    field = executor.config_schema.as_field()
    assert field.default_value == run_config(Settings())["execution"]["config"]
    assert list(field.default_value) == [chosen]
    kinds: Any = field.config_type
    assert set(kinds.fields) >= {"in_process", "multiprocess"}

    @dg.asset
    def something() -> int:
        return 1

    defs = dg.Definitions([something], executor=executor)
    assert defs.resolve_implicit_global_asset_job_def().executor_def.name == executor.name
