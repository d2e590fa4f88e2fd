"""`search`: the nearest records in the published version."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from embedding_assets.cli.output import STDOUT, Table, print_json
from embedding_assets.databases import Database
from embedding_assets.errors import InputError
from embedding_assets.services import Services, connect_to_read
from embedding_assets.submission.parts import DIMENSIONED
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import Hit, find_version, pull
from embedding_assets.versions.reader import search as search_version

LONGEST_DOCUMENT = 70
MOST_METADATA = 4
"""Entries of a record's metadata that a table shows; --json shows all."""


def search(
    database: Annotated[str, typer.Argument(help="The database to search.")],
    text: Annotated[str, typer.Argument(help="What to look for.")],
    nearest: Annotated[int, typer.Option("-k", min=1, help="How many records.")] = 5,
    where: Annotated[
        str | None, typer.Option("--where", help="Chroma's filter of metadata, as JSON: '{\"page\": 1}'.")
    ] = None,
    named: Annotated[
        str | None, typer.Option("--version", help="A version or tag; by default the published one.")
    ] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Only records that this batch delivered.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the records of the published version that are nearest to TEXT."""
    services = connect_to_read()
    asked = Choice(nearest, as_filter(where) if where else None, named, batch)
    version, found = search_texts(services, services.settings.database(database), [text], asked)
    if as_json:
        print_json({"version": version, "hits": [asdict(hit) for hit in found[0]]})
    else:
        print_hits(text, found[0])


@dataclass(frozen=True)
class Choice:
    """Which records a search is about: how many, of which version, metadata and batch."""

    nearest: int
    where: dict[str, Any] | None = None
    version: str | None = None
    batch: str | None = None


def search_texts(
    services: Services, database: Database, texts: list[str], choice: Choice
) -> tuple[str, list[list[Hit]]]:
    """The version, brought here and verified, and its records nearest to each text."""
    manifest = find_version(services.store, database, choice.version)
    model = manifest.model or services.settings.model
    vectors = services.openai.embed(texts, model, _dimensions(manifest, model))
    with tempfile.TemporaryDirectory(prefix="embedding-assets-search-") as name:
        directory = Path(name) / "version"
        pull(services.store, manifest, directory)
        return manifest.version, [
            search_version(directory, manifest, vector, choice.nearest, choice.where, choice.batch)
            for vector in vectors
        ]


def as_filter(text: str) -> dict[str, Any]:
    """Chroma's filter of metadata from JSON. Raises InputError if it is no JSON object."""
    try:
        where = json.loads(text)
    except (ValueError, RecursionError):
        where = None
    if not isinstance(where, dict):
        raise InputError("--where must be a JSON object, Chroma's filter of metadata")
    return where


def _dimensions(manifest: VersionManifest, model: str) -> int | None:
    """What to ask for: models of the older family refuse the parameter."""
    return manifest.dimensions if model.startswith(DIMENSIONED) else None


def print_hits(text: str, hits: list[Hit]) -> None:
    """Hits as a table."""
    table = Table("distance", "document", "metadata", "id", title=f"“{text}”", title_justify="left")
    for hit in hits:
        metadata = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _pairs(hit))
        table.add_row(f"{hit.distance:.3f}", _short(hit.document or ""), metadata, hit.id)
    STDOUT.print(table)


def _pairs(hit: Hit) -> list[tuple[str, Any]]:
    """The first few entries of a record's metadata."""
    return sorted((hit.metadata or {}).items())[:MOST_METADATA]


def _short(document: str) -> str:
    words = " ".join(document.split())
    return words if len(words) <= LONGEST_DOCUMENT else words[: LONGEST_DOCUMENT - 1] + "…"
