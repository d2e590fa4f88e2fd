"""The component `EmbeddingDatabase`, from YAML as a Dagster project has it."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from embedding_assets import EmbeddingDatabase

YAML = {
    "type": "embedding_assets.EmbeddingDatabase",
    "attributes": {"name": "reviews", "batch_type": "REVIEW", "bucket": "b", "table_name": "t"},
}


def test_from_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """The assets, jobs and sensors of this database, and of no other."""
    monkeypatch.delenv("CHROMADB_BUCKET", raising=False)
    monkeypatch.delenv("DYNAMODB_TABLE_NAME", raising=False)
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=EmbeddingDatabase, defs_yaml_contents=YAML)
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, defs):
            assert isinstance(component, EmbeddingDatabase)
            keys = {"/".join(key.path) for key in defs.resolve_asset_graph().get_all_asset_keys()}
            dg.Definitions.validate_loadable(defs)
    assert keys == {
        f"reviews/{asset}"
        for asset in (
            "batches",
            "poll_results",
            "execution_poll_results",
            "chunks",
            "intermediate_snapshots",
            "final_snapshot",
        )
    }


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bucket anywhere: one line that names the variable."""
    monkeypatch.delenv("CHROMADB_BUCKET", raising=False)
    component = EmbeddingDatabase(name="reviews", batch_type="REVIEW", table_name="t")
    with pytest.raises(Exception, match="CHROMADB_BUCKET is not set"):
        dg.Definitions.validate_loadable(component.build_defs(dg.ComponentTree.for_test().load_context))
