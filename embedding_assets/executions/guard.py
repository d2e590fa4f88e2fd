"""Guards: a batch whose model, dimensions or distance do not fit is set aside before anything is merged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from embedding_assets.databases import Database
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.versions.manifest import VersionManifest

T = TypeVar("T")
VERSION_SUFFIX = re.compile(r"-v\d+$")


def mismatches(
    results: Sequence[PollResult], database: Database, published: VersionManifest | None
) -> dict[str, str]:
    """By batch id, why a batch with embeddings cannot be merged.

    Measured against the published version; before the first one, against what most embeddings have.
    A model that nobody named fits every model.
    """
    polled = [result for result in results if result.has_delta]
    if published is not None:
        where = f"version {published.version}"
        model, dimensions = published.model, published.dimensions
        otherwise = configured_otherwise(database, published)
        if otherwise is not None:
            reason = f"{otherwise}: `embedding-assets snapshots rebuild {database.name}` publishes it again"
            return {result.batch_id: reason for result in polled}
    else:
        where = "most of its execution"
        model, dimensions = _usual(polled)
    unfit = {}
    for result in polled:
        if dimensions is not None and result.dimensions != dimensions:
            unfit[result.batch_id] = (
                f"its vectors have {result.dimensions} dimensions, those of {where} {dimensions}"
            )
        elif not same_model(result.model, model):
            unfit[result.batch_id] = f"its model is {result.model}, that of {where} {model}"
    return unfit


def configured_otherwise(database: Database, version: VersionManifest) -> str | None:
    """In what the database is configured otherwise than the version was built; None if in nothing.

    Its directory holds one collection under one distance: another one can only be built again.
    """
    for what, configured, built in (
        ("distance", database.space, version.space),
        ("collection", database.collection, version.collection),
    ):
        if configured != built:
            return f"the {what} {configured} of {database.name} is not {built}, that of version {version.version}"
    return None


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names can be of one model: OpenAI answers with `…-002-v2` where `…-002` was asked for."""
    if not one or not other:
        return True
    return VERSION_SUFFIX.sub("", one) == VERSION_SUFFIX.sub("", other)


def _usual(results: Sequence[PollResult]) -> tuple[str | None, int | None]:
    """The dimensions that most embeddings have, and the model that most of those are of that tell one."""
    dimensions = _most({result.batch_id: (result.dimensions, result.embedding_count) for result in results})
    fitting = [result for result in results if result.dimensions == dimensions and result.model]
    return _most({result.batch_id: (result.model, result.embedding_count) for result in fitting}), dimensions


def _most(weighted: Mapping[str, tuple[T, int]]) -> T | None:
    weights: Counter[T] = Counter()
    for value, weight in weighted.values():
        weights[value] += weight
    return weights.most_common(1)[0][0] if weights else None
