"""Whether every request of an execution is accounted for, and which have no embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from embedding_assets.bucket.keys import errors_key, poll_results_key
from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.errors import DamagedError
from embedding_assets.executions.manifest import read_manifest
from embedding_assets.executions.plan import ExecutionManifest
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.operations.request_errors import ErrorGroup, group_errors
from embedding_assets.rows.snapshot_directory import find_manifest

RESULTS = TypeAdapter(list[PollResult])
READS_AT_ONCE = 16
UNDECIDED = ("wait", "error")
"""Actions of a poll that accounts for nothing yet: the batch is planned again."""
SHOWN = 20
"""Batches and codes that are shown."""


@dataclass(frozen=True)
class Kept:
    """What the bucket and the table say of one polled batch; None if they do not say it of this poll."""

    requested: int | None
    in_delta: int | None
    errors: tuple[ErrorGroup, ...] | None


@dataclass(frozen=True)
class Polled:
    """An execution as it was polled, and by batch what else is on record."""

    manifest: ExecutionManifest
    results: tuple[PollResult, ...]
    kept: Mapping[str, Kept]


def read_polled(store: Store, ledger: Ledger, execution_id: str) -> Polled:
    """Reads two objects, the rows, and of each batch at most two objects more. Raises also DamagedError."""
    manifest = read_manifest(store, execution_id)
    key = poll_results_key(execution_id)
    try:
        results = RESULTS.validate_json(store.get(key))
    except ValidationError as error:
        raise DamagedError(f"{store.uri(key)} is not the poll results of an execution") from error
    rows = ledger.get_many(result.batch_id for result in results)
    decided = [result for result in results if result.action not in UNDECIDED]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        kept = pool.map(lambda result: _kept(store, rows.get(result.batch_id), result), decided)
        by_batch = dict(zip((result.batch_id for result in decided), kept, strict=True))
    return Polled(manifest, tuple(results), by_batch)


def conserved(polled: Polled) -> Finding:
    """One result for each planned batch, and requested = embedded + failed + unfinished in each."""
    planned = {batch.batch_id for batch in polled.manifest.batches}
    polled_ids = [result.batch_id for result in polled.results]
    problems = [f"{batch_id}: planned, but has no poll result" for batch_id in sorted(planned - set(polled_ids))]
    problems += [
        f"{batch_id}: has a poll result, but was not planned" for batch_id in sorted(set(polled_ids) - planned)
    ]
    problems += [
        f"{batch_id}: has several poll results"
        for batch_id in sorted(set(polled_ids))
        if polled_ids.count(batch_id) > 1
    ]
    for result in polled.results:
        if result.batch_id in polled.kept:
            problems += [
                f"{result.batch_id}: {problem}" for problem in _problems(result, polled.kept[result.batch_id])
            ]
    figures = _figures(polled)
    if not problems:
        return Finding(
            holds=True,
            line="{requested} requested = {embedded} embedded + {failed} failed + {unfinished} unfinished, "
            "in {batches} of {planned} planned batches".format(**figures),
            figures=figures,
        )
    return Finding(False, problems[0], {**figures, "problems": len(problems)}, _list(problems))


def every_request_embedded(polled: Polled) -> Finding:
    """Fails where requests have no embedding, with how many of which code."""
    counts: dict[tuple[str, str, bool], int] = {}
    for kept in polled.kept.values():
        for group in kept.errors or ():
            key = (group.reason, group.code, group.retryable)
            counts[key] = counts.get(key, 0) + group.count
    figures = _figures(polled)
    without = int(figures["failed"]) + int(figures["unfinished"])
    if not without:
        return Finding(True, f"all {figures['embedded']} requests have an embedding", figures)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    helped = sum(count for (_, _, retryable), count in ordered if retryable)
    rows = [
        f"| {count} | {reason} | `{code}` | {'yes' if retryable else 'no'} |"
        for (reason, code, retryable), count in ordered[:SHOWN]
    ]
    table = "\n".join(["| requests | reason | code | a retry can help |", "| ---: | --- | --- | --- |", *rows])
    codes = ", ".join(f"{count} {code}" for (_, code, _), count in ordered[:SHOWN]) or "no reason on record"
    return Finding(
        holds=False,
        line=f"{without} of {figures['requested']} requests have no embedding: {codes}",
        figures={**figures, "retry_can_help": helped},
        table=table,
    )


def _kept(store: Store, row: BatchSummary | None, result: PollResult) -> Kept:
    """Only what is of this poll: the row of a later generation, and what a later poll wrote, are of another."""
    if row is None or row.generation != result.generation:
        return Kept(None, None, None)
    delta = find_manifest(store, result.delta_key) if result.delta_key else None
    errors: tuple[ErrorGroup, ...] | None = ()
    if result.failed_count or result.unfinished_count:
        found = store.find(errors_key(result.batch_id))
        errors = tuple(group_errors(found.data.splitlines())) if found is not None else ()
    if result.records_misfit:
        errors = None  # its records do not name all of its requests
    of_this_poll = row.generation == 0 or not row.status.live
    requested = row.request_count if of_this_poll and not row.is_deletion else None
    return Kept(requested, delta.count if delta is not None else None, errors)


def _problems(result: PollResult, kept: Kept) -> list[str]:
    parts = (result.embedding_count, result.failed_count, result.unfinished_count)
    problems = []
    if kept.requested is not None and kept.requested != sum(parts):
        embedded, failed, unfinished = parts
        problems.append(
            f"{kept.requested} requested, but {embedded} embedded + {failed} failed + {unfinished} unfinished"
        )
    if kept.in_delta is not None and kept.in_delta != result.embedding_count:
        problems.append(f"{result.embedding_count} embedded, but its delta has {kept.in_delta}")
    if kept.errors is not None:
        for reason, count in (("failed", result.failed_count), ("unfinished", result.unfinished_count)):
            listed = sum(group.count for group in kept.errors if group.reason == reason)
            if listed != count:
                problems.append(f"{count} {reason}, but errors.jsonl lists {listed}")
    return problems


def _figures(polled: Polled) -> dict[str, int]:
    decided = [result for result in polled.results if result.batch_id in polled.kept]
    embedded = sum(result.embedding_count for result in decided)
    failed = sum(result.failed_count for result in decided)
    unfinished = sum(result.unfinished_count for result in decided)
    return {
        "planned": polled.manifest.total_batches,
        "batches": len(decided),
        "requested": embedded + failed + unfinished,
        "embedded": embedded,
        "failed": failed,
        "unfinished": unfinished,
    }


def _list(problems: Sequence[str]) -> str:
    more = [f"- … and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n".join([*(f"- {problem}" for problem in problems[:SHOWN]), *more])
