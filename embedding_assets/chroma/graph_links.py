"""The links of a graph, built by faiss, with the nodes of equal vectors in rings around one of them.

Plain HNSW makes cliques of equal vectors: 33 or more link only to each other and hide what is around them. So the
graph is built on distinct vectors. Every other node of a group of equal ones is on the lowest level alone and has
links to the next of its group, to its first node, and to nodes around it, each to others: a search that comes
to a large group visits all of it before it looks elsewhere, and so it looks far around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RING = 4
"""How many of its group a node of a ring links to."""
SEED = 0
LARGE = 16
"""From so many followers on a group may hold up a search."""
MOST_AROUND = 4_000
"""How many nodes beside its own links a large group links to, at the most."""
NONE = -1

Ints = np.ndarray[Any, np.dtype[np.int64]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Links:
    """The links of `n` nodes, filled up with -1.

    `lowest`, `(n, 2 * links)`, are those on the lowest level, `levels`, `(n,)`, says how many levels a node has
    above it, `above` has the links there, `(levels, links)`, of each node that has any.
    """

    lowest: Ints
    levels: Ints
    above: dict[int, Ints]
    entry: int
    top: int


@dataclass(frozen=True)
class Groups:
    """Nodes of equal vectors: `firsts`, ascending, of the distinct ones, `followers` the others of each first."""

    firsts: Ints
    followers: dict[int, list[int]]


def build_links(distinct: Matrix, links: int, construction: int, *, inner_product: bool) -> Links:
    """The graph over `distinct`, `(n, width) float32`, built with all processors. Raises RuntimeError by faiss."""
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT if inner_product else faiss.METRIC_L2
    index: Any = faiss.IndexHNSWFlat(int(distinct.shape[1]), links, metric)
    index.hnsw.efConstruction = construction
    index.add(np.ascontiguousarray(distinct))
    return links_of(index, links)


def links_of(index: Any, links: int) -> Links:
    """The links of an index of faiss."""
    import faiss

    levels = faiss.vector_to_array(index.hnsw.levels).astype(np.int64) - 1
    offsets = faiss.vector_to_array(index.hnsw.offsets).astype(np.int64)[:-1]
    neighbours = faiss.vector_to_array(index.hnsw.neighbors).astype(np.int64)
    lowest = neighbours[offsets[:, None] + np.arange(2 * links)]
    above = {
        int(node): neighbours[offsets[node] + 2 * links :][: levels[node] * links].reshape(-1, links)
        for node in np.flatnonzero(levels)
    }
    return Links(lowest, levels, above, int(index.hnsw.entry_point), int(index.hnsw.max_level))


def with_rings(links: Links, groups: Groups, count: int) -> Links:
    """`links` over the first nodes of groups as links over all `count` nodes."""
    lowest = np.full((count, links.lowest.shape[1]), NONE, dtype=np.int64)
    lowest[groups.firsts] = _named(links.lowest, groups.firsts)
    levels = np.zeros(count, dtype=np.int64)
    levels[groups.firsts] = links.levels
    above = {int(groups.firsts[node]): _named(found, groups.firsts) for node, found in links.above.items()}
    room = lowest.shape[1]
    far = np.random.default_rng(SEED).permutation(len(groups.firsts))
    for first, followers in groups.followers.items():
        start = int(np.searchsorted(groups.firsts, first))
        own = links.lowest[start][links.lowest[start] != NONE]
        more = min(room * len(followers), MOST_AROUND) if len(followers) >= LARGE else 0
        around = _looking_around(links.lowest, start, own, more, far) if more else own
        _ring(lowest, first, followers, groups.firsts[around].tolist())
    return Links(lowest, levels, above, int(groups.firsts[links.entry]), links.top)


def put_ring(lowest: Ints, members: Sequence[int]) -> None:
    """Link nodes of equal vectors as a ring around the first of them, with all that they link to elsewhere."""
    elsewhere = lowest[list(members)].ravel()
    around = list(dict.fromkeys(elsewhere[~np.isin(elsewhere, [NONE, *members])].tolist()))
    _ring(lowest, members[0], members[1:], around)


def _looking_around(lowest: Ints, start: int, own: Ints, more: int, far: Ints) -> Ints:
    """`own`, the links of `start`, and up to `more` nodes, in turn one a few steps away and one from anywhere."""
    near = newest = own
    while len(newest) and len(near) < len(own) + more // 2:
        reached = lowest[newest].ravel()
        newest = np.setdiff1d(reached[reached != NONE], near)
        near = np.concatenate([near, newest])
    near = near[len(own) :][: more // 2]
    anywhere = far.take(np.arange(start, start + len(near)), mode="wrap")
    both = np.concatenate([own, np.stack([near, anywhere], axis=1).ravel()])
    _, places = np.unique(both, return_index=True)
    around: Ints = both[np.sort(places[both[places] != start])]
    return around


def _ring(lowest: Ints, first: int, followers: Sequence[int], around: Sequence[int]) -> None:
    """Link a group: the first node to the nearest `around`, each follower to the next part of them."""
    room = lowest.shape[1]
    nearest = followers[:RING]
    place = room - len(nearest)
    _put(lowest, first, [*around[:place], *nearest])
    for number, node in enumerate(followers):
        ring = _next_of(followers, number)
        free = room - len(ring) - 1
        if place + free > len(around):
            place = 0
        _put(lowest, node, [*ring, first, *around[place : place + free]])
        place += free


def _next_of(followers: Sequence[int], number: int) -> list[int]:
    """The next few of a ring, which ends where it begins."""
    steps = range(1, min(RING, len(followers) - 1) + 1)
    return [followers[(number + step) % len(followers)] for step in steps]


def _put(lowest: Ints, node: int, found: Sequence[int]) -> None:
    lowest[node, : len(found)] = found
    lowest[node, len(found) :] = NONE


def _named(found: Ints, names: Ints) -> Ints:
    return np.where(found == NONE, NONE, names[found])
