"""The commit protocol: one commit point, lost answers, conflicts, and fences."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedding_assets.bucket.keys import version_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError, LockError, NotFoundError, PreconditionError, TransientError
from embedding_assets.versions import publish
from embedding_assets.versions.manifest import (
    Pointer,
    VersionManifest,
    chain,
    read_pointer,
    read_version,
)
from embedding_assets.versions.publish import commit, fence
from embedding_assets_tests.faulty_s3 import Step, faulty_store, lose, nothing

POINTER = "lines/snapshot/latest/manifest.json"


@pytest.fixture
def store(any_store: Store) -> Store:
    """Each test of this file runs on both S3 servers."""
    return any_store


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "time", _Impatient)


class _Impatient:
    """Time without waiting between tries."""

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


def manifest(version: str, epoch: int, parent: str | None = None) -> VersionManifest:
    return VersionManifest(
        version=version,
        database="lines",
        collection="lines",
        execution_id="20260102T120000Z-00000000",
        parent=parent,
        epoch=epoch,
        commit_id=f"commit of {version}",
        created_at="2026-01-02T12:00:00Z",
        model="text-embedding-3-small",
        dimensions=8,
        space="l2",
        chroma_version="1.5.9",
        total_embeddings=0,
        content_digest="0" * 64,
        files=(),
        batches=(),
        fence=epoch,
    )


def pointer_of(store: Store) -> Pointer:
    pointer = read_pointer(store, LINES)
    assert pointer is not None
    return pointer


def published(store: Store, version: str, epoch: int, base: Pointer | None = None) -> Pointer:
    commit(store, LINES, manifest(version, epoch, base.manifest.version if base else None), base)
    return pointer_of(store)


def keys(store: Store) -> set[str]:
    return {entry.key for entry in store.list("")}


def version_key(version: str) -> str:
    return f"lines/snapshot/versions/{version}/manifest.json"


def test_nothing_is_published_at_first(store: Store) -> None:
    """No pointer, no version."""
    assert read_pointer(store, LINES) is None
    with pytest.raises(NotFoundError, match="no version '1-a'"):
        read_version(store, LINES, "1-a")


def test_commits_make_a_chain(store: Store) -> None:
    """Each commit writes its manifest and replaces the pointer with the same bytes: no other key."""
    first = published(store, "1-a", 1)
    second = published(store, "2-b", 2, first)
    assert keys(store) == {POINTER, version_key("1-a"), version_key("2-b")}
    assert store.get(POINTER) == store.get(version_key("2-b"))
    assert [one.version for one in chain(store, LINES, second.manifest)] == ["2-b", "1-a"]
    assert read_version(store, LINES, "1-a") == first.manifest
    assert version_prefix(LINES, "1-a") == "lines/snapshot/versions/1-a/"


def test_a_commit_on_an_old_base_conflicts(store: Store) -> None:
    """Another version was published meanwhile: it stays, and ours must be built on it."""
    first = published(store, "1-a", 1)
    published(store, "2-b", 2, first)
    with pytest.raises(PreconditionError, match="2-b"):
        commit(store, LINES, manifest("2-c", 2, "1-a"), first)
    assert pointer_of(store).manifest.version == "2-b"


def test_a_first_commit_conflicts_with_another_first_one(store: Store) -> None:
    """Who built on nothing may not replace something."""
    published(store, "1-a", 1)
    with pytest.raises(PreconditionError, match="1-a"):
        commit(store, LINES, manifest("1-b", 1), None)
    assert pointer_of(store).manifest.version == "1-a"


@pytest.mark.parametrize("with_base", [False, True])
def test_of_many_commits_on_one_base_one_wins(store: Store, with_base: bool) -> None:
    """Eight writers at once: one version, seven conflicts, and the winner is the pointer."""
    base = published(store, "1-a", 1) if with_base else None

    def attempt(number: int) -> bool:
        try:
            commit(store, LINES, manifest(f"2-{number}", 2, "1-a" if base else None), base)
        except PreconditionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert pointer_of(store).manifest.version == f"2-{won.index(True)}"


@pytest.mark.parametrize("with_base", [False, True])
def test_a_lost_answer_is_recognised(store: Store, with_base: bool) -> None:
    """The write was applied, its answer not heard: the commit_id in the pointer tells, nothing is sent again."""
    base = published(store, "1-a", 1) if with_base else None
    faulty, puts = faulty_store(store, POINTER, (nothing, lose))
    commit(faulty, LINES, manifest("2-b", 2, "1-a" if base else None), base)
    assert puts.sent == 1
    assert pointer_of(store).manifest.version == "2-b"


@pytest.mark.parametrize("with_base", [False, True])
def test_a_lost_request_is_sent_again(store: Store, with_base: bool) -> None:
    """The write never arrived: it is sent again, on the same condition."""
    base = published(store, "1-a", 1) if with_base else None
    faulty, puts = faulty_store(store, POINTER, (lose, nothing), (lose, nothing))
    commit(faulty, LINES, manifest("2-b", 2, "1-a" if base else None), base)
    assert puts.sent == 3
    assert pointer_of(store).manifest.version == "2-b"


def test_a_commit_is_recognised_in_the_parent_chain(store: Store) -> None:
    """Applied, not heard of, and two others built on it before anyone looked: it still counts as published."""
    first = published(store, "1-a", 1)

    def others_publish(key: str) -> None:
        second = published(store, "3-c", 3, pointer_of(store))
        published(store, "4-d", 4, second)
        lose(key)

    faulty, puts = faulty_store(store, POINTER, (nothing, others_publish))
    commit(faulty, LINES, manifest("2-b", 2, "1-a"), first)
    assert puts.sent == 1
    assert [one.version for one in chain(store, LINES, pointer_of(store).manifest)] == ["4-d", "3-c", "2-b", "1-a"]


def test_a_lost_request_overtaken_by_another_conflicts(store: Store) -> None:
    """The write never arrived and another was published meanwhile: ours is not in the chain."""
    first = published(store, "1-a", 1)

    def other_publishes(key: str) -> None:
        published(store, "1-c", 1, first)
        lose(key)

    faulty, _ = faulty_store(store, POINTER, (other_publishes, nothing))
    with pytest.raises(PreconditionError, match="1-c"):
        commit(faulty, LINES, manifest("1-b", 1, "1-a"), first)
    assert pointer_of(store).manifest.version == "1-c"


def test_a_pointer_that_cannot_be_written_is_passing(store: Store) -> None:
    """No answer at all, ever: told as a passing error after a bounded number of tries; nothing is published."""
    first = published(store, "1-a", 1)
    faulty, puts = faulty_store(store, POINTER, *[(lose, nothing)] * 50)
    with pytest.raises(TransientError, match="lines"):
        commit(faulty, LINES, manifest("2-b", 2, "1-a"), first)
    assert puts.sent == 5
    assert pointer_of(store) == first


def test_a_lost_answer_for_the_versions_manifest_is_recognised(store: Store) -> None:
    """The version's own manifest is created once; finding the same bytes there is success."""
    faulty, puts = faulty_store(store, version_key("1-a"), (nothing, lose))
    commit(faulty, LINES, manifest("1-a", 1), None)
    assert puts.sent == 1
    assert pointer_of(store).manifest.version == "1-a"


