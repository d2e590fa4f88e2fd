"""Vectors that are nearly equal: a model's answers to one text differ in their last bits from one day to the next.

In a graph they do the same harm as equal ones, so they are in one ring too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embedding_assets.chroma.graph_links import Groups, Ints, Matrix

NEAR = 1e-3
"""Distance, as a share of the length of a vector, up to which two count as answers to one text."""
LEADING = 8
"""Directions that tell which vectors may be near each other."""


def near_groups(groups: Groups, leading: Matrix, vectors_of: Callable[[Ints], Matrix]) -> Groups:
    """`groups` with the followers of nearly equal first nodes put together.

    `leading`, `(n, LEADING) float32`, has the first nodes along the strongest directions; `vectors_of` gives the
    whole vectors of nodes. Two that are near but in two cells of the grid stay apart: that costs a little, and is
    rare.
    """
    length = float(np.median(np.linalg.norm(leading, axis=1)))
    if not length:
        return groups
    cells = np.floor(leading / (NEAR * length)).astype(np.int64)
    _, cell_of, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    ordered = np.argsort(cell_of.reshape(-1), kind="stable")
    followers = {first: list(found) for first, found in groups.followers.items()}
    gone: list[int] = []
    place = 0
    for count in counts.tolist():
        members = groups.firsts[ordered[place : place + count]]
        place += count
        if count > 1:
            gone += _joined(members, vectors_of(members), followers)
    kept: Any = ~np.isin(groups.firsts, gone)
    return Groups(groups.firsts[kept], followers)


def _joined(members: Ints, vectors: Matrix, followers: dict[int, list[int]]) -> list[int]:
    """Make those of `members` that are near the first of them its followers; return these."""
    first = int(members[0])
    away = np.linalg.norm(vectors - vectors[0], axis=1)
    near = [int(node) for node in members[1:][away[1:] <= NEAR * np.linalg.norm(vectors[0])]]
    for node in near:
        followers.setdefault(first, []).extend([node, *followers.pop(node, [])])
    return near
