"""A Chroma index as another program makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import chromadb
import numpy as np

from embedding_assets_tests.reference import Expected


def foreign(folder: Path, wanted: Sequence[Expected], *names: str) -> Path:
    """A Chroma directory with the same records in each of the collections `names`; returns `folder`."""
    client = chromadb.PersistentClient(str(folder))
    for name in names or ("receipts",):
        made = client.create_collection(name, embedding_function=None)
        for one in wanted:
            metadata = None if one.metadata is None else [dict(one.metadata)]
            documents = None if one.document is None else [one.document]
            vectors = np.asarray([one.vector], np.float32)
            made.add(ids=[one.id], embeddings=vectors, documents=documents, metadatas=metadata)  # type: ignore[arg-type]
    client.close()  # type: ignore[attr-defined]
    return folder
