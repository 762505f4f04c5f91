"""A covariance that can be inverted though there are fewer vectors than dimensions: shrunk towards a multiple of I."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 1e-6  # shrinkage; a dimension that never varied still has some variance


@dataclass(frozen=True, slots=True, eq=False)
class ShrunkCovariance:
    """`(1 - shrinkage) S + shrinkage (tr S / dim) I` of n vectors, kept as the axes in which S is not 0."""

    mean: NDArray[np.float64]  # (dim,)
    axes: NDArray[np.float64]  # (r, dim) orthonormal, r <= min(n, dim)
    variance: NDArray[np.float64]  # (r,) along the axes, shrunk, > 0
    rest: float  # variance in every direction at right angles to the axes, > 0
    shrinkage: float  # 0 to 1

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the Mahalanobis distances of (q, dim) vectors to the mean, (q,) float64. Costs q r dim products."""
        centred = queries.astype(np.float64) - self.mean  # (q, dim)
        along = centred @ self.axes.T  # (q, r)
        beside = centred - along @ self.axes  # (q, dim)
        squared = (along**2 / self.variance).sum(axis=1) + (beside**2).sum(axis=1) / self.rest
        return np.asarray(np.sqrt(squared))


def shrunk_covariance(vectors: NDArray[np.floating]) -> ShrunkCovariance:
    """Return the covariance of n vectors, (n, dim), with the oracle approximating shrinkage (OAS).

    Chen, Wiesel, Eldar & Hero, Shrinkage algorithms for MMSE covariance estimation, IEEE Trans. Signal Processing
    58(10), 2010, eq. 23. Identical vectors have the covariance I.
    """
    count, dim = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = (vectors.astype(np.float64) - mean) / np.sqrt(count)  # (n, dim)
    if count < dim:  # the smaller of the two products has the same eigenvalues
        eigenvalues, left = np.linalg.eigh(centred @ centred.T)  # (n,), (n, n)
    else:
        eigenvalues, left = np.linalg.eigh(centred.T @ centred)  # (dim,), (dim, dim)
    kept = eigenvalues > max(count, dim) * np.finfo(np.float64).eps * max(float(eigenvalues[-1]), 0.0)
    eigenvalues = eigenvalues[kept]  # (r,)
    if not len(eigenvalues):
        return ShrunkCovariance(mean, np.empty((0, dim)), eigenvalues, 1.0, 1.0)
    axes = (left[:, kept].T @ centred) / np.sqrt(eigenvalues)[:, None] if count < dim else left[:, kept].T  # (r, dim)
    shrinkage = max(oas(float(eigenvalues.sum()), float((eigenvalues**2).sum()), count, dim), _LEAST)
    common = shrinkage * float(eigenvalues.sum()) / dim
    return ShrunkCovariance(mean, axes, (1.0 - shrinkage) * eigenvalues + common, common, shrinkage)


def oas(trace: float, trace_of_square: float, count: int, dim: int) -> float:
    """Return the shrinkage, 0 to 1, for a sample covariance S of `count` vectors: from tr S and tr S²."""
    above = (1.0 - 2.0 / dim) * trace_of_square + trace**2
    below = (count + 1.0 - 2.0 / dim) * (trace_of_square - trace**2 / dim)
    return 1.0 if below <= above else above / below
