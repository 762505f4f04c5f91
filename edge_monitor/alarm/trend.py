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
_Z = 1.959964  # 95 % of a line whose beginning is known, measured 90 % where it was chosen: bench/trend.py
_HALF_WAY = 0.5  # from the healthy median to the threshold, in log score; measured in bench/trend.py
_HORIZON = 10.0  # times the length of the line: beyond, a forecast is none
_TINY = 1e-18  # of ln(score): what rounding leaves of a perfect line is no noise
_NONE = np.empty(0)


def trend(time_s: Array, ratio: Array, *, step_s: float, usual: float, before: Array = _NONE) -> Trend | None:
    """Return the trend of medians of score / threshold, (n,), at ascending times, (n,), `step_s` apart but for gaps.

    `usual` is the healthy median / threshold, `before` are medians of a longer time before these, (m,). It is `rising`
    when the interval of its slope lies above 0, a line says more than one step, its end lies at least half-way (in ln)
    from the usual to the threshold, and the last medians lie above all that lay below the threshold before the line
    began: what comes each night is no trend. None with fewer than `FEWEST` medians.
    """
    if len(time_s) < FEWEST:
        return None
    level = np.log(ratio)  # (n,), 0 at the threshold
    first, is_line = _start(time_s, level)
    on, at = level[first:], time_s[first:]
    slopes = _slopes(at, on)
    slope, middle_s, middle = float(np.median(slopes)), float(np.median(at)), float(np.median(on))
    low, high = _interval(slopes, len(on), _correlation(time_s, level, first, step_s))
    end = middle + slope * (float(at[-1]) - middle_s)
    earlier = np.concatenate([before, ratio[:first]])
    new = np.median(ratio[-_RECENT:]) > earlier[earlier < 1].max(initial=0.0)
    direction = Direction.STEADY
    if is_line and low > 0 and end >= _HALF_WAY * math.log(usual) and new:
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
    """Return the 90 % interval of Theil and Sen's slope of n medians (Sen, J. Am. Stat. Assoc. 63, 1968).

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


def _correlation(time_s: Array, level: Array, first: int, step_s: float) -> float:
    """Return the correlation of successive medians about the level that becomes a line, 0 to 0.99, less its bias.

    An estimate from n residuals of a line is too low by (2 + 4 r) / n (Marriott & Pope, Biometrika 41, 1954); where its
    beginning was chosen, too, (3 + 6 r) / n are given back. More would hold the interval of slow noise better and take
    what is bent for noise: measured in bench/trend.py.
    """
    n = len(level)
    shape = np.stack([np.ones(n), np.maximum(time_s - time_s[first], 0.0) / step_s], axis=1)  # (n, 2)
    residual = level - shape @ np.linalg.lstsq(shape, level, rcond=None)[0]  # (n,)
    near = np.diff(time_s) < 1.5 * step_s  # (n - 1,)
    total = float((residual**2).mean())
    if not near.any() or total <= _TINY:
        return 0.0
    found = float((residual[:-1] * residual[1:])[near].mean()) / total
    return min(max((found + 3 / n) / max(1 - 6 / n, 0.1), 0.0), 0.99)


def _forecast(middle_s: float, missing: float, now_s: float, slopes: tuple[float, float, float]) -> Forecast | None:
    """Return when lines through the middle of the medians reach the threshold.

    None when it has been reached, or is so far off that the medians tell nothing of it.
    """
    at_s, latest_s, earliest_s = (middle_s + missing / slope for slope in slopes)
    if at_s <= now_s or latest_s - now_s > _HORIZON * 2 * (now_s - middle_s):
        return None
    return Forecast(at_s, max(earliest_s, now_s), latest_s)
