"""The keys of every object that the product writes or reads: the table of keys in `docs/contract.md`.

A prefix ends in `/`. No other module joins a key from parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from embedding_assets.databases import Database

DOCTOR_PREFIX = "dagster/doctor/"
"""What `doctor` writes to try the bucket; it removes it again."""

OP_OUTPUTS_PREFIX = "dagster/outputs/"
"""Prefix of what Dagster's ops hand to each other; then comes the id of the run."""

INTERMEDIATE_PREFIX = "intermediate/"
"""Prefix of all intermediate snapshots."""

INTERMEDIATE = re.compile(r"intermediate/(\d{8}T\d{6}Z-[0-9a-f]{8})(?:/chunk-\d+/|-group-\d+/merged/)")
"""What `chunk_prefix` and `group_prefix` make; the first group is the id of the execution."""


# One batch.


def records_key(batch_id: str) -> str:
    """Key of what was submitted as this batch."""
    return f"records/{batch_id}.jsonl"


def answers_key(batch_id: str) -> str:
    """Key of the answers of a batch that was not sent to OpenAI, in the form of OpenAI's output file."""
    return f"records/{batch_id}.answers.jsonl"


def batch_key(batch_id: str) -> str:
    """Key of a batch's row as it was when the batch was last polled or marked."""
    return f"poll_results/{batch_id}/batch.json"


def result_key(batch_id: str) -> str:
    """Key of a batch's poll result."""
    return f"poll_results/{batch_id}/result.json"


def errors_key(batch_id: str) -> str:
    """Key of a batch's requests without an embedding."""
    return f"poll_results/{batch_id}/errors.jsonl"


# One execution.


def manifest_key(execution_id: str) -> str:
    """Key of an execution's manifest."""
    return f"manifests/{execution_id}/batches.json"


def poll_results_key(execution_id: str) -> str:
    """Key of all poll results of an execution, in one object."""
    return f"poll_results/{execution_id}/poll_results.json"


def chunks_key(execution_id: str) -> str:
    """Key of an execution's chunks."""
    return f"chunks/{execution_id}/chunks.json"


def groups_key(execution_id: str) -> str:
    """Key of an execution's groups."""
    return f"chunk_groups/{execution_id}/groups.json"


def chunk_prefix(execution_id: str, chunk_index: int) -> str:
    """Prefix of a chunk's intermediate snapshot."""
    return f"intermediate/{execution_id}/chunk-{chunk_index}/"


def group_prefix(execution_id: str, group: int) -> str:
    """Prefix of a group's intermediate snapshot."""
    return f"intermediate/{execution_id}-group-{group}/merged/"


def execution_of_intermediate(key: str) -> str | None:
    """The id of the execution whose intermediate snapshot an object belongs to; None if it belongs to none."""
    match = INTERMEDIATE.match(key)
    return match.group(1) if match else None


def intermediate_snapshots_key(execution_id: str) -> str:
    """Key of the list of an execution's intermediate snapshots."""
    return f"intermediate/{execution_id}/snapshots.json"


def final_result_key(execution_id: str) -> str:
    """Key of what an execution published."""
    return f"manifests/{execution_id}/final_snapshot.json"


def op_output_key(identifier: Iterable[str]) -> str:
    """Key of what one Dagster op hands to the next; `identifier` is run, step and output."""
    return f"{OP_OUTPUTS_PREFIX}{'/'.join(identifier)}.json"


def run_of_op_output(key: str) -> str:
    """The id of the run that wrote this op output."""
    return key.removeprefix(OP_OUTPUTS_PREFIX).split("/", 1)[0]


# One database.


def delta_prefix(database: Database) -> str:
    """Prefix of all deltas of a database."""
    return f"{database.name}/delta/{database.name}/{database.delta_folder}/"


def delta_key(database: Database, delta_id: str) -> str:
    """Prefix of the objects of one delta."""
    return f"{delta_prefix(database)}{delta_id}/"


def delta_of(database: Database, key: str) -> str | None:
    """The `delta_key` of the delta that an object below `delta_prefix` belongs to; None if it belongs to none."""
    delta_id, slash, _ = key.removeprefix(delta_prefix(database)).partition("/")
    return delta_key(database, delta_id) if slash else None


def versions_prefix(database: Database) -> str:
    """Prefix of all published versions of a database."""
    return f"{database.name}/snapshot/versions/"


def version_prefix(database: Database, version: str) -> str:
    """Prefix of one version's own files."""
    return f"{versions_prefix(database)}{version}/"


def latest_prefix(database: Database) -> str:
    """Prefix that holds the pointer alone."""
    return f"{database.name}/snapshot/latest/"


def pointer_key(database: Database) -> str:
    """Key of the pointer: the one object whose replacement publishes a version."""
    return f"{latest_prefix(database)}manifest.json"


def changes_prefix(database: Database) -> str:
    """Prefix of the files that say what each version changed."""
    return f"{database.name}/snapshot/changes/"


def changes_key(database: Database, version: str) -> str:
    """Key of what one version changed."""
    return f"{changes_prefix(database)}{version}.parquet"


def tags_prefix(database: Database) -> str:
    """Prefix of the names that people gave to versions."""
    return f"{database.name}/snapshot/tags/"


def receipts_prefix(database: Database) -> str:
    """Prefix of the receipts, which say which version an execution published."""
    return f"{database.name}/snapshot/receipts/"


def inbox_prefix(database: Database) -> str:
    """Prefix under which others put record files to be submitted."""
    return f"{database.name}/inbox/"


def submitted_prefix(database: Database) -> str:
    """Prefix of the receipts of files from the inbox."""
    return f"{database.name}/submitted/"
