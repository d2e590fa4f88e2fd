"""A Dagster component: one database's assets, checks, jobs, sensors and schedule, from YAML."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from embedding_assets.databases import Database
from embedding_assets.factory import build_definitions
from embedding_assets.settings import Settings, load_settings


class DatabaseScaffolder(dg.Scaffolder[Any]):
    """Writes what `dg scaffold defs` leaves to be edited: a database that is named like its folder."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the component's file with both required attributes."""
        folder = request.target_path.parent if request.append else request.target_path
        name = folder.name.lower()
        dg.scaffold_component(request, {"name": name, "batch_type": f"{name.upper()}_EMBEDDING"})


@dg.scaffold_with(DatabaseScaffolder)
class EmbeddingDatabase(dg.Component, dg.Model, dg.Resolvable):
    """One database of embeddings: batches of OpenAI's Batch API become published ChromaDB snapshots.

    What is not given here is read from the environment's variables, as everywhere in `embedding_assets`.
    """

    name: str = Field(
        description="The database: part of its asset keys and S3 keys, 3 to 64 letters, digits or _."
    )
    batch_type: str = Field(description="The batch_type of the batch summaries that feed it.")
    delta_folder: str | None = Field(
        default=None, description="Last part of the prefix of its deltas; by default the name."
    )
    collection: str | None = Field(default=None, description="The Chroma collection; by default the name.")
    space: Literal["l2", "ip"] = Field(default="l2", description="The distance of its index.")
    bucket: str | None = Field(default=None, description="The S3 bucket; by default CHROMADB_BUCKET.")
    table_name: str | None = Field(
        default=None, description="The table of batch summaries; by default DYNAMODB_TABLE_NAME."
    )
    chroma_root: str | None = Field(
        default=None, description="The root of a shared file system; by default CHROMA_ROOT."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of this database. Raises SettingsError in one line for what is missing or wrong."""
        database = Database(
            name=self.name,
            batch_type=self.batch_type,
            delta_folder=self.delta_folder or self.name,
            collection=self.collection or self.name,
            space=self.space,
        )
        given = {
            name: value
            for name in ("bucket", "table_name", "chroma_root")
            if (value := getattr(self, name)) is not None
        }
        return build_definitions(Settings(**given) if given else load_settings(), [database])
