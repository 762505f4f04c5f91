"""Stream time of a live source: samples / rate, held against the monotonic clock; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Arrival jitters by one buffer and is never early, so the smallest offset of ten seconds is the clock's.
_PERIOD_S = 10.0
# A converter's clock is off by 100 ppm at most: 1 ms in a period. A jump of 100 ms is sound lost without a word.
_LOST_S = 0.1
_DRIFT_S = 0.05  # labels are moved back onto the clock when they have drifted this far; no sound is missing then


@dataclass(frozen=True, slots=True)
class Timing:
    """The label of one packet."""

    start_s: float
    gap: bool
    dropped_frames: int


class LiveClock:
    """Labels packets of contiguous samples with stream time in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._expected_s: float | None = None  # label of the next frame
        self._period_end_s = 0.0
        self._smallest_s = math.inf  # smallest offset in this period
        self._settled_s: float | None = None  # smallest offset of the period before

    def label(self, first_s: float, frames: int, rate_hz: int, *, dropped_frames: int, lost: bool) -> Timing:
        """Return the label of a packet whose first frame arrived at `first_s` on the monotonic clock.

        Reported drops (`dropped_frames`, or `lost` for an unknown number) are gaps and anchor the stream anew.
        """
        if self._expected_s is None or dropped_frames or lost:
            if lost and self._expected_s is not None:
                dropped_frames = max(dropped_frames, round((first_s - self._expected_s) * rate_hz))
            return self._anchor(first_s, frames, rate_hz, dropped_frames)
        offset_s = first_s - self._expected_s
        self._smallest_s = min(self._smallest_s, offset_s)
        start_s, self._expected_s = self._expected_s, self._expected_s + frames / rate_hz
        if first_s < self._period_end_s:
            return Timing(start_s, gap=False, dropped_frames=0)
        smallest_s, settled_s = self._smallest_s, self._settled_s
        self._period_end_s, self._smallest_s, self._settled_s = first_s + _PERIOD_S, math.inf, smallest_s
        if settled_s is not None and smallest_s - settled_s > _LOST_S:
            return self._anchor(start_s + smallest_s, frames, rate_hz, round((smallest_s - settled_s) * rate_hz))
        if abs(smallest_s) > _DRIFT_S:
            self._expected_s += smallest_s
            self._settled_s = 0.0
            return Timing(start_s + smallest_s, gap=False, dropped_frames=0)
        return Timing(start_s, gap=False, dropped_frames=0)

    def _anchor(self, start_s: float, frames: int, rate_hz: int, dropped_frames: int) -> Timing:
        if self._expected_s is not None:
            start_s = max(start_s, self._expected_s)  # time never runs back
        self._expected_s = start_s + frames / rate_hz
        self._period_end_s = start_s + _PERIOD_S
        self._smallest_s, self._settled_s = math.inf, None
        return Timing(start_s, gap=True, dropped_frames=dropped_frames)
