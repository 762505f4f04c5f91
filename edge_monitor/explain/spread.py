"""The spread of a machine's normals: what two healthy windows differ by, figure by figure and at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import ExplainError
from edge_monitor.explain.figures import Layout, differences, layout_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.explain.acoustics import Acoustics

    Array = NDArray[np.float64]

K = 4  # neighbours, as in the score
_FALSE = 0.03  # of healthy windows, the part in which something may stand out
_TAIL = 4.0  # beyond the normals at hand the largest difference is taken to fall off with its fourth power
_MAD = 1.4826  # from the median absolute deviation to a standard deviation


@dataclass(frozen=True, slots=True)
class Spread:
    """How much each figure differs among healthy windows; made once for a set of normals."""

    layout: Layout
    unit: Array  # (size,): the difference of a figure that just stands out
    rows: Array  # (normals, size): the normals' figures


def spread_of(normals: Sequence[Acoustics]) -> Spread:
    """Return the spread over a machine's normals.

    Each normal is compared with its own nearest ones, as an anomaly will be. A figure's spread is the larger of its
    median absolute deviation and what its most extreme normal says. All figures are looked at together: something
    stands out when the largest of all, each over its spread, is larger than in 97 % of the normals, each judged by
    the spread of the others. With fewer than 33 normals their largest is widened as a t-like tail demands.

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
    extreme = NormalDist().inv_cdf(
        1 - 0.5 / (count + 1)
    )  # of so many Gaussian values the largest, in standard deviations
    largest, second = np.sort(sizes, axis=0)[:-3:-1]
    others = np.where(sizes == largest, second, largest)  # the largest without one's own
    together = np.sort((sizes / np.maximum(middle, others / extreme)).max(axis=1))
    rank = math.ceil((1 - _FALSE) * (count + 1))
    if rank <= count:
        stands_out = together[rank - 1]
    else:
        stands_out = together[-1] * (1 / ((count + 1) * _FALSE)) ** (1 / _TAIL)
    return Spread(layout, np.maximum(middle, largest / extreme) * stands_out, rows)


def alike(row: Array, spread: Spread) -> Array:
    """Return the figures of the K normals whose noise is most like a window's (size,) in most bands, (K, size).

    The median over the bands does not see what has changed in fewer than half of them.
    """
    noise = spread.layout.parts["noise"]
    distance = np.median(np.abs(spread.rows[:, noise] - row[noise]), axis=1)
    return np.asarray(spread.rows[np.argsort(distance, kind="stable")[:K]])


def _neighbours(rows: Array, layout: Layout) -> Array:
    """Return the K nearest other normals of each, (normals, K): by their band levels, which is what embeddings see."""
    levels = rows[:, layout.parts["noise"].start : layout.parts["loud"].stop]
    levels = levels - levels.mean(axis=0)
    squared = (levels**2).sum(axis=1)
    distance = squared[:, None] + squared - 2 * levels @ levels.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :K]
