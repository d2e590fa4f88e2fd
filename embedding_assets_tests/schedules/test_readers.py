"""Readers while versions are published: each read is one version, whole and verified, or an error."""

from __future__ import annotations

import logging
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from embedding_assets.chroma.collection import open_collection, read_rows
from embedding_assets.databases import LINES
from embedding_assets.rows.record_index import digest_of, read_index
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest
from embedding_assets.versions.reader import find_version, pull
from embedding_assets_tests.reference import Expected, reference_digest
from embedding_assets_tests.schedules.yard import Yard

LOG = logging.getLogger(__name__)
READERS = 3
OPENED_EVERY = 20
"""Of so many reads one also opens Chroma and reads every record: that takes ten times as long."""


class Reader(threading.Thread):
    """Reads the published version again and again."""

    def __init__(self, yard: Yard, folder: Path, reads: int) -> None:
        super().__init__(daemon=True)
        self._yard = yard
        self._folder = folder
        self._reads = reads
        self.seen: Counter[str] = Counter()
        self.opened = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        for number in range(self._reads):
            try:
                self._read(number)
            except Exception as error:  # noqa: BLE001 - a thread's boundary: told by the test
                self.wrong.append(f"{type(error).__name__}: {error}")

    def _read(self, number: int) -> None:
        manifest = find_version(self._yard.store, LINES)
        directory = self._folder / f"{number}"
        pull(self._yard.store, manifest, directory)
        if digest_of(read_index(directory / INDEX_FILE)) != manifest.content_digest:
            self.wrong.append(f"{manifest.version}: the record index is another version's")
        if number % OPENED_EVERY == 0:
            self.opened += 1
            if opened_digest(directory, manifest) != manifest.content_digest:
                self.wrong.append(f"{manifest.version}: Chroma holds something else")
        self.seen[manifest.version] += 1
        shutil.rmtree(directory)


def opened_digest(directory: Path, manifest: VersionManifest) -> str:
    """The content digest of what Chroma gives back."""
    with open_collection(directory, manifest.collection) as collection:
        return reference_digest(
            Expected(record_id, tuple(map(float, vector)), document, metadata)
            for page in read_rows(collection)
            for record_id, vector, document, metadata in zip(
                page.ids, page.vectors, page.documents, page.metadata, strict=True
            )
        )


def read_while_publishing(folder: Path, versions: int, reads: int) -> None:
    """So many reads in all, spread over so many publications, with real Chroma directories."""
    yard = Yard()
    yard.arrive("first", {"r0": 0}, 0)
    yard.everything()
    readers = [Reader(yard, folder / f"reader-{number}", -(-reads // READERS)) for number in range(READERS)]
    for reader in readers:
        reader.start()
    published = 1
    while any(reader.is_alive() for reader in readers) or published < versions:
        if published < versions and _due(readers, reads, published, versions):
            yard.arrive(f"b{published}", {f"r{published % 7}": published, f"s{published}": published}, published)
            yard.everything()
            published += 1
        else:
            threading.Event().wait(0.005)
    seen: Counter[str] = sum((reader.seen for reader in readers), Counter())
    LOG.warning(
        "%d reads of %d versions while %d were published, %d opened with Chroma, %d wrong",
        seen.total(),
        len(seen),
        versions,
        sum(reader.opened for reader in readers),
        sum(len(reader.wrong) for reader in readers),
    )
    assert [line for reader in readers for line in reader.wrong] == []
    assert seen.total() >= reads
    assert len(seen) >= versions // 2, "the readers saw too few of the versions to tell anything"


def _due(readers: list[Reader], reads: int, published: int, versions: int) -> bool:
    """Whether the readers have come so far that the next version is due."""
    done = sum(reader.seen.total() for reader in readers)
    return done * versions >= (published - 1) * reads or not any(reader.is_alive() for reader in readers)


def test_readers_never_see_a_mixture(tmp_path: Path) -> None:
    """Some hundred reads."""
    read_while_publishing(tmp_path, 15, 300)


@pytest.mark.long
def test_readers_never_see_a_mixture_for_long(tmp_path: Path) -> None:
    """Ten thousand reads, two hundred versions."""
    read_while_publishing(tmp_path, 200, 10_000)
