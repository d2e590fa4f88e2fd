"""What publishing relies on when several write at once: on each S3 server, over many rounds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.errors import PreconditionError

WRITERS = 6
ROUNDS = 20
"""Each with a key of its own and all at once: SeaweedFS has writers of one key wait for whole seconds."""

Write = Callable[[bytes], None]


@pytest.fixture
def store(any_store: Store) -> Store:
    """Each test of this file runs on both S3 servers."""
    return any_store


def winners(write: Write) -> list[bytes]:
    """What was written by those who were told that they wrote, of many who began at one moment."""
    gate = Barrier(WRITERS)

    def attempt(number: int) -> bytes | None:
        content = f"of writer {number}".encode()
        gate.wait()
        try:
            write(content)
        except PreconditionError:
            return None
        return content

    with ThreadPoolExecutor(WRITERS) as pool:
        return [content for content in pool.map(attempt, range(WRITERS)) if content is not None]


def every_round(run: Callable[[int], None]) -> None:
    """Call `run` with the number of each round; the first failure is raised."""
    with ThreadPoolExecutor(ROUNDS) as pool:
        list(pool.map(run, range(ROUNDS)))


def test_of_many_creations_one_wins(store: Store) -> None:
    """One writer is told that it created the object, all others that they did not; its content is there.

    Every other round the key had an object before, which was deleted.
    """

    def run(number: int) -> None:
        key = f"created/{number}"
        if number % 2:
            store.create(key, b"before")
            store.delete([key])
        assert winners(lambda content: store.create(key, content)) == [store.get(key)]

    every_round(run)


def test_of_many_replacements_one_wins(store: Store) -> None:
    """One of those who read the same state replaces it; its content is there, and the ETag is another."""

    def run(number: int) -> None:
        key = f"replaced/{number}"
        store.create(key, b"start")
        etag = store.fetch(key).etag
        won = winners(lambda content: store.replace(key, content, etag))
        found = store.fetch(key)
        assert won == [found.data]
        assert found.etag != etag

    every_round(run)


def test_no_replacement_is_lost(store: Store) -> None:
    """Four writers add to one number, each by reading and replacing until it is let: the sum is right."""
    store.put("number", b"0")

    def add(times: int) -> None:
        while times:
            found = store.fetch("number")
            try:
                store.replace("number", str(int(found.data) + 1).encode(), found.etag)
            except PreconditionError:
                continue
            times -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, [10] * 4))
    assert store.get("number") == b"40"


def test_readers_see_one_content_whole(store: Store) -> None:
    """While an object is replaced, each reader gets one content from end to end, and none older than before."""
    size, last = 300_000, 20
    store.put("key", bytes(size))
    done = Event()

    def read() -> list[int]:
        seen: list[int] = []
        while not done.is_set():
            data = store.get("key")
            assert data == data[:1] * size
            seen.append(data[0])
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for number in range(1, last + 1):
                store.replace("key", bytes([number]) * size, store.fetch("key").etag)
        finally:
            done.set()
    for reader in readers:
        assert reader.result() == sorted(reader.result())
    assert any(len(set(reader.result())) > 1 for reader in readers)
