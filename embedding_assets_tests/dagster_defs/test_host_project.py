"""Our assets in another Dagster project run beside the host's own, with our settings and IO managers alone."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from embedding_assets import Settings, build_definitions
from embedding_assets.dagster_defs.runs.executions import job_name
from embedding_assets.dagster_defs.runs.planning import begin_execution
from embedding_assets.databases import LINES
from embedding_assets_tests.dagster_defs.runs.world import World, texts

RECORDS = texts("host-", 3)


def host_project(stored: list[dg.AssetKey], *, with_own: bool) -> dg.Definitions:
    """An asset, and with `with_own` an `io_manager` and an `s3` that note what they are used for."""

    class Noting(dg.ConfigurableIOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            stored.append(context.asset_key)

        def load_input(self, context: dg.InputContext) -> object:
            raise AssertionError("the host's asset has no input")

    @dg.asset
    def theirs() -> str:
        return "theirs"

    @dg.resource
    def their_s3() -> object:
        raise AssertionError("the host's `s3` is none of our business")

    own: dict[str, Any] = {"io_manager": Noting(), "s3": their_s3}
    return dg.Definitions(assets=[theirs], resources=own if with_own else {})


@pytest.mark.parametrize("with_own", [True, False])
def test_an_execution_is_published_from_a_host_project(
    world: World, monkeypatch: pytest.MonkeyPatch, with_own: bool
) -> None:
    """The settings that were given reach every step, whatever the environment says; the host's asset runs too."""
    stored: list[dg.AssetKey] = []
    given = Settings(bucket=world.bucket, table_name=world.table)
    merged = dg.Definitions.merge(host_project(stored, with_own=with_own), build_definitions(given, [LINES]))
    world.plant("first", RECORDS)
    ready = tuple(world.services.ledger.get_many(["first"]).values())
    execution = begin_execution(world.services, world.instance, LINES, ready).execution_id
    monkeypatch.setenv("CHROMADB_BUCKET", "of-somebody-else")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "of-somebody-else")

    ours = merged.resolve_job_def(job_name(LINES)).execute_in_process(
        partition_key=execution, instance=world.instance
    )
    assert ours.success
    assert world.published().total_embeddings == len(RECORDS)
    assert stored == []

    theirs = merged.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey("theirs")], instance=world.instance
    )
    assert theirs.output_for_node("theirs") == "theirs"
    assert stored == ([dg.AssetKey("theirs")] if with_own else [])
