"""Another distance: the very same vectors in a new graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.chroma.collection import open_collection, read_rows
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError, InputError
from embedding_assets.rows.record_index import alive
from embedding_assets.upkeep.inspection import problems_of
from embedding_assets.versions.reader import published_index, pull
from embedding_assets_tests.dagster_defs.runs.world import World, texts
from embedding_assets_tests.deltas import at, record

PURPOSE = "20260102T120000Z-0123abcd"
BY_IP = LINES.model_copy(update={"space": "ip"})


def quiet(line: str) -> None:
    """Tell nobody."""


def test_another_distance(world: World, tmp_path: Path) -> None:
    """The digest, the ids and every bit of the vectors stay; metadata, tombstones and provenance too."""
    wanted = [*texts("a", 5), record("m", 9, "document", {"f": 0.1, "n": 1})]
    world.plant("first", wanted, kept=True)
    world.ingest()
    world.delete("gone", ["a1"], submitted_at=at(5).isoformat())
    world.ingest()
    before, index = world.published(), published_index(world.services.store, world.published())
    manifest = world.services.distance_rebuild(BY_IP, quiet).run(PURPOSE)
    assert manifest == world.published()
    assert (manifest.space, manifest.parent, manifest.batches) == ("ip", before.version, ())
    assert manifest.content_digest == before.content_digest
    assert published_index(world.services.store, manifest).equals(index)
    assert not {file.key for file in manifest.files if "records" not in file.key} & {
        file.key for file in before.files
    }
    folder = tmp_path / "pulled"
    pull(world.services.store, manifest, folder)
    with open_collection(folder, manifest.collection) as collection:
        assert (collection.configuration["hnsw"] or {}).get("space") == "ip"
        found = {
            one: vector.tolist()
            for page in read_rows(collection)
            for one, vector in zip(page.ids, page.vectors, strict=True)
        }
    assert found == {one.id: list(one.vector) for one in wanted if one.id != "a1"}
    assert problems_of(world.services.store, manifest, tmp_path / "checked", everything=True) == []


def test_the_same_distance_is_built_anew_too(world: World) -> None:
    """It is a way to be rid of what deletions left in the graph; afterwards merges go on."""
    world.plant("first", texts("a", 3))
    world.ingest()
    before = world.published()
    world.services.distance_rebuild(LINES, quiet).run(PURPOSE)
    assert world.published().content_digest == before.content_digest
    world.plant("second", texts("b", 2, 10))
    assert world.ingest().failures == []
    assert world.published().total_embeddings == 5
    assert alive(published_index(world.services.store, world.published())).num_rows == 5


def test_nothing_or_damage_is_not_rebuilt(world: World) -> None:
    """Nothing is published then."""
    rebuild = world.services.distance_rebuild(LINES, quiet)
    with pytest.raises(InputError, match="no published version"):
        rebuild.run(PURPOSE)
    world.plant("first", texts("a", 3))
    world.ingest()
    before = world.published()
    key = next(file.key for file in before.files if file.path.endswith("data_level0.bin"))
    world.services.store.put(key, b"other")
    with pytest.raises(DamagedVersionError, match="cannot be rebuilt"):
        rebuild.run(PURPOSE)
    assert world.published() == before
