"""`init`: the table and the bucket of the settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embedding_assets.cli.options import JsonOption
from embedding_assets.cli.output import STDOUT, print_json, progress
from embedding_assets.operations.storage import make_storage
from embedding_assets.settings import load_settings

KEYS = {
    "table": "keys PK and SK, index GSI1 on GSI1PK and GSI1SK, billed by request",
    "bucket": "private, as S3 makes it",
}


def init(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be made.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the table and the bucket of the settings; what is there is left as it is."""
    settings = load_settings()
    with progress() as report:
        made = make_storage(settings, report, dry_run=dry_run)
    if as_json:
        documents = {str(one.kind): asdict(one) for one in made}
        print_json({"dry_run": dry_run, **documents})
        return
    for one in made:
        verb = "is there" if one.there else f"{'would be' if dry_run else 'is'} made: {KEYS[one.kind]}"
        STDOUT.print(f"{one.kind:<7} {one.name} {verb}", soft_wrap=True)
    STDOUT.print("next: `embedding-assets doctor` checks that both do what is relied on")
