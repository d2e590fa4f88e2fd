"""The graph by projection: what it finds, how equal vectors are linked, and each of its gates closing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embedding_assets.chroma import direct_writer
from embedding_assets.chroma.collection import open_collection
from embedding_assets.chroma.direct_graph import RUNGS, WHOLE, DirectGraph, Rung
from embedding_assets.chroma.direct_writer import DirectlyWritten
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets.chroma.graph_links import NONE, Groups, Links, build_links, with_rings
from embedding_assets.chroma.projection import find_basis
from embedding_assets.chroma.recall import measure_recall
from embedding_assets_tests.chroma.both_writers import NAME, write_by_chroma, write_direct
from embedding_assets_tests.reference import Expected

WIDTH = 512
LATENT = 24

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def low_rank(count: int, seed: int = 0, width: int = WIDTH) -> Matrix:
    """Unit vectors that few directions hold, as embeddings are."""
    random = np.random.default_rng(seed)
    turned = np.linalg.qr(random.standard_normal((width, LATENT)))[0]
    vectors = random.standard_normal((count, LATENT)) @ turned.T + 0.02 * random.standard_normal((count, width))
    unit: Matrix = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def as_records(vectors: Matrix) -> list[Expected]:
    return [Expected(f"r{number}", tuple(row), None, None) for number, row in enumerate(vectors.tolist())]


def repeated(count: int, distinct: int) -> Matrix:
    """Few distinct vectors, the first of them very often."""
    random = np.random.default_rng(1)
    weights = 1 / np.arange(1, distinct + 1)
    chosen = random.choice(distinct, size=count, p=weights / weights.sum())
    return low_rank(distinct)[chosen]


def test_a_projection_finds_what_whole_vectors_find(tmp_path: Path) -> None:
    """The cheapest way is taken; Chroma finds in the files what was measured."""
    written = write_direct(tmp_path / "version", as_records(low_rank(1_200)), size=400)
    assert written.rung == RUNGS[0]
    assert written.recall >= 0.99
    assert measure_recall(tmp_path / "version", NAME, "l2") == pytest.approx(written.recall, abs=0.01)


def test_repeated_vectors_hide_nothing(tmp_path: Path) -> None:
    """A vector that is there hundreds of times: searches find at least what they find in Chroma's own graph."""
    vectors = repeated(2_000, 150)
    assert Counter(row.tobytes() for row in vectors).most_common(1)[0][1] > 300
    written = write_direct(tmp_path / "direct", as_records(vectors), size=500)
    write_by_chroma(tmp_path / "chroma", as_records(vectors), "l2")
    by_chroma = measure_recall(tmp_path / "chroma", NAME, "l2")
    assert by_chroma is not None
    assert written.recall >= by_chroma


def test_nearly_equal_vectors_are_in_one_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers to one text differ in the last bits; other texts stay apart."""
    random = np.random.default_rng(3)
    vectors = repeated(1_500, 150)
    moved = (vectors + 1e-4 / np.sqrt(WIDTH) * random.standard_normal(vectors.shape)).astype(np.float32)
    groups: list[Groups] = []
    real = with_rings

    def seen(links: Links, found: Groups, count: int) -> Links:
        groups.append(found)
        return real(links, found, count)

    monkeypatch.setattr("embedding_assets.chroma.direct_graph.with_rings", seen)
    written = write_direct(tmp_path / "version", as_records(moved), size=500)
    assert written.recall >= 0.98
    distinct = len({row.tobytes() for row in vectors})
    assert distinct <= len(groups[0].firsts) < 1.2 * distinct
    for first, followers in groups[0].followers.items():
        assert all(vectors[node].tobytes() == vectors[first].tobytes() for node in followers)


def test_rings_link_every_node_and_keep_what_is_near() -> None:
    """No link to itself or twice; from the entry every node can be reached on the lowest level."""
    vectors = repeated(900, 60)
    firsts: dict[bytes, int] = {}
    followers: dict[int, list[int]] = {}
    for node, row in enumerate(vectors):
        first = firsts.setdefault(row.tobytes(), node)
        if first != node:
            followers.setdefault(first, []).append(node)
    groups = Groups(np.array(list(firsts.values())), followers)
    built = build_links(vectors[groups.firsts], 16, 100, inner_product=False)
    links = with_rings(built, groups, len(vectors))
    for node, row in enumerate(links.lowest):
        own = row[row != NONE].tolist()
        assert node not in own
        assert len(set(own)) == len(own)
        assert (row[len(own) :] == NONE).all()
    seen, todo = {links.entry}, [links.entry]
    while todo:
        for other in links.lowest[todo.pop()].tolist():
            if other != NONE and other not in seen:
                seen.add(other)
                todo.append(other)
    assert seen == set(range(len(vectors)))
    assert set(links.above) <= set(groups.firsts.tolist())


def test_the_nodes_of_a_large_group_look_far_around() -> None:
    """A search that comes to a group visits all of it before anything farther away: it must not end there."""
    distinct = low_rank(900)
    groups = Groups(np.arange(900), {450: list(range(900, 1_100))})
    links = with_rings(build_links(distinct, 16, 100, inner_product=False), groups, 1_100)
    group = [450, *range(900, 1_100)]
    outside = set(links.lowest[group].ravel().tolist()) - {NONE, *group}
    assert len(outside) > 850
    nearest = np.argsort(((distinct - distinct[450]) ** 2).sum(axis=1))[1:11]
    assert len(set(nearest.tolist()) & set(links.lowest[450].tolist())) >= 8


def test_a_basis_keeps_what_the_strongest_directions_hold() -> None:
    """Against numpy's whole decomposition."""
    vectors = low_rank(700)
    sample, held_out = vectors[:600], vectors[600:]
    basis = find_basis(sample, held_out, 32)
    np.testing.assert_allclose(basis.directions.T @ basis.directions, np.eye(32), atol=1e-4)
    exact = np.linalg.svd(sample, full_matrices=False)[2][:LATENT].T
    best = ((held_out @ exact) ** 2).sum() / (held_out**2).sum()
    assert basis.kept[LATENT - 1] == pytest.approx(best, abs=0.01)
    assert (np.diff(basis.kept) >= 0).all()


