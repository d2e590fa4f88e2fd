"""Whether the answers of an execution had usable vectors, and whether each belonged to one request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from embedding_assets.dagster_defs.checks.conservation import SHOWN, Polled
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.dagster_defs.markdown import code, codes
from embedding_assets.operations.request_errors import ErrorGroup
from embedding_assets.text.counted import counted

REFUSED_VECTORS = frozenset(
    {
        "not_finite",
        "zero_vector",
        "wrong_dimensions",
        "empty_vector",
        "malformed_vector",
        "several_vectors",
        "other_model",
    }
)
"""Codes of answers whose vector is not published."""
UNCLEAR_IDS = frozenset({"duplicate_id", "ambiguous_id", "no_id"})
"""Codes of requests that no answer can be assigned to, because their id is there twice or not at all."""


OfBatch = tuple[str, ErrorGroup]
"""Requests of one batch with one code: the batch's id, and the group."""


def usable_vectors(polled: Polled) -> Finding:
    """Holds if no answer was refused for its vector."""
    found = _with_codes(polled, REFUSED_VECTORS)
    embedded = sum(result.embedding_count for result in polled.results if result.batch_id in polled.kept)
    count = sum(group.count for _, group in found)
    figures = {"embedded": embedded, "refused": count}
    if not found:
        return Finding(True, f"{embedded} vectors, all of the right length, finite and not zero", figures)
    line = f"{counted(count, 'request')} not published for the vector that was answered: {_by_code(found)}"
    return Finding(False, line, figures, _table(found))


def clear_ids(polled: Polled) -> Finding:
    """Holds if each id is there once in its batch, and each answer has the id of a request."""
    found = _with_codes(polled, UNCLEAR_IDS)
    decided = [result for result in polled.results if result.batch_id in polled.kept]
    unknown = sum(result.unknown_count for result in decided)
    repeated = sum(result.repeated_count for result in decided)
    count = sum(group.count for _, group in found)
    figures = {"unclear": count, "answers_to_unknown_ids": unknown, "repeated_answers": repeated}
    parts = [
        f"{counted(count, 'request')} with an id that is there twice, or without one: {_by_code(found)}"
    ] * bool(found)
    parts += [f"{unknown} answers to ids that nobody asked for"] * bool(unknown)
    parts += [f"{repeated} further answers to an id that was answered"] * bool(repeated)
    if not parts:
        return Finding(True, "each id is there once, and each answer belongs to a request", figures)
    return Finding(False, "; ".join(parts), figures, _table(found) if found else "")


def _with_codes(polled: Polled, wanted: Collection[str]) -> list[OfBatch]:
    found = [
        (batch_id, group)
        for batch_id, kept in polled.kept.items()
        for group in kept.errors or ()
        if group.code in wanted
    ]
    return sorted(found, key=lambda one: (-one[1].count, one[0]))


def _by_code(found: list[OfBatch]) -> str:
    counts: Counter[str] = Counter()
    for _, group in found:
        counts[group.code] += group.count
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _table(found: list[OfBatch]) -> str:
    rows = [
        f"| {group.count} | {code(group.code)} | {code(batch_id)} | {codes(group.examples)} |"
        for batch_id, group in found[:SHOWN]
    ]
    more = [f"\n… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join(["| requests | code | batch | for example |", "| ---: | --- | --- | --- |", *rows, *more])
