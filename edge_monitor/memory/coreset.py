"""The coreset: which of many normals a window is compared with, so that its time and memory have a bound.

A random sample, in which rare sound keeps a few of its own: ...
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 64  # kinds of sound that are told apart
LEAST = 8  # of each kind: twice the neighbours that a score takes
_DIMENSIONS = 32  # of the random projection in which the kinds are told apart
_PIECE = 8192  # vectors taken at once


def coreset(vectors: NDArray[np.floating], most: int | None) -> NDArray[np.bool_]:
    """Return which of n raw normals, (n, dim), are compared with, (n,): all up to `most`, else so many of them.

    The same ones in whatever order they come: random numbers follow from the vectors' own bytes.
    """
    count = len(vectors)
    chosen = np.ones(count, dtype=bool)
    if most is None or count <= most:
        return chosen
    order = np.argsort(_draws(vectors), kind="stable")  # (n,) at random
    least = min(LEAST, most // (2 * CELLS))
    rare = _rank(_cells(_projected(vectors, order, most))) < least  # (n,) in that order
    chosen[order[np.argsort(~rare, kind="stable")[most:]]] = False
    return chosen


def _draws(vectors: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return a random number for each vector, (n,), that follows from its values alone."""
    digests = b"".join(hashlib.blake2b(vector.data, digest_size=8).digest() for vector in np.ascontiguousarray(vectors))
    return np.frombuffer(digests, dtype="<u8")


def _projected(vectors: NDArray[np.floating], order: NDArray[np.intp], sample: int) -> NDArray[np.float32]:
    """Return the vectors in that order, each dimension divided by its deviation, in fewer dimensions, (n, 32)."""
    some = vectors[order[:sample]].astype(np.float64)  # (sample, dim)
    mean, deviation = some.mean(axis=0), some.std(axis=0)
    axes = np.random.default_rng(0).standard_normal((vectors.shape[1], _DIMENSIONS))
    axes /= np.where(deviation > 0, deviation, 1.0)[:, None]
    pieces = (order[begin : begin + _PIECE] for begin in range(0, len(order), _PIECE))
    return np.concatenate([((vectors[piece] - mean) @ axes).astype(np.float32) for piece in pieces])


def _cells(points: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return which of 64 centres is nearest to each of n points, (n,); each centre is farthest from those before it."""
    half = np.einsum("nd,nd->n", points, points) / 2
    apart = np.full(len(points), np.inf, dtype=np.float32)  # (n,) half the squared distance to the nearest centre
    cell = np.zeros(len(points), dtype=np.intp)
    centre = 0
    for number in range(CELLS):
        to = half - points @ points[centre] + half[centre]
        nearer = to < apart
        cell[nearer], apart[nearer] = number, to[nearer]
        centre = int(apart.argmax())
    return cell


def _rank(cell: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many before it are in the same cell, (n,)."""
    by_cell = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[by_cell], np.arange(CELLS))  # (cells,)
    rank = np.empty_like(cell)
    rank[by_cell] = np.arange(len(cell)) - first[cell[by_cell]]
    return rank
