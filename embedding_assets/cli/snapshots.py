"""`snapshots list / show / pull`: published versions; what else can be done to them is registered here too."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import Progress

from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.cli import import_snapshot, inspect, rebuild, upkeep
from embedding_assets.cli.options import DatabaseArgument, JsonOption, VersionArgument, VersionOption, one_version
from embedding_assets.cli.output import STDERR, STDOUT, Table, print_json
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.services import connect_to_read
from embedding_assets.versions.export import export as export_version
from embedding_assets.versions.manifest import VersionManifest, chain, read_pointer
from embedding_assets.versions.reader import find_version
from embedding_assets.versions.reader import pull as pull_version
from embedding_assets.versions.tags import Tag, read_tags

app = typer.Typer(help="Published versions.", no_args_is_help=True)

app.command()(inspect.diff)
app.command()(inspect.verify)
app.command()(upkeep.rollback)
app.command()(upkeep.gc)
app.command()(upkeep.tag)
app.command()(upkeep.repair)
app.command()(rebuild.rebuild)
app.command("import")(import_snapshot.import_snapshot)


@app.command("list")
def list_versions(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List the versions from the published one back to the first."""
    services = connect_to_read()
    chosen = services.settings.database(database)
    pointer = read_pointer(services.store, chosen)
    manifests = list(chain(services.store, chosen, pointer.manifest)) if pointer else []
    if as_json:
        print_json([manifest.model_dump(mode="json") for manifest in manifests])
        return
    if not manifests:
        STDOUT.print(f"{database} has no published version yet")
        return
    there = {entry.key for entry in services.store.list(versions_prefix(chosen))}
    tags = read_tags(services.store, chosen)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("version", "created (UTC)"):
        table.add_column(name, no_wrap=True)
    for name in ("embeddings", "added", "updated", "size"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("", overflow="fold")
    for manifest in manifests:
        table.add_row(
            manifest.version,
            f"{parse_instant(manifest.created_at):%Y-%m-%d %H:%M}",
            *(str(count) for count in (manifest.total_embeddings, manifest.added, manifest.updated)),
            decimal(manifest.size),
            ", ".join(_remarks(manifest, there, tags, published=manifest is manifests[0])),
        )
    STDOUT.print(table)


def _remarks(
    manifest: VersionManifest, there: Collection[str], tags: Sequence[Tag], *, published: bool
) -> Iterator[str]:
    """What else there is to know of a version in one line."""
    if published:
        yield "published"
    yield from (f"tag {tag.tag}" for tag in tags if tag.version == manifest.version)
    if manifest.rolled_back_to:
        yield f"rolled back to {manifest.rolled_back_to}"
    if any(key not in there for key in manifest.keys):
        yield "swept"


@app.command()
def show(
    database: DatabaseArgument,
    name: VersionArgument = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one version's manifest."""
    services = connect_to_read()
    wanted = one_version(name, version)
    manifest = find_version(services.store, services.settings.database(database), wanted)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    fields = manifest.model_dump(mode="json", exclude={"files", "batches", "withdrawn_generations"})
    fields["batches"] = [f"{batch.batch_id} ({batch.status})" for batch in manifest.batches]
    fields["size"] = f"{decimal(manifest.size)} in {len(manifest.files)} files"
    for field, value in fields.items():
        for line in value if isinstance(value, list) else [value]:
            if line is not None:
                STDOUT.print(f"{field:<17} {line}", soft_wrap=True)
    for file in manifest.files:
        STDOUT.print(f"{decimal(file.size):>10}  {file.key}", soft_wrap=True)


@app.command()
def pull(
    database: DatabaseArgument,
    to: Annotated[Path, typer.Option("--to", help="A directory that is empty or not there yet.")],
    name: VersionArgument = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a version here, verified: a directory for chromadb.PersistentClient."""
    services = connect_to_read()
    wanted = one_version(name, version)
    manifest = find_version(services.store, services.settings.database(database), wanted)
    with Progress(console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task = bar.add_task("downloading", total=manifest.size)
        pull_version(services.store, manifest, to, lambda size: bar.advance(task, size))
    if as_json:
        print_json({"version": manifest.version, "directory": str(to), "bytes": manifest.size})
    else:
        STDOUT.print(f"version {manifest.version}, {manifest.total_embeddings} embeddings, is in {to}")


@app.command()
def export(
    database: DatabaseArgument,
    to: Annotated[Path, typer.Option("--to", help="The Parquet file to write.")],
    version: Annotated[
        str | None, typer.Option("--version", help="A version or a tag; by default the published one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write every record of a version, with its vector, to a Parquet file."""
    services = connect_to_read()
    manifest = find_version(services.store, services.settings.database(database), version)
    with Progress(console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task = bar.add_task("downloading", total=manifest.size)
        written = export_version(
            services.store, manifest, to, overwrite=force, progress=lambda size: bar.advance(task, size)
        )
    if as_json:
        print_json({"version": manifest.version, "file": str(to), "records": written})
    else:
        STDOUT.print(f"version {manifest.version}, {written} records, is in {to}")
