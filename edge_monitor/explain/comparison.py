"""One window beside its neighbours: every figure's difference, and its deviation over the spread of the normals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import ExplainError
from edge_monitor.explain.figures import FAMILIES, RowLayout, differences, layout_of, rows_of, slot_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.impulses import Rhythm
    from edge_monitor.explain.tones import Tone

    Array = NDArray[np.float64]


K = 4  # neighbours, as in the score
_FALSE = 0.04  # of healthy windows, the part in which something may stand out
_TAIL = 4.0  # beyond the normals at hand the largest difference is taken to fall off with its fourth power
_LEAST_SPREADS = 2.0  # what stands out is so many spreads away at least
_MAD = 1.4826  # from the median absolute deviation to a standard deviation


@dataclass(frozen=True, slots=True)
class Spread:
    """How much each figure differs among healthy windows; made once for a set of normals."""

    layout: RowLayout
    unit: Array  # (size,): the difference of a figure that just stands out
    rows: Array  # (normals, size): the normals' figures


def spread_of(normals: Sequence[Acoustics]) -> Spread:
    """Return the spread over a machine's normals.

    Each normal is compared with its own nearest ones, as an anomaly will be. A figure's spread is the larger of its
    median absolute deviation and what its most extreme normal says. Figures of a family are looked at together:
    something stands out when the largest of them, each over its spread, is larger than in the normals, each judged by
    the spread of the others; in at most 4 % of healthy windows, all families taken together. Where there are too few
    normals for such a rank, their largest is widened as a t-like tail demands.

    Raises ExplainError for fewer than five normals, or such as were measured at different rates.
    """
    count = len(normals)
    if count <= K:
        hint = f"{K + 1} at least"
        raise ExplainError(f"{count} normals with measured figures are too few to compare with", hint=hint)
    layout = layout_of(normals[0])
    rows = rows_of(normals, layout)
    sizes = np.abs(differences(rows, rows[_neighbours(rows, layout)], layout))  # (normals, size)
    middle = np.maximum(_MAD * np.median(sizes, axis=0), layout.least)
    # of so many Gaussian values the largest, in standard deviations
    extreme = NormalDist().inv_cdf(1 - 0.5 / (count + 1))
    largest, second = np.sort(sizes, axis=0)[:-3:-1]
    others = np.where(sizes == largest, second, largest)  # the largest without one's own
    over = sizes / np.maximum(middle, others / extreme)
    unit = np.maximum(middle, largest / extreme)
    for family in FAMILIES:
        parts = [layout.parts[part] for part in family]
        together = np.max([over[:, part].max(axis=1, initial=0.0) for part in parts], axis=0)  # (normals,)
        for part in parts:
            unit[part] *= max(_LEAST_SPREADS, _exceeded_by_few(together, _FALSE / len(FAMILIES)))
    return Spread(layout, unit, rows)


def _exceeded_by_few(values: Array, share: float) -> float:
    """Return what the next value after these exceeds with about this probability."""
    rank = math.ceil((1 - share) * (len(values) + 1))
    if rank <= len(values):
        return float(np.sort(values)[rank - 1])
    return float(values.max() * (1 / ((len(values) + 1) * share)) ** (1 / _TAIL))


def _alike(row: Array, spread: Spread) -> Array:
    """Return the figures of the K normals whose noise is most like a window's (size,) in most bands, (K, size).

    The median over the bands does not see what has changed in fewer than half of them.
    """
    noise = spread.layout.parts["noise"]
    distance = np.median(np.abs(spread.rows[:, noise] - row[noise]), axis=1)
    return np.asarray(spread.rows[np.argsort(distance, kind="stable")[:K]])


def _neighbours(rows: Array, layout: RowLayout) -> NDArray[np.intp]:
    """Return the K nearest other normals of each, (normals, K): by their band levels, which is what embeddings see."""
    levels = rows[:, layout.parts["noise"].start : layout.parts["loud"].stop]
    levels = levels - levels.mean(axis=0)
    squared = (levels**2).sum(axis=1)
    distance = squared[:, None] + squared - 2 * levels @ levels.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :K]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of an anomaly from the medians of its neighbours."""

    anomaly: Acoustics
    neighbours: tuple[Acoustics, ...]
    layout: RowLayout
    own: Array  # (size,) the anomaly's figures
    normal: Array  # (size,) the neighbours' medians
    difference: Array  # (size,) signed, in each figure's unit
    deviation: Array  # (size,) signed; 1 = just stands out

    def values(self, part: str) -> Array:
        """Return the differences of a part."""
        return self.difference[self.layout.parts[part]]

    def deviations(self, part: str) -> Array:
        """Return the deviations of a part."""
        return self.deviation[self.layout.parts[part]]

    def tone_deviation(self, tone: Tone) -> float:
        """Return how far one of the anomaly's tones stands out."""
        return float(self.deviations("tones")[slot_of(tone.hz, self.layout.tone_slots)])

    def rhythm_deviation(self, rhythm: Rhythm) -> float:
        """Return how far one of the anomaly's rhythms stands out."""
        return float(self.deviations("rhythms")[slot_of(rhythm.per_s, self.layout.rhythm_slots)])


def comparison(anomaly: Acoustics, neighbours: Sequence[Acoustics], spread: Spread) -> Comparison:
    """Return the anomaly beside its neighbours, each difference over the spread of the normals.

    A strong fault pulls in neighbours at another load or speed, from which all else differs too. So the window is also
    compared with the normals that are most like it in most bands, and of the two differences the smaller one counts.
    Raises ExplainError when they were measured at different rates.
    """
    own = rows_of([anomaly], spread.layout)  # (1, size)
    others = rows_of(neighbours, spread.layout)  # (k, size)
    nearest = differences(own, others[None], spread.layout)[0]
    matched = differences(own, _alike(own[0], spread)[None], spread.layout)[0]
    smaller = np.where(np.abs(nearest) <= np.abs(matched), nearest, matched)
    difference = np.where(nearest * matched > 0, smaller, 0.0)
    return Comparison(
        anomaly=anomaly,
        neighbours=tuple(neighbours),
        layout=spread.layout,
        own=own[0],
        normal=np.median(others, axis=0),
        difference=difference,
        deviation=difference / spread.unit,
    )
