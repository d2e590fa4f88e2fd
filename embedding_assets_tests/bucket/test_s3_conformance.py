"""What the product relies on from S3, on each server: conditions, listings, keys, sizes, transfers in parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from embedding_assets.bucket import store as store_module
from embedding_assets.bucket.store import DELETE_AT_ONCE, Store
from embedding_assets.errors import NotFoundError, PreconditionError, ServiceError

ODD_NAMES = [
    *(f"a{mark}b" for mark in " !\"#$%&'()*+,-.:;<=>?@[]^_`{|}~"),
    "%2F",
    "a%20b",
    "a+b c",
    "..a",
    ".hidden",
    "A",
    "UPPER",
    "e\u0301",
    "\u00e9",
    "ü",
    "日本語",
    "😀",
]
"""Names of one folder that S3 takes and that are easily changed on the way."""
PART = 5 * 2**20
"""The smallest part that S3 takes."""


@pytest.fixture
def store(any_store: Store) -> Store:
    """Each test of this file runs on both S3 servers."""
    return any_store


@pytest.fixture
def server(store: Store, request: pytest.FixtureRequest) -> str:
    """Name of the S3 server of this test."""
    return str(request.node.callspec.params["any_store"])


@contextmanager
def requests(store: Store, operation: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """`change` sees, and may change, the parameters of each such request."""
    events, name = store._client.meta.events, f"provide-client-params.s3.{operation}"

    def pass_on(params: dict[str, Any], **event: Any) -> None:
        change(params)

    events.register(name, pass_on)
    try:
        yield
    finally:
        events.unregister(name, pass_on)


def test_what_was_refused_changed_nothing(store: Store) -> None:
    """Content, ETag and instant stay as they were after a stale replacement and a second creation."""
    store.put("key", b"first")
    stale = store.fetch("key").etag
    store.put("key", b"second")
    before = store.fetch("key"), list(store.list(""))
    with pytest.raises(PreconditionError):
        store.replace("key", b"third", stale)
    with pytest.raises(PreconditionError):
        store.create("key", b"third")
    assert (store.fetch("key"), list(store.list(""))) == before
    assert before[0].data == b"second"


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 100_000], ids=len)
def test_a_fetched_etag_is_what_a_replacement_wants(store: Store, content: bytes) -> None:
    """After each kind of write, also of the same content again."""
    store.create("key", content)
    for number in range(3):
        found = store.fetch("key")
        assert found.data == content
        store.replace("key", content, found.etag)
        store.put("key", content + bytes([number]))
        found = store.fetch("key")
        store.replace("key", content, found.etag)
    assert store.get("key") == content


@pytest.mark.parametrize("deleted", [False, True], ids=["never there", "deleted"])
def test_nothing_there_is_not_replaced(store: Store, deleted: bool) -> None:
    """Whatever ETag is given: the condition fails, and nothing is there afterwards.

    S3 and moto answer 404, SeaweedFS 412.
    """
    store.put("key" if deleted else "other", b"x")
    etag = store.fetch("key" if deleted else "other").etag
    store.delete(["key", "other"])
    with pytest.raises(PreconditionError):
        store.replace("key", b"y", etag)
    assert store.find("key") is None
    assert list(store.list("")) == []


def test_each_write_and_deletion_is_seen_at_once(store: Store) -> None:
    """By reading and by listing; after a deletion the key can be created again."""
    for number in range(8):
        content = b"x" * number
        store.create("a/key", content)
        assert store.get("a/key") == content
        assert [(entry.key, entry.size) for entry in store.list("a/")] == [("a/key", number)]
        store.put("a/key", content + b"more")
        assert store.get("a/key") == content + b"more"
        assert [entry.size for entry in store.list("a/")] == [number + 4]
        store.delete(["a/key"])
        assert store.find("a/key") is None
        assert list(store.list("")) == []


def test_odd_names_come_back_unchanged_and_in_order(store: Store, tmp_path: Path) -> None:
    """Written, read, listed over several pages in the order of their UTF-8 bytes, downloaded, deleted."""
    keys = [f"folder of ü/{name}" for name in ODD_NAMES]
    assert len(set(keys)) == len(keys)
    for key in keys:
        store.create(key, key.encode())
    with requests(store, "ListObjectsV2", lambda params: params.update(MaxKeys=7)):
        assert [entry.key for entry in store.list("folder of ü/")] == sorted(keys, key=str.encode)
    for number, key in enumerate(keys):
        store.download_file(key, tmp_path / str(number))
        assert store.get(key) == (tmp_path / str(number)).read_bytes() == key.encode()
    store.delete(keys[1:])
    assert [entry.key for entry in store.list("")] == keys[:1]


def test_folders_are_listed_page_by_page_each_key_once(store: Store, server: str) -> None:
    """S3 and moto order by the bytes of whole keys.

    SeaweedFS keeps folders and lists `a/…` where `a` would stand, before `a!` and `a-b`. Nothing here relies
    on more than what both have: every key once, whatever the page size, and order within one folder.
    """
    folders = ["a", "a!", "a-b", "a.b", "a0", "a/b", "a/b-c", "b"]
    keys = [f"{folder}/{name}" for folder in folders for name in ("1", "2", "deep/1")] + ["a!x", "a-", "a.c", "c"]
    for key in keys:
        store.put(key, b"x")
    by_bytes = sorted(keys, key=str.encode)
    by_folder = sorted(keys, key=lambda key: [part.encode() for part in key.split("/")])
    assert by_bytes != by_folder
    for page in (2, 7, 1000):
        with requests(store, "ListObjectsV2", lambda params, page=page: params.update(MaxKeys=page)):  # type: ignore[misc]
            assert [entry.key for entry in store.list("")] == {"moto": by_bytes, "seaweed": by_folder}[server]
            for prefix in ("a", "a/", "a/b", "a-", "a!", "b/deep/", "c", "d"):
                found = {entry.key for entry in store.list(prefix)}
                assert found == {key for key in keys if key.startswith(prefix)}


def test_more_than_one_call_takes_is_deleted(store: Store) -> None:
    """One in twenty of the keys is there, the first and the last too; what is not among them stays."""
    keys = [f"many/{number:05}" for number in range(DELETE_AT_ONCE + 1)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys[::20]))
    store.put("many", b"stays")
    assert [entry.key for entry in store.list("many/")] == keys[::20]
    assert keys[::20][-1] == keys[-1]
    store.delete(keys)
    assert [entry.key for entry in store.list("")] == ["many"]


def test_instants_are_recent_and_have_a_zone(store: Store) -> None:
    """What gc compares with its clock."""
    before = datetime.now(UTC)
    store.put("key", b"x")
    [entry] = store.list("")
    assert entry.last_modified.utcoffset() is not None
    assert before - timedelta(seconds=2) < entry.last_modified < datetime.now(UTC) + timedelta(seconds=2)


def test_nothing_is_content_too(store: Store, tmp_path: Path) -> None:
    """An object of zero bytes is there, by every way in and out."""
    (tmp_path / "empty").touch()
    store.put("put", b"")
    store.create("created", b"")
    store.upload_file(tmp_path / "empty", "uploaded")
    assert [(entry.key, entry.size) for entry in store.list("")] == [("created", 0), ("put", 0), ("uploaded", 0)]
    for key in ("put", "created", "uploaded"):
        assert store.get(key) == b""
        store.download_file(key, tmp_path / key)
        assert (tmp_path / key).read_bytes() == b""
        with pytest.raises(PreconditionError):
            store.create(key, b"x")


def test_a_large_file_goes_and_comes_in_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, size and ETag are as of any other object; it replaces one, and is replaced on its own ETag."""
    monkeypatch.setattr(store_module, "IN_PARTS_FROM", PART)
    in_parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=8)
    monkeypatch.setattr(store_module, "TRANSFERS", in_parts)
    content = os.urandom(2 * PART + 1)
    (tmp_path / "large").write_bytes(content)
    sent: list[int] = []
    ranges: list[str] = []
    store.put("large", b"small")
    with requests(store, "UploadPart", lambda params: sent.append(params["PartNumber"])):
        store.upload_file(tmp_path / "large", "large")
    with requests(store, "GetObject", lambda params: ranges.append(params.get("Range", "whole"))):
        store.download_file("large", tmp_path / "down" / "large")
    assert sorted(sent) == [1, 2, 3]
    assert len(set(ranges) - {"whole"}) == 3
    assert (tmp_path / "down" / "large").read_bytes() == store.get("large") == content
    assert [(entry.key, entry.size) for entry in store.list("")] == [("large", len(content))]
    etag = store.fetch("large").etag
    with pytest.raises(PreconditionError):
        store.create("large", b"x")
    store.replace("large", b"small again", etag)
    with pytest.raises(PreconditionError):
        store.replace("large", b"x", etag)
    assert store.get("large") == b"small again"


