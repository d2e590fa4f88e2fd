"""A shared root beside the bucket: small made-up versions to lay, and real ones of `lines` to merge on."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from embedding_assets.bucket.keys import version_prefix, versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.rows.snapshot_directory import MANIFEST, file_sha256
from embedding_assets.upkeep.rollback import Rollback
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.publisher import Publisher
from embedding_assets.versions.shared_root import SharedVersions
from embedding_assets.versions.version_files import VersionFile
from embedding_assets_tests.executions.conftest import LEASE_SECONDS, Workbench, execution

PATHS = ("chroma.sqlite3", "deep/data_level0.bin", "deep/length.bin", "records.arrow")


class CountingStore(Store):
    """The same bucket as `store`; `downloaded` lists the keys of downloaded files."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.bucket, store._client, store._single_try)
        self.downloaded: list[str] = []

    def download_file(self, key: str, path: Path) -> None:
        self.downloaded.append(key)
        super().download_file(key, path)


@dataclass
class Shelf:
    """Versions of a few bytes, in a bucket of the test's own and on a root."""

    store: CountingStore
    root: Path
    messages: list[str] = field(default_factory=list)

    @property
    def shared(self) -> SharedVersions:
        """The root, as a process that has just begun sees it."""
        return SharedVersions(self.store, LINES, self.root)

    @property
    def folder(self) -> Path:
        """Where the versions and the link lie."""
        return self.root / "lines" / "snapshot"

    def version(self, epoch: int, *, inherited: VersionManifest | None = None) -> VersionManifest:
        """A version in the bucket; its first file is the one of `inherited`, under that one's key."""
        name = f"{epoch}-{uuid.uuid4().hex[:12]}"
        files = []
        for path in PATHS:
            key = version_prefix(LINES, name) + path
            data = b"" if path == "deep/length.bin" else f"{name} {path}".encode() * epoch
            self.store.put(key, data)
            files.append(VersionFile(path=path, key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest()))
        if inherited is not None:
            files[0] = inherited.files[0]
        return VersionManifest(
            version=name,
            database="lines",
            collection="lines",
            execution_id=execution(epoch),
            parent=inherited.version if inherited else None,
            epoch=epoch,
            commit_id=uuid.uuid4().hex,
            created_at="2026-01-02T12:00:00Z",
            model=None,
            dimensions=8,
            space="l2",
            chroma_version="1",
            total_embeddings=0,
            content_digest="",
            files=tuple(files),
            batches=(),
        )

    def publish(self, manifest: VersionManifest) -> None:
        """Lay it and move the link."""
        self.shared.publish(manifest, self.messages.append)

    @property
    def shown(self) -> str:
        """What the link holds."""
        return os.readlink(self.folder / "latest")

    def paths(self) -> set[str]:
        """Every file and link below the root, hidden ones too."""
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }

    def laid_out(self, versions: Collection[str]) -> set[str]:
        """All that there should be."""
        files = {f"lines/snapshot/versions/{one}/{path}" for one in versions for path in (*PATHS, MANIFEST)}
        return files | {"lines/snapshot/latest", "lines/snapshot/.lock"}


def wrong_in(directory: Path) -> list[str]:
    """The files of a laid version that are not what the manifest beside them says."""
    manifest = VersionManifest.model_validate_json((directory / MANIFEST).read_bytes())
    return [
        file.path
        for file in manifest.files
        if (directory / file.path).stat().st_size != file.size or file_sha256(directory / file.path) != file.sha256
    ]


@dataclass
class SharedBench(Workbench):
    """Executions of `lines` whose versions are laid on a shared root too."""

    root: Path = Path()

    @property
    def counting(self) -> CountingStore:
        """The bucket."""
        assert isinstance(self.store, CountingStore)
        return self.store

    @property
    def shared(self) -> SharedVersions:
        """The versions on the root."""
        return SharedVersions(self.store, self.database, self.root)

    @property
    def shown(self) -> str | None:
        """The version that a reader gets."""
        return self.shared.link.shown()

    def publisher(self, store: Store | None = None, lease: float = LEASE_SECONDS) -> Publisher:
        """What publishes versions, also to the shared root."""
        return replace(super().publisher(store, lease), shared=self.shared)

    def roll_back(self, to: str | None = None) -> VersionManifest:
        """A rollback of mode efs."""
        return Rollback(self.publisher()).to(to, execution(99))

    def data_downloaded(self) -> list[str]:
        """Files of versions that were downloaded since the last call."""
        keys = [key for key in self.counting.downloaded if key.startswith(versions_prefix(self.database))]
        self.counting.downloaded.clear()
        return keys


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The mounted file system."""
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.fixture
def shelf(store: Store, root: Path) -> Shelf:
    """Versions of a few bytes."""
    return Shelf(CountingStore(store), root)


@pytest.fixture
def bench(store: Store, ledger: Ledger, tmp_path: Path, root: Path) -> SharedBench:
    """Executions of `lines`."""
    return SharedBench(CountingStore(store), ledger, tmp_path, root=root)
