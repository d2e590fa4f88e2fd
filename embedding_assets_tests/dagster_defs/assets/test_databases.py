"""Databases: two that ship, and one that a user adds by configuration alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import httpx
import openai

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts, tick
from embedding_assets_tests.reference import reference_digest

ASSETS = (
    "batches",
    "poll_results",
    "execution_poll_results",
    "chunks",
    "intermediate_snapshots",
    "final_snapshot",
)
BY_BATCH = ("batches", "poll_results")
NOTES = """
databases:
  - name: notes
    batch_type: NOTE_EMBEDDING
    delta_folder: shop_notes
    collection: shop-notes
    space: ip
"""


def names(world: World) -> tuple[set[str], set[str], set[str]]:
    """The names of all assets, jobs and sensors."""
    repository = world.defs.get_repository_def()
    assets = {key.to_user_string() for key in world.defs.resolve_asset_graph().get_all_asset_keys()}
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    return assets, jobs, {sensor.name for sensor in repository.sensor_defs}


def wanted_names(*databases: str) -> tuple[set[str], set[str], set[str]]:
    """What the contract names for these databases, what submits, what people start, and what looks after it."""
    jobs = (
        "ingest",
        "submit",
        "resubmit",
        "reprocess",
        "reset",
        "acknowledge",
        "rollback",
        "verify",
        "gc",
        "retire",
    )
    sensors = ("pending_batches", "completion", "resubmission", "attention")
    return (
        {f"{name}/{asset}" for name in databases for asset in ASSETS},
        {f"{kind}_{name}" for name in databases for kind in jobs},
        {f"{name}_{kind}" for name in databases for kind in sensors},
    )


def test_lines_and_words_ship(world: World) -> None:
    """The contract's assets, jobs and sensors and those that submit; partitioned by batch or by execution."""
    assert names(world) == wanted_names("lines", "words")
    graph = world.defs.resolve_asset_graph()
    for name in ("lines", "words"):
        for asset in ASSETS:
            partitions = graph.get(dg.AssetKey([name, asset])).partitions_def
            assert isinstance(partitions, dg.DynamicPartitionsDefinition)
            assert partitions.name == (f"{name}_batches" if asset in BY_BATCH else f"{name}_executions")


def test_the_graph_leads_from_batches_to_the_final_snapshot(world: World) -> None:
    """Each asset stands on the one before it; the final snapshot on what was polled and planned too."""
    graph = world.defs.resolve_asset_graph()
    parents = {
        asset: {key.path[-1] for key in graph.get(dg.AssetKey(["lines", asset])).parent_keys} for asset in ASSETS
    }
    assert parents == {
        "batches": set(),
        "poll_results": {"batches"},
        "execution_poll_results": {"poll_results"},
        "chunks": {"execution_poll_results"},
        "intermediate_snapshots": {"chunks"},
        "final_snapshot": {"execution_poll_results", "chunks", "intermediate_snapshots"},
    }


def test_a_database_of_a_file_has_everything_and_is_ingested(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> None:
    """Its name alone makes assets, job and sensors; its batches go to its own folder, collection and space."""
    file = tmp_path / "databases.yaml"
    file.write_text(NOTES)
    environment = {"EMBEDDING_ASSETS_DATABASES_FILE": str(file)}
    with open_world(stack, aws, openai_clients[1], tmp_path / "home", **environment) as world:
        assert names(world) == wanted_names("lines", "words", "notes")
        notes = world.services.settings.database("notes")
        wanted = texts("note-", 3)
        world.plant("noted", wanted, database=notes)
        assert tick(world, "lines_pending_batches").skip_message == "0 batches ready, 0 running at OpenAI"
        report = world.ingest(notes)
        assert (report.marked, report.failures) == (["noted"], [])
        assert set(report.versions) == {"notes"}
        manifest = world.published(notes)
        assert manifest.content_digest == reference_digest(wanted)
        assert (manifest.collection, manifest.space) == ("shop-notes", "ip")
        assert {key.split("/")[3] for key in world.keys("notes/delta/notes/")} == {"shop_notes"}
        assert world.keys("lines/", "words/") == set()
        assert world.row("noted")["status"] == "COMPLETED"
