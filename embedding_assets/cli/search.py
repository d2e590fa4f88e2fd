"""`search`: the nearest records in the published version."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli.output import STDOUT, Table, print_json
from embedding_assets.databases import Database
from embedding_assets.services import Services, connect
from embedding_assets.submission.parts import DIMENSIONED
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import Hit, find_version, pull
from embedding_assets.versions.reader import search as search_version


def search(
    database: Annotated[str, typer.Argument(help="The database to search.")],
    text: Annotated[str, typer.Argument(help="What to look for.")],
    nearest: Annotated[int, typer.Option("-k", min=1, help="How many records.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the records of the published version that are nearest to TEXT."""
    services = connect()
    version, found = search_texts(services, services.settings.database(database), [text], nearest)
    if as_json:
        print_json({"version": version, "hits": [asdict(hit) for hit in found[0]]})
    else:
        print_hits(text, found[0])


def search_texts(
    services: Services, database: Database, texts: list[str], nearest: int
) -> tuple[str, list[list[Hit]]]:
    """The published version, brought here and verified, and its records nearest to each text."""
    manifest = find_version(services.store, database)
    model = manifest.model or services.settings.model
    vectors = services.openai.embed(texts, model, _dimensions(manifest, model))
    with tempfile.TemporaryDirectory(prefix="embedding-assets-search-") as name:
        directory = Path(name) / "version"
        pull(services.store, manifest, directory)
        return manifest.version, [search_version(directory, manifest, vector, nearest) for vector in vectors]


def _dimensions(manifest: VersionManifest, model: str) -> int | None:
    """What to ask for: models of the older family refuse the parameter."""
    return manifest.dimensions if model.startswith(DIMENSIONED) else None


def print_hits(text: str, hits: list[Hit]) -> None:
    """Hits as a table."""
    table = Table("distance", "document", "id", title=f"“{text}”", title_justify="left")
    for hit in hits:
        document = " ".join((hit.document or "").split())
        shown = document if len(document) <= 70 else document[:69] + "…"
        table.add_row(f"{hit.distance:.3f}", shown, hit.id)
    STDOUT.print(table)
