"""A world of its own for tests of the Dagster layer: a bucket, a table, a Dagster home, and batches planted in it.

Everything in it is real: server processes, a Dagster instance on disk with the project's `dagster.yaml`, and the
definitions loaded again for this bucket.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import httpx
import pytest
from boto3.dynamodb.types import TypeDeserializer
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.sensor_definition import SensorExecutionData

from embedding_assets.bucket.keys import poll_results_key
from embedding_assets.bucket.store import Store
from embedding_assets.cli.home import project_file
from embedding_assets.dagster_defs.resources import SERVICES, ServicesResource
from embedding_assets.dagster_defs.runs.ingest import IngestReport, ingest
from embedding_assets.dagster_defs.runs.kept_engines import kept_engines
from embedding_assets.databases import LINES, Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.table_definition import create_table
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.services import Services
from embedding_assets.settings import load_settings
from embedding_assets.versions.manifest import VersionManifest, read_pointer
from embedding_assets_tests.conftest import AwsClients, OpenAIServer
from embedding_assets_tests.deltas import DIMENSIONS, MODEL, vector
from embedding_assets_tests.reference import Expected

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

DEFINITIONS = "embedding_assets.definitions"
SUBMITTED = "2026-01-02T12:00:00Z"
EXECUTION_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"

PREFIXES = frozenset({"records", "manifests", "poll_results", "chunks", "chunk_groups", "intermediate", "dagster"})
"""The contract's top-level prefixes, beside those that are databases' names."""

Item = dict[str, Any]


@dataclass(frozen=True)
class World:
    """One bucket and one table, the Dagster instance beside them, and what is done there."""

    services: Services
    instance: dg.DagsterInstance
    defs: dg.Definitions
    server: OpenAIServer
    environment: Mapping[str, str]
    home: Path
    s3: S3Client
    dynamodb: DynamoDBClient

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.services.settings.bucket

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.services.settings.table_name

    def plant(
        self,
        batch_id: str,
        records: Sequence[Expected],
        *,
        database: Database = LINES,
        status: str = "completed",
        answered: Sequence[Expected] | None = None,
        kept: bool = False,
        row: Mapping[str, Any] | None = None,
        **planted: Any,
    ) -> Item:
        """Put a batch of `records` into OpenAI and its row into the table; return the batch object.

        The row has the required attributes alone, and those of `row`. `answered` (default: all) are delivered;
        none means no output file. With `kept`, `records/{batch_id}.jsonl` is there too.
        """
        batch = self.plant_openai(batch_id, records, status=status, answered=answered, **planted)
        if kept:
            lines = [
                json.dumps({"id": one.id, "document": one.document, "metadata": one.metadata}) for one in records
            ]
            self.services.store.put(f"records/{batch_id}.jsonl", "\n".join(lines).encode())
        self.put_row(batch_id, database, **(row or {}))
        return batch

    def plant_openai(
        self,
        batch_id: str,
        records: Sequence[Expected],
        *,
        status: str = "completed",
        answered: Sequence[Expected] | None = None,
        **planted: Any,
    ) -> Item:
        """Put a batch into OpenAI alone, over any that was there."""
        delivered = records if answered is None else answered
        if status in ("validating", "in_progress", "finalizing", "cancelling"):
            delivered = []
        batch: Item = self.server.plant(
            f"openai-{batch_id}",
            status=status,
            input="\n".join(request_line(one) for one in records),
            **({"output": "\n".join(answer_line(one) for one in delivered)} if delivered else {}),
            **planted,
        )
        return batch

    def delete(self, batch_id: str, ids: Sequence[str], database: Database = LINES, **row: Any) -> None:
        """A batch of deletions, as `submit --delete-ids` leaves it."""
        lines = [json.dumps({"id": record_id, "deleted": True}) for record_id in ids]
        self.services.store.put(f"records/{batch_id}.jsonl", "\n".join(lines).encode())
        self.put_row(batch_id, database, openai_batch_id="deletion", deletion_count=len(ids), **row)

    def put_row(self, batch_id: str, database: Database = LINES, **values: Any) -> None:
        """A row of the required attributes, and more where `values` has them."""
        status = values.get("status", "PENDING")
        row: Item = {
            "PK": f"BATCH#{batch_id}",
            "SK": "STATUS",
            "GSI1PK": f"STATUS#{status}",
            "GSI1SK": f"BATCH_TYPE#{database.batch_type}#BATCH_ID#{batch_id}",
            "TYPE": "BATCH_SUMMARY",
            "batch_id": batch_id,
            "openai_batch_id": f"openai-{batch_id}",
            "batch_type": database.batch_type,
            "status": status,
            "submitted_at": SUBMITTED,
            **values,
        }
        item = {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in row.items()}
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def ingest(
        self, *databases: Database, until_drained: bool = False, told: list[str] | None = None
    ) -> IngestReport:
        """Ingest `databases`, by default lines."""
        return ingest(
            self.services,
            self.instance,
            databases or (LINES,),
            until_drained=until_drained,
            progress=lambda line: None if told is None else told.append(line),
        )

    def objects(self) -> dict[str, str]:
        """The ETag of every object, by key."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", [])}

    def keys(self, *prefixes: str) -> set[str]:
        """The keys under any of the prefixes."""
        return {key for key in self.objects() if key.startswith(prefixes)}

    def rows(self) -> dict[str, Item]:
        """Every item of the table but claims, as plain values by PK."""
        plain = TypeDeserializer().deserialize
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        items = [{name: plain(value) for name, value in item.items()} for page in pages for item in page["Items"]]
        return {item["PK"]: item for item in items if item["SK"] != "SUBMIT"}

    def row(self, batch_id: str) -> Item:
        """The row of one batch."""
        return self.rows()[f"BATCH#{batch_id}"]

    def statuses(self) -> dict[str, str]:
        """The status of every batch, by batch id."""
        return {item["batch_id"]: item["status"] for item in self.rows().values() if "batch_id" in item}

    def json(self, key: str) -> Any:
        """The JSON of one object."""
        return json.loads(self.services.store.get(key))

    def published(self, database: Database = LINES) -> VersionManifest:
        """The published version."""
        pointer = read_pointer(self.services.store, database)
        assert pointer is not None, f"{database.name} has no published version"
        return pointer.manifest

    def poll_results(self, execution_id: str) -> dict[str, Item]:
        """What an execution polled, by batch id."""
        return {entry["batch_id"]: entry for entry in self.json(poll_results_key(execution_id))}

    def materializations(self, database: Database, asset: str) -> list[dg.AssetMaterialization]:
        """All materializations of an asset, oldest first."""
        page = self.instance.fetch_materializations(
            dg.AssetKey([database.name, asset]), limit=1000, ascending=True
        )
        found = [record.asset_materialization for record in page.records]
        return [event for event in found if event is not None]

    def marks(self, database: Database = LINES) -> list[dg.AssetObservation]:
        """What marking reported of batches: all observations, oldest first."""
        page = self.instance.fetch_observations(
            dg.AssetKey([database.name, "batches"]), limit=1000, ascending=True
        )
        found = [record.asset_observation for record in page.records]
        return [event for event in found if event is not None]


