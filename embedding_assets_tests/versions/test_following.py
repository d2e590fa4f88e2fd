"""The asset of `docs/changes.md` is run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.executions.conftest import bench as bench

PAGE = Path(__file__).parents[2] / "docs" / "changes.md"


@pytest.fixture
def owner(settings: object) -> Iterator[Callable[[], int]]:
    """Materializes the page's asset; gives how many records it followed."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[-1]
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
    asset = names["receipt_lines_marked"]
    assert isinstance(asset, dg.AssetsDefinition)
    with dg.DagsterInstance.ephemeral() as instance:

        def materialize() -> int:
            assert dg.materialize([asset], instance=instance, selection=[asset]).success
            event = instance.get_latest_materialization_event(asset.key)
            assert event is not None
            assert event.asset_materialization is not None
            value = event.asset_materialization.metadata["records"].value
            assert isinstance(value, int)
            return value

        yield materialize


def test_the_owners_asset_follows(bench: Workbench, owner: Callable[[], int]) -> None:
    """First everything, then what is new, then nothing."""
    bench.merge([bench.batch("one", records("r", 3))], 1)
    assert owner() == 3
    bench.merge([bench.batch("two", records("s", 2, 50), at(1)), bench.deletions("gone", ["r0"], at(2))], 2)
    assert [owner(), owner()] == [3, 0]
