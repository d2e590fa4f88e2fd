"""What is done to versions: a tag, a rollback, a gc, a batch reprocessed. The second scene for faults."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from embedding_assets.databases import LINES
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.upkeep.tagging import set_tag
from embedding_assets.versions.manifest import chain
from embedding_assets_tests.dagster_defs.runs.world import texts
from embedding_assets_tests.faults.process import Planned
from embedding_assets_tests.faults.scene import Scene, completed
from embedding_assets_tests.reference import Expected

FIRST = texts("a", 3)
SECOND = texts("b", 3, 10)
THIRD = texts("c", 3, 20)
AGAIN = ("second",)
"""Withdrawn batches that are reprocessed; the other one stays out."""


def quiet(line: str) -> None:
    """Tell nobody."""


class UpkeepScene(Scene):
    """Three versions; back to the first, swept, and the second batch again."""

    def begin(self) -> None:
        """Three batches, each published by an execution of its own."""
        for name, wanted in (("first", FIRST), ("second", SECOND), ("third", THIRD)):
            self.world.plant(name, wanted)
            assert self.ingest().failures == []

    def act(self) -> bool:
        """The whole story; told again, it comes to the same."""
        services = self.world.services
        store, ledger = services.store, services.ledger
        oldest = list(chain(store, LINES, self.world.published()))[-1]
        set_tag(services.publisher(LINES, quiet), "good", oldest.version)
        services.rollback(LINES, quiet).to("good", new_execution_id(datetime.now(UTC)))
        for _ in range(2):
            services.collector(LINES, quiet).collect(new_execution_id(datetime.now(UTC)), dry_run=False)
        for batch_id in AGAIN:
            row = ledger.get(batch_id)
            if not row.status.live:
                ledger.reopen(row)
        return super().act() or super().act()

    def expected(self) -> dict[str, Expected]:
        """The first version's records, and those of the batch that came back."""
        return {one.id: one for one in [*FIRST, *SECOND]}

    def expected_rows(self) -> dict[str, dict[str, Any]]:
        """What was withdrawn is still COMPLETED."""
        return {name: completed(3) for name in ("first", "second", "third")}

    def check(self, planned: Planned | None = None) -> None:
        """Also: the tagged version is whole, and who is out is told."""
        super().check(planned)
        assert self.world.published().withdrawn == ("third",)
