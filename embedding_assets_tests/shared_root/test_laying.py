"""Laying: whole versions under their names, and a link that only goes forward."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions import shared_root
from embedding_assets.versions.latest_link import LatestLink
from embedding_assets.versions.manifest import VersionManifest, epoch_of
from embedding_assets_tests.shared_root.conftest import PATHS, Shelf, wrong_in

PUBLICATIONS = 50


def test_the_layout_is_that_of_the_bucket(shelf: Shelf) -> None:
    """Every file of the version, also those under an older version's key, its manifest, a relative link."""
    first = shelf.version(1)
    second = shelf.version(2, inherited=first)
    shelf.publish(first)
    shelf.publish(second)
    assert shelf.paths() == shelf.laid_out([first.version, second.version])
    assert shelf.shown == f"versions/{second.version}"
    for manifest in (first, second):
        directory = shelf.shared.directory(manifest.version)
        assert VersionManifest.model_validate_json((directory / MANIFEST).read_bytes()) == manifest
        assert wrong_in(directory) == []
    assert (shelf.shared.laid(), shelf.shared.is_laid(second.version)) == ([first.version, second.version], True)


def test_what_is_at_hand_is_not_downloaded(shelf: Shelf, tmp_path: Path) -> None:
    """From the folder where it was built, from the version before, and only then from S3; never unchecked."""
    first = shelf.version(1)
    second = shelf.version(2, inherited=first)
    shelf.publish(first)
    built = tmp_path / "built"
    (built / "deep").mkdir(parents=True)
    for file in second.files[1:3]:
        (built / file.path).write_bytes(shelf.store.get(file.key))
    (built / "records.arrow").write_bytes(b"x" * second.files[3].size)
    shelf.store.downloaded.clear()
    shelf.shared.publish(second, shelf.messages.append, built)
    assert shelf.store.downloaded == [second.files[3].key]
    assert wrong_in(shelf.shared.directory(second.version)) == []
    size = second.files[3].size
    assert shelf.messages[-1].endswith(f": {second.size - size:,} bytes were at hand, {size:,} came from S3")


def test_a_reader_that_follows_the_link_always_finds_a_whole_version(shelf: Shelf, tmp_path: Path) -> None:
    """During 50 publications: every file matches the manifest beside it, and epochs never go back."""
    versions = [shelf.version(1)]
    shelf.publish(versions[0])
    ended = threading.Event()
    seen: list[int] = []

    def read() -> list[str]:
        wrong = []
        while True:
            last = ended.is_set()
            directory = (shelf.folder / "latest").resolve(strict=True)
            seen.append(epoch_of(directory.name) or 0)
            wrong += wrong_in(directory)
            if last:
                return wrong

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for epoch in range(2, PUBLICATIONS + 2):
                versions.append(shelf.version(epoch, inherited=versions[-1]))
                shelf.publish(versions[-1])
        finally:
            ended.set()
        assert reading.result() == []
    assert seen == sorted(seen)
    assert seen[-1] == PUBLICATIONS + 1
    assert len(set(seen)) > PUBLICATIONS / 2


def test_processes_that_lay_the_same_version_at_once_all_end_well(shelf: Shelf) -> None:
    """One of them gives it its name, the others find it; nothing is left of theirs, nothing is told as wrong."""
    manifest = shelf.version(1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shelf.publish(manifest), range(16)))
    assert shelf.paths() == shelf.laid_out([manifest.version])
    assert not [line for line in shelf.messages if "warning" in line]


def test_the_link_goes_forward_whatever_the_order(shelf: Shelf) -> None:
    """Versions published by several at once in any order: the link's epochs only grow, the greatest stays."""
    versions = [shelf.version(epoch) for epoch in range(1, 25)]
    random.Random(0).shuffle(versions)
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.append(epoch_of(shelf.shared.link.shown() or "") or 0)

    with ThreadPoolExecutor(9) as pool:
        watching = pool.submit(watch)
        publishing = [pool.submit(shelf.publish, manifest) for manifest in versions]
        for published in publishing:
            published.result()
        ended.set()
        watching.result()
    assert shelf.shared.link.shown() == max(versions, key=lambda one: one.epoch).version
    assert seen == sorted(seen)


