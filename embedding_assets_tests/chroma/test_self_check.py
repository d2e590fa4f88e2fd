"""A directly written version is tried by Chroma before it is published: each damage to it is found."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets.chroma.direct_writer import DirectlyWritten
from embedding_assets.chroma.graph_files import ELEMENTS_FILE, HEADER_FILE, IDS_FILE, LINKS_FILE
from embedding_assets.chroma.self_check import self_check
from embedding_assets.errors import DamagedError
from embedding_assets.rows.snapshot_directory import list_files
from embedding_assets.versions.verify import verify
from embedding_assets_tests.chroma.both_writers import NAME, graph_file, header, ids_by_label, write_direct
from embedding_assets_tests.deltas import index_of, records
from embedding_assets_tests.reference import Expected

WANTED = records("r", 300)


@dataclass(frozen=True)
class Version:
    """What was written directly, and what Chroma found in it."""

    directory: Path
    written: DirectlyWritten

    def verify(self) -> None:
        """As a build does."""
        exact, recall = self.written.exact, self.written.recall
        verify(self.directory, NAME, index_of(WANTED), None, lambda copy: self_check(copy, NAME, exact, recall))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Version:
    directory = tmp_path_factory.mktemp("sound") / "version"
    return Version(directory, write_direct(directory, WANTED, size=100))


@pytest.fixture
def version(sound: Version, tmp_path: Path) -> Version:
    """A copy that may be damaged."""
    shutil.copytree(sound.directory, tmp_path / "version")
    return Version(tmp_path / "version", sound.written)


def test_a_sound_version_passes_and_is_not_touched(sound: Version) -> None:
    """No false alarm; the trial works on a copy."""
    before = list_files(sound.directory)
    sound.verify()
    assert list_files(sound.directory) == before


def test_vectors_that_are_hard_to_tell_apart_raise_no_alarm(tmp_path: Path) -> None:
    """In a graph of low recall each change may turn a search another way: that is Chroma's own doing."""
    vectors = np.random.default_rng(5).uniform(-1, 1, size=(20_000, 64)).astype(np.float32)
    hard = [Expected(f"r{number}", tuple(row), None, None) for number, row in enumerate(vectors.tolist())]
    written = write_direct(tmp_path / "version", hard, size=1000)
    assert 0.5 < written.recall < 0.99
    assert list(self_check(tmp_path / "version", NAME, written.exact, written.recall)) == []


