"""What the product says about batches beside their rows: Dagster events, `batch.json`, the report of a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.openai_batches.keys import batch_key
from embedding_assets.orchestration.ingest import IngestReport
from embedding_assets_tests.orchestration.world import World


@dataclass
class Said:
    """All that was said so far.

    `events` has of each batch when its newest event was and which status it says; `reports` the batches that
    ingests listed as marked or failed. `unheard` counts ingests that ended without a report: a crash, an error.
    """

    events: dict[str, tuple[float, str]] = field(default_factory=dict)
    reports: set[str] = field(default_factory=set)
    unheard: int = 0

    def copy(self) -> Said:
        """The same, from now on apart."""
        return Said(dict(self.events), set(self.reports), self.unheard)

    @contextmanager
    def during(self, instance: dg.DagsterInstance) -> Iterator[Said]:
        """An ingest on `instance`, as the block."""
        self.unheard += 1
        try:
            yield self
        finally:
            page = instance.fetch_materializations(
                dg.AssetKey([LINES.name, "batches"]), limit=10_000, ascending=True
            )
            for record in page.records:
                event = record.asset_materialization
                if event is not None and event.partition is not None:
                    said = (record.timestamp, str(event.metadata["status"].value))
                    self.events[event.partition] = max(said, self.events.get(event.partition, said))

    def hear(self, report: IngestReport) -> None:
        """What it said at its end."""
        self.unheard -= 1
        self.reports |= {*report.marked, *report.failed}

    def check(self, world: World, statuses: Mapping[str, str]) -> None:
        """Everything says of each batch that has ended what its row says."""
        ended = {name: status for name, status in statuses.items() if not Status(status).live}
        assert {name: world.json(batch_key(name))["status"] for name in ended} == ended, "batch.json"
        events = {name: status for name, (_, status) in self.events.items() if name in ended}
        assert events == ended, "Dagster's events"
        if not self.unheard:
            assert ended.keys() <= self.reports, "not every batch was in a report"
