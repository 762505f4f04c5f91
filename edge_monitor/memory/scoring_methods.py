"""The scoring methods: how far a window is from the normals, measured in one of several ways.

- euclidean: mean distance to the k nearest normals, raw vectors. Eq. 1 of the difference captioning paper; Ramaswamy,
  Rastogi & Shim, SIGMOD 2000.
- euclidean-unit: the same of vectors of length 1; ranks as the cosine distance.
- standardized-euclidean: the same, each dimension divided by its deviation over the normals.
- local-density: distance to each normal divided by how far that normal is from its own neighbours; mean of the k least.
  Wilkinghoff et al., Keeping the Balance, ICASSP 2025, and Local Density-Based Anomaly Score Normalization, arXiv
  2509.10951.
- mahalanobis: Mahalanobis distance to the mean of the normals, shrunk covariance. Chen, Wiesel, Eldar & Hero, IEEE
  Trans. Signal Processing 58(10), 2010.
- sub-band: mean distance to the k normals nearest in each frequency band by itself; root mean square over 8 bands.
  After Saengthong & Shinozaki, BEAM, arXiv 2603.13749, from its abstract.
- sub-band-density: the same, each distance divided by how far that normal is from its own neighbours in that band.

Every method works in the space its scaler maps raw vectors to; the index of nearest normals lives there as well.
Higher = more anomalous, 0 = like the normals; scores of two methods have different units and are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, get_args

import numpy as np

from edge_monitor.config.settings import ScorerName
from edge_monitor.errors import NormalsError
from edge_monitor.memory.coreset import coreset
from edge_monitor.memory.covariance import shrunk_covariance
from edge_monitor.memory.distance import K, chunks, distances
from edge_monitor.memory.scaler import MetricSpec, Scaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUB_BANDS = 8  # BEAM's encoder cuts 128 mel bands into 8 rows of patches
_LEAST_RADIUS = 0.01  # of the mean radius: copies among the normals must not make everything else infinitely far

SCORING_METHODS: tuple[str, ...] = get_args(ScorerName)
EQUATION_1 = frozenset({"euclidean", "euclidean-unit", "standardized-euclidean"})  # the mean of the index's distances
SUB_BAND = frozenset({"sub-band", "sub-band-density"})
_DENSITY = frozenset({"local-density", "sub-band-density"})


class ScaledScorer(Protocol):
    """What scores vectors that are in the scoring space already. Nothing in it changes."""

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors in the scoring space, (q,) float64, >= 0."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourScorer:
    """Eq. 1 in each frequency band by itself (or in one: all dimensions), and the root mean square over the bands.

    BEAM takes the mean over the bands; the root mean square leaves more of a fault that is in one band alone, and is
    eq. 1 again where every band has the same neighbours. BEAM compares what an encoder says of a band by its cosine,
    this by distances in the scoring space.
    With `radius` each distance is in units of that normal's own neighbourhood: an unusual normal vouches for more
    around it. Wilkinghoff et al. take the least of d(x, y) / r(y) over the normals y; here it is the mean of the k
    least, as in eq. 1. One window costs n dim products.
    """

    vectors: tuple[NDArray[np.float32], ...]  # of each band: (n, its dimensions)
    bands: tuple[NDArray[np.int64], ...]  # the dimensions of each band
    radius: tuple[NDArray[np.float64], ...] | None  # of each band: (n,) > 0, mean distance to the k nearest others
    k: int

    @classmethod
    def of(
        cls, vectors: NDArray[np.float32], bands: tuple[NDArray[np.int64], ...], k: int, *, dense: bool
    ) -> NeighbourScorer:
        """Return the scorer for n normals in the scoring space, (n, dim); `dense`: with their radii."""
        parts = tuple(np.ascontiguousarray(vectors[:, dims]) for dims in bands)
        return cls(parts, bands, tuple(_radius(part, k) for part in parts) if dense else None, k)

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors, (q,) float64."""
        squares = np.zeros(len(queries))
        for number, (dims, normals) in enumerate(zip(self.bands, self.vectors, strict=True)):
            for part in chunks(len(queries), len(normals)):
                apart = distances(queries[part][:, dims], normals)  # (rows, n)
                if self.radius is not None:
                    apart /= self.radius[number]
                squares[part] += np.partition(apart, self.k - 1, axis=1)[:, : self.k].mean(axis=1) ** 2
        return np.asarray(np.sqrt(squares / len(self.bands)))


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A scoring method that has learnt its normals."""

    method: str
    scaler: Scaler  # raw vectors -> the scoring space
    scaled: ScaledScorer

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the anomaly scores of (q, dim) raw vectors, (q,) float64, >= 0, higher = more anomalous."""
        return self.scaled.scores(self.scaler.apply(queries))


