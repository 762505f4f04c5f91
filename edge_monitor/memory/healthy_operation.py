"""What was heard of alarms in normal sound: how often m of n windows reached which score, and what that promises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.memory.chance import least_plausible_count, plausible_count, poisson_upper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.memory.leaveout import Layout

DAY_S = 86_400.0
_DOUBT = 0.05
_EDGE_S = 1e-6  # starts nearer than this are one window length apart
_BUSY = 0.8  # alarms per disturbed stretch are counted at the score that one stretch in five reaches
_LEAST_P = 1e-12  # chance of a disturbed stretch: rates below are not told apart
_SAME = 1e-6  # relative: thresholds found from the same scores, rounded otherwise
_MIN_SERIES = 12  # blocks: fewer say nothing about how long sound resembles itself


@dataclass(frozen=True, slots=True, eq=False)
class HealthyOperation:
    """Healthy sound cut into independent stretches, and the highest alarm level of each.

    The alarm level of a moment is the m-th largest score of the last n windows: a threshold below it raises an alarm.
    """

    level: NDArray[np.float64]  # (stretches,) the score's unit, >= 0
    complete: bool  # n windows in a row were heard somewhere; else what m of n do is not seen, only overstated
    seconds: float  # of sound in all stretches
    alarms_per_stretch: float = 1.0  # >= 1: false alarms come in groups
    lowest: float = 0.0  # levels below are not known, as of live sound that was judged by this threshold

    @property
    def days(self) -> float:
        """Return how much was heard, days."""
        return self.seconds / DAY_S

    def disturbed(self, threshold: float) -> int:
        """Return how many stretches would have raised an alarm, at the threshold or by a hair below it.

        A threshold that was found from these levels may be one of them, and that stretch has to count.
        """
        return int((self.level >= threshold).sum())

    def decide(self, threshold: float, wanted_per_day: float) -> float:
        """Return the threshold, moved as far as what was heard contradicts `wanted_per_day`, if it does.

        Up when alarms at the wanted rate would disturb so many stretches with probability below 5 % (binomial), down
        when they would disturb so few. What `lowest` kept quiet refutes no threshold below it.
        """
        stretches = len(self.level)
        p = max(wanted_per_day * self.days / (self.alarms_per_stretch * stretches), _LEAST_P)
        if not self.complete or p >= 1.0:
            return threshold
        level = np.sort(self.level)[::-1]  # descending
        most = plausible_count(stretches, p, _DOUBT)
        least = least_plausible_count(stretches, p, _DOUBT)
        if most < stretches and level[most] > self.lowest:
            threshold = max(threshold, float(level[most]))
        if least > 0:
            threshold = min(threshold, float(level[least]))
        return self.lowest if math.isclose(threshold, self.lowest, rel_tol=_SAME) else threshold


def at_most_per_day(heard: Sequence[HealthyOperation], threshold: float) -> float:
    """Return the upper 95 % bound on false alarms per day at a threshold, > 0: stretches counted, no model.

    The threshold is not below any `lowest`. At an infinite one it is the rule of three, 3 / days (Hanley &
    Lippman-Hand, JAMA 1983): no less can be promised.
    """
    disturbed = sum(each.disturbed(threshold) for each in heard)
    grouped = max(each.alarms_per_stretch for each in heard)
    return poisson_upper(disturbed) * grouped / sum(each.days for each in heard)


def in_operation(alarm_peaks: Sequence[float], seconds: float, threshold: float) -> HealthyOperation:
    """Return what `seconds` of healthy sound judged live say: false alarms by their peak scores, at a threshold.

    A peak is at least the level that raised the alarm, so this overstates them.
    """
    minutes = np.full(max(1, round(seconds / 60.0)), np.nextafter(threshold, 0.0))  # (minutes,)
    minutes[: len(alarm_peaks)] = alarm_peaks[: len(minutes)]
    return HealthyOperation(level=minutes, complete=True, seconds=seconds, lowest=threshold)


def in_normals(score: NDArray[np.float64], layout: Layout, m: int, n: int, window_s: float) -> HealthyOperation:
    """Return what n leave-block-out scores, (windows,), of disjoint windows in `layout` say about m-of-n alarms.

    Blocks that follow each other are joined into stretches as long as the sound resembles itself, see `stretch_blocks`.
    A recording shorter than n windows shows its alarm level in proportion: the second of three windows for 3 of 5, the
    score itself for one window. That overstates alarms.
    """
    order = np.lexsort((layout.start_s, layout.recording))
    unit, score = layout.unit[order], score[order]
    apart = np.abs(np.diff(layout.start_s[order])) > window_s + _EDGE_S
    begins = np.flatnonzero(np.diff(layout.recording[order]).astype(bool) | apart) + 1  # of a run of windows
    runs = np.split(score, begins)
    level = np.concatenate([_levels(run, m, n) for run in runs])  # (windows,)
    stretch = unit // stretch_blocks(score, unit)
    highest = np.full(int(stretch.max()) + 1, -np.inf)
    np.maximum.at(highest, stretch, level)
    return HealthyOperation(
        level=highest,
        complete=any(len(run) >= n for run in runs),
        seconds=len(score) * window_s,
        alarms_per_stretch=_alarms_per_stretch(level, highest, begins),
    )


def _levels(run: NDArray[np.float64], m: int, n: int) -> NDArray[np.float64]:
    """Return the alarm level after each window of a run, (windows,)."""
    first = [np.sort(run[:heard])[heard - -(-m * heard // n)] for heard in range(1, min(n, len(run) + 1))]
    if len(run) < n:
        return np.asarray(first)
    windows = np.lib.stride_tricks.sliding_window_view(run, n)  # (windows - n + 1, n)
    # the first n - 1 windows of a long run are not more than the rest of it
    return np.concatenate([np.zeros(n - 1), np.partition(windows, n - m, axis=1)[:, n - m]])


def _alarms_per_stretch(level: NDArray[np.float64], highest: NDArray[np.float64], begins: NDArray[np.intp]) -> float:
    """Return how many times the alarm level rises above a high score in a stretch where it does at all, >= 1."""
    high = float(np.quantile(highest, _BUSY))
    above = level > high
    before = np.concatenate([[False], above[:-1]])
    before[begins] = False
    disturbed = int((highest > high).sum())
    return max(1.0, int((above & ~before).sum()) / disturbed) if disturbed else 1.0


def stretch_blocks(score: NDArray[np.float64], unit: NDArray[np.int64]) -> int:
    """Return how many successive blocks make one independent stretch, >= 1.

    The integrated autocorrelation time of the blocks' mean log scores (Sokal, Monte Carlo Methods in Statistical
    Mechanics, 1989), summed while the correlation is above what chance makes of independent blocks.
    """
    size = np.bincount(unit)
    blocks = len(size)
    if blocks < _MIN_SERIES:
        return 1
    series = np.bincount(unit, np.log(np.maximum(score, np.finfo(float).tiny))) / size  # (blocks,)
    series = series - series.mean()
    power = np.abs(np.fft.rfft(series, 2 * blocks)) ** 2
    correlation = np.fft.irfft(power)[:blocks]
    if not correlation[0] > 0:
        return 1
    correlation = correlation / correlation[0]
    by_chance = np.flatnonzero(correlation < 2.0 / np.sqrt(blocks))
    last = int(by_chance[0]) if len(by_chance) else blocks
    return min(max(1, int(np.ceil(1.0 + 2.0 * correlation[1:last].sum()))), max(1, blocks // 4))
