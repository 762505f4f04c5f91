"""Seeded re-splits of an individual machine's normal clips, and intervals of what they give; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Clips = NDArray[np.intp]
    Points = NDArray[np.float64]

LEARNT = 0.6  # part of an individual machine's normal clips that is learnt; the others are tested
_PERCENT = (2.5, 97.5)  # a 95 % interval


def learnt_of(clips: int) -> int:
    """Return how many of so many normal clips are learnt."""
    return round(LEARNT * clips)


def splits(clips: int, count: int, seed: int = 0) -> Iterator[tuple[Clips, Clips]]:
    """Yield `count` times (learnt, tested): numbers of normal clips, at random.

    One seed gives one series, so that detectors are compared on identical splits.
    """
    generator = np.random.default_rng(seed)
    learnt = learnt_of(clips)
    for _ in range(count):
        order = generator.permutation(clips)
        yield order[:learnt], order[learnt:]


def spread(points: Points) -> tuple[float, float]:
    """Return what 95 % of one machine id's `(splits,)` figures lie between: how much the choice of clips moves it."""
    low, high = np.percentile(points, _PERCENT)
    return float(low), float(high)


def interval(
    points: Points, weights: Points | None = None, *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `(ids, splits)` figures, or of paired differences of such.

    `weights` (ids,) is what each id counts; None: all the same.
    A two-stage bootstrap: ids are drawn with replacement, then splits within each drawn id; 2.5 and 97.5 percentiles
    of the mean. It says how much the choice of machines and of learnt clips moves the mean.
    """
    generator = np.random.default_rng(seed)
    ids, count = points.shape
    drawn = generator.integers(ids, size=(draws, ids))
    weight = np.ones(ids)[drawn] if weights is None else weights[drawn]  # (draws, ids)
    weight /= weight.sum(axis=1, keepdims=True)
    means = np.empty(draws)
    for draw in range(draws):
        chosen = generator.integers(count, size=(ids, count))
        means[draw] = weight[draw] @ np.take_along_axis(points[drawn[draw]], chosen, axis=1).mean(axis=1)
    return spread(means)
