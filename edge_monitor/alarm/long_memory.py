"""The long memory of one machine: how many of its last disjoint windows lie above the low line. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from edge_monitor.counting import counted
from edge_monitor.records import Episode, long_memory_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_monitor.records import Score

AGE = 24  # times as old as its memory is long, a window falls out: an hour is kept for a day, three hours for three
FRESH = 0.1  # of the first memory: so much of it must have been heard since the last alarm or episode
_CLEAR_SHARE = 0.5  # of a memory's windows below the line: far from LOW_LINE_SHARE above, so that no end flaps
# Stream times are sums of sample counts; a microsecond is far below one sample and far above rounding.
SAME_INSTANT_S = 1e-6
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A window that was compared with the low line."""

    end_s: float  # stream time, seconds; in a `Remembered`: how long before the restart, <= 0
    above: bool
    times_line: float  # score / low line, >= 0


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a long memory goes on with after a restart."""

    generation: int = 0  # whose low line they were compared with
    windows: tuple[Compared, ...] = ()  # oldest first


class LastWindows:
    """The last n windows, n from a length in seconds, and how many of them lie above the line. O(1) a window."""

    def __init__(self, memory_s: float, window_s: float, max_age_s: float) -> None:
        self.memory_s = memory_s
        self._max_age_s = max_age_s
        self.n, self._m = long_memory_windows(memory_s, window_s)
        self._windows: deque[Compared] = deque()
        self.above = 0

    def add(self, window: Compared) -> None:
        """Take in the next window; what is too old, or one too many, falls out."""
        oldest_s = window.end_s - self._max_age_s
        self._windows.append(window)
        self.above += window.above
        while len(self._windows) > self.n or self._windows[0].end_s < oldest_s:
            self.above -= self._windows.popleft().above

    def clear(self) -> None:
        """Forget all."""
        self._windows.clear()
        self.above = 0

    @property
    def below(self) -> int:
        """Return how many lie on or below the line."""
        return len(self._windows) - self.above

    @property
    def reached(self) -> bool:
        """Return whether LOW_LINE_SHARE of n windows lie above the line; those not heard yet count as below."""
        return self.above >= self._m

    @property
    def cleared(self) -> bool:
        """Return whether half of n windows lie below the line: what was not heard is no evidence of health."""
        return self.below >= _CLEAR_SHARE * self.n

    @property
    def words(self) -> str:
        """Return the evidence in words."""
        return f"{self.above} of the last {self._of} above what healthy sound rarely keeps up"

    @property
    def cleared_words(self) -> str:
        """Return the evidence of health in words."""
        return f"{self.below} of the last {self._of} below what healthy sound rarely keeps up"

    @property
    def _of(self) -> str:
        seconds = self.memory_s
        span = f"{seconds / 3600:.3g} h" if seconds >= _HOUR_S else f"{seconds / 60:.3g} min"
        return f"{counted(self.n, 'window')} ({span})"

    def told(self, seq: int, since_ms: int) -> Episode:
        """Return what it holds, for the message `seq` of an episode since `since_ms`."""
        far = median(window.times_line for window in self._windows) if self._windows else 1.0
        return Episode(seq, since_ms, self.above, self.n, self.memory_s, far)


class LongMemory:
    """Two memories above one line: the first says "changed", the second, longer one "alarm".

    Gaps, stops, signal faults and restarts keep it; another generation has another line, and it begins anew.
    """

    def __init__(self, changed_after_s: float, alarm_after_s: float, window_s: float) -> None:
        self.first = LastWindows(changed_after_s, window_s, AGE * changed_after_s)
        self.second = LastWindows(alarm_after_s, window_s, AGE * alarm_after_s)
        # what was heard since the last alarm or episode ended
        self._fresh = LastWindows(FRESH * changed_after_s, window_s, AGE * changed_after_s)
        self._generation: int | None = None
        self._heard_until_s = -math.inf

    def restore(self, remembered: Remembered, at_s: float) -> None:
        """Go on at stream time `at_s`, seconds, with what was remembered."""
        self._generation = remembered.generation
        for window in islice(remembered.windows, max(0, len(remembered.windows) - self.second.n), None):
            self._add(Compared(at_s + window.end_s, window.above, window.times_line), (self.first, self.second))

    def hear(self, score: Score) -> bool | None:
        """Compare the next window; return whether it lies above the line, None when it does not count.

        It does not where no line is known, or where it shares sound with the last one that counted.
        """
        if score.generation != self._generation:
            self._generation = score.generation
            for memory in (self.first, self.second, self._fresh):
                memory.clear()
        if score.low_line is None or score.start_s < self._heard_until_s - SAME_INSTANT_S:
            return None
        self._heard_until_s = score.end_s
        window = Compared(score.end_s, above=score.above_low_line, times_line=score.value / score.low_line)
        self._add(window, (self.first, self.second, self._fresh))
        return window.above

    def end(self) -> None:
        """Take note that an alarm or episode has ended: a new one needs fresh evidence beside the old."""
        self._fresh.clear()

    @property
    def changed(self) -> bool:
        """Return whether the first memory is reached, and what was heard of late agrees."""
        return self.first.reached and self._fresh.reached

    @staticmethod
    def _add(window: Compared, memories: Iterable[LastWindows]) -> None:
        for memory in memories:
            memory.add(window)
