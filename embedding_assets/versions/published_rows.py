"""Every record of a published version as rows, with its vector: what a version is built from again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from embedding_assets.chroma.collection import ChromaRows, Collection, open_collection, read_rows, read_texts
from embedding_assets.chroma.graph_files import GraphFiles, find_graph
from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import DamagedVersionError
from embedding_assets.rows.arrow import INSTANT, RowFile, RowWriter, delta_batch, row_schema
from embedding_assets.rows.record_index import alive, positions
from embedding_assets.versions.manifest import VersionManifest


def published_rows(directory: Path, manifest: VersionManifest, index: pa.Table, path: Path) -> list[RowSource]:
    """Write the rows of the version in `directory`, a private copy, to `path`; none for an empty version.

    Metadata is taken from the record index, for Chroma may give floats back a last bit off. Raises
    DamagedVersionError if a record is not what the index says.
    """
    published = alive(index).combine_chunks()
    if not published.num_rows or manifest.dimensions is None:
        return []
    schema = row_schema(manifest.dimensions)
    places = positions(published)
    graph = find_graph(directory)
    with open_collection(directory, manifest.collection) as collection, RowWriter(path, schema) as writer:
        for page in read_rows(collection) if graph is None else _pages(graph, collection):
            if not places.keys() >= set(page.ids):
                raise DamagedVersionError(f"version {manifest.version} has records that its index does not have")
            known = published.take(pa.array([places[record_id] for record_id in page.ids], pa.int64()))
            writer.write(_rows(page, known.combine_chunks(), manifest, schema))
    if writer.count != published.num_rows:
        raise DamagedVersionError(
            f"version {manifest.version} has {writer.count} records, its index {published.num_rows}"
        )
    return [RowSource(RowFile(path), manifest.dimensions, None)]


def chosen_published_rows(
    directory: Path, manifest: VersionManifest, index: pa.Table, ids: Iterable[str]
) -> Iterator[pa.RecordBatch]:
    """Published records of the version in `directory`, a private copy, as rows, some at a time in any order.

    Raises DamagedVersionError if a record is not what the index says, or not there.
    """
    assert manifest.dimensions is not None, "a version with records has dimensions"
    wanted = frozenset(ids)
    places = positions(index)
    schema = row_schema(manifest.dimensions)
    graph = find_graph(directory)
    left = set(wanted)
    with open_collection(directory, manifest.collection) as collection:
        pages = read_rows(collection, sorted(wanted)) if graph is None else _pages(graph, collection, wanted)
        for page in pages:
            known = index.take(pa.array([places[record_id] for record_id in page.ids], pa.int64()))
            left.difference_update(page.ids)
            yield _rows(page, known.combine_chunks(), manifest, schema)
    if left:
        raise DamagedVersionError(f"version {manifest.version} has no record {min(left)!r}, which its index has")


def _pages(
    graph: GraphFiles, collection: Collection, wanted: frozenset[str] | None = None
) -> Iterator[ChromaRows]:
    """All rows, or the `wanted` ones, their vectors from the graph's files: much faster than through Chroma."""
    for ids, vectors in graph.vectors():
        looked = ids if wanted is None else [record_id for record_id in ids if record_id in wanted]
        if not looked:
            continue
        documents = {
            record_id: document
            for page in read_texts(collection, looked)
            for record_id, document in zip(page.ids, page.documents, strict=True)
        }
        there = [number for number, record_id in enumerate(ids) if record_id in documents]
        known = [ids[number] for number in there]
        yield ChromaRows(known, vectors[there], [documents[record_id] for record_id in known], [None] * len(known))


def _rows(page: ChromaRows, known: pa.Table, manifest: VersionManifest, schema: pa.Schema) -> pa.RecordBatch:
    metadata, inputs, texts = (
        known.column(name).to_pylist() for name in ("metadata", "input_sha256", "text_sha256")
    )
    delta = delta_batch(page.ids, page.vectors, page.documents, metadata, inputs, texts)
    if delta.column("hash").to_pylist() != known.column("hash").to_pylist():
        raise DamagedVersionError(f"version {manifest.version} has records that differ from its index")
    columns = [
        *delta.columns,
        known.column("batch_id").combine_chunks(),
        known.column("precedence_at").combine_chunks().cast(INSTANT),
        pa.repeat(pa.scalar(0, pa.int64()), len(page.ids)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
