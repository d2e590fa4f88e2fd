"""Everything outside that the product works with, made once from the settings.

What a method makes is imported by it: a command that only reads the table does not wait for chromadb.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from embedding_assets.bucket.store import Store
from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.databases import Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.progress import Progress
from embedding_assets.settings import ReaderSettings, Settings, load_settings

if TYPE_CHECKING:
    from embedding_assets.executions.final import FinalMerger
    from embedding_assets.executions.hierarchy import Hierarchy
    from embedding_assets.executions.intermediate import IntermediateMerger
    from embedding_assets.executions.poll import ExecutionPoller
    from embedding_assets.executions.write_index import IndexPolicy
    from embedding_assets.openai_batches.absence import Absence
    from embedding_assets.openai_batches.client import OpenAIBatches
    from embedding_assets.openai_batches.poll import Poller
    from embedding_assets.submission.parts import EmbeddingModel
    from embedding_assets.submission.resubmit import Resubmitter
    from embedding_assets.submission.sender import Sender
    from embedding_assets.submission.submit import Submitter
    from embedding_assets.submission.tokens import Prices
    from embedding_assets.targets.address import Target
    from embedding_assets.targets.sync import TargetSync
    from embedding_assets.targets.verify import TargetFinding
    from embedding_assets.upkeep.gc import Collector
    from embedding_assets.upkeep.import_snapshot import SnapshotImport
    from embedding_assets.upkeep.rebuild_distance import DistanceRebuild
    from embedding_assets.upkeep.rebuild_model import ModelRebuild
    from embedding_assets.upkeep.repair import Repair
    from embedding_assets.upkeep.rollback import Rollback
    from embedding_assets.versions.base_cache import BaseCache
    from embedding_assets.versions.publisher import Publisher
    from embedding_assets.versions.shared_root import SharedVersions


@dataclass(frozen=True)
class Services:
    """The bucket, the table and OpenAI, connected on first use."""

    settings: Settings

    @cached_property
    def store(self) -> Store:
        """The bucket."""
        return Store(self.settings.bucket, kms_key_id=self.settings.kms_key_id)

    @cached_property
    def ledger(self) -> Ledger:
        """The batch summaries."""
        return Ledger(self.settings.table_name, legacy_rows=self.settings.legacy_rows)

    def sender(self, database: Database, progress: Progress) -> Sender:
        """What sends batches to `database`."""
        from embedding_assets.submission.sender import Sender

        return Sender(self.store, self.ledger, self.openai, database, self.settings.lock_lease_seconds, progress)

    def submitter(
        self,
        database: Database,
        progress: Progress,
        *,
        force: bool = False,
        dry_run: bool = False,
        now: bool = False,
    ) -> Submitter:
        """What submits records to `database`, asking for the model of the settings; `now`: without a batch."""
        from embedding_assets.submission.parts import EmbeddingModel
        from embedding_assets.submission.submit import Submitter

        return Submitter(
            self.sender(database, progress),
            EmbeddingModel(self.settings.model, self.settings.dimensions),
            enqueued_tokens=None if now else self.settings.enqueued_tokens,
            force=force,
            dry_run=dry_run,
            cache=self._base_cache(database),
            now=now,
            prices=self.prices,
            text_tokens=self.settings.max_text_tokens,
        )

    def resubmitter(self, database: Database, progress: Progress, *, dry_run: bool = False) -> Resubmitter:
        """What submits requests without an embedding again."""
        from embedding_assets.submission.parts import EmbeddingModel
        from embedding_assets.submission.resubmit import Policy, Resubmitter

        settings = self.settings
        return Resubmitter(
            self.sender(database, progress),
            EmbeddingModel(settings.model, settings.dimensions),
            Policy(settings.max_attempts, timedelta(seconds=settings.resubmit_wait_seconds)),
            dry_run=dry_run,
            prices=self.prices,
        )

    def importer(self, database: Database, progress: Progress) -> SnapshotImport:
        """What publishes the records of another index."""
        from embedding_assets.upkeep.import_snapshot import SnapshotImport

        return SnapshotImport(self.publisher(database, progress), self._index_policy)

    def publisher(self, database: Database, progress: Progress) -> Publisher:
        """What every change of the published version of `database` works with."""
        from embedding_assets.versions.publisher import Publisher

        lease, shared = self.settings.lock_lease_seconds, self.shared_versions(database)
        return Publisher(self.store, self.ledger, database, lease, progress, shared)

    def distance_rebuild(self, database: Database, progress: Progress) -> DistanceRebuild:
        """What publishes the published records again, from their own vectors."""
        from embedding_assets.upkeep.rebuild_distance import DistanceRebuild

        return DistanceRebuild(self.publisher(database, progress), self._index_policy)

    def model_rebuild(
        self, database: Database, wanted: EmbeddingModel, progress: Progress, *, dry_run: bool = False
    ) -> ModelRebuild:
        """What publishes the published records with vectors of another model."""
        from embedding_assets.upkeep.rebuild_model import ModelRebuild

        return ModelRebuild(
            self.publisher(database, progress),
            self._index_policy,
            self.sender(database, progress),
            self.poller(database),
            wanted,
            dry_run,
        )

    def shared_versions(self, database: Database) -> SharedVersions | None:
        """The versions on the shared file system; None without one. Raises SettingsError as `shared_root` does."""
        from embedding_assets.versions.shared_root import SharedVersions

        root = self.settings.shared_root
        return SharedVersions(self.store, database, root) if root is not None else None

    @cached_property
    def openai(self) -> OpenAIBatches:
        """OpenAI's files and batches."""
        from embedding_assets.openai_batches.client import OpenAIBatches
        from embedding_assets.openai_batches.dialect import dialect_of

        settings = self.settings
        return OpenAIBatches(limit=AdaptiveLimit(settings.poll_concurrency), dialect=dialect_of(settings))

    @property
    def prices(self) -> Prices:
        """What tokens cost."""
        from embedding_assets.submission.tokens import Prices

        return Prices(self.settings.price_per_million)

    def poller(self, database: Database) -> Poller:
        """Polls single batches."""
        from embedding_assets.openai_batches.poll import Poller

        form, disk_bytes = self.settings.intermediate_format, self.settings.poll_disk_mib * 2**20
        return Poller(self.store, self.openai, database, form, self.absence, disk_bytes)

    @property
    def absence(self) -> Absence:
        """When a batch that OpenAI does not show counts as gone."""
        from embedding_assets.openai_batches.absence import Absence

        return Absence(timedelta(seconds=self.settings.missing_grace_seconds))

    def execution_poller(self, database: Database) -> ExecutionPoller:
        """Polls executions."""
        from embedding_assets.executions.poll import ExecutionPoller

        return ExecutionPoller(
            self.store, self.ledger, self.poller(database), database, self.settings.poll_concurrency
        )

    def intermediate_merger(self, database: Database) -> IntermediateMerger:
        """Merges chunks and groups."""
        from embedding_assets.executions.intermediate import IntermediateMerger

        return IntermediateMerger(self.store, database, self.settings.intermediate_format)

    def hierarchy(self, database: Database) -> Hierarchy:
        """Merges all chunks and groups of an execution."""
        from embedding_assets.executions.hierarchy import Hierarchy

        settings = self.settings
        return Hierarchy(
            self.store,
            self.intermediate_merger(database),
            settings.group_size,
            settings.group_threshold,
            settings.chunk_concurrency,
            settings.group_concurrency,
        )

    def final_merger(self, database: Database, progress: Progress) -> FinalMerger:
        """Merges executions into versions."""
        from embedding_assets.executions.final import FinalMerger

        return FinalMerger(self.publisher(database, progress), self._index_policy, self._base_cache(database))

    @property
    def _index_policy(self) -> IndexPolicy:
        from embedding_assets.executions.write_index import IndexPolicy

        settings = self.settings
        return IndexPolicy(settings.index_writer, settings.max_node_ratio, settings.version_layout == "split")

    def _base_cache(self, database: Database) -> BaseCache | None:
        from embedding_assets.versions.base_cache import BaseCache

        root = self.settings.base_cache
        return None if root is None else BaseCache(root, self.store.bucket, database)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The further targets. Raises SettingsError if the setting is wrong."""
        given = self.settings.targets
        if given is None:
            return ()
        from embedding_assets.targets.address import parse_targets

        return parse_targets(given.get_secret_value())

    def target_sync(self, database: Database, target: Target, progress: Progress) -> TargetSync:
        """What brings a target to the published version of `database`."""
        from embedding_assets.targets.sync import TargetSync

        lease = self.settings.lock_lease_seconds
        cache = self._base_cache(database)
        return TargetSync(self.store, self.ledger, database, target, lease, progress, cache)

    def verify_target(self, database: Database, target: Target) -> TargetFinding:
        """Whether a target holds what it is said to hold."""
        from embedding_assets.targets.verify import verify_target

        return verify_target(self.store, self.ledger, database, target)

    def rollback(self, database: Database, progress: Progress) -> Rollback:
        """Publishes older versions again."""
        from embedding_assets.upkeep.rollback import Rollback

        return Rollback(self.publisher(database, progress))

    def repair(self, database: Database, progress: Progress) -> Repair:
        """Puts a lost pointer back."""
        from embedding_assets.upkeep.repair import Repair

        return Repair(self.publisher(database, progress))

    def collector(self, database: Database, progress: Progress) -> Collector:
        """Deletes what nothing needs any more."""
        from embedding_assets.upkeep.gc import Collector

        age = timedelta(seconds=self.settings.gc_min_age_seconds)
        return Collector(self.publisher(database, progress), self.settings.snapshot_retention, age)


def connect_to_read() -> Services:
    """Services for what reads the bucket alone: their ledger is not to be used."""
    return connect(load_settings(ReaderSettings))


CLIENTS_KEPT = 8
"""Settings and environments whose clients a process keeps."""

Environment = tuple[tuple[str, str], ...]


def of_environment() -> Environment:
    """What boto3 and OpenAI's SDK read when a client is made."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "OPENAI_"))))


def connect(settings: Settings | None = None) -> Services:
    """Services for `settings`, or for those of the environment; the same ones again while nothing changes."""
    return _connected(settings or load_settings(), of_environment())


@lru_cache(maxsize=CLIENTS_KEPT)
def _connected(settings: Settings, environment: Environment) -> Services:
    return Services(settings)
