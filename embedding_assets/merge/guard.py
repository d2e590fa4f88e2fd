"""Guards: a batch whose model, dimensions or distance do not fit is set aside before anything is merged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from embedding_assets.databases import Database
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.snapshots.versions import VersionManifest

T = TypeVar("T")
VERSION_SUFFIX = re.compile(r"-v\d+$")


def mismatches(
    results: Sequence[PollResult], database: Database, published: VersionManifest | None
) -> dict[str, str]:
    """By batch id, why a batch with embeddings cannot be merged.

    Measured against the published version; before the first one, against what most embeddings have.
    A model that nobody told fits every model.
    """
    polled = [result for result in results if result.has_delta]
    if published is not None:
        where = f"version {published.version}"
        model, dimensions = published.model, published.dimensions
        if published.space != database.space:
            reason = (
                f"the distance {database.space} of {database.name} is not {published.space}, that of {where}: "
                f"`embedding-assets snapshots rebuild {database.name}` publishes it anew"
            )
            return {result.batch_id: reason for result in polled}
        if published.collection != database.collection:
            reason = (
                f"the collection {database.collection} of {database.name} is not {published.collection}, that of "
                f"{where}: `embedding-assets snapshots rebuild {database.name}` publishes it anew"
            )
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


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names can be of one model: OpenAI answers with `…-002-v2` where `…-002` was asked for."""
    if not one or not other:
        return True
    return VERSION_SUFFIX.sub("", one) == VERSION_SUFFIX.sub("", other)


def _usual(results: Sequence[PollResult]) -> tuple[str | None, int | None]:
    """The dimensions that most embeddings have, and the model that most of those are of that tell one."""
    dimensions = _most({result.batch_id: (result.dimensions, result.embedding_count) for result in results})
    told = [result for result in results if result.dimensions == dimensions and result.model]
    return _most({result.batch_id: (result.model, result.embedding_count) for result in told}), dimensions


def _most(weighted: Mapping[str, tuple[T, int]]) -> T | None:
    weights: Counter[T] = Counter()
    for value, weight in weighted.values():
        weights[value] += weight
    return weights.most_common(1)[0][0] if weights else None
