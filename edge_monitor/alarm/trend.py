"""Whether a machine's score rises, since when, and when it would reach the threshold: pure, from medians of scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.records import Direction, Forecast, Trend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST = 12  # medians of a trend, the level before it included
FEWEST_SINCE = 6  # of these, on the line
_RECENT = 6  # medians that say where it is now
_Z = 1.959964  # two-sided 95 %
_HALF_WAY = 0.5  # of the way from the healthy median to the threshold, in log score; measured in bench/trend.py


def trend(time_s: Array, ratio: Array, *, step_s: float, usual: float, highest_before: float = 0.0) -> Trend | None:
    """Return the trend of medians of score / threshold, (n,), at ascending times, (n,), `step_s` apart but for gaps.

    `usual` is the healthy median / threshold, `highest_before` the highest median of a longer time before these,
    0.0 when there is none. It is `rising` when the interval of its slope lies above 0, its end lies at least half-way
    from the usual to the threshold (in ln) and above all there was before the line began. None with fewer than
    `FEWEST` medians.
    """
    if len(time_s) < FEWEST:
        return None
    level = np.log(ratio)  # (n,), 0 at the threshold
    first, is_line = _start(time_s, level)
    on, at = level[first:], time_s[first:]
    slopes = _slopes(at, on)
    slope, middle_s, middle = float(np.median(slopes)), float(np.median(at)), float(np.median(on))
    line = middle + slope * (np.maximum(time_s, time_s[first]) - middle_s)  # (n,) flat before it begins
    low, high = _interval(slopes, len(on), _correlation(time_s, level - line, step_s))
    end = float(line[-1])
    recent = float(np.median(level[-_RECENT:]))
    before = max(math.log(highest_before) if highest_before > 0 else -math.inf, level[:first].max(initial=-math.inf))
    direction = Direction.STEADY
    if is_line and low > 0 and end >= _HALF_WAY * math.log(usual) and recent > before:
        direction = Direction.RISING
    elif high < 0:
        direction = Direction.FALLING
    return Trend(
        direction,
        float(time_s[first]),
        slope,
        low,
        high,
        math.exp(end),
        len(level),
        _forecast(middle_s, -middle, float(time_s[-1]), (slope, low, high)) if direction is Direction.RISING else None,
    )


def _start(time_s: Array, level: Array) -> tuple[int, bool]:
    """Return the index from which a level that becomes a line fits best, and whether no single step fits better.

    By least squares. A machine that was moved or loaded otherwise steps.
    """
    n = len(level)
    starts = np.arange(n - FEWEST_SINCE + 1)
    ramp = np.maximum(time_s[None, :] - time_s[starts, None], 0.0)  # (starts, n)
    step = (np.arange(n)[None, :] >= np.arange(1, n)[:, None]).astype(np.float64)  # (n - 1, n)
    lines, steps = (_explained(each, level) for each in (ramp, step))
    return int(np.argmax(lines)), bool(lines.max() >= steps.max())


def _explained(shape: Array, level: Array) -> Array:
    """Return the sum of squares that a level plus a multiple of each shape, (shapes, n), explains, (shapes,)."""
    shape = shape - shape.mean(axis=1, keepdims=True)
    return np.asarray((shape @ (level - level.mean())) ** 2 / (shape**2).sum(axis=1))


def _slopes(time_s: Array, level: Array) -> Array:
    """Return the slopes between all pairs, ascending."""
    i, j = np.triu_indices(len(level), 1)
    return np.sort((level[j] - level[i]) / (time_s[j] - time_s[i]))


def _interval(slopes: Array, n: int, correlation: float) -> tuple[float, float]:
    """Return the 95 % interval of Theil and Sen's slope of n medians (Sen, J. Am. Stat. Assoc. 63, 1968).

    The variance of Kendall's S is that of Hamed & Rao (J. Hydrology 204, 1998), with the autocorrelations of an
    AR(1) process.
    """
    lag = np.arange(1, n)
    weight = (n - lag) * (n - lag - 1) * (n - lag - 2)  # (n - 1,)
    inflated = 1 + 2 / (n * (n - 1) * (n - 2)) * float((weight * correlation**lag).sum())
    reach = _Z * math.sqrt(inflated * n * (n - 1) * (2 * n + 5) / 18)
    left_out = math.floor((len(slopes) - reach) / 2)  # at each end
    if left_out < 1:
        return -math.inf, math.inf
    return float(slopes[left_out - 1]), float(slopes[-left_out])


def _correlation(time_s: Array, residual: Array, step_s: float) -> float:
    """Return the correlation of successive medians about the line, 0 to 0.99, less its bias.

    An estimate from n residuals of a line is too low by (2 + 4 r) / n (Marriott & Pope, Biometrika 41, 1954).
    """
    near = np.diff(time_s) < 1.5 * step_s  # (n - 1,)
    total = float((residual**2).mean())
    if not near.any() or total <= 0:
        return 0.0
    found = float((residual[:-1] * residual[1:])[near].mean()) / total
    n = len(residual)
    return min(max((found + 2 / n) / (1 - 4 / n), 0.0), 0.99)


def _forecast(middle_s: float, missing: float, now_s: float, slopes: tuple[float, float, float]) -> Forecast | None:
    """Return when lines through the middle of the medians reach the threshold; None when it has been reached."""
    at_s, latest_s, earliest_s = (middle_s + missing / slope for slope in slopes)
    return Forecast(at_s, max(earliest_s, now_s), latest_s) if at_s > now_s else None