def test_who_looked_before_the_link_moved_does_not_move_it_back(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is paused between its look at the link and its move: the newer one waits, and moves last."""
    older, newer = shelf.version(1), shelf.version(2)
    real = os.replace
    looked, moves = threading.Event(), []

    def replace(source: Path, target: Path) -> None:
        moving = os.readlink(source)
        if moving == f"versions/{older.version}":
            looked.set()
            time.sleep(0.5)
        moves.append(moving)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with ThreadPoolExecutor(1) as pool:
        paused = pool.submit(shelf.publish, older)
        assert looked.wait(10)
        shelf.publish(newer)
        paused.result()
    assert moves == [f"versions/{older.version}", f"versions/{newer.version}"]
    assert shelf.shown == moves[-1]


def test_an_older_version_is_laid_and_not_shown(shelf: Shelf) -> None:
    """Also if it is to be made sure of, and one of the same epoch: that is told, and nothing moves."""
    old, same, new = shelf.version(3), shelf.version(7), shelf.version(7)
    shelf.publish(new)
    for other in (old, same):
        shelf.publish(other)
        assert shelf.messages[-1].endswith(f"does not show it: it shows version {new.version}, which is not older")
        shelf.messages.clear()
        shelf.shared.ensure(other, shelf.messages.append)
        assert len(shelf.messages) == 1
        assert shelf.shown == f"versions/{new.version}"


def absolute(folder: Path) -> str:
    """The right place, but not as we name it: a copy of the root elsewhere would lead back here."""
    return str(folder / "versions" / "9-0123456789ab")


@pytest.mark.parametrize(
    "target",
    [
        lambda folder: "versions/9-0123456789ab",
        lambda folder: "versions/nightly",
        lambda folder: "/",
        absolute,
        lambda folder: "../../../elsewhere",
    ],
    ids=["broken", "no version", "root", "absolute", "elsewhere"],
)
def test_a_broken_or_foreign_link_is_replaced(shelf: Shelf, target: Callable[[Path], str]) -> None:
    """Whatever epoch it names: nobody who follows it finds a version that was laid here."""
    shelf.publish(shelf.version(1))
    (shelf.folder / "latest").unlink()
    (shelf.folder / "latest").symlink_to(target(shelf.folder))
    manifest = shelf.version(2)
    shelf.shared.ensure(manifest, shelf.messages.append)
    assert shelf.shown == f"versions/{manifest.version}"


def test_a_laid_version_is_never_repaired(shelf: Shelf) -> None:
    """A reader may have it open: what it changed stays, also if the version is laid again."""
    manifest = shelf.version(1)
    shelf.publish(manifest)
    changed = shelf.shared.directory(manifest.version) / PATHS[0]
    changed.write_bytes(b"changed by Chroma")
    (shelf.folder / "latest").unlink()
    shelf.publish(manifest)
    assert changed.read_bytes() == b"changed by Chroma"
    assert shelf.shown == f"versions/{manifest.version}"


def test_a_folder_without_a_manifest_is_no_version(shelf: Shelf) -> None:
    """Somebody deleted half of it, or put a file there: it makes way, and what is laid is whole."""
    for epoch, leave in ((1, Path.mkdir), (2, Path.touch)):
        manifest = shelf.version(epoch)
        shelf.shared.versions.mkdir(parents=True, exist_ok=True)
        leave(shelf.shared.directory(manifest.version))
        if epoch == 1:
            (shelf.shared.directory(manifest.version) / PATHS[0]).write_bytes(b"half")
        shelf.publish(manifest)
        assert wrong_in(shelf.shared.directory(manifest.version)) == []
        assert shelf.shown == f"versions/{manifest.version}"


def test_to_be_sure_costs_one_look_at_the_link(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the link is right already, nothing is written, locked, hashed or downloaded."""
    manifest = shelf.version(1)
    shelf.publish(manifest)
    shelf.store.downloaded.clear()
    looked: list[str | None] = []
    real = LatestLink.shown

    def look(link: LatestLink) -> str | None:
        looked.append(real(link))
        return looked[-1]

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"not needed: {arguments}")

    monkeypatch.setattr(LatestLink, "shown", look)
    for needless in ("_lay", "publish", "laid"):
        monkeypatch.setattr(shared_root.SharedVersions, needless, refuse)
    monkeypatch.setattr(shared_root, "alone", refuse)
    shelf.shared.ensure(manifest, shelf.messages.append)
    assert (looked, shelf.store.downloaded) == ([manifest.version], [])