def request_line(record: Expected) -> str:
    """One line of a batch's input file."""
    body = {"model": MODEL, "input": record.document, "dimensions": len(record.vector)}
    return json.dumps({"custom_id": record.id, "method": "POST", "url": "/v1/embeddings", "body": body})


def answer_line(record: Expected) -> str:
    """One good line of a batch's output file."""
    data = [{"object": "embedding", "index": 0, "embedding": record.vector}]
    body = {"object": "list", "model": MODEL, "data": data}
    return json.dumps(
        {"id": "answer", "custom_id": record.id, "response": {"status_code": 200, "body": body}, "error": None}
    )


def error_line(record: Expected, code: str = "server_error", status: int | None = 500) -> str:
    """One line of a batch's error file; without `status` the request was never tried."""
    error = {"code": code, "message": f"{code} of {record.id}"}
    response = None if status is None else {"status_code": status, "body": {"error": error}}
    top = error if status is None else None
    return json.dumps({"id": "error", "custom_id": record.id, "response": response, "error": top})


def texts(prefix: str, count: int, seed: int = 0) -> list[Expected]:
    """Records without metadata: all that a batch without `records/` can tell."""
    return [
        Expected(f"{prefix}{number}", vector(seed + number, DIMENSIONS), f"text of {prefix}{number}", None)
        for number in range(count)
    ]


