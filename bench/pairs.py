"""Works that take turns, so that a busy box slows all of them alike, and what their times say of one another."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
FEWEST, MOST = 6, 400  # rounds; six are the fewest whose range covers the median with 95 %


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times cheaper (faster, smaller) than what it stands beside: above 1 is better."""

    median: float  # of the pairs' ratios
    low: float  # the median's 95 % interval
    high: float
    pairs: int

    @classmethod
    def of(cls, theirs: ArrayLike, ours: ArrayLike) -> Ratio:
        """Return the median of the paired ratios of two costs, both (n,), and its interval.

        The interval goes from one order statistic to another, whatever the distribution (Conover, Practical
        Nonparametric Statistics, 3.2); of fewer than six pairs it is the whole range, and covers less than 95 %.
        """
        ratios = np.sort(np.asarray(theirs, dtype=np.float64) / np.asarray(ours, dtype=np.float64))
        n = len(ratios)
        tail, out = 2.0 / 2.0**n, 0  # the chance that the median lies outside; how many at each end are left out
        while tail + 2.0 * comb(n, out + 1) / 2.0**n <= 1.0 - CONFIDENCE:
            out += 1
            tail += 2.0 * comb(n, out) / 2.0**n
        return cls(float(np.median(ratios)), float(ratios[out]), float(ratios[n - 1 - out]), n)


def in_turns(
    *works: Callable[[], object],
    seconds: float,
    fewest: int = FEWEST,
    most: int = MOST,
    clock: Callable[[], float] = time.perf_counter,
) -> NDArray[np.float64]:
    """Return what each work takes by `clock`, seconds, (rounds, works); every round begins with another work.

    It goes on for `seconds` and at least `fewest` rounds, at most `most`; a first round to warm up is not counted.
    """
    end_s = time.monotonic() + seconds
    rounds: list[list[float]] = []
    for number in range(-1, max(fewest, most)):
        if len(rounds) >= fewest and time.monotonic() > end_s:
            break
        taken = [0.0] * len(works)
        for turn in range(len(works)):
            which = (number + turn) % len(works)
            begun = clock()
            works[which]()
            taken[which] = clock() - begun
        if number >= 0:
            rounds.append(taken)
    return np.array(rounds)
