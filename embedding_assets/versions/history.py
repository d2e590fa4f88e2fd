"""What rollbacks make of the chain: which batches are in a version, and which were taken out again.

The chain is never rewritten: a rollback is one more version, whose content is that of an older one. So what is
in a version is known by its content's own history, not by its parents. Pure: manifests in, batches out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from embedding_assets.errors import DamagedVersionError
from embedding_assets.versions.manifest import VersionBatch, VersionManifest

Chain = Sequence[VersionManifest]
"""The published version and all its ancestors, newest first."""


def accounted(chain: Chain) -> dict[str, VersionBatch]:
    """The latest account of every batch that any version of the chain accounts for."""
    found: dict[str, VersionBatch] = {}
    for manifest in chain:
        for batch in manifest.batches:
            found.setdefault(batch.batch_id, batch)
    return found


def content_history(chain: Chain, newest: VersionManifest) -> Iterator[VersionManifest]:
    """The versions that the content of `newest` was built by, newest first: rollbacks are followed.

    Raises DamagedVersionError if it comes back to a version that it had already.
    """
    by_version = {manifest.version: manifest for manifest in chain}
    manifest: VersionManifest | None = newest
    seen: set[str] = set()
    while manifest is not None:
        if manifest.version in seen:
            raise DamagedVersionError(f"the history of version {newest.version} leads back to {manifest.version}")
        seen.add(manifest.version)
        yield manifest
        before = manifest.rolled_back_to or manifest.parent
        manifest = by_version.get(before) if before is not None else None


def withdrawn(chain: Chain, content: VersionManifest) -> tuple[str, ...]:
    """The batches of the chain that are out where `content` is published, sorted.

    A batch that was published again with the very same delta is in if either account of it is.
    """
    inside = accounted(list(content_history(chain, content)))
    return tuple(
        sorted(batch_id for batch_id, last in accounted(chain).items() if not _same(inside.get(batch_id), last))
    )


def before(chain: Chain, newest: VersionManifest) -> VersionManifest | None:
    """The version whose content `newest` was built on; None for the first.

    A rollback has the very content of the version that it names, which may be a rollback itself.
    """
    history = content_history(chain, newest)
    current = next(history)
    for older in history:
        if current.rolled_back_to is None:
            return older
        current = older
    return None


def _same(inside: VersionBatch | None, last: VersionBatch) -> bool:
    if inside is None:
        return False
    same_delta = inside.delta_key is not None and inside.delta_key == last.delta_key
    return inside.generation == last.generation or same_delta


def withdrawn_generations(chain: Chain, newest: VersionManifest) -> Mapping[str, int]:
    """By batch that is out in `newest`: the generation of its latest account. Only a greater one comes back."""
    last = accounted(chain)
    return {batch_id: last[batch_id].generation for batch_id in newest.withdrawn if batch_id in last}
