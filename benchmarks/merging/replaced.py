"""The design that was replaced, written for this comparison: a Chroma snapshot at every level.

Each step opens its target and, in turn, each of its sources, reads all of it and upserts it, as the Lambdas did:
ten deltas to a chunk, ten chunks to a group, the groups into the snapshot. Between the levels directories are
copied, as they were up and down.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

from benchmarks.merging.deltas import BUCKET
from benchmarks.merging.ours import CHUNK_SIZE, GROUP_SIZE, GROUP_THRESHOLD
from embedding_assets.databases import LINES
from embedding_assets.openai_batches.poll_result import PollResult

MOST_AT_ONCE = 5000
"""Below the 5,461 rows that one upsert may have."""


def merge(bucket_folder: Path, results: Sequence[PollResult], folder: Path) -> Path:
    """From Chroma deltas below `bucket_folder` to one Chroma directory in `folder`."""
    deltas = [bucket_folder / BUCKET / str(result.delta_key) for result in results]
    level = [_merged(part, folder, f"chunk-{number}") for number, part in enumerate(_parts(deltas, CHUNK_SIZE))]
    if len(level) > GROUP_THRESHOLD:
        level = [_merged(part, folder, f"group-{number}") for number, part in enumerate(_parts(level, GROUP_SIZE))]
    return _merged(level, folder, "snapshot")


def _parts(items: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _merged(sources: Sequence[Path], folder: Path, name: str) -> Path:
    """One step: fetch the sources, upsert them into a new directory, store it."""
    work = folder / "work" / name
    target = chromadb.PersistentClient(str(work / "merged"), settings=Settings(anonymized_telemetry=False))
    collection = target.create_collection(LINES.collection, embedding_function=None)
    for number, source in enumerate(sources):
        fetched = work / f"source-{number}"
        shutil.copytree(source, fetched, ignore=shutil.ignore_patterns("manifest.json", "rows.arrow"))
        client: Any = chromadb.PersistentClient(str(fetched), settings=Settings(anonymized_telemetry=False))
        found = client.get_collection(LINES.collection, embedding_function=None).get(
            include=["embeddings", "documents", "metadatas"]
        )
        for start in range(0, len(found["ids"]), MOST_AT_ONCE):
            part = slice(start, start + MOST_AT_ONCE)
            collection.upsert(
                ids=found["ids"][part],
                embeddings=found["embeddings"][part],
                documents=found["documents"][part],
                metadatas=found["metadatas"][part],
            )
        client.close()
    closing: Any = target
    closing.close()
    stored = folder / "stored" / name
    shutil.copytree(work / "merged", stored)
    shutil.rmtree(work)
    return stored
