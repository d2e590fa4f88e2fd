"""The vector databases that are fed: `lines` and `words` ship, a YAML file adds others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from embedding_assets.errors import SettingsError

NAME = re.compile(r"^[A-Za-z0-9_]{3,64}$")
"""A database's name becomes asset keys, partition names and S3 prefixes."""

COLLECTION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,510}[A-Za-z0-9]$")
"""What Chroma allows as a collection's name."""


class Database(BaseModel):
    """One vector database: which batches feed it, and where its snapshots lie.

    `batch_type` is the `batch_type` of the batch summaries that feed it; `delta_folder` the last part of
    the prefix that its deltas lie under; `space` the distance of its index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    batch_type: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    delta_folder: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    collection: str = ""
    space: Literal["l2", "ip"] = "l2"

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("a name is 3 to 64 letters, digits or underscores")
        return value

    @field_validator("space", mode="before")
    @classmethod
    def _no_cosine(cls, value: object) -> object:
        if value == "cosine":
            raise ValueError(
                "cosine is refused: Chroma would store changed vectors; "
                "OpenAI's are of unit length, so l2 ranks alike"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _default_collection(cls, data: object) -> object:
        if isinstance(data, dict) and not data.get("collection"):
            return {**data, "collection": data.get("name", "")}
        return data

    @field_validator("collection")
    @classmethod
    def _chroma_name(cls, value: str) -> str:
        if not COLLECTION.fullmatch(value):
            raise ValueError("a collection is 3 to 512 of [A-Za-z0-9._-], the first and last a letter or digit")
        return value


LINES = Database(name="lines", batch_type="LINE_EMBEDDING", delta_folder="receipt_lines")
WORDS = Database(name="words", batch_type="WORD_EMBEDDING", delta_folder="receipt_words")

RESERVED_NAMES = frozenset(
    {"records", "manifests", "poll_results", "chunks", "chunk_groups", "intermediate", "dagster"}
)
"""Top-level prefixes of the bucket that no database may take."""


def load_databases(file: Path | None) -> tuple[Database, ...]:
    """Return `lines`, `words` and the databases that the YAML `file` lists, in this order.

    The file holds a list of mappings, or a mapping with such a list under `databases`.
    Raises SettingsError with one line where the file cannot be read or two databases collide.
    """
    databases = [LINES, WORDS]
    if file is not None:
        databases += _read(file)
    check_databases(databases, _where(file))
    return tuple(databases)


def check_databases(databases: Sequence[Database], subject: str = "databases") -> None:
    """Raise SettingsError, beginning with `subject`, if a name is taken or two databases share one."""
    for database in databases:
        if database.name in RESERVED_NAMES:
            raise SettingsError(f"{subject}: the name {database.name!r} is taken")
    for field in ("name", "batch_type"):
        values = [getattr(database, field) for database in databases]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise SettingsError(f"{subject}: two databases have the {field} {twice[0]!r}")


def _read(file: Path) -> list[Database]:
    try:
        parsed = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SettingsError(f"{_where(file)} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{_where(file)} is not YAML: {' '.join(str(error).split())}") from error
    entries = parsed.get("databases") if isinstance(parsed, dict) else parsed
    if not isinstance(entries, list):
        raise SettingsError(f"{_where(file)} must hold a list of databases")
    return [_database(file, position, entry) for position, entry in enumerate(entries, start=1)]


def _database(file: Path, position: int, entry: object) -> Database:
    try:
        database = Database.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "entry"
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{_where(file)}: database {position}: {field}: {message}") from error
    if database.name in RESERVED_NAMES:
        raise SettingsError(f"{_where(file)}: database {position}: the name {database.name!r} is taken")
    return database


def _where(file: Path | None) -> str:
    return f"EMBEDDING_ASSETS_DATABASES_FILE={file}"
