"""Healthy scores that are simulated, and what an installation learns of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.calibration import DEVELOPED_ON, KEPT_BACK, PER_DAY, WINDOW_S, Process, layout_of, log_waves, waves
from edge_monitor.memory.leaveout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Drift = Callable[[np.random.Generator, int, int], Array]  # windows, installations -> (installations, windows)

SPREAD = 0.25  # of log scores within a minute


def _slowly(drift: Drift) -> Callable[[np.random.Generator, int, int], Array]:
    """Return scores that vary from window to window, from minute to minute, and by `drift`, in spreads."""

    def simulate(draw: np.random.Generator, windows: int, installations: int) -> Array:
        fast = draw.standard_normal((installations, windows)) + waves(draw, windows, installations, 1.0)
        return np.asarray(np.exp(SPREAD * (fast / math.sqrt(2) + drift(draw, windows, installations))))

    return simulate


def _day_and_night(spreads: float) -> Drift:
    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        day = np.arange(windows) / PER_DAY + draw.random((installations, 1))
        return np.asarray(spreads * np.sin(2 * np.pi * day))

    return drift


def _walk(spreads_a_day: float) -> Drift:
    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        steps = draw.standard_normal((installations, windows)) * spreads_a_day / math.sqrt(PER_DAY)
        return np.asarray(steps.cumsum(axis=1))

    return drift


def _loads(spreads: float, minutes: float) -> Drift:
    """Two loads, each of so many minutes on average."""

    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        changes = draw.random((installations, windows)) < WINDOW_S / (60 * minutes)
        return np.asarray(spreads * ((changes.cumsum(axis=1) + draw.integers(0, 2, (installations, 1))) % 2))

    return drift


def _shifts(spreads: float) -> Drift:
    """Shifts of eight hours, each with a level of its own."""

    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        length = PER_DAY // 3
        level = draw.standard_normal((installations, windows // length + 2))
        shift = (np.arange(windows) + draw.integers(0, length, (installations, 1))) // length
        return np.asarray(spreads * np.take_along_axis(level, shift, axis=1))

    return drift


PROCESSES = (
    *DEVELOPED_ON,
    *KEPT_BACK,
    *(Process(f"{minutes} min alike", log_waves(minutes)) for minutes in (1, 2)),
    *(Process(f"day and night {spreads:g}", _slowly(_day_and_night(spreads))) for spreads in (0.2, 0.5, 1.0)),
    *(Process(f"walk of {spreads:g} a day", _slowly(_walk(spreads))) for spreads in (0.5, 1.0)),
    Process("loads 1 apart, 20 min", _slowly(_loads(1.0, 20.0))),
    Process("loads 2 apart, 1 h", _slowly(_loads(2.0, 60.0))),
    *(Process(f"shifts {spreads:g} apart", _slowly(_shifts(spreads))) for spreads in (0.25, 0.5, 1.0)),
)


def seven_clips(score: Array, draw: np.random.Generator) -> tuple[Array, Layout]:
    """Return seven windows of a day, each a recording of its own."""
    chosen = np.sort(draw.choice(len(score), 7, replace=False))
    return score[chosen], Layout(np.arange(7), np.zeros(7, dtype=np.int64), np.zeros(7))


def in_a_row(minutes: float) -> Callable[[Array, np.random.Generator], tuple[Array, Layout]]:
    """Return what takes the last minutes of a day as one recording."""

    def take(score: Array, _draw: np.random.Generator) -> tuple[Array, Layout]:
        windows = round(60 * minutes / WINDOW_S)
        return score[-windows:], layout_of(windows)

    return take


LEARNT = {"7 clips": seven_clips, "5 min": in_a_row(5), "10 min": in_a_row(10), "24 h": in_a_row(24 * 60)}
