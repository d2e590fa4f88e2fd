"""What rollbacks make of the chain: which batches are in a version, which are out, and what came before."""

from __future__ import annotations

import pytest

from embedding_assets.errors import DamagedVersionError
from embedding_assets.versions.history import (
    accounted,
    before,
    content_history,
    withdrawn,
    withdrawn_generations,
)
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets_tests.chains import batch, key, name, rolled_back, version

V1 = version(1, None, [key(1)], batches=[batch("a"), batch("b")])
V2 = version(2, V1, [key(2)], batches=[batch("c")])
V3 = version(3, V2, [key(3)], batches=[batch("b", 1), batch("d")])
"""Three merges: a and b; c; b reprocessed, and d."""

TO_V1 = rolled_back(4, V3, V1)
AFTER = version(5, TO_V1, [key(5)], batches=[batch("e")])
TO_AFTER = rolled_back(7, version(6, AFTER, [key(6)], batches=[batch("f")]), TO_V1)
ROLLED = [AFTER, TO_V1, V3, V2, V1]
TWICE = [TO_AFTER, version(6, AFTER, [key(6)], batches=[batch("f")]), *ROLLED]


def test_the_latest_account_of_a_batch_counts() -> None:
    """By batch over the whole chain, whatever was rolled back."""
    found = accounted([V3, V2, V1])
    assert {batch_id: one.generation for batch_id, one in found.items()} == {"a": 0, "b": 1, "c": 0, "d": 0}
    assert set(accounted(ROLLED)) == {"a", "b", "c", "d", "e"}
    assert accounted([]) == {}


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        ([V1], [1]),
        ([V3, V2, V1], [3, 2, 1]),
        ([TO_V1, V3, V2, V1], [4, 1]),
        (ROLLED, [5, 4, 1]),
        (TWICE, [7, 4, 1]),
    ],
    ids=["first", "merges", "rollback", "merge on a rollback", "rollback to a rollback"],
)
def test_content_is_followed_through_rollbacks(chain: list[VersionManifest], wanted: list[int]) -> None:
    """Not what was published before, but what the content was built by."""
    assert [one.epoch for one in content_history(chain, chain[0])] == wanted


@pytest.mark.parametrize(
    ("chain", "content", "out"),
    [
        ([V3, V2, V1], V3, []),
        ([V3, V2, V1], V2, ["b", "d"]),
        ([V3, V2, V1], V1, ["b", "c", "d"]),
        ([TO_V1, V3, V2, V1], V3, []),
        (ROLLED, AFTER, ["b", "c", "d"]),
        (ROLLED, V2, ["b", "d", "e"]),
        (TWICE, TO_V1, ["b", "c", "d", "e", "f"]),
    ],
)
def test_what_is_out(chain: list[VersionManifest], content: VersionManifest, out: list[str]) -> None:
    """A batch whose latest account is not part of the content: `b` in its first generation is not the last."""
    assert withdrawn(chain, content) == tuple(out)


@pytest.mark.parametrize(
    ("delta", "out"), [("the same/", ()), ("another/", ("a",)), (None, ("a",))], ids=["same", "other", "none"]
)
def test_the_same_delta_again_is_in_either_way(delta: str | None, out: tuple[str, ...]) -> None:
    """Reprocessed without a change; without a delta there is nothing to be the same."""
    first = version(1, None, [key(1)], batches=[batch("a", 0, None if delta is None else "the same/")])
    second = version(2, first, [key(2)], batches=[batch("a", 1, delta)])
    assert withdrawn([second, first], first) == out


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        ([V1], None),
        ([V2, V1], V1),
        ([V3, V2, V1], V2),
        ([TO_V1, V3, V2, V1], None),
        ([rolled_back(4, V3, V2), V3, V2, V1], V1),
        (ROLLED, TO_V1),
    ],
    ids=["first", "second", "third", "rolled back to the first", "to the second", "merge on a rollback"],
)
def test_the_version_before(chain: list[VersionManifest], wanted: VersionManifest | None) -> None:
    """What the content was built on: after a rollback one step further back than that."""
    assert before(chain, chain[0]) == wanted


def test_before_a_rollback_to_a_rollback_is_other_content() -> None:
    """A rollback by default always goes back: not to another version of the very same content."""
    to_second = rolled_back(4, V3, V2)
    bad = version(5, to_second, [key(5)])
    again = rolled_back(6, bad, to_second)
    chain = [again, bad, to_second, V3, V2, V1]
    assert before(chain, again) == V1


def test_only_a_greater_generation_comes_back() -> None:
    """The generation of each batch that is out; one that no version accounts for is not told."""
    out = TO_V1.model_copy(update={"withdrawn": ("b", "d", "unknown")})
    assert withdrawn_generations([out, V3, V2, V1], out) == {"b": 1, "d": 0}


def test_a_chain_that_was_cut_ends_there() -> None:
    """What is not among the manifests given is not looked for."""
    assert [one.version for one in content_history([V3, V2], V3)] == [name(3), name(2)]


@pytest.mark.parametrize("to", [V2, V3], ids=["its own child", "itself"])
def test_a_history_that_comes_back_to_itself(to: VersionManifest) -> None:
    """A rollback that names a newer version: the walk ends with a line, whoever asks."""
    newest = V3.model_copy(update={"rolled_back_to": V2.version})
    older = V2.model_copy(update={"rolled_back_to": to.version})
    for ask in (
        lambda: list(content_history([newest, older, V1], newest)),
        lambda: withdrawn([newest, older], newest),
    ):
        with pytest.raises(DamagedVersionError, match="leads back to"):
            ask()
