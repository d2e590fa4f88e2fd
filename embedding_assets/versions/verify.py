"""Verification of a built version, on a private copy: opening or querying a Chroma directory changes its files."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from embedding_assets.chroma.collection import (
    DATABASE_FILE,
    ChromaRows,
    all_ids,
    open_collection,
    quick_check,
    read_rows,
    read_texts,
)
from embedding_assets.chroma.collection import Collection as ChromaCollection
from embedding_assets.chroma.graph_files import GraphFiles, find_graph
from embedding_assets.chroma.stored_texts import Text, stored_texts
from embedding_assets.errors import DamagedError
from embedding_assets.rows.record import parse_metadata, record_hash
from embedding_assets.rows.record_index import alive, sample

SAMPLE_SIZE = 1000
"""Records checked of those that a merge did not touch."""

THROUGH_CHROMA = 256
"""Of the records checked, those whose vectors are read through Chroma and from the graph's files."""

TEXTS_THROUGH_CHROMA = 5000
"""As many documents and metadata are read through Chroma; more of them faster from its tables."""

FLOAT_TOLERANCE = 1e-14
"""Chroma gives back floats of the metadata up to a few last bits off."""

Expected = Mapping[str, tuple[bytes, str | None]]
"""By id: the record's hash, and its metadata as canonical JSON as it was sent."""


def expected_of(published: pa.Table) -> Expected:
    """What a record index, or a part of it, says of its records."""
    columns = (published.column(name).to_pylist() for name in ("id", "hash", "metadata"))
    return {record_id: (record, metadata) for record_id, record, metadata in zip(*columns, strict=True)}


Probe = Callable[[Path], Iterator[str]]
"""Tries a private copy, may change it, and says what is wrong."""


def verify(
    directory: Path,
    collection: str,
    index: pa.Table,
    changed: Collection[str] | None,
    probe: Probe = lambda copy: iter(()),
) -> None:
    """Raise DamagedError unless the Chroma `directory` holds exactly what `index` says.

    Checks SQLite's quick_check, the count, the whole id set, and vectors, documents and metadata of the
    `changed` ids and of a sample of the others; with None, of all. `probe` tries the copy last, while vectors are
    read from the files of `directory`.
    """
    problems = list(find_problems(directory, collection, index, changed, probe))
    if problems:
        raise DamagedError(f"the built snapshot is not what was merged: {problems[0]}")


def find_problems(
    directory: Path,
    collection: str,
    index: pa.Table,
    changed: Collection[str] | None,
    probe: Probe = lambda copy: iter(()),
) -> Iterator[str]:
    """What is wrong, one line each; at most one line for each kind of damage."""
    try:
        yield from _problems(directory, collection, index, changed, probe)
    except DamagedError as error:
        yield str(error)


def _problems(
    directory: Path, collection: str, index: pa.Table, changed: Collection[str] | None, probe: Probe
) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="embedding-assets-verify-") as name:
        copy = Path(name) / "copy"
        shutil.copytree(directory, copy)
        damage = quick_check(copy)
        if damage is not None:
            yield f"{DATABASE_FILE}: {damage}"
            return
        expected = expected_of(alive(index))
        graph = find_graph(directory)
        if graph is not None:
            graph.check_links()
        with open_collection(copy, collection) as opened:
            if opened.count() != len(expected):
                yield f"Chroma counts {opened.count()} records, the record index {len(expected)}"
            ids = set(all_ids(opened))
            missing, extra = expected.keys() - ids, ids - expected.keys()
            if missing:
                yield f"{len(missing)} records are missing, one is {min(missing)!r}"
            if extra:
                yield f"{len(extra)} records are too many, one is {min(extra)!r}"
            wanted = _wanted(sorted(ids & expected.keys()), changed)
            through_chroma = wanted if graph is None else sample(wanted, THROUGH_CHROMA, len(ids))
            wrong = {one for page in read_rows(opened, through_chroma) for one in differing(page, expected)}
            texts = _texts(opened, directory / DATABASE_FILE, wanted) if graph is not None else {}
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(_wrong_in_files, graph, texts, expected)
            tried = list(probe(copy))
            wrong.update(reading.result())
        if wrong:
            yield f"{len(wrong)} of {len(wanted)} records read differ, one is {min(wrong)!r}"
        yield from tried


def _texts(opened: ChromaCollection, database: Path, wanted: list[str]) -> dict[str, Text]:
    """Documents and metadata of the wanted records; many of them from Chroma's tables, if they are known."""
    texts = stored_texts(database, wanted) if len(wanted) > TEXTS_THROUGH_CHROMA else None
    if texts is not None:
        return texts
    return {
        record_id: (document, metadata)
        for page in read_texts(opened, wanted)
        for record_id, document, metadata in zip(page.ids, page.documents, page.metadata, strict=True)
    }


def _wrong_in_files(graph: GraphFiles | None, texts: dict[str, Text], expected: Expected) -> set[str]:
    """The records of `texts` that differ, with the vectors that are in the graph's files."""
    if graph is None:
        return set()
    wrong: set[str] = set()
    for ids, vectors in graph.vectors():
        there = {record_id: number for number, record_id in enumerate(ids) if record_id in texts}
        with_texts = [texts.pop(record_id) for record_id in there]
        rows = ChromaRows(
            list(there),
            vectors[list(there.values())],
            [document for document, _ in with_texts],
            [metadata for _, metadata in with_texts],
        )
        wrong.update(differing(rows, expected))
    return wrong | texts.keys()


def _wanted(ids: list[str], changed: Collection[str] | None) -> list[str]:
    if changed is None:
        return ids
    touched = set(changed)
    others = [record_id for record_id in ids if record_id not in touched]
    return [record_id for record_id in ids if record_id in touched] + sample(others, SAMPLE_SIZE, len(ids))


def differing(page: ChromaRows, expected: Expected) -> Iterator[str]:
    """The ids of the rows that are not what is `expected` of them, but for the last bits of floats in metadata."""
    vectors = np.ascontiguousarray(page.vectors, dtype="<f4")
    for record_id, vector, document, metadata in zip(
        page.ids, vectors, page.documents, page.metadata, strict=True
    ):
        wanted, sent = expected[record_id]
        same = record_hash(record_id, vector.tobytes(), document, sent) == wanted
        if not same or not (_is_text_of(metadata, sent) or _same_metadata(metadata, parse_metadata(sent))):
            yield record_id


def _is_text_of(found: object, sent: str | None) -> bool:
    """Whether `found` is written exactly as `sent`: a quick look, false for some that are equal."""
    if found is None or sent is None:
        return found is sent
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS) == sent.encode()


def _same_metadata(found: object, sent: object) -> bool:
    """Equal, also in type, but for the last bits of a float."""
    if isinstance(found, dict) and isinstance(sent, dict):
        return found.keys() == sent.keys() and all(_same_metadata(found[key], sent[key]) for key in sent)
    if isinstance(found, list) and isinstance(sent, list):
        return len(found) == len(sent) and all(map(_same_metadata, found, sent))
    if type(found) is not type(sent):
        return False
    if isinstance(found, float) and isinstance(sent, float):
        return math.isclose(found, sent, rel_tol=FLOAT_TOLERANCE, abs_tol=0.0)
    return found == sent
