"""What is refused while a version is laid: told in one line, never raised, made good later."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets.processes import file_lock
from embedding_assets.versions import shared_root
from embedding_assets_tests.shared_root.conftest import Shelf


def vanish(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """The mount is gone."""
    shutil.rmtree(shelf.root)


def no_directory(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """Something else lies where the database's folder should be."""
    (shelf.root / "lines").touch()


def full(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """No room, as the file system tells beforehand."""
    patch.setattr(shared_root.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]


def full_at_last(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """No room, as it turns out when bytes go to the disk."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "fsync", refuse)


def read_only(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """Mounted so that nothing can be written."""

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    patch.setattr(os, "mkdir", refuse)


def no_links(shelf: Shelf, patch: pytest.MonkeyPatch) -> None:
    """A file system that has no links."""

    def refuse(target: str, path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    patch.setattr(os, "symlink", refuse)


@pytest.mark.parametrize("breaking", [vanish, no_directory, full, full_at_last, read_only, no_links])
def test_a_failure_is_told_in_one_line_and_made_good_later(
    shelf: Shelf, breaking: Callable[[Shelf, pytest.MonkeyPatch], None]
) -> None:
    """Whatever it is: nothing is raised, nothing half is left; once it is over the version is laid and shown."""
    manifest = shelf.version(1)
    with pytest.MonkeyPatch.context() as patch:
        breaking(shelf, patch)
        shelf.publish(manifest)
    assert len([line for line in shelf.messages if line.startswith("warning: version 1-")]) == 1
    assert not [line for line in shelf.messages if "\n" in line]
    if breaking is vanish:
        assert not shelf.root.exists()
        shelf.root.mkdir()
    if breaking is no_directory:
        (shelf.root / "lines").unlink()
    if breaking is full:
        assert shelf.store.downloaded == []
    shelf.messages.clear()
    shelf.shared.ensure(manifest, shelf.messages.append)
    assert shelf.paths() == shelf.laid_out([manifest.version])
    assert not [line for line in shelf.messages if "warning" in line]


def test_a_damaged_bucket_lays_nothing(shelf: Shelf) -> None:
    """What S3 gives is checked as well: a version with a wrong file is never under its name."""
    manifest = shelf.version(1)
    shelf.store.put(manifest.files[0].key, b"y" * manifest.files[0].size)
    shelf.publish(manifest)
    assert "is not what its manifest says" in shelf.messages[-1]
    assert shelf.paths() == set()


def test_a_lock_that_another_holds_does_not_hang_a_publication(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stopped inside is waited for so long, and no longer; when it let go all is well."""
    monkeypatch.setattr(file_lock, "WAIT_SECONDS", 0.1)
    shelf.publish(shelf.version(1))
    manifest = shelf.version(2)
    with (shelf.folder / ".lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shelf.publish(manifest)
    assert shelf.messages[-1].endswith("is locked by another process")
    shelf.shared.ensure(manifest, shelf.messages.append)
    assert shelf.shown == f"versions/{manifest.version}"
