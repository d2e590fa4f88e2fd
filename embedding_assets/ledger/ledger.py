"""The ledger: batch summaries in DynamoDB, listed whole and changed only by conditional writes.

`status` and `GSI1PK` change in one write, always together. A write that finds another state than it was
conditional on changes nothing and says so. Attributes that are not ours survive. Texts are written within
bounds, so that a row stays far below the 400 KB that DynamoDB takes; a row that it does not take is an ItemError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from embedding_assets.bucket.aws import dynamodb_client, translated
from embedding_assets.databases import Database
from embedding_assets.errors import InputError, NotFoundError, PreconditionError, TransientError
from embedding_assets.ledger.batch_summary import (
    LIVE,
    BatchSummary,
    Refused,
    Status,
    format_instant,
    parse_row,
)
from embedding_assets.ledger.row_table import WRITE_ID, Row, RowTable, new_write_id, serialize

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACKNOWLEDGED = ("acknowledged", "acknowledged_at")
ABSENCE = ("missing_since", "openai_status")
"""What a row says while OpenAI does not show the batch, or shows it with a status that we do not know."""
OWN_FAILURES = 3
"""Failures of its own after which a batch is set aside."""

NO_RESULT_FILE = "N/A"
LEGACY_VALUES: Mapping[str, object] = {"result_file_id": NO_RESULT_FILE, "receipt_refs": []}
"""What the reader of the replaced system needs in a row."""


@dataclass(frozen=True)
class LiveBatches:
    """All live batches of one database, oldest first; the rows that were refused; those set aside."""

    ready_to_plan: tuple[BatchSummary, ...]
    set_aside: tuple[BatchSummary, ...]
    refused: tuple[Refused, ...]


class Ledger(RowTable):
    """The batch summaries of one table."""

    def __init__(self, table: str, client: DynamoDBClient | None = None, *, legacy_rows: bool = False) -> None:
        """`legacy_rows`: new rows carry what the reader of the replaced system needs."""
        super().__init__(table, client)
        self.legacy_rows = legacy_rows
        self._given = client is not None
        self._renewing: dict[float, DynamoDBClient] = {}

    def renewing_client(self, lease_seconds: float) -> DynamoDBClient:
        """The client that renews leases of that length: its timeouts are well below it. A given one serves too."""
        if self._given:
            return self.client
        if lease_seconds not in self._renewing:
            self._renewing[lease_seconds] = dynamodb_client(lease_seconds=lease_seconds)
        return self._renewing[lease_seconds]

    def live(self, database: Database) -> LiveBatches:
        """Every live batch of `database`: all pages of the index, then read again consistently."""
        keys = []
        for status in LIVE:
            prefix = f"BATCH_TYPE#{database.batch_type}#BATCH_ID#"
            keys += [row["PK"] for row in self._index(status, prefix, ProjectionExpression="PK")]
        rows = [parse_row(row) for row in self._rows(keys)]
        batches = sorted(
            (row for row in rows if isinstance(row, BatchSummary) and row.status.live),
            key=lambda batch: (batch.submitted_at, batch.batch_id),
        )
        return LiveBatches(
            ready_to_plan=tuple(batch for batch in batches if batch.set_aside is None),
            set_aside=tuple(batch for batch in batches if batch.set_aside is not None),
            refused=tuple(row for row in rows if isinstance(row, Refused)),
        )

    def by_status(self, status: Status, batch_type: str | None = None) -> Iterator[BatchSummary | Refused]:
        """Every row of one status, as the index has it."""
        prefix = "BATCH_TYPE#" if batch_type is None else f"BATCH_TYPE#{batch_type}#BATCH_ID#"
        for row in self._index(status, prefix):
            yield parse_row(row)

    def get(self, batch_id: str) -> BatchSummary:
        """One row, read consistently. NotFoundError without it, InputError if it is refused."""
        rows = list(self._rows([f"BATCH#{batch_id}"]))
        if not rows:
            raise NotFoundError(f"there is no batch {batch_id!r} in table {self.table}")
        row = parse_row(rows[0])
        if isinstance(row, Refused):
            raise InputError(f"batch {batch_id!r} is refused: {row.reason}")
        return row

    def ids_beginning_with(self, beginning: str, batch_types: Iterable[str]) -> list[str]:
        """Batch ids that begin so, of these batch types, as the index has them."""
        found = (
            str(row["PK"]).removeprefix("BATCH#")
            for batch_type in batch_types
            for status in Status
            for row in self._index(
                status, f"BATCH_TYPE#{batch_type}#BATCH_ID#{beginning}", ProjectionExpression="PK"
            )
        )
        return sorted(set(found))

    def get_many(self, batch_ids: Iterable[str]) -> dict[str, BatchSummary]:
        """Rows by batch id, read consistently; those missing or refused are left out."""
        rows = [parse_row(row) for row in self._rows(f"BATCH#{batch_id}" for batch_id in batch_ids)]
        return {row.batch_id: row for row in rows if isinstance(row, BatchSummary)}

    def create(self, batch: BatchSummary) -> None:
        """Write a new row. PreconditionError if the batch has one."""
        values = {
            key: format_instant(value) if isinstance(value, datetime) else value
            for key, value in batch.model_dump(exclude_none=True, exclude_defaults=True).items()
        }
        values |= {
            "PK": f"BATCH#{batch.batch_id}",
            "SK": "STATUS",
            "GSI1PK": f"STATUS#{batch.status}",
            "GSI1SK": f"BATCH_TYPE#{batch.batch_type}#BATCH_ID#{batch.batch_id}",
            "TYPE": "BATCH_SUMMARY",
            "status": str(batch.status),
            WRITE_ID: new_write_id(),
        }
        if self.legacy_rows:
            values |= LEGACY_VALUES
        try:
            with translated(f"creating batch {batch.batch_id} in table {self.table}"):
                self.client.put_item(
                    TableName=self.table,
                    Item={key: serialize(value) for key, value in values.items()},
                    ConditionExpression="attribute_not_exists(PK)",
                )
        except (PreconditionError, TransientError):
            if self._written(batch.batch_id, values[WRITE_ID]) is None:
                raise

    def finish(
        self, batch_id: str, generation: int, status: Status, values: Mapping[str, object]
    ) -> BatchSummary | None:
        """Give a live batch of this generation its final status; None if it is no longer so.

        It ends now unless `values` has another `completed_at`.
        """
        sets = {"completed_at": format_instant(datetime.now(UTC)), **values, "status": str(status)}
        done_with = ("set_aside", "ingest_attempts", "error", *ABSENCE)
        removes = tuple(name for name in done_with if name not in sets)
        return self._update_live(batch_id, generation, sets, removes)

    def observe(self, batch_id: str, generation: int, status: Status) -> BatchSummary | None:
        """Note the live status that OpenAI returns for a live batch."""
        return self._update_live(batch_id, generation, {"status": str(status)}, removes=ABSENCE)

    def note_missing(self, batch: BatchSummary, reason: str) -> BatchSummary | None:
        """Note that OpenAI does not show a live batch, or its output; `missing_since` is the first such look."""
        since = batch.missing_since or datetime.now(UTC)
        sets = {"missing_since": format_instant(since), "error": reason}
        return self._update_live(batch.batch_id, batch.generation, sets, removes=("openai_status",))

    def note_shown(self, batch: BatchSummary, unknown_status: str | None = None) -> BatchSummary | None:
        """Note that OpenAI shows a live batch, again perhaps; `unknown_status` is its own word if we know none."""
        sets: Row = {"ingest_attempts": batch.ingest_attempts}  # an update needs something to set
        removes = ["missing_since"] if batch.missing_since is None else ["missing_since", "error"]
        if unknown_status is None:
            removes.append("openai_status")
        else:
            sets["openai_status"] = unknown_status
        return self._update_live(batch.batch_id, batch.generation, sets, tuple(removes))

    def note_result_file(self, batch_id: str, file_id: str) -> None:
        """Note OpenAI's output file in a row that we made with `legacy_rows`; other rows are not touched."""
        with suppress(PreconditionError), translated(f"updating batch {batch_id} in table {self.table}"):
            self.client.update_item(
                TableName=self.table,
                Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}},
                UpdateExpression="SET result_file_id = :file",
                ConditionExpression="result_file_id = :none AND attribute_exists(batch_id)",
                ExpressionAttributeValues={":file": {"S": file_id}, ":none": {"S": NO_RESULT_FILE}},
            )

    def openai_ids(self) -> Iterator[tuple[str, str]]:
        """Batch id and OpenAI batch id of every row of the table, live or final, of every database."""
        for status in Status:
            for row in self._index(status, "BATCH_TYPE#", ProjectionExpression="PK, openai_batch_id"):
                yield str(row["PK"]).removeprefix("BATCH#"), str(row.get("openai_batch_id"))

    def count_failure(self, batch: BatchSummary, message: str) -> BatchSummary | None:
        """Count one failure of the batch's own; the third sets it aside with `message` as the reason."""
        failures = batch.ingest_attempts + 1
        sets: Row = {"ingest_attempts": failures, "error": message}
        if failures >= OWN_FAILURES:
            sets["set_aside"] = f"failed {failures} times, last: {message}"
        return self._update_live(batch.batch_id, batch.generation, sets)

    def forget_failures(self, batch_id: str, generation: int) -> BatchSummary | None:
        """A live batch came through: what it failed before counts no more against it."""
        return self._update_live(batch_id, generation, {"ingest_attempts": 0}, removes=("error", *ABSENCE))

    def note_resubmission(self, batch: BatchSummary, child: str | None) -> BatchSummary | None:
        """Note as which batch a final one was submitted again, or that there is nothing in it to submit again.

        Returns None if it was opened again meanwhile.
        """
        return self._update(
            batch.batch_id,
            {"resubmitted_as": child} if child is not None else {"retryable_count": 0},
            removes=ACKNOWLEDGED if child is not None else (),
            condition="#status = :was AND " + _generation_is(batch.generation),
            values={":was": str(batch.status), ":generation": batch.generation},
        )

    def put_aside(self, batch_id: str, generation: int, reason: str) -> BatchSummary | None:
        """Keep a live batch from being planned until it is reset."""
        return self._update_live(batch_id, generation, {"set_aside": reason, "error": reason})

    def acknowledge(self, batch: BatchSummary, reason: str) -> BatchSummary:
        """Note why a final batch is left as it is. PreconditionError if it changed meanwhile."""
        now = format_instant(datetime.now(UTC))
        return self._change(batch, {"acknowledged": reason, "acknowledged_at": now}, removes=())

    def reopen(self, batch: BatchSummary) -> BatchSummary:
        """Make a final batch PENDING again, one generation on. PreconditionError if it changed meanwhile."""
        return self._reset(batch, Status.PENDING, also=("resubmitted_as",))

    def reset(self, batch: BatchSummary, status: Status) -> BatchSummary:
        """Give the row another status; final to live opens it again, one generation on.

        What it failed before `reset_at` counts no more against it. `resubmitted_as` stays: that is paid for.
        """
        return self._reset(batch, status)

    def _reset(self, batch: BatchSummary, status: Status, also: tuple[str, ...] = ()) -> BatchSummary:
        generation = batch.generation + (status.live and not batch.status.live)
        now = format_instant(datetime.now(UTC))
        sets = {"status": str(status), "generation": generation, "reset_at": now}
        if not status.live:
            sets["completed_at"] = now
        elif not batch.status.live:
            sets["reopened_from"] = str(batch.status)
        removes = ("set_aside", "ingest_attempts", "error", *ACKNOWLEDGED, *also, *ABSENCE)
        return self._change(batch, sets, removes)

    def _change(self, batch: BatchSummary, sets: Mapping[str, object], removes: tuple[str, ...]) -> BatchSummary:
        changed = self._update(
            batch.batch_id,
            sets,
            removes=removes,
            condition="#status = :was AND " + _generation_is(batch.generation),
            values={":was": str(batch.status), ":generation": batch.generation},
        )
        if changed is None:
            raise PreconditionError(f"batch {batch.batch_id} was changed by another; nothing was done")
        return changed

    def _update_live(
        self,
        batch_id: str,
        generation: int,
        sets: Mapping[str, object],
        removes: tuple[str, ...] = (),
    ) -> BatchSummary | None:
        live = {f":live{index}": str(status) for index, status in enumerate(LIVE)}
        return self._update(
            batch_id,
            sets,
            removes=removes,
            condition=f"#status IN ({', '.join(live)}) AND " + _generation_is(generation),
            values={**live, ":generation": generation},
        )


def _generation_is(generation: int) -> str:
    """A condition on the row's generation, which counts as 0 where it is absent."""
    equal = "#generation = :generation"
    return f"(attribute_not_exists(#generation) OR {equal})" if generation == 0 else equal
