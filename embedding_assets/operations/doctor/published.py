"""What is published of a database: are the pointer, its chain and every file that it names there? Who merges?"""

from __future__ import annotations

from dataclasses import dataclass

from rich.filesize import decimal

from embedding_assets.bucket.aws import translated
from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError, LostPointerError, NotFoundError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.operations.doctor.bucket import BUCKET
from embedding_assets.operations.doctor.check import Check, Finding, Status
from embedding_assets.operations.doctor.table import TABLE
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.inspection import missing_files
from embedding_assets.versions.manifest import Pointer, VersionManifest, read_version
from embedding_assets.versions.witnesses import trusted_pointer

AMENDED = ("fence", "sweeping")
"""Fields of the pointer that are written after the version's own manifest."""


@dataclass(frozen=True)
class PublishedChecks:
    """Checks of one database."""

    store: Store
    ledger: Ledger
    database: Database

    def all(self) -> tuple[Check, ...]:
        """The published version, then the lock."""
        return (
            Check(
                f"{self.database.name} published",
                self.published,
                "merges stop until it is repaired, or that object restored from a backup",
                (BUCKET, TABLE),
            ),
            Check(
                f"{self.database.name} lock",
                self.lock,
                f"allow dynamodb:GetItem on the table {self.ledger.table}",
                (TABLE,),
            ),
        )

    def published(self) -> Finding:
        """Pointer, chain and files. Raises DamagedVersionError if the pointer or the chain is damaged."""
        try:
            pointer = trusted_pointer(self.store, self.ledger, self.database)
        except LostPointerError as error:
            return Finding(Status.FAILED, str(error))
        if pointer is None:
            return self._nothing_published()
        versions = self._chain(pointer)
        missing = list(missing_files(self.store, self.database, pointer.manifest))
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            return Finding(
                Status.FAILED,
                f"version {pointer.manifest.version} is not whole: {missing[0]}{more}; restore it, or publish an "
                f"older version: embedding-assets snapshots rollback {self.database.name}",
            )
        files = len(pointer.manifest.files)
        return Finding(
            Status.OK,
            f"version {pointer.manifest.version}, {files} files, {decimal(pointer.manifest.size)}, all there; "
            f"{versions} versions back to the first",
        )

    def lock(self) -> Finding:
        """Who holds it."""
        with translated(f"reading the lock of {self.database.name}"):
            item = self.ledger.client.get_item(
                TableName=self.ledger.table,
                Key={"PK": {"S": f"LOCK#{self.database.name}"}, "SK": {"S": "LOCK"}},
                ConsistentRead=True,
            ).get("Item")
        if item is None:
            return Finding(Status.OK, "nobody has ever held it")
        row = {name: next(iter(value.values()), None) for name, value in item.items()}
        epoch, owner = row.get("epoch"), row.get("owner")
        if owner is None:
            return Finding(Status.OK, f"free, epoch {epoch}")
        return Finding(
            Status.OK,
            f"held by {owner} for execution {row.get('execution_id')}, epoch {epoch}, "
            f"lease {row.get('lease_seconds')} s",
        )

    def _nothing_published(self) -> Finding:
        unpublished = sum(
            entry.key.endswith(f"/{MANIFEST}") for entry in self.store.list(versions_prefix(self.database))
        )
        if unpublished:
            return Finding(
                Status.WARNING,
                f"no pointer, but {unpublished} versions under {self.store.uri(versions_prefix(self.database))}: "
                "a first merge did not end, or the pointer was deleted; `embedding-assets snapshots repair "
                f"{self.database.name} --dry-run` shows which",
            )
        return Finding(Status.OK, "nothing published yet")

    def _chain(self, pointer: Pointer) -> int:
        """How many versions there are. Raises DamagedVersionError if the chain does not lead to the first."""
        newest = self._manifest(pointer.manifest.version, "the pointer names")
        if _as_written(newest) != _as_written(pointer.manifest):
            raise DamagedVersionError(
                f"the pointer of {self.database.name} differs from the manifest of its version {newest.version}"
            )
        seen = {newest.version}
        manifest = newest
        while manifest.parent is not None:
            parent = self._manifest(manifest.parent, f"the parent of version {manifest.version} is")
            if parent.version in seen:
                raise DamagedVersionError(f"the chain of {self.database.name} leads back to {parent.version}")
            if parent.epoch > manifest.epoch:
                raise DamagedVersionError(
                    f"the chain of {self.database.name} is out of order: epoch {manifest.epoch} of version "
                    f"{manifest.version} is smaller than {parent.epoch} of its parent {parent.version}"
                )
            seen.add(parent.version)
            manifest = parent
        return len(seen)

    def _manifest(self, version: str, named: str) -> VersionManifest:
        try:
            return read_version(self.store, self.database, version)
        except NotFoundError as error:
            raise DamagedVersionError(
                f"the chain of {self.database.name} is broken: {named} {version}, whose manifest is missing"
            ) from error


def _as_written(manifest: VersionManifest) -> dict[str, object]:
    return manifest.model_dump(exclude=set(AMENDED))
