"""`targets list / sync / verify`: servers that hold what is published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from embedding_assets.cli.options import JsonOption
from embedding_assets.cli.output import STDOUT, Table, print_json, progress
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError, InputError
from embedding_assets.services import Services, connect
from embedding_assets.targets.address import SETTING, Target
from embedding_assets.targets.sync import Synced
from embedding_assets.targets.verify import TargetFinding
from embedding_assets.text.counted import counted
from embedding_assets.versions.manifest import read_pointer

app = typer.Typer(help="Servers that hold what is published, beside the bucket.", no_args_is_help=True)

DatabasesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[DATABASE]...", help="The databases; without any, all.")
]
TargetOption = Annotated[str | None, typer.Option("--target", help="One target by its name; without it, all.")]


@app.command("list")
def list_targets(databases: DatabasesArgument = None, as_json: JsonOption = False) -> None:
    """List the targets, and which version each of them holds."""
    services = connect()
    rows = [_state(services, database, target) for database, target in _chosen(services, databases, None)]
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("target", "database", "holds", "published", "address"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            row["target"],
            row["database"],
            row["version"] or "nothing yet",
            "the same" if row["version"] == row["published"] else row["published"] or "nothing yet",
            row["address"],
        )
    STDOUT.print(table)


@app.command()
def sync(
    databases: DatabasesArgument = None,
    target: TargetOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Compare every record, whatever is known of the target.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring targets to what is published; the others go on if one fails."""
    services = connect()
    done: list[Synced] = []
    problems: list[str] = []
    with progress() as report:
        for database, one in _chosen(services, databases, target):
            try:
                done.append(services.target_sync(database, one, report).bring(everything=everything))
            except EmbeddingAssetsError as error:
                problems.append(f"{database.name}: {error}")
    if as_json:
        print_json([asdict(one) for one in done])
    else:
        for each in done:
            STDOUT.print(_line(each))
    if problems:
        raise InputError("; ".join(problems))


@app.command()
def verify(databases: DatabasesArgument = None, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Read every record of targets and compare it with the version that they hold; exit code 1 if any differs."""
    services = connect()
    found = [services.verify_target(database, one) for database, one in _chosen(services, databases, target)]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        for one in found:
            STDOUT.print(_finding(one), soft_wrap=True)
    if not all(one.ok for one in found):
        raise typer.Exit(1)


def _chosen(services: Services, names: list[str] | None, target: str | None) -> Iterator[tuple[Database, Target]]:
    """Raises InputError if there is no target, or none of this name."""
    targets = services.targets
    if not targets:
        raise InputError(f"there is no target: {SETTING} names them")
    if target is not None and target not in {one.name for one in targets}:
        raise InputError(f"there is no target {target!r}; there are {', '.join(one.name for one in targets)}")
    databases = [services.settings.database(name) for name in names] if names else services.settings.databases
    return ((database, one) for database in databases for one in targets if target is None or one.name == target)


def _state(services: Services, database: Database, target: Target) -> dict[str, Any]:
    applied = services.target_sync(database, target, lambda line: None).row.read()
    pointer = read_pointer(services.store, database)
    moved = applied.address not in (None, target.address.shown)
    return {
        "target": target.name,
        "database": database.name,
        "address": target.address.shown,
        "version": None if moved else applied.version,
        "applying": None if moved else applied.applying,
        "applied_at": None if moved else applied.applied_at,
        "published": pointer.manifest.version if pointer else None,
    }


def _line(done: Synced) -> str:
    if done.version is None:
        return f"{done.target}: {done.database} has no published version"
    what = f"{counted(done.written, 'record')} written, {done.removed} removed"
    return f"{done.target}: {done.database} is at version {done.version}: {what}"


def _finding(found: TargetFinding) -> str:
    if found.ok:
        return f"{found.target}: {found.database} is version {found.version}, record by record"
    return f"{found.target}: {found.database}: {'; '.join(found.problems)}"
