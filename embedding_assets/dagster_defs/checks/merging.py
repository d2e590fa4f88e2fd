"""Whether every delta of an execution was merged, by what `chunks` and `intermediate_snapshots` left."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from embedding_assets.bucket.keys import chunks_key, intermediate_snapshots_key, poll_results_key
from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.errors import DamagedError
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Chunk
from embedding_assets.openai_batches.poll_result import PollResult

T = TypeVar("T")

RESULTS = TypeAdapter(list[PollResult])
CHUNKS = TypeAdapter(list[Chunk])
INTERMEDIATES = TypeAdapter(IntermediateSnapshots)


def every_delta_planned(store: Store, execution_id: str) -> Finding:
    """Holds if each delta of the poll results is in exactly one chunk, and no other. Raises also DamagedError."""
    polled = _read(store, RESULTS, poll_results_key(execution_id))
    wanted = Counter(result.delta_key for result in polled if result.to_fold)
    planned = Counter(
        result.delta_key
        for chunk in _read(store, CHUNKS, chunks_key(execution_id))
        for result in chunk.delta_results
    )
    figures = {"deltas": wanted.total(), "planned": planned.total()}
    if planned == wanted:
        return Finding(True, f"{wanted.total()} deltas, each in one chunk", figures)
    missing, further = wanted - planned, planned - wanted
    parts = [f"in no chunk: {', '.join(map(str, missing))}"] * bool(missing)
    parts += [f"too often in a chunk: {', '.join(map(str, further))}"] * bool(further)
    return Finding(False, "; ".join(parts), figures)


def every_row_folded(store: Store, execution_id: str) -> Finding:
    """Holds if each chunk was merged once, from as many rows as its deltas have. Raises also DamagedError."""
    chunks = _read(store, CHUNKS, chunks_key(execution_id))
    merged = _read(store, INTERMEDIATES, intermediate_snapshots_key(execution_id)).chunks
    wanted = {chunk.chunk_index: sum(result.embedding_count for result in chunk.delta_results) for chunk in chunks}
    got = {part.number: part.rows_in for part in merged}
    figures = {"rows_in": sum(got.values()), "rows_out": sum(part.count for part in merged), "chunks": len(merged)}
    problems = [
        f"chunk {number}: {rows} embeddings in its deltas, {got.get(number, 'none')} merged"
        for number, rows in wanted.items()
        if got.get(number) != rows
    ]
    problems += [f"chunk {number}: merged, but not planned" for number in got.keys() - wanted.keys()]
    problems += [f"chunk {part.number}: merged twice" for part in merged[len(got) :]]
    if problems:
        return Finding(False, problems[0], {**figures, "problems": len(problems)})
    line = "{rows_in} rows of {chunks} chunks became {rows_out}, one for each id of a chunk".format(**figures)
    return Finding(True, line, figures)


def _read(store: Store, adapter: TypeAdapter[T], key: str) -> T:
    try:
        return adapter.validate_json(store.get(key))
    except ValidationError as error:
        raise DamagedError(f"{store.uri(key)} cannot be read") from error
