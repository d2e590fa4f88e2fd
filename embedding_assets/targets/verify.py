"""Whether a target holds exactly what the version holds that it is said to hold."""

from __future__ import annotations

from dataclasses import dataclass

from embedding_assets.bucket.store import Store
from embedding_assets.chroma.server import open_server
from embedding_assets.databases import Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.rows.record import content_digest
from embedding_assets.rows.record_index import alive
from embedding_assets.targets.address import Target
from embedding_assets.targets.applied import TargetRow
from embedding_assets.versions.reader import find_version, published_index
from embedding_assets.versions.verify import differing, expected_of

NAMED = 3


@dataclass(frozen=True)
class TargetFinding:
    """What was compared. `content_digest` is that of the records on the target; None if some differ."""

    target: str
    database: str
    version: str | None
    ok: bool
    content_digest: str | None
    problems: tuple[str, ...] = ()


def verify_target(store: Store, ledger: Ledger, database: Database, target: Target) -> TargetFinding:
    """Read every record of the target and compare it with the record index of the version that it holds.

    Raises TransientError or ServiceError if the server cannot be read.
    """
    applied = TargetRow(ledger.client, ledger.table, database.name, target.name).read()
    if applied.version is None or applied.address != target.address.shown:
        problem = "it was never written to: `targets sync` does so"
        return TargetFinding(target.name, database.name, None, False, None, (problem,))
    manifest = find_version(store, database, applied.version)
    expected = expected_of(alive(published_index(store, manifest)))
    server = open_server(target.address, database.collection, database.space)
    there = set(server.ids())
    wrong = [one for page in server.rows(sorted(there & expected.keys())) for one in differing(page, expected)]
    problems = [
        *_problem(sorted(expected.keys() - there), "are missing"),
        *_problem(sorted(there - expected.keys()), "are too many"),
        *_problem(wrong, "differ"),
    ]
    digest = None if problems else content_digest(expected[one][0] for one in sorted(there, key=str.encode))
    if digest is not None and digest != manifest.content_digest:
        problems = [
            f"its content digest is {digest}, that of version {manifest.version} {manifest.content_digest}"
        ]
    if applied.applying is not None:
        problems.append(f"version {applied.applying} was begun and is not finished: `targets sync` goes on")
    return TargetFinding(target.name, database.name, manifest.version, not problems, digest, tuple(problems))


def _problem(ids: list[str], what: str) -> list[str]:
    return [f"{len(ids)} records {what}, {', '.join(map(repr, ids[:NAMED]))} among them"] if ids else []
