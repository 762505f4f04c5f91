"""How far a window is from the normals: the ways to measure it, each by name and with its source.

Every scorer works in the space its scaler maps raw vectors to; the index of nearest normals lives there as well.
Higher = more anomalous, 0 = like the normals; scores of two scorers have different units and are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_monitor.errors import NormalsError
from edge_monitor.memory.covariance import shrunk_covariance
from edge_monitor.memory.distance import K, distances, scores
from edge_monitor.memory.scaler import MetricSpec, Scaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.covariance import ShrunkCovariance

SUB_BANDS = 8  # BEAM's encoder cuts 128 mel bands into 8 rows of patches
_CHUNK_CELLS = 1_000_000  # distances computed at once: 8 MB of float64
_LEAST_RADIUS = 0.01  # of the mean radius: copies among the normals must not make everything else infinitely far


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """What a scorer is, for a person."""

    title: str
    source: str


SCORERS: dict[str, ScorerInfo] = {
    "euclidean": ScorerInfo(
        "mean distance to the k nearest normals, raw vectors",
        "eq. 1 of the difference captioning paper; Ramaswamy, Rastogi & Shim, SIGMOD 2000",
    ),
    "euclidean-unit": ScorerInfo(
        "mean distance to the k nearest normals, vectors of length 1", "the same; ranks as the cosine distance"
    ),
    "standardized-euclidean": ScorerInfo(
        "mean distance to the k nearest normals, each dimension divided by its deviation over the normals",
        "eq. 1 on standardized vectors",
    ),
    "local-density": ScorerInfo(
        "distance to each normal divided by how far that normal is from its own neighbours; mean of the k least",
        "Wilkinghoff et al., Keeping the Balance, ICASSP 2025, and Local Density-Based Anomaly Score Normalization, "
        "arXiv 2509.10951",
    ),
    "mahalanobis": ScorerInfo(
        "Mahalanobis distance to the mean of the normals, shrunk covariance",
        "Chen, Wiesel, Eldar & Hero, IEEE Trans. Signal Processing 58(10), 2010",
    ),
    "sub-band": ScorerInfo(
        "mean over frequency bands of the mean distance to the k normals nearest in that band",
        "Saengthong & Shinozaki, BEAM, arXiv 2603.13749",
    ),
}


class Judge(Protocol):
    """Scores of vectors in the scoring space. Nothing in it changes."""

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors in the scoring space, (q,) float64, >= 0."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class NearestNormals:
    """Eq. 1: the mean distance to the k nearest normals. One window costs n dim products; the index saves most."""

    vectors: NDArray[np.float32]  # (n, dim)
    k: int

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors, (q,) float64."""
        return scores(queries, self.vectors, self.k)


@dataclass(frozen=True, slots=True, eq=False)
class LocalDensity:
    """Distances in units of each normal's own neighbourhood: an unusual normal vouches for more around it.

    The score is the mean of the k least d(x, y) / r(y) over the normals y, r(y) the mean distance of y to its k
    nearest other normals. The paper takes the least one; k of them as in eq. 1, so that one odd normal rules nothing.
    One window costs n dim products.
    """

    vectors: NDArray[np.float32]  # (n, dim)
    radius: NDArray[np.float64]  # (n,) > 0
    k: int

    @classmethod
    def of(cls, vectors: NDArray[np.float32], k: int) -> LocalDensity:
        """Return the scorer for n normals in the scoring space, (n, dim)."""
        others = min(k, len(vectors) - 1)
        radius = np.ones(len(vectors))
        for part in _parts(len(vectors), len(vectors)):
            apart = distances(vectors[part], vectors)  # (rows, n)
            apart[np.arange(len(apart)), np.arange(len(vectors))[part]] = np.inf  # not itself, though copies count
            radius[part] = np.partition(apart, others - 1, axis=1)[:, :others].mean(axis=1)
        least = _LEAST_RADIUS * float(radius.mean())
        return cls(vectors, np.maximum(radius, least) if least > 0 else np.ones(len(vectors)), k)

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors, (q,) float64."""
        found = np.empty(len(queries))
        for part in _parts(len(queries), len(self.vectors)):
            ratio = distances(queries[part], self.vectors) / self.radius  # (rows, n)
            found[part] = np.partition(ratio, self.k - 1, axis=1)[:, : self.k].mean(axis=1)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Mahalanobis:
    """The distance to the middle of the normals, in units of their spread in that direction.

    One window costs min(n, dim) dim products.
    """

    covariance: ShrunkCovariance

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors, (q,) float64."""
        return self.covariance.distances(queries)


