"""The component `EmbeddingDatabase`, from YAML as a Dagster project has it."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster.components.testing import create_defs_folder_sandbox
from dagster_dg_cli.cli import cli as dg_cli

import embedding_assets
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


OURS = Path(embedding_assets.__file__).parent.parent

PROJECT = """
[project]
name = "host"
version = "0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "host"
registry_modules = ["embedding_assets"]
"""

LOADS_ITS_FOLDER = """
import os
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars` is deprecated")
def test_dg_scaffolds_checks_and_lists_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is scaffolded in a host project is complete: the database is named like its folder."""
    package = tmp_path / "src" / "host"
    (package / "defs").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(LOADS_ITS_FOLDER)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(OURS)]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHROMADB_BUCKET", "b")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "t")
    _dg("scaffold", "defs", "embedding_assets.EmbeddingDatabase", "reviews")
    written = yaml.safe_load((package / "defs" / "reviews" / "defs.yaml").read_text())
    assert written["attributes"] == {"name": "reviews", "batch_type": "REVIEWS_EMBEDDING"}
    assert "validated successfully" in _dg("check", "defs")
    assert "reviews/final_snapshot" in _dg("list", "defs", "--json")


def _dg(*arguments: str) -> str:
    result = CliRunner().invoke(dg_cli, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output
