"""Records of which nothing but the metadata is new: the graph need not be touched for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.chroma.row_source import RowSource
from embedding_assets.executions.fold import Mask, chosen_rows
from embedding_assets.rows.arrow import vectors_of
from embedding_assets.rows.record import parse_metadata, record_hash

Published = Mapping[str, tuple[bytes, str | None]]
"""By id: the published record's hash, and its metadata as canonical JSON."""


def published_of(base: pa.Table, ids: Sequence[str]) -> Published:
    """What the record index `base` says of the records `ids`, all of which it has."""
    there = base.take(pc.index_in(pa.array(ids, pa.string()), value_set=base.column("id").combine_chunks()))
    columns = (there.column(name).to_pylist() for name in ("hash", "metadata"))
    return {record_id: (one, metadata) for record_id, one, metadata in zip(ids, *columns, strict=True)}


def metadata_only(sources: Sequence[RowSource], update: Mask, published: Published) -> Mask:
    """Of the rows that `update` chooses, those whose vector and document are the published ones, bit for bit.

    The record's hash tells: with the published metadata in place of its own, such a row has the published hash.
    """
    chosen: list[bool] = []
    for batch in chosen_rows(sources, update):
        columns = (batch.column(name).to_pylist() for name in ("id", "document"))
        vectors = np.ascontiguousarray(vectors_of(batch), dtype="<f4")
        for record_id, document, vector in zip(*columns, vectors, strict=True):
            before, metadata = published[record_id]
            chosen.append(record_hash(record_id, vector.tobytes(), document, metadata) == before)
    mask = np.zeros(len(update), dtype=np.bool_)
    mask[np.flatnonzero(update)] = chosen
    return mask


def amendments(batch: pa.RecordBatch, published: Published) -> list[dict[str, Any]]:
    """For each row its new metadata, with a None for each key that the published record has beside it."""
    wanted = []
    for record_id, text in zip(batch.column("id").to_pylist(), batch.column("metadata").to_pylist(), strict=True):
        before = parse_metadata(published[record_id][1]) or {}
        wanted.append(dict.fromkeys(before) | (parse_metadata(text) or {}))
    return wanted