@dataclass(frozen=True, slots=True, eq=False)
class SubBands:
    """Eq. 1 in each frequency band by itself, each with its own nearest normals; the mean over the bands.

    Built from BEAM's abstract: temporally pooled vectors per sub-band, neighbours per sub-band, uniform aggregation.
    Its distance is cosine on an encoder's patches; here it is the scoring space's. One window costs n dim products.
    """

    vectors: NDArray[np.float32]  # (n, dim)
    members: tuple[NDArray[np.int64], ...]  # the dimensions of each sub-band
    k: int

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) vectors, (q,) float64."""
        each = [scores(queries[:, dims], self.vectors[:, dims], self.k) for dims in self.members]
        return np.asarray(np.mean(each, axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A scorer that knows its normals."""

    name: str
    scaler: Scaler  # raw vectors -> the scoring space
    judge: Judge

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores of (q, dim) raw vectors, (q,) float64, >= 0, higher = more anomalous."""
        return self.judge.scores(self.scaler.apply(queries))


def fit(name: str | None, vectors: NDArray[np.floating], spec: MetricSpec, k: int = K) -> Fitted:
    """Return the scorer of that name for n normals, (n, dim) raw, n >= k; None: the manifest's own metric, eq. 1.

    Raises NormalsError for an unknown name, or one that the bundle's vectors are not made for.
    """
    chosen = name or own_name(spec)
    scaler = _space(chosen, spec, vectors).fit(vectors)
    return Fitted(chosen, scaler, judge(chosen, scaler.apply(vectors), spec.bands, k))


def judge(name: str, vectors: NDArray[np.float32], bands: int | None, k: int) -> Judge:
    """Return what scores by n normals that are in the scoring space already, (n, dim). Raises NormalsError as `fit`."""
    if name == "local-density":
        return LocalDensity.of(vectors, k)
    if name == "mahalanobis":
        return Mahalanobis(shrunk_covariance(vectors))
    if name == "sub-band":
        return SubBands(vectors, sub_bands(vectors.shape[1], bands), k)
    return NearestNormals(vectors, k)


def own_name(spec: MetricSpec) -> str:
    """Return the name of eq. 1 as the bundle's manifest states it."""
    return "euclidean-unit" if (spec.metric, spec.normalization) == ("euclidean", "unit") else spec.metric


def sub_bands(dim: int, bands: int | None) -> tuple[NDArray[np.int64], ...]:
    """Return the dimensions of each sub-band of vectors made of blocks of `bands` frequency bands, low to high.

    Adjacent bands go together, all blocks' values of them, into 8 sub-bands (fewer when there are fewer bands).
    Raises NormalsError when the vectors are not made so.
    """
    if bands is None or dim % bands:
        raise NormalsError(
            "the scorer sub-band needs to know which dimensions belong to which frequencies",
            where="model.scorer",
            hint="it works with bundles whose manifest has [bands]; choose another scorer",
        )
    band = np.arange(dim) % bands  # (dim,)
    return tuple(
        np.flatnonzero(np.isin(band, part)) for part in np.array_split(np.arange(bands), min(SUB_BANDS, bands))
    )


def _space(name: str, spec: MetricSpec, vectors: NDArray[np.floating]) -> MetricSpec:
    """Return the space a scorer works in: its own where its name says so, else the bundle's."""
    if name not in SCORERS:
        raise NormalsError(f"no scorer is named {name!r}", where="model.scorer", hint=f"there are {', '.join(SCORERS)}")
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


def _parts(rows: int, columns: int) -> list[slice]:
    step = max(1, _CHUNK_CELLS // columns)
    return [slice(begin, begin + step) for begin in range(0, rows, step)]
