"""Settings, read from the environment and a `.env` file, typed and validated once at start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import load_dotenv
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from embedding_assets.calls.credentials import check_credentials
from embedding_assets.databases import Database, check_databases, load_databases
from embedding_assets.errors import InputError, SettingsError
from embedding_assets.telemetry import check_endpoints
from embedding_assets.tls import allow_hosts, check_addresses

PREFIX = "EMBEDDING_ASSETS_"


def _kept_long_enough(seconds: int) -> int:
    """A file is needed for as long as a batch takes, and OpenAI keeps none for more than 30 days."""
    if seconds != 0 and not 2 * 86400 <= seconds <= 30 * 86400:
        raise ValueError("0 or 172800 to 2592000 seconds")
    return seconds


Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FileSeconds = Annotated[int, AfterValidator(_kept_long_enough)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _plain(name: str) -> AliasChoices:
    """A variable without our prefix."""
    return AliasChoices(name)


class Settings(BaseSettings):
    """Every setting that this package itself reads. Credentials are read by boto3 and the OpenAI SDK."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )

    table_name: str = Field(min_length=1, validation_alias=_plain("DYNAMODB_TABLE_NAME"))
    """The DynamoDB table of the batch summaries."""
    bucket: str = Field(min_length=1, validation_alias=_plain("CHROMADB_BUCKET"))
    """The S3 bucket of the snapshots."""
    storage_mode: Literal["s3", "efs", "auto"] = Field(
        default="auto", validation_alias=_plain("CHROMADB_STORAGE_MODE")
    )
    """Whether [versions are laid on a shared file system too](shared-root.md): `s3` never, `efs` always,
    `auto` if the root is a directory that can be written."""
    chroma_root: Path | None = Field(default=None, validation_alias=_plain("CHROMA_ROOT"))
    """The root of the shared file system."""
    poll_concurrency: Positive = 50
    """Batches polled at once, and requests to OpenAI at once."""
    poll_disk_mib: Positive = 4096
    """MiB of downloads that [polling keeps](scaling.md#temporary-disk) in the temporary directory at once."""
    chunk_size: Annotated[int, Field(ge=2)] = 10
    """Deltas to a chunk."""
    group_size: Annotated[int, Field(ge=2)] = 10
    """Chunks to a group."""
    group_threshold: Positive = 4
    """Groups are made if an execution has more chunks than this."""
    chunk_concurrency: Positive = 10
    """With the executor `multiprocess`: chunk steps at once."""
    group_concurrency: Positive = 6
    """With the executor `multiprocess`: group steps at once."""
    intermediate_format: Literal["arrow", "chroma"] = "arrow"
    """How deltas and intermediates are written; both are read."""
    index_writer: Literal["chroma", "direct", "auto"] = "auto"
    """[Who writes a version that is built from scratch](performance.md#who-writes-the-index): `auto` writes it
    without Chroma if that is safe; `direct` makes small changes without Chroma too, which costs more today;
    `chroma` always lets Chroma write."""
    version_layout: Literal["whole", "split"] = "whole"
    """`split` stores vectors apart from the links of the graph: a merge
    [uploads the new ones alone](performance.md#bytes-of-a-version)."""
    max_node_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.3
    """Nodes for each live record of a graph; a version that would have more [is built anew](versions.md)."""
    executor: Literal["in_process", "multiprocess", "celery", "kubernetes", "ecs"] = "in_process"
    """How a run's steps are executed; `multiprocess`: a process for each step; the last three on
    [other machines](scaling.md#executors)."""
    celery_broker: SecretStr | None = None
    """URL of Celery's broker, for the executor `celery`; it may hold a password and is kept secret."""
    celery_visibility_seconds: Positive = 3600
    """A step that a Celery worker has not ended for so long is given to another worker."""
    model: str = Field(default="text-embedding-3-small", min_length=1)
    """The model that `submit` asks for."""
    dimensions: Positive | None = None
    """The dimensions that `submit` asks for; unset, the model's own."""
    enqueued_tokens: Positive | None = None
    """[OpenAI's limit](submitting.md#openais-limit-of-tokens): `submit` defers what exceeds it."""
    completion_window: str = Field(default="24h", pattern=r"^[1-9][0-9]{0,3}[mhd]$")
    """[The window](other-servers.md) that a batch is created with: a number and `m`, `h` or `d`."""
    max_text_tokens: Positive = 8192
    """Tokens that a text may have."""
    price_per_million: NotNegative | None = None
    """USD for a million tokens in a batch, of every model; unset, OpenAI's prices."""
    send_dimensions: bool = True
    """With `0`, requests [do not name the dimensions](other-servers.md)."""
    input_file_seconds: FileSeconds = 30 * 86400
    """How long [OpenAI is asked to keep the input file](submitting.md#openais-files) of a batch, two days to 30;
    0 asks nothing."""
    output_file_seconds: FileSeconds = 0
    """The same for its output."""
    max_attempts: Positive = 3
    """[How often a request is sent](outcomes.md#resubmit), the first time included."""
    resubmit_wait_seconds: NotNegative = 900
    """How long the first resubmission waits; each later one waits twice as long."""
    lock_lease_seconds: Seconds = 60
    """Lease of the final merge's lock."""
    min_ready: Positive = 1
    """The sensor starts once so many batches are ready; `ingest` starts at once."""
    max_wait_seconds: NotNegative = 300
    """The sensor also starts once the oldest ready batch has waited so long."""
    stall_seconds: Seconds = 600
    """A run without an event for so long counts as dead."""
    missing_grace_seconds: NotNegative = 3600
    """[A batch or an output that OpenAI does not show](outcomes.md#when-openai-does-not-show-a-batch) is
    looked for again for so long before it is believed gone."""
    legacy_rows: bool = False
    """With `1`, rows that we make also carry `result_file_id` and `receipt_refs`, which the reader of the
    replaced system needs."""
    sensor_seconds: Positive = 30
    """Seconds between two looks of a sensor, at least."""
    gc_min_age_seconds: NotNegative = 86400
    """`snapshots gc` deletes nothing younger."""
    snapshot_retention: Positive = 4
    """Versions that `snapshots gc` keeps."""
    partition_retention_days: NotNegative = 30
    """[Batches and executions](scale.md#what-dagster-forgets) that were finished longer ago leave Dagster."""
    kms_key_id: str | None = Field(default=None, min_length=1)
    """A key of AWS KMS, by id, alias or ARN, that [encrypts what is written](security.md#encryption); unset, the
    bucket's own default counts."""
    databases_file: Path | None = None
    """[YAML with further databases](examples.md#a-database-of-your-own)."""
    cache_dir: Path | Literal["off"] | None = None
    """Where the published version is kept for the next merge to build on; unset, in `DAGSTER_HOME`; `off`
    keeps none."""
    webhook_url: SecretStr | None = None
    """Where [alerts](alerts.md) are posted. It is kept secret."""
    webhook_shape: Literal["json", "slack"] = "json"
    """The shape of an alert."""
    fresh_seconds: Seconds | None = None
    """How old the published version may get: then Dagster shows it as overdue, and an alert is posted if batches
    wait."""
    plaintext_hosts: str | None = None
    """[Hosts reached without TLS](security.md#tls), with commas between: names, or patterns as `10.*`."""
    targets: SecretStr | None = None
    """[Chroma servers](targets.md) that get every version too. It is kept secret."""

    def __init__(self, **values: Any) -> None:
        """Arguments, by the names of the fields, win over the environment's variables.

        Raises SettingsError in one line that names the setting, its value and what is allowed, also for an
        argument that is no setting.
        """
        for name in values:
            if name not in Settings.model_fields and name not in _ALIASES.values():
                raise SettingsError(f"{name} is no setting; there are {', '.join(Settings.model_fields)}")
        given = {_ALIASES.get(name, name): value for name, value in values.items()}
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise SettingsError(_one_line(error)) from None
        allow_hosts(self.plaintext_hosts)
        for field, value in self:
            if isinstance(value, SecretStr):
                check_addresses(PREFIX + field.upper(), value.get_secret_value(), web=field == "webhook_url")
        if self.storage_mode == "efs" and self.chroma_root is None:
            raise SettingsError(_NEEDS_ROOT)
        if self.executor == "celery" and self.celery_broker is None:
            raise SettingsError(_NEEDS_BROKER)

    def with_databases(self, databases: Sequence[Database]) -> Settings:
        """These settings with exactly these databases. Raises SettingsError if two have a name in common."""
        check_databases(databases)
        settings = self.model_copy()
        vars(settings)["databases"] = tuple(databases)
        return settings

    @cached_property
    def base_cache(self) -> Path | None:
        """Where the published versions' files are kept on the local disk; None if they are not kept.

        In DAGSTER_HOME, where that is set and nothing else is said.
        """
        if self.cache_dir == "off":
            return None
        home = os.environ.get("DAGSTER_HOME")
        return self.cache_dir or (Path(home) / "published_versions" if home else None)

    @cached_property
    def databases(self) -> tuple[Database, ...]:
        """All configured databases. Raises SettingsError if the databases file is wrong."""
        return load_databases(self.databases_file)

    @cached_property
    def shared_root(self) -> Path | None:
        """The shared file system root where versions are laid too; None if only S3 is used.

        Raises SettingsError if the mode is efs and the root is no directory that can be written.
        """
        root = self.chroma_root
        if self.storage_mode == "s3":
            return None
        if root is not None and root.is_dir() and os.access(root, os.W_OK | os.X_OK):
            return root
        if self.storage_mode == "auto":
            return None
        if root is None:
            raise SettingsError(_NEEDS_ROOT)
        raise SettingsError(
            f"CHROMA_ROOT={str(root)!r} is not allowed: "
            "with CHROMADB_STORAGE_MODE=efs it must be a directory that can be written"
        )

    def database_of(self, batch_type: str) -> Database:
        """The database that batches of this type feed. Raises InputError naming the types that exist."""
        for database in self.databases:
            if database.batch_type == batch_type:
                return database
        known = ", ".join(database.batch_type for database in self.databases)
        raise InputError(f"no database has the batch type {batch_type!r}; configured are {known}")

    def database(self, name: str) -> Database:
        """The database called `name`. Raises InputError naming those that exist."""
        for database in self.databases:
            if database.name == name:
                return database
        known = ", ".join(database.name for database in self.databases)
        raise InputError(f"no database is called {name!r}; configured are {known}")


