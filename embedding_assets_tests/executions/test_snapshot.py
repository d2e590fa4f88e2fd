"""`open_snapshot`: what an application reads is one published version, also while others are published."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from embedding_assets import open_snapshot
from embedding_assets.errors import DamagedError, InputError, NotFoundError
from embedding_assets.settings import Settings
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.fresh_python import BEYOND_THE_BASE, run_python, without

FIRST = records("a-", 5)
SECOND = records("b-", 3, seed=50)


def publish(bench: Workbench, number: int) -> None:
    """One more version."""
    bench.merge([bench.batch(f"b{number}", (FIRST, SECOND)[number - 1], at(number))], number)


@pytest.mark.parametrize("cached", [False, True])
def test_it_follows_what_is_published(
    bench: Workbench, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    """Found by vector, with its documents; `refresh` opens the next version; nothing is left behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    publish(bench, 1)
    cache = tmp_path / "cache" if cached else None
    with open_snapshot("lines", bucket=settings.bucket, cache_dir=cache) as snapshot:
        assert (snapshot.collection.count(), snapshot.version) == (5, bench.pointer().manifest.version)
        hits = snapshot.search(FIRST[2].vector, k=2)
        assert (hits[0].id, hits[0].document, hits[0].batch_id) == (FIRST[2].id, FIRST[2].document, "b1")
        assert len(hits) == 2
        assert hits[0].distance == pytest.approx(0, abs=1e-5)
        assert snapshot.refresh() is False
        publish(bench, 2)
        assert snapshot.collection.count() == 5
        assert snapshot.refresh() is True
        assert (snapshot.collection.count(), snapshot.manifest) == (8, bench.pointer().manifest)
        assert snapshot.search(SECOND[0].vector, k=1)[0].id == SECOND[0].id
        copies = list(temporary.iterdir())
    assert (len(copies), list(temporary.iterdir())) == (1, [])


def test_reading_needs_the_base_alone(bench: Workbench, settings: Settings, tmp_path: Path) -> None:
    """A version is opened and searched in a process that can import neither Dagster nor OpenAI's SDK.

    It has no variable of ours, and takes none from a `.env`. A search by text names the extra that it needs.
    """
    publish(bench, 1)
    (tmp_path / ".env").write_text("CHROMADB_BUCKET=of-the-file\n", encoding="utf-8")
    code = without(tuple(name for name in BEYOND_THE_BASE if name != "openai")) + (
        "sys.modules['openai'] = None\n"
        "from embedding_assets import EmbeddingAssetsError, open_snapshot\n"
        "try:\n    open_snapshot('lines')\n"
        "except EmbeddingAssetsError as error:\n    print(error)\n"
        f"with open_snapshot('lines', bucket={settings.bucket!r}) as snapshot:\n"
        "    print(snapshot.version, snapshot.collection.count())\n"
        f"    print(snapshot.search({list(map(float, FIRST[2].vector))}, k=1)[0].id)\n"
        "    try:\n        snapshot.search('a text')\n"
        "    except EmbeddingAssetsError as error:\n        print(error)\n"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    extra = "the extra `search`: pip install 'embedding-assets[search]' (not installed: openai)"
    assert done.stdout.splitlines() == [
        "no bucket: give `bucket`, or set CHROMADB_BUCKET",
        f"{bench.pointer().manifest.version} 5",
        FIRST[2].id,
        f"a search by text needs {extra}",
    ]


def test_the_cache_saves_the_download_and_is_not_believed(
    bench: Workbench, settings: Settings, tmp_path: Path
) -> None:
    """What it has is checked again; a file that was changed there is downloaded."""
    publish(bench, 1)
    cache = tmp_path / "cache"
    open_snapshot("lines", cache_dir=cache).close()
    version = bench.pointer().manifest.version
    (kept,) = (cache / settings.bucket / "lines").iterdir()
    assert kept.name == version
    (kept / "chroma.sqlite3").write_bytes(b"not what it was")
    with open_snapshot("lines", cache_dir=cache) as snapshot:
        assert snapshot.collection.count() == 5
    assert not list(tmp_path.glob("embedding-assets-snapshot-*"))


def test_a_filter_and_an_older_version(bench: Workbench, settings: Settings) -> None:
    """`where` is Chroma's; a version that is named stays the one that is open."""
    publish(bench, 1)
    first = bench.pointer().manifest.version
    publish(bench, 2)
    with open_snapshot("lines", version=first) as snapshot:
        assert (snapshot.version, snapshot.collection.count()) == (first, 5)
        assert snapshot.refresh() is False
        metadata = FIRST[1].metadata
        assert metadata is not None
        name, value = next(iter(metadata.items()))
        hits = snapshot.search(FIRST[1].vector, k=5, where={name: value})
        assert hits[0].id == FIRST[1].id
        assert all((hit.metadata or {}).get(name) == value for hit in hits)


def test_what_cannot_be_opened_is_said(bench: Workbench, settings: Settings) -> None:
    """Nothing published, no such version, a name that is none, a vector of another dimension, damaged bytes."""
    with pytest.raises(NotFoundError, match="lines has no published version yet"):
        open_snapshot("lines")
    with pytest.raises(InputError, match="'no/name' cannot be a database"):
        open_snapshot("no/name")
    publish(bench, 1)
    with pytest.raises(NotFoundError, match="no version 'nothing'"):
        open_snapshot("lines", version="nothing")
    with open_snapshot("lines") as snapshot, pytest.raises(InputError, match="3 dimensions, the version 8"):
        snapshot.search([1.0, 2.0, 3.0])
    key = next(file.key for file in bench.pointer().manifest.files if file.path == "chroma.sqlite3")
    bench.store.put(key, b"damaged")
    with pytest.raises(DamagedError):
        open_snapshot("lines")
