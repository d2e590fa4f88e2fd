"""`snapshots import`: the records of another Chroma index become part of the next version."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli.options import DatabaseArgument, JsonOption
from embedding_assets.cli.output import STDOUT, print_json, progress
from embedding_assets.cli.publication_report import report_to_dagster
from embedding_assets.errors import InputError
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.services import connect
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.text.counted import counted
from embedding_assets.upkeep.import_rows import ForeignIndex, read_imported
from embedding_assets.upkeep.import_source import local_copy


def import_snapshot(
    database: DatabaseArgument,
    source: Annotated[
        str, typer.Argument(help="A Chroma directory, a .tar.gz of one, or either at s3://BUCKET/KEY.")
    ],
    collection: Annotated[
        str | None, typer.Option("--collection", help="The collection; by default the only one.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model of its vectors; by default EMBEDDING_ASSETS_MODEL.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="An instant: older submissions yield. By default every one is later."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish every record of another Chroma index, without a call to OpenAI."""
    services = connect()
    chosen = services.settings.database(database)
    asked = EmbeddingModel(model or services.settings.model, services.settings.dimensions)
    instant = _instant(as_of)
    with tempfile.TemporaryDirectory(prefix="embedding-assets-import-") as name, progress() as report:
        report(f"copying {source}")
        directory = local_copy(source, Path(name))
        try:
            rows = read_imported(ForeignIndex(directory, collection, asked), instant, Path(name), report)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        importer = services.importer(chosen, report)
        done = importer.look(rows) if dry_run else importer.run(rows)
    version = done.manifest.version if done.manifest else None
    if not dry_run and (done.added or done.updated):
        report_to_dagster(services, chosen, "imported")
    if as_json:
        print_json(
            {
                "version": version,
                "batch_id": rows.name,
                "imported": rows.count,
                "added": done.added,
                "updated": done.updated,
                "unchanged": done.unchanged,
                "dry_run": dry_run,
            }
        )
        return
    figures = f"{done.added} added, {done.updated} updated, {done.unchanged} unchanged"
    records = counted(rows.count, "record")
    if dry_run:
        STDOUT.print(f"would import {records}: {figures}")
    elif done.added or done.updated:
        STDOUT.print(f"published version {version}: {records} imported, {figures}")
    else:
        STDOUT.print(f"nothing to publish: all {records} are there, or were submitted or deleted later")


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InputError(f"--as-of {text!r} is no ISO 8601 instant: {error}") from None
