"""A pointer that was put back to an older version, and is repaired. One more scene for faults."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from embedding_assets.bucket.keys import pointer_key, versions_prefix
from embedding_assets.databases import LINES
from embedding_assets.errors import LostPointerError
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.witnesses import trusted_pointer
from embedding_assets_tests.dagster_defs.runs.world import texts
from embedding_assets_tests.faults.scene import Scene, completed
from embedding_assets_tests.reference import Expected

FIRST = texts("a", 3)
SECOND = texts("b", 3, 10)
WAITING = texts("c", 3, 20)


class RepairScene(Scene):
    """Two versions, a batch that is ready, and the pointer of the first version; repaired, and ingested."""

    def begin(self) -> None:
        """Two batches, each published by an execution of its own; then the pointer is put back."""
        world = self.world
        store = world.services.store
        versions = []
        for name, wanted in (("first", FIRST), ("second", SECOND)):
            world.plant(name, wanted)
            assert self.ingest().failures == []
            versions.append(world.published().version)
        world.plant("waiting", WAITING)
        store.put(pointer_key(LINES), store.get(f"{versions_prefix(LINES)}{versions[0]}/{MANIFEST}"))

    def act(self) -> bool:
        """As a person does it: look whether it has to be repaired, repair it, go on."""
        services = self.world.services
        try:
            trusted_pointer(services.store, services.ledger, LINES)
        except LostPointerError:
            repair = services.repair(LINES, lambda line: None)
            repair.run(new_execution_id(datetime.now(UTC)), dry_run=False)
        return super().act()

    def expected(self) -> dict[str, Expected]:
        """Nothing was lost."""
        return {one.id: one for one in [*FIRST, *SECOND, *WAITING]}

    def expected_rows(self) -> dict[str, dict[str, Any]]:
        """Everything is published."""
        return {name: completed(3) for name in ("first", "second", "waiting")}
