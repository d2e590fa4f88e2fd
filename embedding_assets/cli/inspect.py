"""`snapshots diff / verify`: what lies between two versions, and whether one is whole."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from embedding_assets.cli.options import (
    DatabaseArgument,
    JsonOption,
    VersionArgument,
    VersionOption,
    one_version,
)
from embedding_assets.cli.output import STDERR, STDOUT, Table, print_json
from embedding_assets.errors import DamagedError, InputError
from embedding_assets.services import connect_to_read
from embedding_assets.upkeep.difference import difference
from embedding_assets.upkeep.inspection import manifest_problems, problems_of
from embedding_assets.versions.reader import find_version

SHOWN = 10
"""Ids shown of each kind; `--json` has all."""


def diff(
    database: DatabaseArgument,
    older: Annotated[
        str | None, typer.Argument(help="A version or tag; by default the one that was published before.")
    ] = None,
    newer: Annotated[str | None, typer.Argument(help="A version or tag; by default the published one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which records were added, removed or changed between two versions."""
    services = connect_to_read()
    chosen = services.settings.database(database)
    right = find_version(services.store, chosen, newer)
    before = older or right.parent
    if before is None:
        raise InputError(f"version {right.version} of {database} has none before it")
    left = find_version(services.store, chosen, before)
    found_difference = difference(services.store, left, right)
    document = asdict(found_difference)
    if as_json:
        print_json({"from": left.version, "to": right.version, **document})
        return
    STDOUT.print(f"{database}: {left.version} → {right.version}")
    table = Table("", "records", "ids")
    for kind in ("added", "removed", "changed"):
        ids = document[kind]
        more = [f"… and {len(ids) - SHOWN} more"] if len(ids) > SHOWN else []
        table.add_row(kind, str(len(ids)), ", ".join([*ids[:SHOWN], *more]))
    table.add_row("unchanged", str(found_difference.unchanged), "")
    STDOUT.print(table)


def verify(
    database: DatabaseArgument,
    name: VersionArgument = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every file and every record of a version; exits with 1 if something is wrong."""
    services = connect_to_read()
    chosen = services.settings.database(database)
    wanted = one_version(name, version)
    problems: list[str] = []
    checked: str | None = wanted
    try:
        manifest = find_version(services.store, chosen, wanted)
        checked = manifest.version
        with (
            tempfile.TemporaryDirectory(prefix="embedding-assets-verify-") as folder,
            Progress(console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar,
        ):
            task = bar.add_task("checking", total=manifest.size)
            problems = manifest_problems(services.store, chosen, manifest) + problems_of(
                services.store,
                manifest,
                Path(folder),
                everything=True,
                progress=lambda size: bar.advance(task, size),
            )
    except DamagedError as error:
        problems.append(f"manifest.json: {error}")
    if as_json:
        print_json({"version": checked, "ok": not problems, "problems": problems})
    elif not problems:
        STDOUT.print(f"version {checked} of {database} is sound: every file and every record is as published")
    if problems:
        if not as_json:
            for problem in problems:
                STDOUT.print(problem, soft_wrap=True)
        what = f"version {checked}" if checked else "the published version"
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DamagedError(f"{what} of {database} is damaged: {count}")
