"""The metric: how raw vectors become the space in which distances are Euclidean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_monitor.config.settings import MAX_NORMALS
from edge_monitor.errors import NormalsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metric = Literal["euclidean", "standardized-euclidean"]
Normalization = Literal["none", "unit"]
_ROWS = 8192  # vectors taken at once: float64 copies of 17 MB where they have 256 dimensions


@dataclass(frozen=True, slots=True, eq=False)
class MetricSpec:
    """What a bundle's manifest says about comparing its vectors."""

    metric: Metric = "euclidean"
    normalization: Normalization = "none"  # "unit": each vector is first divided by its length
    # added to each dimension's std, in the vector's own unit: one for all or one each; None: nothing
    floor: float | tuple[float, ...] | NDArray[np.floating] | None = None
    # vectors are blocks of that many frequency bands, low to high, and a last one may be shorter; None: they are not
    bands: int | None = None
    scorer: str | None = None  # a scoring method's name; None: eq. 1 in this metric
    max_normals: int | None = MAX_NORMALS  # windows are compared with so many at most; None: with all

    def __post_init__(self) -> None:
        """Refuse what no vector can be compared with."""
        if self.metric not in ("euclidean", "standardized-euclidean"):
            raise NormalsError(f"unknown metric {self.metric!r}", hint="euclidean or standardized-euclidean")
        if self.normalization not in ("none", "unit"):
            raise NormalsError(f"unknown normalization {self.normalization!r}", hint="none or unit")
        floor = self._floor
        if not (np.isfinite(floor).all() and (floor >= 0).all()):
            raise NormalsError("the standardization floor must be finite and not negative")

    @property
    def _floor(self) -> NDArray[np.float64]:
        return np.asarray(0.0 if self.floor is None else self.floor, dtype=np.float64)

    def fit(self, vectors: NDArray[np.floating]) -> Scaler:
        """Return the scaler for these normals, (n, dim) raw.

        `standardized-euclidean`: scale = std over the normals (ddof 0) + floor, per dimension.
        Raises NormalsError when a dimension never varies and has no floor, or the floor has another dimension.
        """
        if self.metric == "euclidean":
            return Scaler(self.normalization, None, None)
        mean, deviation = _statistics(vectors, self.normalization)
        try:
            scale = deviation + self._floor  # (dim,)
        except ValueError as error:
            raise NormalsError(f"the standardization floor does not fit vectors of {vectors.shape[1]}") from error
        if not (scale > 0).all():
            raise NormalsError(
                f"dimension {int(np.argmin(scale))} never varies over the normals",
                hint="the bundle's manifest needs a standardization floor above 0",
            )
        return Scaler(self.normalization, mean, scale)


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """A frozen map from raw vectors to the scoring space."""

    normalization: Normalization
    mean: NDArray[np.float64] | None  # (dim,), in the raw unit; None: not standardized
    scale: NDArray[np.float64] | None  # (dim,) > 0, in the raw unit; None: not standardized

    def apply(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return raw vectors (..., dim) in the scoring space, float32.

        Centring leaves distances as they are; it keeps float32 precise where vectors are far from the origin.
        """
        if vectors.ndim > 1 and len(vectors) > _ROWS:
            scaled = np.empty(vectors.shape, dtype=np.float32)
            for part in _pieces(len(vectors)):
                scaled[part] = self.apply(vectors[part])
            return scaled
        prepared = _normalized(vectors, self.normalization)
        if self.mean is not None and self.scale is not None:
            prepared = (prepared - self.mean) / self.scale
        return prepared.astype(np.float32)


def _pieces(count: int) -> list[slice]:
    return [slice(begin, begin + _ROWS) for begin in range(0, count, _ROWS)]


def _statistics(
    vectors: NDArray[np.floating], normalization: Normalization
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (ddof 0) of each dimension over (n, dim) raw vectors, both (dim,)."""
    count, dim = vectors.shape
    total, squares = np.zeros((2, dim))
    for part in _pieces(count):
        total += _normalized(vectors[part], normalization).sum(axis=0)
    mean = total / count
    for part in _pieces(count):
        squares += ((_normalized(vectors[part], normalization) - mean) ** 2).sum(axis=0)
    return mean, np.sqrt(squares / count)


def _normalized(vectors: NDArray[np.floating], normalization: Normalization) -> NDArray[np.float64]:
    prepared = vectors.astype(np.float64)
    if normalization == "unit":
        length = np.linalg.norm(prepared, axis=-1, keepdims=True)
        prepared = prepared / np.where(length > 0, length, 1.0)
    return np.asarray(prepared)
