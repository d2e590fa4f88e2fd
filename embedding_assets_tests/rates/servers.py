"""The backlog on the local servers: put there before each storm, and looked at after it."""

from __future__ import annotations

from dataclasses import dataclass, field

import dagster as dg

from embedding_assets.bucket.keys import batch_key, records_key
from embedding_assets_tests.dagster_defs.runs.world import World
from embedding_assets_tests.rates.backlog import DATABASES, Backlog
from embedding_assets_tests.reference import reference_digest

COUNTS = ("embedded_count", "failed_count", "unfinished_count")


@dataclass
class Servers:
    """A world past the proxy. `names` says what the file ids stand for that OpenAI's server drew."""

    world: World
    backlog: Backlog = field(default_factory=Backlog)
    names: dict[str, str] = field(default_factory=dict)

    def plant(self) -> None:
        """Put the batches into OpenAI, once."""
        for batch in self.backlog.batches:
            if batch.deletes:
                continue
            refused = {"batch_errors": [{"code": "invalid_file", "message": "no"}]}
            body = self.world.server.plant(
                f"openai-{batch.batch_id}",
                status=batch.status,
                **batch.files,
                **(refused if batch.status == "failed" else {}),
            )
            for kind in ("input", "output", "error"):
                if body[f"{kind}_file_id"]:
                    self.names[body[f"{kind}_file_id"]] = f"{kind}-of-{batch.batch_id}"

    def begin(self) -> None:
        """Empty bucket and table, and put there what was submitted."""
        world = self.world
        world.services.store.delete(world.objects())
        pages = world.dynamodb.get_paginator("scan").paginate(TableName=world.table, ConsistentRead=True)
        for item in [item for page in pages for item in page["Items"]]:
            world.dynamodb.delete_item(TableName=world.table, Key={"PK": item["PK"], "SK": item["SK"]})
        for batch in self.backlog.batches:
            if batch.kept_records is not None:
                world.services.store.put(records_key(batch.batch_id), batch.kept_records)
            world.put_row(batch.batch_id, batch.database, **batch.row)

    def check(self, instance: dg.DagsterInstance) -> None:
        """Nothing is lost, set aside or blamed; rows, bucket and Dagster say the same."""
        rows = {row["batch_id"]: row for row in self.world.rows().values() if "batch_id" in row}
        assert {name: row["set_aside"] for name, row in rows.items() if "set_aside" in row} == {}
        assert {name: row["ingest_attempts"] for name, row in rows.items() if row.get("ingest_attempts")} == {}
        found = {name: (row["status"], *(row.get(count) for count in COUNTS)) for name, row in rows.items()}
        assert found == {batch.batch_id: batch.outcome for batch in self.backlog.batches}
        for database in DATABASES:
            manifest = self.world.published(database)
            expected = self.backlog.published(database)
            assert manifest.total_embeddings == len(expected)
            assert manifest.content_digest == reference_digest(expected.values())
        final = {name: status for name, (status, *_) in found.items() if status != "PENDING"}
        assert {name: self.world.json(batch_key(name))["status"] for name in final} == final
        assert {name: status for name, status in reported(instance).items() if name in final} == final


def reported(instance: dg.DagsterInstance) -> dict[str, str]:
    """The status of each batch in its newest event of `batches`: a materialization, or what marking observed."""
    newest: dict[str, tuple[float, str]] = {}
    for database in DATABASES:
        key = dg.AssetKey([database.name, "batches"])
        records = [
            *instance.fetch_materializations(key, limit=10_000, ascending=True).records,
            *instance.fetch_observations(key, limit=10_000, ascending=True).records,
        ]
        for one in records:
            event = one.asset_materialization or one.asset_observation
            assert event is not None
            assert event.partition is not None
            said = (one.timestamp, str(event.metadata["status"].value))
            newest[event.partition] = max(said, newest.get(event.partition, said))
    return {batch_id: status for batch_id, (_, status) in newest.items()}
