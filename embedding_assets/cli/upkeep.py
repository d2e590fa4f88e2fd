"""`snapshots rollback / gc / tag / repair`: older versions, room in the bucket, names of versions, the pointer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.filesize import decimal

from embedding_assets.cli.options import DatabaseArgument, JsonOption, one_version
from embedding_assets.cli.output import STDOUT, Table, print_json, progress
from embedding_assets.cli.publication_report import report_to_dagster
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.services import connect
from embedding_assets.upkeep.garbage import DeletedObjects
from embedding_assets.upkeep.rollback import RollbackPlan
from embedding_assets.upkeep.tagging import remove_tag, set_tag


def rollback(
    database: DatabaseArgument,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="A version or a tag; by default the one before the published."),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", "--to", help="The same as an option.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be published.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish an older version again, as a new one; batches that are out then are listed as withdrawn.

    On a terminal it shows what it would do and asks.
    """
    services = connect()
    chosen = services.settings.database(database)
    wanted = one_version(name, version)
    if dry_run or not (yes or as_json or not sys.stdin.isatty()):
        with progress() as report:
            plan = services.rollback(chosen, report).plan(wanted)
        if dry_run:
            _print_plan(plan, as_json)
            return
        wanted = plan.target.version
        typer.confirm(f"{_plan_line(plan)}. Go on?", abort=True, err=True)
    with progress() as report:
        manifest = services.rollback(chosen, report).to(wanted, new_execution_id(datetime.now(UTC)))
    report_to_dagster(services, chosen, "rolled back")
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    STDOUT.print(
        f"published version {manifest.version}: the {manifest.total_embeddings} embeddings of "
        f"{manifest.rolled_back_to}"
    )
    if manifest.withdrawn:
        STDOUT.print(
            f"withdrawn: {', '.join(manifest.withdrawn)} (run `reprocess --batch ID` to publish them again)",
            soft_wrap=True,
        )


def _plan_line(plan: RollbackPlan) -> str:
    target = plan.target
    out = f"; withdrawn: {', '.join(plan.withdrawn)}" if plan.withdrawn else ""
    return (
        f"the {target.total_embeddings} embeddings of {target.version} would be published again, "
        f"instead of the {plan.current.total_embeddings} of {plan.current.version}{out}"
    )


def _print_plan(plan: RollbackPlan, as_json: bool) -> None:
    if as_json:
        document = {"dry_run": True, "published": plan.current.version, "rolled_back_to": plan.target.version}
        print_json({**document, "withdrawn": plan.withdrawn})
    else:
        STDOUT.print(_plan_line(plan), soft_wrap=True)


def gc(
    database: DatabaseArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what nothing needs: old versions, what crashes left, intermediates, deltas of published batches."""
    services = connect()
    chosen = services.settings.database(database)
    with progress() as report:
        garbage = services.collector(chosen, report).collect(new_execution_id(datetime.now(UTC)), dry_run=dry_run)
    if not dry_run:
        report_to_dagster(services, chosen, "after a gc")
    kinds = {
        "versions": garbage.versions,
        "unpublished": garbage.unpublished,
        "intermediates": garbage.intermediates,
        "deltas": garbage.deltas,
        "shared": garbage.shared,
    }
    if as_json:
        swept = {kind: [_document(one) for one in found] for kind, found in kinds.items()}
        print_json({"dry_run": dry_run, "kept": garbage.kept, **swept})
        return
    table = Table(
        "", "how many", "objects", "bytes", title=f"{'would be ' if dry_run else ''}swept from {database}"
    )
    for kind, found in kinds.items():
        objects = sum(len(one.objects) for one in found)
        table.add_row(kind, str(len(found)), str(objects), decimal(sum(one.size for one in found)))
    STDOUT.print(table)
    STDOUT.print(f"kept: {', '.join(garbage.kept)}", soft_wrap=True)


def repair(
    database: DatabaseArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be put back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put the pointer back if it was deleted or is behind: to the newest version that was published."""
    services = connect()
    chosen = services.settings.database(database)
    with progress() as report:
        done = services.repair(chosen, report).run(new_execution_id(datetime.now(UTC)), dry_run=dry_run)
    if done.repaired and not dry_run:
        report_to_dagster(services, chosen, "repaired")
    if as_json:
        print_json({"database": database, "repaired": done.repaired, **asdict(done)})
    elif done.version is None:
        STDOUT.print(f"nothing to repair: {database} has no published version")
    elif not done.repaired:
        STDOUT.print(f"nothing to repair: the pointer of {database} is at version {done.version}")
    else:
        before = f"it was at version {done.before}" if done.before else "there was none"
        would = "would be" if dry_run else "is"
        line = f"the pointer of {database} {would} at version {done.version} again; {before}"
        STDOUT.print(line, soft_wrap=True)


def tag(
    database: DatabaseArgument,
    name: Annotated[str, typer.Argument(help="The tag: letters, digits, _ . -")],
    version: Annotated[
        str | None, typer.Option("--version", help="A version or tag; by default the published one.")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove the tag; the version stays until a gc.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a version a name: gc keeps it, and commands take the name for the version."""
    if delete and version is not None:
        raise typer.BadParameter("--delete removes a tag, whatever its version: leave out --version")
    services = connect()
    chosen = services.settings.database(database)
    if delete:
        remove_tag(services.store, chosen, name)
        document = {"tag": name, "version": None}
    else:
        with progress() as report:
            made = set_tag(services.publisher(chosen, report), name, version)
        document = {"tag": made.tag, "version": made.version}
    if as_json:
        print_json(document)
    else:
        STDOUT.print(f"tag {name} is {'removed' if delete else document['version']}")


def _document(swept: DeletedObjects) -> dict[str, object]:
    return {"owner": swept.owner, "objects": len(swept.objects), "bytes": swept.size}
