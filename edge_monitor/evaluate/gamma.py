"""The gamma distribution of the challenge's baseline: fitted to scores, and the score at a quantile; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.evaluate.roc import Scores

_BISECTIONS = 60
_LOG_SHAPE = (math.log(1e-2), math.log(1e4))  # a spread of ten times to a hundredth of the mean
_SMALL = 1e-15  # a term of the series that adds nothing


def gamma_quantile(scores: Scores, q: float) -> float:
    """Return the score below which a gamma distribution fitted to (n,) scores > 0 has the share q, 0 < q < 1.

    Fitted by maximum likelihood with the location 0 (Choi & Wette, Technometrics 11, 1969); the challenge's baseline
    frees the location too, which a dozen scores do not determine.
    """
    mean = float(np.mean(scores))
    apart = math.log(mean) - float(np.mean(np.log(scores)))  # >= 0; 0: all scores are the same
    shape = math.exp(_rising(lambda log: apart - _falling(math.exp(log)), *_LOG_SHAPE))
    high = 1.0
    while _below(shape, high * shape) < q:
        high *= 2
    return mean * _rising(lambda times: _below(shape, times * shape) - q, 0.0, high)


def _rising(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function is 0, or the end nearest to it."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return high


def _falling(shape: float) -> float:
    """Return log(shape) - digamma(shape) > 0 (Abramowitz & Stegun, Handbook of Mathematical Functions, 6.3.18)."""
    before, x = 0.0, shape
    while x < 10.0:  # noqa: PLR2004 - from here the series is exact to 1e-9
        before += 1 / x
        x += 1
    digamma = math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6) - before
    return math.log(shape) - digamma


def _below(shape: float, x: float) -> float:
    """Return P(a gamma variable of that shape and scale 1 <= x): Abramowitz & Stegun, 6.5.29."""
    if x <= 0.0:
        return 0.0
    term = total = 1.0 / shape
    add = shape
    while term > total * _SMALL:
        add += 1
        term *= x / add
        total += term
    return min(1.0, total * math.exp(shape * math.log(x) - x - math.lgamma(shape)))
