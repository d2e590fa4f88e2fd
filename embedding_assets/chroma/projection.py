"""The strongest directions of a set of vectors: distances along them order candidates at a fraction of the cost.

docs/decisions/0019-graph-by-projection.md has the method and what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPARE = 16
"""Directions looked for beyond those that are wanted: they make the wanted ones exact."""
SEED = 0
NEGLIGIBLE = 1e-12
"""Of the largest eigenvalue: what is smaller is rounding."""

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Basis:
    """Orthonormal `directions`, `(dim, width) float32`, strongest first, zeros beyond the rank; what they keep.

    `kept[width - 1]` is the share of the squared length of held-out vectors that the first `width` of them hold.
    """

    directions: Matrix
    kept: np.ndarray[tuple[int], np.dtype[np.float64]]

    def first(self, width: int) -> Matrix:
        """The `width` strongest directions, `(dim, width) float32`."""
        return self.directions[:, :width]


def find_basis(sample: Matrix, held_out: Matrix, width: int) -> Basis:
    """The `width` strongest directions of `sample`, `(n, dim) float32`, judged by `held_out`.

    A randomised range finder with one power iteration (Halko, Martinsson and Tropp, 2011): a whole decomposition
    costs more than it saves.
    """
    wanted = min(width + SPARE, *sample.shape)
    noise = np.random.default_rng(SEED).standard_normal((sample.shape[1], wanted), dtype=np.float32)
    found = _orthonormal(sample.T @ (sample @ noise))
    found = _orthonormal(sample.T @ (sample @ found))
    within = sample @ found
    _, turned = np.linalg.eigh(within.T @ within)
    directions = np.ascontiguousarray((found @ turned[:, ::-1])[:, :width], dtype=np.float32)
    lengths = float((held_out.astype(np.float64) ** 2).sum())
    along = ((held_out @ directions).astype(np.float64) ** 2).sum(axis=0)
    return Basis(directions, np.cumsum(along) / lengths if lengths else np.ones(directions.shape[1]))


def _orthonormal(columns: Matrix) -> Matrix:
    """Orthonormal columns that span the same, zeros for what depends on others.

    By eigenvectors of the small Gram matrix: LAPACK's QR keeps all processors waiting for each other.
    """
    whole = columns.astype(np.float64)
    values, vectors = np.linalg.eigh(whole.T @ whole)
    scale = np.zeros_like(values)
    significant = values > values[-1] * NEGLIGIBLE
    scale[significant] = 1 / np.sqrt(values[significant])
    found: Matrix = ((whole @ vectors) * scale).astype(np.float32)
    return found
