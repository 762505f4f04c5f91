"""Whether an alarm grows: its median score ratio of the last interval against that of its first. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median

# An interval is that between two updates of the alarm: 5 minutes, 30 disjoint windows, unless it is set otherwise.
GROWS = 1.2  # more than so many times the first interval's median: the alarm grows ...
GROWS_NO_MORE = 1.1  # ... until the median is below this
_MOST = 1000  # windows of an interval whose ratios are kept


class Growth:
    """The ratios of the interval under way, what the first one's were, and whether the alarm grows."""

    def __init__(self, first_ratio: float | None = None, *, growing: bool = False) -> None:
        self.first_ratio = first_ratio
        self.growing = growing
        self._ratios: deque[float] = deque(maxlen=_MOST)

    def add(self, ratio: float) -> None:
        """Take in a window's score / threshold."""
        self._ratios.append(ratio)

    def end_interval(self) -> None:
        """Judge the interval that is over."""
        if not self._ratios:
            return
        typical = median(self._ratios)
        self._ratios.clear()
        if self.first_ratio is None:
            self.first_ratio = typical
        else:
            self.growing = typical > (GROWS_NO_MORE if self.growing else GROWS) * self.first_ratio
