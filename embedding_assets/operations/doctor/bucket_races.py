"""The bucket's two conditional writes, raced: creation of a key, and replacement of one state of a key."""

from __future__ import annotations

from embedding_assets.bucket.store import Store
from embedding_assets.operations.doctor.bucket import DELETE
from embedding_assets.operations.doctor.check import Check
from embedding_assets.operations.doctor.race import race
from embedding_assets.operations.doctor.scratch import ScratchPrefix

REMEDY = (
    "two merges could publish over each other and lose a version; do not use this server, "
    "or a version of it whose conditional writes exclude each other"
)


class Creation:
    """`If-None-Match: *` on a key that is not there."""

    resent = False

    def __init__(self, store: Store, scratch: ScratchPrefix) -> None:
        self._store = store
        self._scratch = scratch
        self._key = ""

    def begin(self, number: int) -> None:
        """Another key for each round."""
        self._key = self._scratch.key(f"creation-{number}")

    def write(self, content: str) -> None:
        """Create it."""
        self._store.create(self._key, content.encode())

    def stored(self) -> str | None:
        """Whose content it has."""
        found = self._store.find(self._key)
        return None if found is None else found.data.decode(errors="replace")


class Replacement:
    """`If-Match` with the ETag that all writers have seen."""

    resent = False

    def __init__(self, store: Store, scratch: ScratchPrefix) -> None:
        self._store = store
        self._key = scratch.key("replacement")
        self._etag = ""

    def begin(self, number: int) -> None:
        """One key for all rounds, each from the state that the last one left."""
        if number == 0:
            self._store.put(self._key, b"the first")
        self._etag = self._store.fetch(self._key).etag

    def write(self, content: str) -> None:
        """Replace it."""
        self._store.replace(self._key, content.encode(), self._etag)

    def stored(self) -> str | None:
        """Whose content it has."""
        found = self._store.find(self._key)
        return None if found is None else found.data.decode(errors="replace")


def bucket_races(store: Store, scratch: ScratchPrefix, rounds: int, writers: int) -> tuple[Check, ...]:
    """Both races."""
    return (
        Check(
            "S3 creation race",
            lambda: race(Creation(store, scratch), rounds, writers).finding(REMEDY),
            "If-None-Match must be understood: use another server",
            (DELETE,),
        ),
        Check(
            "S3 replacement race",
            lambda: race(Replacement(store, scratch), rounds, writers).finding(REMEDY),
            "If-Match must be understood: use another server",
            (DELETE,),
        ),
    )
