"""The bucket: conditional writes for real, all pages, and errors that are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.errors import NotFoundError, PreconditionError, ServiceError


@pytest.fixture
def store(any_store: Store) -> Store:
    """Each test of this file runs on both S3 servers."""
    return any_store


def test_whole_objects(store: Store) -> None:
    """What is written is read, with the ETag it had."""
    store.put("a/b", b"one")
    first = store.fetch("a/b")
    assert first.data == store.get("a/b") == b"one"
    store.put("a/b", b"two")
    assert store.fetch("a/b").etag != first.etag


def test_a_missing_key_is_told(store: Store, tmp_path: Path) -> None:
    """Missing is its own error, or None if that was asked for."""
    assert store.find("missing") is None
    with pytest.raises(NotFoundError, match=f"s3://{store.bucket}/missing"):
        store.get("missing")
    with pytest.raises(NotFoundError):
        store.download_file("missing", tmp_path / "file")


def test_a_missing_bucket_is_no_missing_key(store: Store) -> None:
    """A bucket that is not there must not look like an object that is not there: nothing would be published."""
    elsewhere = Store("no-such-bucket", store._client, store._single_try)
    with pytest.raises(ServiceError) as raised:
        elsewhere.find("key")
    assert not isinstance(raised.value, NotFoundError)


def test_create_wants_nothing_there(store: Store) -> None:
    """The second creation changes nothing."""
    store.create("key", b"one")
    with pytest.raises(PreconditionError):
        store.create("key", b"two")
    assert store.get("key") == b"one"


def test_replace_wants_exactly_the_one_that_was_read(store: Store) -> None:
    """An ETag of an older state changes nothing."""
    store.put("key", b"one")
    old = store.fetch("key").etag
    store.replace("key", b"two", old)
    with pytest.raises(PreconditionError):
        store.replace("key", b"three", old)
    assert store.get("key") == b"two"


def test_list_gives_all_pages_in_key_order(store: Store) -> None:
    """More keys than one page; the prefix cuts exactly."""
    for number in range(33):
        store.put(f"many/{number:04}", b"x" * (number % 3))
    store.put("man", b"")
    store.put("many0", b"")
    pages: list[int] = []

    def small_pages(params: dict[str, Any], **event: Any) -> None:
        pages.append(1)
        params["MaxKeys"] = 10

    events = store._client.meta.events
    events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    try:
        found = list(store.list("many/"))
    finally:
        events.unregister("provide-client-params.s3.ListObjectsV2", small_pages)
    assert [entry.key for entry in found] == [f"many/{number:04}" for number in range(33)]
    assert found[2].size == 2
    assert len(pages) == 4


def test_delete_takes_what_is_there(store: Store) -> None:
    """More keys than one call takes; a missing one is no error; others stay."""
    for name in ("a", "b", "c"):
        store.put(name, b"")
    store.delete([*(f"missing-{number}" for number in range(1001)), "a", "c"])
    assert [entry.key for entry in store.list("")] == ["b"]
    store.delete([])


class RefusingClient:
    """S3 that answers 200 to DeleteObjects, and names in the body what it did not delete."""

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        refused = [
            {"Key": entry["Key"], "Code": "AccessDenied", "Message": "Access Denied"}
            for entry in request["Delete"]["Objects"]
        ]
        return {"Errors": refused}


def test_a_deletion_that_was_refused_is_told() -> None:
    """DeleteObjects answers 200 also if it deleted nothing; silence would leave an old manifest standing."""
    client = cast(Any, RefusingClient())
    with pytest.raises(ServiceError, match="AccessDenied"):
        Store("bucket", client, client).delete(["key"])


def test_directories_of_files(store: Store, tmp_path: Path) -> None:
    """Many files side by side; folders are made; the first error is raised."""
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x" * number)
    store.upload_files((tmp_path / f"{number}", f"up/{number}") for number in range(20))
    store.download_files((f"up/{number}", tmp_path / "deep" / "down" / f"{number}") for number in range(20))
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "deep" / "down").iterdir()}
    assert sizes == {f"{number}": number for number in range(20)}
    with pytest.raises(NotFoundError):
        store.download_files([("up/1", tmp_path / "one"), ("missing", tmp_path / "two")])
