"""What earlier materializations of an asset reported, from Dagster's event log, and pictures of it over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import dagster as dg

from embedding_assets.dagster_defs.pictures import BLUE, GREY, ORANGE, Bar, Part, bars

EARLIER = 15
"""Materializations that are shown beside the newest."""
EMBEDDINGS = (Part("embeddings", BLUE),)
OUTCOMES = (Part("embedded", BLUE), Part("failed", ORANGE), Part("unfinished", GREY))

Reported = Mapping[str, dg.MetadataValue]


def versions_picture(instance: dg.DagsterInstance, key: dg.AssetKey, newest: Reported) -> dg.MetadataValue:
    """How many embeddings each of the last published versions has; `newest` is not in the log yet."""
    shown: dict[str, Bar] = {}
    for _, reported in (*_earlier(instance, key), (0.0, newest)):
        version, count = reported.get("snapshot_version"), _number(reported, "total_embeddings")
        if version is not None and version.value and count is not None:
            name = str(version.value)
            shown.pop(name, None)
            shown[name] = Bar(name, (count,))
    return dg.MetadataValue.md(bars("embeddings in each version", EMBEDDINGS, list(shown.values())))


def outcomes_picture(instance: dg.DagsterInstance, key: dg.AssetKey, newest: Reported) -> dg.MetadataValue:
    """How many requests of each of the last executions were embedded, have failed, or are unfinished."""
    shown = []
    for when, reported in (*_earlier(instance, key), (datetime.now(UTC).timestamp(), newest)):
        values = tuple(count for part in OUTCOMES if (count := _number(reported, part.name)) is not None)
        if len(values) == len(OUTCOMES):
            shown.append(Bar(f"{datetime.fromtimestamp(when, UTC):%m-%d %H:%M}", values))
    return dg.MetadataValue.md(bars("requests by execution, UTC:", OUTCOMES, shown))


def _number(reported: Reported, name: str) -> float | None:
    """A number of a materialization; None if it is not there, or is none: another release may have reported it."""
    value = found.value if (found := reported.get(name)) is not None else None
    return float(value) if isinstance(value, int | float) else None


def _earlier(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[tuple[float, Reported]]:
    """When and what, the oldest first."""
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=EARLIER).records
    for record in reversed(records):
        if record.asset_materialization is not None:
            yield record.timestamp, record.asset_materialization.metadata
