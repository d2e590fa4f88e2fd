"""IO managers: every asset's value is JSON in the bucket, typed by a pydantic model. Nothing is pickled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagster import InputContext, IOManager, MetadataValue, OutputContext
from dagster_aws.s3 import S3Resource
from pydantic import TypeAdapter, ValidationError

from embedding_assets.bucket.keys import (
    batch_key,
    chunks_key,
    final_result_key,
    intermediate_snapshots_key,
    op_output_key,
    poll_results_key,
    result_key,
)
from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.errors import DamagedError
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Chunk
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.poll_result import PollResult


@dataclass(frozen=True)
class Artefact:
    """Where the value of one kind of asset lies, and of what type it is. `key` takes the partition key."""

    adapter: TypeAdapter[Any]
    key: Callable[[str], str]


ARTEFACTS = {
    "batches": Artefact(TypeAdapter(BatchSummary), batch_key),
    "poll_results": Artefact(TypeAdapter(PollResult), result_key),
    "execution_poll_results": Artefact(TypeAdapter(list[PollResult]), poll_results_key),
    "chunks": Artefact(TypeAdapter(list[Chunk]), chunks_key),
    "intermediate_snapshots": Artefact(TypeAdapter(IntermediateSnapshots), intermediate_snapshots_key),
    "final_snapshot": Artefact(TypeAdapter(FinalMergeResult), final_result_key),
}
"""By the last part of the asset key."""


class JsonOnS3(IOManager):
    """Reads and writes JSON objects of one bucket through `dagster_aws.s3.S3Resource`.

    An object and no configurable resource: Dagster would make those, and the client in them, again for each run.
    """

    def __init__(self, s3: S3Resource, bucket: str, kms_key_id: str | None = None) -> None:
        """With the client of `s3`, which is made when it is first needed."""
        self.s3 = s3
        self.bucket = bucket
        self.kms_key_id = kms_key_id

    @property
    def store(self) -> Store:
        """The bucket, by a client of the resource."""
        client = self.s3.get_client()
        return Store(self.bucket, client, client, self.kms_key_id)

    def _write(self, context: OutputContext, key: str, data: bytes) -> None:
        self.store.put(key, data)

    def _read(self, adapter: TypeAdapter[Any], key: str) -> Any:
        data = self.store.get(key)
        try:
            return adapter.validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DamagedError(
                f"s3://{self.bucket}/{key} is not what it should be: {where}: {first['msg']}"
            ) from error


class ArtefactIOManager(JsonOnS3):
    """The value of an asset's partition. Loading several partitions gives a mapping by partition key."""

    @without_secrets_in_dagster
    def handle_output(self, context: OutputContext, obj: object) -> None:
        """Write the value under the contract's key."""
        artefact = ARTEFACTS[context.asset_key.path[-1]]
        key = artefact.key(context.asset_partition_key)
        self._write(context, key, artefact.adapter.dump_json(obj, indent=2))
        context.add_output_metadata({"s3_location": MetadataValue.path(f"s3://{self.bucket}/{key}")})

    @without_secrets_in_dagster
    def load_input(self, context: InputContext) -> Any:
        """Read the value, also if an event and not an output reported it to Dagster."""
        artefact = ARTEFACTS[context.asset_key.path[-1]]
        keys = list(context.asset_partition_keys)
        values = {key: self._read(artefact.adapter, artefact.key(key)) for key in keys}
        return values[keys[0]] if len(keys) == 1 else values


class OpOutputIOManager(JsonOnS3):
    """What passes between the ops of a graph asset: JSON under `dagster/`, typed by the op's annotation."""

    @without_secrets_in_dagster
    def handle_output(self, context: OutputContext, obj: object) -> None:
        """Write the output under a key of the run and step."""
        adapter: TypeAdapter[Any] = TypeAdapter(context.dagster_type.typing_type)
        self._write(context, op_output_key(context.get_identifier()), adapter.dump_json(obj))

    @without_secrets_in_dagster
    def load_input(self, context: InputContext) -> Any:
        """Read the upstream op's output."""
        upstream = context.upstream_output
        if upstream is None:
            raise DamagedError(f"the input {context.name} comes from no op")
        return self._read(TypeAdapter(upstream.dagster_type.typing_type), op_output_key(upstream.get_identifier()))