class ReaderSettings(Settings):
    """The settings of a process that reads the bucket alone: it needs no table."""

    table_name: str = Field(default="", validation_alias=_plain("DYNAMODB_TABLE_NAME"))


def load_settings(kind: type[Settings] = Settings) -> Settings:
    """Read `.env` of the working directory (never over a set variable), then validate the environment.

    Raises SettingsError with one line that names the variable, its value and what is allowed. The value of a
    variable that holds a secret is never shown.
    """
    try:
        load_dotenv(Path.cwd() / ".env", override=False)
    except (OSError, UnicodeDecodeError) as error:
        # Not the bytes that could not be read: an `.env` is full of secrets.
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error
        raise SettingsError(f".env of the working directory cannot be read: {reason}") from None
    check_credentials()
    settings = kind()
    if kind is Settings:
        check_endpoints()
    _ = settings.databases
    return settings


_ALIASES = {
    "table_name": "DYNAMODB_TABLE_NAME",
    "bucket": "CHROMADB_BUCKET",
    "storage_mode": "CHROMADB_STORAGE_MODE",
    "chroma_root": "CHROMA_ROOT",
}
"""The variables of the settings that have no prefix of ours."""


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    field = str(first["loc"][0])
    variable = field if field.isupper() else PREFIX + field.upper()
    if first["type"] == "missing":
        return f"{variable} is not set ({_MEANING.get(variable, 'a required value')})"
    allowed = first["msg"].removeprefix("Value error, ").replace("Input should be ", "").removesuffix(".")
    return f"{variable}={first['input']!r} is not allowed: it must be {allowed}"


_NEEDS_ROOT = "CHROMADB_STORAGE_MODE=efs needs CHROMA_ROOT: the root of the shared file system"

_NEEDS_BROKER = (
    "EMBEDDING_ASSETS_EXECUTOR=celery needs EMBEDDING_ASSETS_CELERY_BROKER: the URL of the broker, "
    "redis://localhost:6379/0 say"
)

_MEANING = {
    "DYNAMODB_TABLE_NAME": "the DynamoDB table of the batch summaries",
    "CHROMADB_BUCKET": "the S3 bucket of the snapshots",
}