CALLS: dict[str, Callable[[Store, Path], object]] = {
    "get": lambda store, path: store.get("key"),
    "find": lambda store, path: store.find("key"),
    "put": lambda store, path: store.put("key", b"x"),
    "create": lambda store, path: store.create("key", b"x"),
    "list": lambda store, path: list(store.list("")),
    "delete": lambda store, path: store.delete(["key"]),
    "upload": lambda store, path: store.upload_file(path, "key"),
    "download": lambda store, path: store.download_file("key", path),
}


@pytest.fixture
def elsewhere(store: Store) -> Iterator[Store]:
    """A bucket that is not there, and is not made by any request."""
    missing = Store(f"{store.bucket}-not", store._client, store._single_try)
    yield missing
    assert missing.bucket not in {bucket["Name"] for bucket in store._client.list_buckets()["Buckets"]}


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_bucket_is_neither_a_missing_key_nor_a_failed_condition(
    elsewhere: Store, tmp_path: Path, name: str
) -> None:
    """A wrong name must not look like a bucket in which nothing was published."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ServiceError, match="NoSuchBucket") as raised:
        CALLS[name](elsewhere, tmp_path / "file")
    assert not isinstance(raised.value, NotFoundError | PreconditionError)


def test_nothing_is_replaced_in_a_missing_bucket(elsewhere: Store, server: str) -> None:
    """SeaweedFS looks at the condition before it looks for the bucket, unlike S3 and moto.

    Publishing reads the pointer after each failed condition, and that tells.
    """
    with pytest.raises(ServiceError) as raised:
        elsewhere.replace("key", b"x", '"0123456789abcdef0123456789abcdef"')
    assert isinstance(raised.value, PreconditionError) == (server == "seaweed")
    assert not isinstance(raised.value, NotFoundError)
    with pytest.raises(ServiceError, match="NoSuchBucket"):
        elsewhere.find("key")