def fit(method: str | None, vectors: NDArray[np.floating], spec: MetricSpec, k: int = K) -> Scorer:
    """Return the scorer of that method for n normals, (n, dim) raw, n >= k; None: the method that `spec` names.

    Raises NormalsError for an unknown method, or one that the bundle's vectors are not made for.
    """
    chosen = method or method_name(spec)
    scaler = _space(chosen, spec, vectors).fit(vectors)
    if chosen not in EQUATION_1:
        vectors = vectors[coreset(vectors, spec.max_normals)]
    return Scorer(chosen, scaler, fit_scaled(chosen, scaler.apply(vectors), spec.bands, k))


def fit_scaled(method: str, vectors: NDArray[np.float32], bands: int | None, k: int) -> ScaledScorer:
    """Return the scorer for n normals that are in the scoring space already, (n, dim). Raises NormalsError as `fit`."""
    if method == "mahalanobis":
        return shrunk_covariance(vectors)
    dim = vectors.shape[1]
    parts = sub_bands(dim, bands) if method in SUB_BAND else (np.arange(dim),)
    return NeighbourScorer.of(vectors, parts, k, dense=method in _DENSITY)


def method_name(spec: MetricSpec) -> str:
    """Return the scoring method that `spec` names: where it names none, eq. 1 in its metric."""
    if spec.scorer is not None:
        return spec.scorer
    return "euclidean-unit" if (spec.metric, spec.normalization) == ("euclidean", "unit") else spec.metric


def require_method(name: str, *, where: str | None = None) -> None:
    """Check that a scoring method has that name. Raises NormalsError with those there are."""
    if name not in SCORING_METHODS:
        raise NormalsError(f"no scorer is named {name!r}", where=where, hint=f"there are {', '.join(SCORING_METHODS)}")


def sub_bands(dim: int, bands: int | None) -> tuple[NDArray[np.int64], ...]:
    """Return the dimensions of each sub-band of vectors made of blocks of `bands` frequency bands, low to high.

    Adjacent bands go together, all blocks' values of them, into 8 sub-bands (fewer when there are fewer bands). A last,
    shorter block has as many values of each sub-band, low to high too.
    Raises NormalsError when the vectors are not made so.
    """
    parts = min(SUB_BANDS, bands or 1)
    if bands is None or dim < bands or dim % bands % parts:
        raise NormalsError(
            "sub-band scorers need to know which dimensions belong to which frequencies",
            where="model.scorer",
            hint="they work with bundles whose manifest names its bands; choose another scorer",
        )
    blocks = (np.arange(first, min(first + bands, dim)) for first in range(0, dim, bands))
    return tuple(
        np.concatenate(pieces) for pieces in zip(*(np.array_split(block, parts) for block in blocks), strict=True)
    )


def _space(name: str, spec: MetricSpec, vectors: NDArray[np.floating]) -> MetricSpec:
    """Return the space a method works in: its own where its name says so, else the bundle's."""
    require_method(name, where="model.scorer")
    if name == "euclidean":
        return MetricSpec("euclidean", "none")
    if name == "euclidean-unit":
        return MetricSpec("euclidean", "unit")
    if name == "standardized-euclidean" and spec.metric != name:
        return replace(spec, metric="standardized-euclidean", floor=_floor(vectors))
    return spec


def _floor(vectors: NDArray[np.floating]) -> float:
    """Return a standardization floor for a bundle whose manifest has none: a tenth of the dimensions' mean deviation.

    A dimension that hardly varied over a few normals must not rule the distance.
    """
    deviation = float(vectors.std(axis=0, dtype=np.float64).mean())
    return 0.1 * deviation if deviation > 0 else 1.0


def _radius(vectors: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Return each normal's mean distance to its k nearest others, (n,) > 0; fewer where there are fewer."""
    count = len(vectors)
    others = min(k, count - 1)
    radius = np.zeros(count)
    centred = vectors - vectors.mean(axis=0)  # float32 tells near from nearer when the origin is among them
    half = np.einsum("nd,nd->n", centred, centred) / 2
    for part in chunks(count, count):
        apart = half - centred[part] @ centred.T  # (rows, n): half of the squared distance, less the row's own half
        rows = np.arange(len(apart))
        apart[rows, np.arange(count)[part]] = np.inf  # not itself, though its copies count
        for _ in range(others):  # faster than to sort, for so few
            nearest = apart.argmin(axis=1)
            apart[rows, nearest] = np.inf
            radius[part] += np.linalg.norm(centred[part] - centred[nearest], axis=1)
    radius /= others
    least = _LEAST_RADIUS * float(radius.mean())
    return np.maximum(radius, least) if least > 0 else np.ones(count)
