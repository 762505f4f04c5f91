"""Log scores of normal sound as a normal distribution whose mean and spread are themselves uncertain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import NormalsError
from edge_monitor.memory.chance import student_quantile, student_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a few blocks cannot say about the spread of log scores: measured on the 8 MIMII machine ids (7 to 18 clips of
# 10 s) their standard deviation is 0.16 to 0.54, median 0.27 (eq. 1). It counts as two blocks do, so it fades.
PRIOR_SPREAD = 0.25
PRIOR_BLOCKS = 2
_LEAST = 0.1  # of the median: scores below (stored twice after all) must not widen the spread
# What a few blocks cannot say about how alike the windows of a minute are; it counts as four blocks do.
_PRIOR_DEPENDENCE = 0.5
_PRIOR_GROUPS = 4
_MAX_DEPENDENCE = 0.9  # beyond, five windows are one, and no m of n helps
# How far the level of one session may be from another's, in spreads of the window scores, for an alarm to be false.
_SESSION = 1.0
_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class TailFit:
    """Log scores as a normal distribution whose mean and spread are themselves uncertain."""

    centre: float  # mean of the log scores, each block counting once
    spread: float  # their standard deviation, > 0
    blocks: int
    dof: int
    dependence: float  # correlation between the windows of a block, 0 to 0.9

    def quantile(self, p: float) -> float:
        """Return the score that a new session's normal window exceeds with probability p (Student-t prediction)."""
        return math.exp(self.centre + student_quantile(p, self.dof) * self._uncertain)

    def exceedance(self, score: float) -> float:
        """Return the probability that a new normal window exceeds `score`: what `quantile` inverts."""
        t = (math.log(score) - self.centre) / self._uncertain
        tail = student_tail(abs(t), self.dof)
        return tail if t >= 0 else 1.0 - tail

    def exceedance_interval(self, score: float) -> tuple[float, float]:
        """Return the 95 % interval of the probability that a normal window exceeds `score`."""
        draw = np.random.default_rng(0)
        spread = self.spread * np.sqrt(self.dof / draw.chisquare(self.dof, _DRAWS))
        centre = self.centre + spread * draw.standard_normal(_DRAWS) * math.sqrt(1 / self.blocks + _SESSION**2)
        low, high = np.quantile((math.log(score) - centre) / spread, (0.025, 0.975))
        return _normal_tail(high), _normal_tail(low)

    @property
    def _uncertain(self) -> float:
        """Return how uncertain a new window's log score is: by its own spread, the centre's and its session's."""
        return self.spread * math.sqrt(1 + 1 / self.blocks + _SESSION**2)


def _normal_tail(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def fit_tail(score: NDArray[np.float64], unit: NDArray[np.int64], *, independent: int | None = None) -> TailFit:
    """Fit n leave-block-out scores, (n,), from blocks `unit`, (n,): windows of a block share one vote.

    Where blocks resemble the next ones only so many stretches of them are `independent`, and count as observations.
    """
    median = float(np.median(score))
    if not median > 0:
        raise NormalsError("most normal windows are identical", hint="enrol real sound, not one stretch repeated")
    log = np.log(np.maximum(score, _LEAST * median))
    size = np.bincount(unit)
    weight = 1.0 / (size[unit] * len(size))  # (n,), sums to 1
    centre = float((weight * log).sum())
    square = float((weight * (log - centre) ** 2).sum())
    blocks = independent or len(size)
    dof = blocks - 1 + PRIOR_BLOCKS
    spread = math.sqrt((blocks * square + PRIOR_BLOCKS * PRIOR_SPREAD**2) / dof)
    return TailFit(centre, spread, blocks, dof, _dependence(log, unit))


def _dependence(log: NDArray[np.float64], unit: NDArray[np.int64]) -> float:
    """Return the intraclass correlation of log scores, 0 to 0.9, drawn to what is usual where few blocks tell."""
    size = np.bincount(unit)
    several = size[unit] > 1
    unit = np.unique(unit[several], return_inverse=True)[1].reshape(-1)
    groups = int((size > 1).sum())
    found = _intraclass(log[several], unit) if groups > 1 else 0.0
    groups = groups if groups > 1 else 0
    drawn = (groups * found + _PRIOR_GROUPS * _PRIOR_DEPENDENCE) / (groups + _PRIOR_GROUPS)
    return min(drawn, _MAX_DEPENDENCE)


def _intraclass(log: NDArray[np.float64], unit: NDArray[np.int64]) -> float:
    """Return the correlation, 0 to 1, of two values of a group; (n,) values in groups `unit` of two or more.

    Analysis of variance (Fisher 1925).
    """
    size = np.bincount(unit)
    groups, count = len(size), len(log)
    mean = np.bincount(unit, log) / size  # (groups,)
    between = float((size * (mean - log.mean()) ** 2).sum()) / (groups - 1)
    within = float(((log - mean[unit]) ** 2).sum()) / (count - groups)
    per_group = (count - float((size**2).sum()) / count) / (groups - 1)
    total = between + (per_group - 1) * within
    return min(max((between - within) / total, 0.0), 1.0) if total > 0 else 0.0
