"""A world whose executions are over, and the checks run there by hand as Dagster's UI runs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from embedding_assets_tests.dagster_defs.runs.world import World

CHECKED = {
    "conserved": "execution_poll_results",
    "failed_requests": "execution_poll_results",
    "vectors": "execution_poll_results",
    "ids": "execution_poll_results",
    "all_planned": "chunks",
    "all_folded": "intermediate_snapshots",
    "published": "final_snapshot",
    "index": "final_snapshot",
    "marked": "final_snapshot",
}
"""The asset of each check."""


@dataclass(frozen=True)
class Examined:
    """A world and its two executions."""

    world: World
    first: str
    second: str

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Undo what happens in the bucket and the table."""
        world = self.world
        objects = {key: world.services.store.get(key) for key in world.objects()}
        items = world.dynamodb.scan(TableName=world.table, ConsistentRead=True)["Items"]
        yield
        world.services.store.delete(world.objects().keys() - objects.keys())
        for key, data in objects.items():
            world.services.store.put(key, data)
        for item in items:
            world.dynamodb.put_item(TableName=world.table, Item=item)

    def rewrite(self, key: str, change: Callable[[Any], Any]) -> None:
        """Put another JSON into the place of an object."""
        self.world.services.store.put(key, json.dumps(change(self.world.json(key))).encode())

    def look(self, check: str) -> dg.AssetCheckEvaluation:
        """Run one check by hand, without a partition, and give what it found."""
        key = dg.AssetKey(["lines", CHECKED[check]])
        job = self.world.defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(),
            asset_check_selection={dg.AssetCheckKey(key, check)},
        )
        result = job.execute_in_process(instance=self.world.instance, raise_on_error=False)
        assert result.success, "a check makes no run fail"
        (found,) = result.get_asset_check_evaluations()
        assert (found.asset_key, found.check_name) == (key, check)
        return found


def plain(found: dg.AssetCheckEvaluation) -> dict[str, Any]:
    """Its metadata as plain values."""
    return {name: value.value for name, value in found.metadata.items()}
