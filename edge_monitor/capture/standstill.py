"""Is the microphone covered, or gone? A level far below the quietest at which the machine was heard standing; pure.

A machine that stops can leave a hall 40 dB quieter than itself, so how loud it runs says nothing of a quiet window. How
quiet it was when it stood does: below that come a covered microphone, and the bare noise of a converter without one.
"""

from __future__ import annotations

import math
from collections import deque

# Of the quietest hall that was heard 94 % of the power are gone. Two stops of one hall differ by less, its day and its
# night by more: the first night after the first stop is taken for a covered microphone.
MARGIN_DB = 12.0
_HYSTERESIS_DB = 3.0
_SURE_S = 20.0  # from the first such window on; with a window of 10 s it is told half a minute after it was covered
# What was taken for a covered microphone for so long in all, before the machine ran as ever, is a quieter hall: nobody
# covers one and leaves it. It is learnt, so that the next night, or the next short stop, is none.
_HALL_S = 1800.0


class Standstill:
    """Learns how quiet it is when a machine stands, and says when it is too quiet for that.

    `quietest_dbfs` is the lowest level of a window in which it stood; None: it was never heard standing. It is learnt
    from stops after which the machine ran as it was learnt: then this microphone has heard them.
    """

    def __init__(self, quietest_dbfs: float | None) -> None:
        self.quietest_dbfs = quietest_dbfs
        self._stop_dbfs = math.inf  # the lowest level since the machine ran as learnt
        self._doubted: deque[tuple[float, float]] = deque()  # end and level of windows that may be covered in part
        self._below_from_s: float | None = None  # stream time from which it is too far below,
        self._below_until_s = -math.inf  # the end of the last such window,
        self._below_dbfs = math.inf  # the lowest level of those,
        self._below_s = 0.0  # and how long they lasted in all
        self._covered = False

    def hear_standing(self, level_dbfs: float, start_s: float, end_s: float) -> None:
        """Take in the level of a window in which the machine stands, after `covered` has heard it."""
        if self._below_from_s is not None or start_s < self._below_until_s:
            return
        while self._doubted and self._doubted[0][0] <= start_s:
            self._stop_dbfs = min(self._stop_dbfs, self._doubted.popleft()[1])
        self._doubted.append((end_s, level_dbfs))

    def hear_running(self) -> bool:
        """Take note that the machine runs as it was learnt; return whether `quietest_dbfs` is another one now."""
        before = math.inf if self.quietest_dbfs is None else self.quietest_dbfs
        heard = min(before, self._stop_dbfs, *(level for _, level in self._doubted))
        if self._below_s >= _HALL_S:
            heard = min(heard, self._below_dbfs)
            self._below_s, self._below_dbfs = 0.0, math.inf
        self._stop_dbfs = math.inf
        self._doubted.clear()
        if heard == before:
            return False
        self.quietest_dbfs = heard
        return True

    def covered(self, level_dbfs: float, end_s: float) -> str | None:
        """Return in one line that a window which ends at `end_s`, stream time, is too quiet; None: it is not."""
        below_db = -math.inf if self.quietest_dbfs is None else self.quietest_dbfs - level_dbfs
        if below_db < MARGIN_DB - (_HYSTERESIS_DB if self._covered else 0.0):
            self._below_from_s, self._covered = None, False
            return None
        if self._below_from_s is None:
            self._below_from_s = end_s
            self._doubted.clear()
        else:
            self._below_s += min(end_s - self._below_until_s, _SURE_S)  # not what was not heard
        self._below_until_s = end_s
        self._below_dbfs = min(self._below_dbfs, level_dbfs)
        self._covered = end_s - self._below_from_s >= _SURE_S
        if not self._covered:
            return None
        return f"microphone covered or gone: {below_db:.0f} dB below the quietest that was learnt"
