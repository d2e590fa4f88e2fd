"""Verification: a version that is not exactly what was merged is caught before it is published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb.api.models.Collection import Collection

from embedding_assets.chroma.collection import ChromaRows, ChromaWriter, open_collection
from embedding_assets.errors import DamagedError
from embedding_assets.rows.record import metadata_json
from embedding_assets.rows.snapshot_directory import list_files
from embedding_assets.versions.verify import SAMPLE_SIZE, find_problems, verify
from embedding_assets_tests.deltas import index_of, matrix, record, records, vector
from embedding_assets_tests.reference import Expected

WANTED = [
    *records("r", 20),
    record("floats", 30, "t", {"f": 0.1 + 0.2, "g": 1 / 3, "h": 1e-300}),
    record("lists", 31, "", {"l": ["a", "b"], "n": [1, 2]}),
    record("bare", 32, None, None),
]


def built(directory: Path, wanted: list[Expected]) -> Path:
    with ChromaWriter(directory, "lines", "l2", len(wanted)) as writer:
        writer.add(
            ChromaRows(
                [one.id for one in wanted],
                matrix(wanted),
                [one.document for one in wanted],
                [one.metadata for one in wanted],
            )
        )
    return directory


def test_what_was_merged_passes(tmp_path: Path) -> None:
    """No false alarm for anything that Chroma stores, and the directory is not touched."""
    directory = built(tmp_path / "version", WANTED)
    before = list_files(directory)
    assert list(find_problems(directory, "lines", index_of(WANTED), None)) == []
    verify(directory, "lines", index_of(WANTED), ["r0", "floats"])
    assert list_files(directory) == before


def changed_vector(collection: Collection) -> None:
    collection.update(ids=["r3"], embeddings=np.array([vector(999)], dtype=np.float32))


def slightly_changed_vector(collection: Collection) -> None:
    bits = np.array([WANTED[3].vector], dtype=np.float32).view(np.uint32)
    bits[0, 0] ^= 1
    collection.update(ids=["r3"], embeddings=bits.view(np.float32))


def missing_id(collection: Collection) -> None:
    collection.delete(ids=["r3"])


def extra_id(collection: Collection) -> None:
    collection.add(ids=["r3 too"], embeddings=np.array([vector(999)], dtype=np.float32))


def swapped_id(collection: Collection) -> None:
    missing_id(collection)
    extra_id(collection)


def changed_document(collection: Collection) -> None:
    collection.update(ids=["r3"], documents=["another"], embeddings=matrix(WANTED[3:4]))


def document_out_of_nothing(collection: Collection) -> None:
    collection.update(ids=["bare"], documents=[""], embeddings=matrix(WANTED[-1:]))


def changed_metadata(collection: Collection) -> None:
    collection.update(ids=["r3"], metadatas=[{"number": 4}])


def more_metadata(collection: Collection) -> None:
    collection.update(ids=["r3"], metadatas=[{"left": "over"}])


def another_type(collection: Collection) -> None:
    collection.update(ids=["r3"], metadatas=[{"number": 3.0}])


def truth_for_a_number(collection: Collection) -> None:
    collection.update(ids=["r1"], metadatas=[{"number": True}])


def reordered_list(collection: Collection) -> None:
    collection.update(ids=["lists"], metadatas=[{"l": ["b", "a"]}])


DAMAGES: list[tuple[Callable[[Collection], None], str]] = [
    (changed_vector, "r3"),
    (slightly_changed_vector, "r3"),
    (missing_id, "r3"),
    (extra_id, "r3 too"),
    (swapped_id, "r3"),
    (changed_document, "r3"),
    (document_out_of_nothing, "bare"),
    (changed_metadata, "r3"),
    (more_metadata, "r3"),
    (another_type, "r3"),
    (truth_for_a_number, "r1"),
    (reordered_list, "lists"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("sound") / "version", WANTED)


@pytest.mark.parametrize(("damage", "named"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_caught(sound: Path, tmp_path: Path, damage: Callable[[Collection], None], named: str) -> None:
    """Each kind of damage to one record is found by reading all, and by reading what was changed."""
    shutil.copytree(sound, tmp_path / "version")
    with open_collection(tmp_path / "version", "lines") as collection:
        damage(collection)
    problems = list(find_problems(tmp_path / "version", "lines", index_of(WANTED), None))
    assert problems
    assert any(repr(named) in problem for problem in problems)
    with pytest.raises(DamagedError, match="not what was merged"):
        verify(tmp_path / "version", "lines", index_of(WANTED), [named])


def test_a_wrong_record_among_the_changed_is_found_among_many(tmp_path: Path) -> None:
    """What a merge changed is read whole, beside a sample of the others."""
    many = records("r", SAMPLE_SIZE + 200)
    directory = built(tmp_path / "version", many)
    damaged = [record(one.id, 77_777) if one.id == "r1100" else one for one in many]
    with pytest.raises(DamagedError, match="r1100"):
        verify(directory, "lines", index_of(damaged), ["r1100", "r1101"])


@pytest.mark.parametrize("victim", ["data_level0.bin", "header.bin", "chroma.sqlite3"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_broken_files_are_a_problem_and_not_an_accident(
    sound: Path, tmp_path: Path, victim: str, how: str
) -> None:
    """`snapshots verify` reports what is broken, whatever Chroma raises when it meets it."""
    shutil.copytree(sound, tmp_path / "version")
    [path] = (tmp_path / "version").rglob(victim)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:20])
    else:
        path.unlink()
    assert list(find_problems(tmp_path / "version", "lines", index_of(WANTED), None))


def test_what_is_read_is_what_was_sent_not_what_chroma_made_of_it() -> None:
    """The index keeps the metadata as it was sent: a float may come back from Chroma a last bit off."""
    floats: dict[str, Any] = WANTED[20].metadata or {}
    assert index_of(WANTED).column("metadata").to_pylist()[1] == metadata_json(floats)
