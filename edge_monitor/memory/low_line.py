"""The low line: what most windows of an hour stay below while the machine is healthy, by how much was learnt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.memory.chance import poisson_upper, student_quantile
from edge_monitor.records import long_memory_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.tail import TailFit

MIN_BLOCKS = 5  # independent stretches of normal sound: fewer say nothing about how much sessions differ
# How far the level of one session is from another's, in spreads of the window scores; measured between flights of a
# drone 0.3 to 0.7.
SESSION = 0.5
SESSIONS_PER_MONTH = 90.0  # shifts of eight hours
# The largest share of sessions that may falsely lie above the line: larger ones hardly hear more.
MAX_SHARE = 0.01
_LEAST_SHARE = 1e-9  # smaller ones are beyond what a fitted tail can say, and a line beyond any score
_BELOW = 0.84  # LOW_LINE_SHARE of a normal distribution's values lie above its mean less so many spreads
_STRIDE = 6  # windows between two moments at which a memory is looked at
_MONTH_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class LowLine:
    """The line, and what is known about how often a healthy machine is found changed by it."""

    value: float  # > 0, in the score's unit
    per_month: float  # that a healthy machine is found changed: by the model
    at_most_per_month: float  # by counting the hours heard alone, 95 %; at the most one for each memory's length


def low_line(
    fit: TailFit, score: NDArray[np.float64], *, per_month: float, memory_s: float, window_s: float
) -> LowLine | None:
    """Return the line for leave-block-out scores, (n,), in the order heard, and their fit; None for too few blocks.

    `per_month`: how often a healthy machine may be found changed; `memory_s` of sound is remembered for that.
    The 20 % quantile of a new session's windows lies above the line with the probability that follows: its centre is as
    uncertain as B stretches leave it, and sessions differ by SESSION spreads. No memory of the normal sound itself
    lies above it either.
    """
    if fit.blocks < MIN_BLOCKS:
        return None
    p = min(max(per_month / SESSIONS_PER_MONTH, _LEAST_SHARE), MAX_SHARE)
    uncertain = math.sqrt(1 / fit.blocks + SESSION**2)
    fitted = math.exp(fit.centre + fit.spread * (student_quantile(p, fit.dof) * uncertain - _BELOW))
    windows, above = long_memory_windows(memory_s, window_s)
    heard = len(score) / windows
    most = _MONTH_S / memory_s * min(poisson_upper(0) / heard, 1.0)
    return LowLine(max(fitted, highest_level(score, windows, above)), p * SESSIONS_PER_MONTH, most)


def highest_level(score: NDArray[np.float64], windows: int, above: int) -> float:
    """Return the highest score that `above` of so many windows in a row reach, of (n,); 0.0 for too few."""
    if len(score) < windows:
        return 0.0
    memories = np.lib.stride_tricks.sliding_window_view(score, windows)[::_STRIDE]  # (moments, windows)
    return max(float(np.partition(each, windows - above)[windows - above]) for each in memories)
