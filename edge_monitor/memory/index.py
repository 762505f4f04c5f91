"""Nearest neighbours of a vector among the frozen normals: HNSW, and exact search as its checker and fallback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import hnswlib
import numpy as np

from edge_monitor.memory.distance import scores

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_ERROR = 0.01  # relative score error against exact search, the worst of all verification queries
# Malkov & Yashunin, IEEE TPAMI 42(4), 2020: M up to 48 for high dimensions. Measured with bench/index.py on 10k x 256
# of isotropic noise, the hardest case: 16 leaves vectors that no search width reaches, 24 to 48 do equally well.
_M = 32
_EF_CONSTRUCTION = 200
_FIRST_EF = 32
_SEED = 20
_NOTHING = 1e-3  # of the largest score: errors are relative to no less
_QUERIES = 100  # of each kind, to verify with
PARAMETERS = f"hnswlib l2 M={_M} ef_construction={_EF_CONSTRUCTION} seed={_SEED}"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The k nearest vectors of a query."""

    position: NDArray[np.int64]  # (k,) row in the matrix the index was built from, nearest first
    distance: NDArray[np.float64]  # (k,) Euclidean, >= 0, ascending


class Index(Protocol):
    """What a scorer needs of an index. Immutable once made: a new generation is a new object."""

    def query(self, vector: NDArray[np.float32], k: int) -> Found:
        """Return the k nearest of a (dim,) float32 vector. Needs k <= number of vectors."""
        ...


class ExactIndex:
    """Compares with every vector, (n, dim) float32: no error, and slower the more there are."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def query(self, vector: NDArray[np.float32], k: int) -> Found:
        """Return the k nearest of a (dim,) float32 vector."""
        difference = self._vectors - vector  # (n, dim)
        squared = np.einsum("nd,nd->n", difference, difference)  # (n,)
        nearest = np.argpartition(squared, k - 1)[:k]
        nearest = nearest[np.argsort(squared[nearest], kind="stable")]
        return Found(nearest.astype(np.int64), np.sqrt(squared[nearest].astype(np.float64)))


class HnswIndex:
    """A navigable small-world graph (hnswlib), its search width `ef` chosen so that scores are within 1 % of exact."""

    def __init__(self, graph: hnswlib.Index, ef: int, error: float) -> None:
        graph.set_num_threads(1)
        graph.set_ef(ef)
        self._graph = graph
        self.ef = ef
        self.error = error  # largest relative score error seen when it was verified

    @classmethod
    def build(cls, vectors: NDArray[np.float32], k: int) -> HnswIndex | None:
        """Return an index over (n, dim) float32 vectors, n > k; None when no `ef` brings it within 1 % of exact.

        Verified on vectors held out while the others were inserted, then, complete, on perturbed ones.
        Deterministic: one thread, a fixed seed.
        """
        count = len(vectors)
        draw = np.random.default_rng(_SEED)
        order = draw.permutation(count)
        queries = min(_QUERIES, count - k)
        held, first = np.sort(order[:queries]), np.sort(order[queries:])
        graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
        graph.init_index(max_elements=count, M=_M, ef_construction=_EF_CONSTRUCTION, random_seed=_SEED)
        graph.set_num_threads(1)
        graph.add_items(vectors[first], first)
        ef, held_error = _wide_enough(graph, _FIRST_EF, vectors[held], scores(vectors[held], vectors[first], k), k)
        graph.add_items(vectors[held], held)
        perturbed = _perturbed(vectors, held, scores(vectors[held], vectors, k), draw)
        ef, error = _wide_enough(graph, ef, perturbed, scores(perturbed, vectors, k), k)
        worst = max(held_error, error)
        return cls(graph, ef, worst) if worst <= MAX_ERROR else None

    @classmethod
    def load(cls, path: Path, *, dim: int, count: int, ef: int, error: float) -> HnswIndex:
        """Load a saved index whose checksum was checked before: a malformed file can overflow the heap.

        Raises RuntimeError when hnswlib refuses it.
        """
        graph = hnswlib.Index(space="l2", dim=dim)
        graph.load_index(str(path), max_elements=count)
        return cls(graph, ef, error)

    def save(self, path: Path) -> None:
        """Write the graph. Raises OSError when not all of it could be written."""
        try:
            self._graph.save_index(str(path))
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if path.stat().st_size != self._graph.index_file_size():
            raise OSError(f"{path}: the index was not written completely")

    def query(self, vector: NDArray[np.float32], k: int) -> Found:
        """Return the k nearest of a (dim,) float32 vector. hnswlib's `l2` gives squares: the root is taken here."""
        labels, squared = self._graph.knn_query(vector[None, :], k=k, num_threads=1)
        return Found(labels[0].astype(np.int64), np.sqrt(np.maximum(squared[0].astype(np.float64), 0.0)))


def _wide_enough(
    graph: hnswlib.Index, ef: int, queries: NDArray[np.float32], exact: NDArray[np.float64], k: int
) -> tuple[int, float]:
    """Return the search width, from `ef` on, at which scores of (q, dim) queries are right, and the error there."""
    limit = max(graph.get_max_elements(), _FIRST_EF)
    while (error := _error(graph, ef, queries, exact, k)) > MAX_ERROR and ef < limit:
        ef = min(2 * ef, limit)
    return ef, error


def _error(graph: hnswlib.Index, ef: int, queries: NDArray[np.float32], exact: NDArray[np.float64], k: int) -> float:
    """Return the largest relative score error over (q, dim) queries."""
    graph.set_ef(ef)
    try:
        _, squared = graph.knn_query(queries, k=k, num_threads=1)
    except RuntimeError:  # fewer than k could be reached
        return float("inf")
    found = np.sqrt(np.maximum(squared.astype(np.float64), 0.0)).mean(axis=1)  # (q,)
    least = _NOTHING * max(float(exact.max()), _NOTHING)  # a stored vector's own distance is 0 but for rounding
    return float(np.max(np.abs(found - exact) / np.maximum(exact, least)))


def _perturbed(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], reach: NDArray[np.float64], draw: np.random.Generator
) -> NDArray[np.float32]:
    """Return each of these rows moved at random by once and by three times its own score: normal, and anomalous."""
    direction = draw.standard_normal((len(rows), vectors.shape[1]))
    direction *= (np.maximum(reach, 1e-3) / np.linalg.norm(direction, axis=1))[:, None]
    return np.concatenate([vectors[rows] + direction, vectors[rows] + 3 * direction]).astype(np.float32)
