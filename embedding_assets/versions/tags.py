"""Tags: names that people give to versions, so that gc keeps them."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, ValidationError

from embedding_assets.bucket.keys import tags_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, InputError
from embedding_assets.versions.manifest import epoch_of

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
ENDING = ".json"


class Tag(BaseModel):
    """One tag, as it lies in the bucket."""

    model_config = ConfigDict(frozen=True)

    tag: str
    version: str
    created_at: str


def tag_key(database: Database, name: str) -> str:
    """Key of one tag. InputError if `name` cannot be one: a version's name, or other signs than the allowed."""
    if not NAME.fullmatch(name) or epoch_of(name) is not None:
        raise InputError(f"{name!r} cannot be a tag: letters, digits, _ . - and not the form of a version")
    return f"{tags_prefix(database)}{name}{ENDING}"


def read_tags(store: Store, database: Database) -> tuple[Tag, ...]:
    """All tags, by name. DamagedError if one cannot be read: gc must not sweep what it may name.

    Other objects, such as the folder that a console makes, are none.
    """
    keys = [entry.key for entry in store.list(tags_prefix(database)) if entry.key.endswith(ENDING)]
    found = [(key, store.find(key)) for key in keys]
    return tuple(_parsed(store, key, stored.data) for key, stored in found if stored is not None)


def resolve(store: Store, database: Database, name: str) -> str:
    """The version that `name` means: that of the tag, else `name` itself."""
    if not NAME.fullmatch(name) or epoch_of(name) is not None:
        return name
    key = tag_key(database, name)
    stored = store.find(key)
    return _parsed(store, key, stored.data).version if stored is not None else name


def _parsed(store: Store, key: str, data: bytes) -> Tag:
    try:
        return Tag.model_validate_json(data)
    except ValidationError as error:
        raise DamagedError(f"{store.uri(key)} is not a tag") from error
