"""`snapshots rebuild`: what is published once more, under another distance or by another model."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from embedding_assets.cli.options import DatabaseArgument, JsonOption
from embedding_assets.cli.output import STDOUT, print_json, progress
from embedding_assets.cli.publication_report import report_to_dagster
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.progress import Progress
from embedding_assets.services import connect
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.upkeep.rebuild_model import ModelRebuild, RebuildProgress

LOOK_AGAIN_SECONDS = 60.0
SHOWN = 5


def rebuild(
    database: DatabaseArgument,
    model: Annotated[str | None, typer.Option("--model", help="Embed the published texts by this model.")] = None,
    dimensions: Annotated[
        int | None, typer.Option("--dimensions", min=1, help="Of the new vectors; by default the model's own.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until OpenAI has finished and it is published.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what is missing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish the published records again: with the distance of the configuration, or by another model.

    Without a model it is done at once. With one, texts are submitted first: give the command again, or --wait,
    until it has published.
    """
    if model is None and (dimensions is not None or wait or dry_run):
        raise typer.BadParameter("--dimensions, --wait and --dry-run go with --model")
    services = connect()
    chosen = services.settings.database(database)
    with progress() as report:
        if model is None:
            manifest = services.distance_rebuild(chosen, report).run(new_execution_id(datetime.now(UTC)))
            done = RebuildProgress(manifest.total_embeddings, manifest.total_embeddings, version=manifest.version)
        else:
            steps = services.model_rebuild(chosen, EmbeddingModel(model, dimensions), report, dry_run=dry_run)
            done = _steps(steps, report, wait=wait)
    if done.version is not None:
        report_to_dagster(services, chosen, "rebuilt")
    if as_json:
        print_json(asdict(done))
    else:
        for line in _lines(done, database, model, dimensions, dry_run=dry_run):
            STDOUT.print(line)
    if done.impossible:
        raise typer.Exit(1)


def _steps(steps: ModelRebuild, report: Progress, *, wait: bool) -> RebuildProgress:
    while True:
        done = steps.step(new_execution_id(datetime.now(UTC)))
        if done.version is not None or done.impossible or not wait:
            return done
        report(f"{done.embedded} of {done.total} embedded; OpenAI is working on the others")
        time.sleep(LOOK_AGAIN_SECONDS)


def _lines(
    done: RebuildProgress, database: str, model: str | None, dimensions: int | None, *, dry_run: bool
) -> list[str]:
    if done.version is not None:
        lines = [f"published version {done.version}: {done.total} embeddings, built from scratch"]
        if model is not None:
            more = f" and EMBEDDING_ASSETS_DIMENSIONS={dimensions}" if dimensions is not None else ""
            lines.append(f"set EMBEDDING_ASSETS_MODEL={model}{more}: vectors of other models no longer fit")
        return lines
    lines = [
        f"{done.embedded} of {done.total} records are embedded again, {done.running} are on their way, "
        f"{done.submitted} {'would be' if dry_run else 'were'} submitted; nothing is published yet"
    ]
    if done.impossible:
        shown = ", ".join(done.impossible[:SHOWN])
        lines.append(
            f"{len(done.impossible)} cannot be embedded by {model}, among them {shown}: submit them with another "
            f"text, or take them out with `submit {database} --delete-ids FILE`"
        )
    return lines
