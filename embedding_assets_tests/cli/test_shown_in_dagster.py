"""What commands publish beside an execution is what Dagster shows as published now."""

from __future__ import annotations

from pathlib import Path

from embedding_assets.databases import LINES
from embedding_assets_tests.chroma.both_writers import write_by_chroma
from embedding_assets_tests.chroma.test_direct_writer import varied
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.dagster_defs.runs.world import World, texts


def test_an_import_a_rollback_and_a_gc(world: World, tmp_path: Path) -> None:
    """Each is an event of `final_snapshot` with the published version; a dry run is none."""
    world.plant("first", texts("a", 2))
    assert world.ingest().failures == []
    before = len(world.materializations(LINES, "final_snapshot"))
    write_by_chroma(tmp_path / "index", varied(3))
    arguments = ("snapshots", "import", "lines", str(tmp_path / "index"))
    assert command(*arguments, "--dry-run").code == 0
    assert len(world.materializations(LINES, "final_snapshot")) == before
    for why, act in {
        "imported": arguments,
        "rolled back": ("snapshots", "rollback", "lines"),
        "after a gc": ("snapshots", "gc", "lines"),
    }.items():
        assert command(*act).code == 0
        shown = world.materializations(LINES, "final_snapshot")[-1]
        assert shown.metadata["snapshot_version"].value == world.published().version
        assert str(shown.description).startswith(why)
