"""Is the microphone covered, or gone? A level far below the quietest at which the machine was heard standing; pure.

A machine that stops can leave a hall 40 dB quieter than itself, so how loud it runs says little of a quiet window. How
quiet it was when it stood does: below that come a covered microphone, and the bare noise of a converter without one.
"""

from __future__ import annotations

import math
from collections import deque

# Of the quietest hall that was heard 94 % of the power are gone. Two stops of one hall differ by less, its day and its
# night by more: the first nights after the first stops are taken for a covered microphone.
MARGIN_DB = 12.0
_HYSTERESIS_DB = 3.0
_SURE_S = 20.0  # from the first such window on; with a window of 10 s it is told half a minute after it was covered
# One repair, or one cover that came off, looks like a stop; it does not look so three times. A hall does each night.
_STOPS, _RECENT = 3, 12  # so many of the last so many: days and nights alternate, covers of a year do not add up
# A hand over the microphone and a loose plug are shorter, and so are a cycle's own pauses: those teach nothing.
_STOP_S = 60.0
# Before that nothing is known of the hall. A quiet digital microphone is at -92 to -105 dBFS in a quiet one; a machine
# as quiet as that is not 40 dB above it, and its own gate then says what is too quiet.
_GONE_DBFS = -110.0
_GONE_DB = 40.0


class Standstill:
    """Learns how quiet it is when a machine stands, and says when it is too quiet for that.

    `quietest_dbfs` is what three of the last stops were as quiet as, each at its quietest; None: not so many were
    heard. A stop counts when it lasted a minute and the machine then ran as learnt: this microphone has heard it.
    Of one that was too quiet for the most part, that level counts. `gate_dbfs`: the learnt level gate; None: none.
    """

    def __init__(self, quietest_dbfs: float | None, gate_dbfs: float | None = None) -> None:
        self._gate_dbfs = gate_dbfs
        self.quietest_dbfs = quietest_dbfs
        self._stops: deque[float] = deque(maxlen=_RECENT)  # the lowest levels of the last ones
        self._covered = False
        self._begin_stop()

    def _begin_stop(self) -> None:
        self._stop_dbfs = math.inf  # the lowest level since the machine ran as learnt
        self._doubted: deque[tuple[float, float]] = deque()  # end and level of windows that may be covered in part
        self._stood_s, self._stood_until_s = 0.0, -math.inf  # how long it stood in all, and the end of the last window
        self._below_from_s: float | None = None  # stream time from which it is too far below,
        self._below_until_s = -math.inf  # the end of the last such window,
        self._below_dbfs = math.inf  # the lowest level of those,
        self._below_s = 0.0  # and how long they lasted in all

    def hear_standing(self, level_dbfs: float, start_s: float, end_s: float) -> None:
        """Take in the level of a window in which the machine stands, after `covered` has heard it."""
        if self._below_from_s is not None or start_s < self._below_until_s:
            return
        while self._doubted and self._doubted[0][0] <= start_s:
            self._stop_dbfs = min(self._stop_dbfs, self._doubted.popleft()[1])
        self._doubted.append((end_s, level_dbfs))
        self._stood_s += end_s - max(start_s, self._stood_until_s)
        self._stood_until_s = end_s

    def hear_running(self) -> None:
        """Take note that the machine runs as it was learnt: a stop is over, if there was one."""
        stop_dbfs = min((self._stop_dbfs, *(level for _, level in self._doubted)))
        level_dbfs = self._below_dbfs if self._below_s > self._stood_s else stop_dbfs
        if max(self._below_s, self._stood_s) >= _STOP_S and level_dbfs < math.inf:
            self._stops.append(level_dbfs)
        if len(self._stops) >= _STOPS:
            known_dbfs = math.inf if self.quietest_dbfs is None else self.quietest_dbfs
            self.quietest_dbfs = min(known_dbfs, sorted(self._stops)[_STOPS - 1])
        self._begin_stop()

    def covered(self, level_dbfs: float, end_s: float) -> str | None:
        """Return in one line that a window which ends at `end_s`, stream time, is too quiet; None: it is not."""
        known_dbfs, known, least_db = self._known()
        below_db = known_dbfs - level_dbfs
        if below_db < least_db - (_HYSTERESIS_DB if self._covered else 0.0):
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
        return f"microphone covered or gone: {below_db:.0f} dB below {known}" if self._covered else None

    def _known(self) -> tuple[float, str, float]:
        """Return the lowest level that is known, dBFS, what it is, and how far below it is too quiet, dB."""
        if self.quietest_dbfs is not None:
            return self.quietest_dbfs, "the quietest that was learnt", MARGIN_DB
        if self._gate_dbfs is None:
            return -math.inf, "", 0.0
        return self._gate_dbfs, "the level gate", max(_GONE_DB, self._gate_dbfs - _GONE_DBFS)
