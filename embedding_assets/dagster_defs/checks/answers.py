"""Whether the answers of an execution had usable vectors, and whether each belonged to one request."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from embedding_assets.dagster_defs.checks.conservation import SHOWN, Polled
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.dagster_defs.markdown import code, codes

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


@dataclass(frozen=True)
class _Refused:
    """Requests of one batch with one code."""

    batch_id: str
    code: str
    count: int
    examples: tuple[str, ...]


def usable_vectors(polled: Polled) -> Finding:
    """Holds if no answer was refused for its vector."""
    found = _with_codes(polled, REFUSED_VECTORS)
    embedded = sum(result.embedding_count for result in polled.results if result.batch_id in polled.kept)
    count = sum(one.count for one in found)
    figures = {"embedded": embedded, "refused": count}
    if not found:
        return Finding(True, f"{embedded} vectors, all of the right length, finite and not zero", figures)
    line = f"{_requests(count)} not published for the vector that was answered: {_by_code(found)}"
    return Finding(False, line, figures, _table(found))


def clear_ids(polled: Polled) -> Finding:
    """Holds if each id is there once in its batch, and each answer has the id of a request."""
    found = _with_codes(polled, UNCLEAR_IDS)
    decided = [result for result in polled.results if result.batch_id in polled.kept]
    unknown = sum(result.unknown_count for result in decided)
    repeated = sum(result.repeated_count for result in decided)
    count = sum(one.count for one in found)
    figures = {"unclear": count, "answers_to_unknown_ids": unknown, "repeated_answers": repeated}
    parts = [f"{_requests(count)} with an id that is there twice, or without one: {_by_code(found)}"] * bool(found)
    parts += [f"{unknown} answers to ids that nobody asked for"] * bool(unknown)
    parts += [f"{repeated} further answers to an id that was answered"] * bool(repeated)
    if not parts:
        return Finding(True, "each id is there once, and each answer belongs to a request", figures)
    return Finding(False, "; ".join(parts), figures, _table(found) if found else "")


def _with_codes(polled: Polled, wanted: Collection[str]) -> list[_Refused]:
    found = [
        _Refused(batch_id, group.code, group.count, group.examples)
        for batch_id, kept in polled.kept.items()
        for group in kept.errors or ()
        if group.code in wanted
    ]
    return sorted(found, key=lambda one: (-one.count, one.batch_id))


def _by_code(found: list[_Refused]) -> str:
    names = dict.fromkeys(one.code for one in found)
    return ", ".join(f"{sum(one.count for one in found if one.code == name)} {name}" for name in names)


def _table(found: list[_Refused]) -> str:
    rows = [
        f"| {one.count} | {code(one.code)} | {code(one.batch_id)} | {codes(one.examples)} |"
        for one in found[:SHOWN]
    ]
    more = [f"\n… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join(["| requests | code | batch | for example |", "| ---: | --- | --- | --- |", *rows, *more])


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"