def ways(monkeypatch: pytest.MonkeyPatch) -> list[Rung]:
    """The ways in which links are built from now on."""
    tried: list[Rung] = []
    real = DirectGraph.link

    def link(self: DirectGraph, rung: Rung) -> None:
        tried.append(rung)
        real(self, rung)

    monkeypatch.setattr(DirectGraph, "link", link)
    return tried


def test_noise_is_not_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate before: no few directions hold it, so the whole vectors are used at once."""
    tried = ways(monkeypatch)
    noise = np.random.default_rng(2).uniform(-1, 1, size=(600, WIDTH)).astype(np.float32)
    write_direct(tmp_path / "version", as_records(noise), size=200)
    assert tried == [WHOLE]


def test_short_vectors_are_not_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would save nothing."""
    tried = ways(monkeypatch)
    write_direct(tmp_path / "version", as_records(low_rank(300, width=200)), size=100)
    assert tried == [WHOLE]


def found_by(monkeypatch: pytest.MonkeyPatch, *recalls: float) -> list[Rung]:
    """Let the searches find so much, one way after the other; the ways that are tried."""
    found = iter(recalls)
    monkeypatch.setattr(direct_writer, "recall_in", lambda *given: next(found))
    return ways(monkeypatch)


@pytest.mark.parametrize(
    ("recalls", "taken", "built"),
    [
        ((0.995,), RUNGS[0], RUNGS[:1]),
        ((0.98, 0.992), RUNGS[1], RUNGS[:2]),
        ((0.97, 0.985), RUNGS[1], RUNGS[:2]),
        ((0.985, 0.97), RUNGS[0], (*RUNGS[:2], RUNGS[0])),
        ((0.97, 0.975, 0.985), WHOLE, RUNGS),
        ((0.97, 0.975, 0.9), RUNGS[1], (*RUNGS, RUNGS[1])),
    ],
)
def test_the_cheapest_way_that_finds_enough_is_taken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recalls: tuple[float, ...],
    taken: Rung,
    built: tuple[Rung, ...],
) -> None:
    """The gate after: if none does, the one that finds most is built again."""
    monkeypatch.setattr("embedding_assets.chroma.direct_graph.LEAST_SAVED", 1)
    tried = found_by(monkeypatch, *recalls)
    written: DirectlyWritten = write_direct(tmp_path / "version", as_records(low_rank(400)), size=100)
    assert (written.rung, written.recall, tuple(tried)) == (taken, max(recalls), built)


def test_a_recall_is_measured_against_every_vector(tmp_path: Path) -> None:
    """A graph of which half of the links are lost finds less, and says so."""
    write_direct(tmp_path / "version", as_records(low_rank(1_000)), size=500)
    before = measure_recall(tmp_path / "version", NAME, "l2")
    graph = find_graph(tmp_path / "version")
    assert graph is not None
    path = graph.folder / "data_level0.bin"
    elements = np.frombuffer(path.read_bytes(), np.uint8).reshape(graph.header.count, -1).copy()
    elements[:, 0] = 2
    path.write_bytes(elements.tobytes())
    after = measure_recall(tmp_path / "version", NAME, "l2")
    assert before is not None
    assert after is not None
    assert after < before - 0.2
    with open_collection(tmp_path / "version", NAME) as opened:
        assert opened.count() == 1_000
