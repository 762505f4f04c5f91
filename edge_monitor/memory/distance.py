"""Distances and the anomaly score of eq. 1, computed exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

K = 4  # neighbours in eq. 1; the paper's k
_CHUNK_CELLS = 1_000_000  # distances computed at once: 8 MB of float64


def distances(queries: NDArray[np.floating], vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the Euclidean distances, (q, n) float64, between (q, dim) queries and (n, dim) vectors."""
    q, x = queries.astype(np.float64, copy=False), vectors.astype(np.float64, copy=False)
    squared = np.einsum("qd,qd->q", q, q)[:, None] + np.einsum("nd,nd->n", x, x)[None, :] - 2.0 * (q @ x.T)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def chunks(rows: int, columns: int) -> list[slice]:
    """Return parts of so many rows, each of as many distances to `columns` vectors as are computed at once."""
    step = max(1, _CHUNK_CELLS // columns)
    return [slice(begin, begin + step) for begin in range(0, rows, step)]


def nearest(queries: NDArray[np.floating], vectors: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """Return each query's k smallest distances, ascending, (q, k) float64. Needs k <= n."""
    found = np.empty((len(queries), k))  # (q, k)
    for part in chunks(len(queries), len(vectors)):
        found[part] = np.sort(np.partition(distances(queries[part], vectors), k - 1, axis=1)[:, :k], axis=1)
    return found


def scores(queries: NDArray[np.floating], vectors: NDArray[np.floating], k: int = K) -> NDArray[np.float64]:
    """Return eq. 1 for each query: the mean distance to its k nearest vectors, (q,) float64, >= 0."""
    return np.asarray(nearest(queries, vectors, k).mean(axis=1))
