"""What the product says about batches beside their rows: Dagster events, `batch.json`, the report of a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from embedding_assets.bucket.keys import batch_key
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets_tests.dagster_defs.runs.world import World


@dataclass
class Said:
    """All that was said so far.

    `events` has of each batch when its newest event was and which status it says; `polls` the batches whose poll
    said how they ended; `marked` and `failed` what ingests listed. `unheard` counts ingests that ended without a
    report: a crash, an error.
    """

    events: dict[str, tuple[float, str]] = field(default_factory=dict)
    polls: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    unheard: int = 0

    def copy(self) -> Said:
        """The same, from now on apart."""
        return Said(dict(self.events), set(self.polls), set(self.marked), set(self.failed), self.unheard)

    @contextmanager
    def during(self, instance: dg.DagsterInstance) -> Iterator[Said]:
        """An ingest on `instance`, as the block."""
        self.unheard += 1
        try:
            yield self
        finally:
            events = [(when, event.partition, event.metadata) for when, event in _marks(instance)]
            polled = _materializations(instance, "batches")
            events += [(when, event.partition, event.metadata) for when, event in polled]
            for when, partition, metadata in events:
                said = (when, str(metadata["status"].value))
                self.events[partition or ""] = max(said, self.events.get(partition or "", said))
            for _, event in _materializations(instance, "poll_results"):
                if event.metadata["action"].value not in ("wait", "error"):
                    self.polls.add(event.partition or "")

    def hear(self, report: IngestReport) -> None:
        """What it said at its end."""
        self.unheard -= 1
        self.marked |= set(report.marked)
        self.failed |= set(report.failed)

    def check(self, world: World, statuses: Mapping[str, str]) -> None:
        """Everything says of each batch that has ended what its row says."""
        ended = {name: status for name, status in statuses.items() if not Status(status).live}
        ledger, store = world.services.ledger, world.services.store
        for name in ended:
            kept = BatchSummary.model_validate_json(store.get(batch_key(name)))
            assert kept == ledger.get(name), f"{batch_key(name)} is not the row"
        events = {name: status for name, (_, status) in self.events.items() if name in ended}
        assert events == ended, "Dagster's newest events"
        assert ended.keys() <= self.polls, "no event says how these were polled"
        assert not self.marked & self.failed
        if not self.unheard:
            assert ended.keys() == self.marked | self.failed, "not every batch was in a report"


def _marks(instance: dg.DagsterInstance) -> Iterator[tuple[float, dg.AssetObservation]]:
    key = dg.AssetKey([LINES.name, "batches"])
    for record in instance.fetch_observations(key, limit=10_000, ascending=True).records:
        if record.asset_observation is not None:
            yield record.timestamp, record.asset_observation


def _materializations(instance: dg.DagsterInstance, asset: str) -> Iterator[tuple[float, dg.AssetMaterialization]]:
    key = dg.AssetKey([LINES.name, asset])
    for record in instance.fetch_materializations(key, limit=10_000, ascending=True).records:
        if record.asset_materialization is not None:
            yield record.timestamp, record.asset_materialization
