"""All checks of one account, in order, and the sweeping after them.

Promise: nothing that the checks wrote stays, also if a check failed or the examination was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.operations.doctor.bucket import BucketChecks
from embedding_assets.operations.doctor.bucket_races import bucket_races
from embedding_assets.operations.doctor.check import Check, Result, Status, run_checks
from embedding_assets.operations.doctor.clock import Now, check_dynamodb_clock, check_s3_clock, now_utc
from embedding_assets.operations.doctor.model import openai_checks
from embedding_assets.operations.doctor.published import PublishedChecks
from embedding_assets.operations.doctor.scratch import ScratchItem, ScratchPrefix
from embedding_assets.operations.doctor.table import table_checks
from embedding_assets.operations.doctor.table_races import table_races
from embedding_assets.operations.doctor.targets import target_checks
from embedding_assets.progress import Progress
from embedding_assets.targets.address import Target

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROUNDS = 50
WRITERS = 16


@dataclass(frozen=True)
class Doctor:
    """Examines one account. Each race has `rounds` rounds of `writers` threads."""

    store: Store
    s3: S3Client
    ledger: Ledger
    openai: OpenAIBatches
    databases: Sequence[Database]
    model: str
    rounds: int = ROUNDS
    writers: int = WRITERS
    now: Now = now_utc
    targets: Sequence[Target] = ()

    def examine(self, progress: Progress = lambda name: None) -> tuple[Result, ...]:
        """Do all checks; `tell` is given the name of each at its start."""
        prefix, item = ScratchPrefix(self.store), ScratchItem(self.ledger)
        try:
            found = run_checks(self._checks(prefix, item), progress)
        finally:
            swept = run_checks(self._sweeps(prefix, item), progress)
        return found + swept

    def _checks(self, prefix: ScratchPrefix, item: ScratchItem) -> tuple[Check, ...]:
        credentials = "check the credentials, the region and AWS_ENDPOINT_URL"
        return (
            Check("S3 clock", lambda: check_s3_clock(self.s3, self.store.bucket, self.now), credentials),
            *BucketChecks(self.store, self.s3, prefix).all(),
            *bucket_races(self.store, prefix, self.rounds, self.writers),
            Check("DynamoDB clock", lambda: check_dynamodb_clock(self.ledger, self.now), credentials),
            *table_checks(self.ledger),
            *table_races(self.ledger, item, self.rounds, self.writers),
            *(
                check
                for database in self.databases
                for check in PublishedChecks(self.store, self.ledger, database).all()
            ),
            *target_checks(self.targets),
            *openai_checks(self.openai, self.model),
        )

    def _sweeps(self, prefix: ScratchPrefix, item: ScratchItem) -> tuple[Check, ...]:
        by_hand = "delete it by hand"
        return (
            Check(
                "S3 swept",
                prefix.sweep,
                f"{self.store.uri(prefix.prefix)} stays: {by_hand}",
                weight=Status.WARNING,
            ),
            Check("DynamoDB swept", item.sweep, f"item {item.name} stays: {by_hand}", weight=Status.WARNING),
        )
