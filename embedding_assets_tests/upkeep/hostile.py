"""What tests of odd indexes begin with."""

from __future__ import annotations

from pathlib import Path

from embedding_assets.chroma.collection import ChromaRows, ChromaWriter
from embedding_assets_tests.deltas import matrix, records


def graph_index(directory: Path, count: int) -> Path:
    """A Chroma directory of so many records with its graph on disk; returns `directory`."""
    wanted = records("r", count)
    documents, metadata = [one.document for one in wanted], [dict(one.metadata or {}) for one in wanted]
    with ChromaWriter(directory, "receipts", "l2", count) as writer:
        writer.add(ChromaRows([one.id for one in wanted], matrix(wanted), documents, [*metadata]))
    return directory


def blind(folder: Path) -> Path:
    """A folder for PYTHONPATH: processes with it do not look at the graph of an index before Chroma does."""
    folder.mkdir()
    lines = [
        "import embedding_assets.chroma.foreign_database as module",
        "module.check_graph = lambda directory, collection: None",
    ]
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    return folder