def flip(path: Path, offset: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


def a_bit_of_a_vector(directory: Path) -> None:
    told = header(directory)
    place = 150 * int(told["size_data_per_element_"]) + int(told["offsetData_"])
    flip(graph_file(directory, ELEMENTS_FILE), place)


def a_bit_of_a_label(directory: Path) -> None:
    told = header(directory)
    place = 150 * int(told["size_data_per_element_"]) + int(told["label_offset_"])
    flip(graph_file(directory, ELEMENTS_FILE), place)


def no_links(directory: Path) -> None:
    """Every element of the lowest level stands alone: its number of links is 0."""
    path = graph_file(directory, ELEMENTS_FILE)
    elements = np.frombuffer(path.read_bytes(), np.uint8).reshape(len(WANTED), -1).copy()
    elements[:, :4] = 0
    path.write_bytes(elements.tobytes())


def a_link_to_nowhere(directory: Path) -> None:
    """Chroma would follow it out of its memory."""
    flip(graph_file(directory, ELEMENTS_FILE), 4 + 3, 0x40)


def a_link_to_nowhere_above(directory: Path) -> None:
    links = graph_file(directory, LINKS_FILE)
    data = links.read_bytes()
    first = next(place for place in range(0, len(data), 4) if data[place : place + 4] != bytes(4))
    flip(links, first + 4 + 4 + 3, 0x40)


def more_links_than_there_is_room_for(directory: Path) -> None:
    flip(graph_file(directory, ELEMENTS_FILE), 1)


def a_longer_links_file(directory: Path) -> None:
    path = graph_file(directory, LINKS_FILE)
    path.write_bytes(path.read_bytes() + bytes(4))


def a_shorter_elements_file(directory: Path) -> None:
    path = graph_file(directory, ELEMENTS_FILE)
    path.write_bytes(path.read_bytes()[:-1])


def a_shorter_links_file(directory: Path) -> None:
    path = graph_file(directory, LINKS_FILE)
    path.write_bytes(path.read_bytes()[:-100])


def fewer_elements_in_the_header(directory: Path) -> None:
    flip(graph_file(directory, HEADER_FILE), 4 + 2 * 8)


def _with_ids(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    told = ids_by_label(directory)
    change(told)
    graph_file(directory, IDS_FILE).write_bytes(pickle.dumps(told, protocol=3))


def two_labels_swapped(directory: Path) -> None:
    def swap(told: dict[str, Any]) -> None:
        labels, ids = told["label_to_id"], told["id_to_label"]
        labels[7], labels[8] = labels[8], labels[7]
        ids[labels[7]], ids[labels[8]] = 7, 8

    _with_ids(directory, swap)


def one_id_under_two_labels(directory: Path) -> None:
    _with_ids(directory, lambda told: told["label_to_id"].update({7: told["label_to_id"][8]}))


def a_label_missing(directory: Path) -> None:
    def drop(told: dict[str, Any]) -> None:
        del told["id_to_label"][told["label_to_id"].pop(7)]

    _with_ids(directory, drop)


def a_label_missing_one_way(directory: Path) -> None:
    _with_ids(directory, lambda told: told["id_to_label"].pop("r6"))


def no_ids_file(directory: Path) -> None:
    graph_file(directory, IDS_FILE).unlink()


def _execute(directory: Path, *statements: str) -> None:
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0


def no_queue_row(directory: Path) -> None:
    _execute(directory, "DELETE FROM embeddings_queue")


def a_position_too_far(directory: Path) -> None:
    _execute(directory, "UPDATE max_seq_id SET seq_id = seq_id + 10")


def a_metadata_row_less(directory: Path) -> None:
    _execute(directory, "DELETE FROM embedding_metadata WHERE id = 9 AND key = 'number'")


def a_document_less(directory: Path) -> None:
    _execute(directory, "DELETE FROM embedding_metadata WHERE id = 9 AND key = 'chroma:document'")


def a_number_as_text(directory: Path) -> None:
    _execute(
        directory,
        "UPDATE embedding_metadata SET string_value = int_value, int_value = NULL WHERE id = 9 AND key = 'number'",
    )


def a_record_less(directory: Path) -> None:
    _execute(directory, "DELETE FROM embeddings WHERE id = 9", "DELETE FROM embedding_metadata WHERE id = 9")


def a_text_that_is_not_searched(directory: Path) -> None:
    _execute(directory, "DELETE FROM embedding_fulltext_search WHERE rowid = 9")


def a_text_that_is_no_document(directory: Path) -> None:
    _execute(directory, "INSERT INTO embedding_fulltext_search (rowid, string_value) VALUES (9999, 'nothing')")


def no_text_index(directory: Path) -> None:
    """The texts are there, none of their words is."""
    _execute(directory, "INSERT INTO embedding_fulltext_search (embedding_fulltext_search) VALUES ('rebuild')")
    _execute(directory, "DELETE FROM embedding_fulltext_search_data WHERE id > 10")


DAMAGES: list[Callable[[Path], None]] = [
    a_bit_of_a_vector,
    a_bit_of_a_label,
    no_links,
    a_link_to_nowhere,
    a_link_to_nowhere_above,
    more_links_than_there_is_room_for,
    a_longer_links_file,
    a_shorter_elements_file,
    a_shorter_links_file,
    fewer_elements_in_the_header,
    two_labels_swapped,
    one_id_under_two_labels,
    a_label_missing,
    a_label_missing_one_way,
    no_ids_file,
    no_queue_row,
    a_position_too_far,
    a_metadata_row_less,
    a_document_less,
    a_number_as_text,
    a_record_less,
    a_text_that_is_not_searched,
    a_text_that_is_no_document,
    no_text_index,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__ for damage in DAMAGES])
def test_damage_is_found(version: Version, damage: Callable[[Path], None]) -> None:
    """Never as another error than DamagedError: on it, Chroma writes the version itself."""
    damage(version.directory)
    with pytest.raises(DamagedError, match="not what was merged"):
        version.verify()