@contextmanager
def open_world(
    stack: EmbeddedStack,
    aws: AwsClients,
    control: httpx.Client,
    home: Path,
    dagster_yaml: str | None = None,
    **environment: str,
) -> Iterator[World]:
    """A world in `home`, with nothing in it; while it is open, the environment is its own.

    Its Dagster instance is the project's, or that of `dagster_yaml`.
    """
    names = {
        **stack.environment,
        "CHROMADB_BUCKET": f"bucket-{uuid.uuid4().hex}",
        "DYNAMODB_TABLE_NAME": f"table-{uuid.uuid4().hex}",
        "DAGSTER_HOME": str(home),
        **environment,
    }
    aws.s3.create_bucket(Bucket=names["CHROMADB_BUCKET"])
    create_table(aws.dynamodb, names["DYNAMODB_TABLE_NAME"])
    server = OpenAIServer(control)
    server.order("reset")
    if dagster_yaml is None:
        shutil.copytree(dagster_home_template(), home, dirs_exist_ok=True)
    else:
        (home / "dagster.yaml").write_text(dagster_yaml)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        patch.chdir(home)
        with (
            kept_engines(),
            loaded_definitions() as defs,
            dg.DagsterInstance.from_config(str(home)) as instance,
        ):
            services = connected(aws)
            yield World(services, instance, defs, server, names, home, aws.s3, aws.dynamodb)


def connected(aws: AwsClients) -> Services:
    """Services for the environment of now, with the clients of all tests: making new ones takes a while."""
    services = Services(load_settings())
    vars(services)["store"] = Store(services.settings.bucket, aws.s3, aws.s3_once, services.settings.kms_key_id)
    vars(services)["ledger"] = Ledger(services.settings.table_name, aws.dynamodb)
    return services


@contextmanager
def loaded_definitions() -> Iterator[dg.Definitions]:
    """The definitions as the environment of now makes them; what was loaded before comes back afterwards."""
    before = sys.modules.pop(DEFINITIONS, None)
    _forget_jobs()
    try:
        yield importlib.import_module(DEFINITIONS).defs
    finally:
        sys.modules.pop(DEFINITIONS, None)
        if before is not None:
            sys.modules[DEFINITIONS] = before
        _forget_jobs()


def _forget_jobs() -> None:
    """Dagster keeps the last job that it loaded by name; ours of that name was for another bucket."""
    for kept in (ReconstructableJob.get_definition, ReconstructableJob.get_repository_definition):
        kept.cache_clear()


@functools.cache
def dagster_home_template() -> Path:
    """A Dagster home with its empty databases: making those takes a second."""
    home = Path(tempfile.mkdtemp(prefix="embedding-assets-tests-home-"))
    shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs()
    return home


@dg.op
def nothing() -> None:
    """What the runs of `add_run` would do."""


def add_run(
    instance: dg.DagsterInstance,
    execution_id: str,
    *,
    name: str = "ingest_lines",
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
    tags: Mapping[str, str] | None = None,
) -> dg.DagsterRun:
    """A run of an execution as Dagster's storage has it; nobody works on it."""
    job = dg.GraphDefinition(name=name, node_defs=[nothing]).to_job()
    own = {"dagster/partition": execution_id, **(tags or {})}
    return instance.create_run_for_job(job, status=status, tags=own)


def tick(world: World, sensor: str, cursor: str | None = None) -> SensorExecutionData:
    """Evaluate a sensor as the daemon does."""
    with dg.build_resources({SERVICES: ServicesResource()}, instance=world.instance) as built:
        context = dg.build_sensor_context(
            instance=world.instance,
            instance_ref=world.instance.get_ref(),
            cursor=cursor,
            resources={SERVICES: built.embedding_services},
            definitions=world.defs,
        )
        return world.defs.resolve_sensor_def(sensor).evaluate_tick(context)
