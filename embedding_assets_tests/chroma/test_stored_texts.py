"""Documents and metadata read from Chroma's tables are those that Chroma gives back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.chroma.collection import DATABASE_FILE, open_collection, read_texts
from embedding_assets.chroma.stored_texts import stored_texts
from embedding_assets_tests.chroma.both_writers import NAME, write_by_chroma, write_direct
from embedding_assets_tests.chroma.test_direct_writer import varied
from embedding_assets_tests.reference import Expected

Write = Callable[[Path, list[Expected]], Any]

WANTED = varied(60)
IDS = [one.id for one in WANTED]


@pytest.mark.parametrize("write", [write_by_chroma, write_direct])
def test_they_are_what_chroma_gives(tmp_path: Path, write: Write) -> None:
    """Every type of value, lists too, whoever wrote them; those that are not wanted are left out."""
    directory = tmp_path / "version"
    write(directory, WANTED)
    found = stored_texts(directory / DATABASE_FILE, IDS[:-1])
    assert found is not None
    assert found.keys() == set(IDS[:-1])
    assert any(isinstance(value, list) for _, metadata in found.values() for value in (metadata or {}).values())
    with open_collection(directory, NAME) as opened:
        for page in read_texts(opened, IDS[:-1]):
            for record_id, document, metadata in zip(page.ids, page.documents, page.metadata, strict=True):
                assert found[record_id] == (document, metadata)