def test_a_pointer_that_is_gone_is_damage(store: Store) -> None:
    """It was there when the version was built: it is not taken for a database that was never published."""
    first = published(store, "1-a", 1)
    store.delete([POINTER])
    with pytest.raises(DamagedError, match="gone"):
        commit(store, LINES, manifest("2-b", 2, "1-a"), first)
    with pytest.raises(DamagedError, match="gone"):
        fence(store, LINES, first, 2)
    assert read_pointer(store, LINES) is None


def test_a_versions_manifest_is_never_rewritten(store: Store) -> None:
    """A version's name taken by other content publishes nothing."""
    store.put(version_key("1-a"), b"other content")
    with pytest.raises(PreconditionError, match="1-a"):
        commit(store, LINES, manifest("1-a", 1), None)
    assert store.get(version_key("1-a")) == b"other content"
    assert read_pointer(store, LINES) is None


def test_a_fence_makes_the_former_holders_commit_fail(store: Store) -> None:
    """The former holder read the pointer, was taken over, and wakes up: its write finds the fence."""
    first = published(store, "1-a", 1)
    fenced = fence(store, LINES, first, 3)
    assert fenced is not None
    assert (fenced.manifest.version, fenced.manifest.fence, fenced.epoch) == ("1-a", 3, 3)
    with pytest.raises(LockError, match="epoch 3"):
        commit(store, LINES, manifest("2-b", 2, "1-a"), first)
    assert pointer_of(store) == fenced
    assert read_version(store, LINES, "1-a").fence == 1


def test_who_fenced_can_publish(store: Store) -> None:
    """The new holder builds on the fenced pointer."""
    fenced = fence(store, LINES, published(store, "1-a", 1), 3)
    published(store, "3-b", 3, fenced)
    assert pointer_of(store).epoch == 3


def test_nothing_is_published_over_a_higher_epoch(store: Store) -> None:
    """Also not by a former holder that read the pointer after it was fenced: its ETag is the right one."""
    fenced = fence(store, LINES, published(store, "1-a", 1), 3)
    with pytest.raises(LockError, match="epoch 3"):
        commit(store, LINES, manifest("2-b", 2, "1-a"), fenced)
    assert pointer_of(store) == fenced


def test_nothing_is_published_over_a_version_of_a_higher_epoch(store: Store) -> None:
    """The same for a higher epoch's version, as against its fence."""
    newer = published(store, "5-a", 5)
    with pytest.raises(LockError, match="epoch 5"):
        commit(store, LINES, manifest("4-b", 4, "5-a"), newer)
    assert pointer_of(store) == newer


def test_a_fence_never_goes_back(store: Store) -> None:
    """A greater epoch was there first: whoever comes with a smaller one has lost the lock."""
    first = published(store, "1-a", 1)
    fenced = fence(store, LINES, first, 5)
    with pytest.raises(LockError):
        fence(store, LINES, first, 4)
    assert pointer_of(store) == fenced


def test_fencing_an_outdated_pointer_fences_the_present_one(store: Store) -> None:
    """The former holder published just before: its version is kept and fenced."""
    first = published(store, "1-a", 1)
    second = published(store, "1-b", 1, first)
    fenced = fence(store, LINES, first, 2)
    assert fenced is not None
    assert (fenced.manifest.version, fenced.epoch) == ("1-b", 2)
    assert fenced.etag != second.etag


@pytest.mark.parametrize("fault", [(nothing, lose), (lose, nothing)], ids=["answer lost", "request lost"])
def test_a_fence_whose_answer_is_lost_stands(store: Store, fault: tuple[Step, Step]) -> None:
    """Written once or twice, the pointer is fenced then."""
    first = published(store, "1-a", 1)
    faulty, _ = faulty_store(store, POINTER, fault)
    fenced = fence(faulty, LINES, first, 2)
    assert fenced == pointer_of(store)
    assert fenced.epoch == 2


def test_a_pointer_that_is_no_manifest_is_damage(store: Store) -> None:
    """It is not taken for a database that has no version: that would publish over it."""
    store.put(POINTER, b"{}")
    with pytest.raises(DamagedError, match="latest"):
        read_pointer(store, LINES)
