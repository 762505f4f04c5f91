"""What is kept of a machine's sound for the day it alarms: the windows that confirm it, and the sound before it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.alarm.history import MAX_WINDOWS, AnomalousWindow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_monitor.config.machine import AlarmSettings
    from edge_monitor.records import AlarmEvent, AudioBlock, Embedding, Samples, Score, Window

# Sound kept from before the confirming windows, so that a person hears the change coming.
PRE_ROLL_S = 10.0


@dataclass(frozen=True, slots=True)
class AlarmAudio:
    """What the start of an alarm, or of an episode, rests on: the window that confirmed it, and the sound around it."""

    samples: Samples  # (frames,) of that window, at the bundle's rate
    rate_hz: int
    windows: tuple[AnomalousWindow, ...]  # the disjoint windows that confirmed it, newest first
    sound: tuple[AudioBlock, ...]  # at the native rate, with pre-roll; empty unless evidence = "audio"


class KeptSound:
    """The last anomalous windows and the last sound of one machine. For one thread."""

    def __init__(self, settings: AlarmSettings, *, window_s: float, hop_s: float) -> None:
        history_s = (settings.raise_[1] + 1) * window_s  # that the windows which confirm an alarm span
        self._anomalous: deque[AnomalousWindow] = deque(maxlen=int(history_s / hop_s) + 2)
        # An episode's are spread over its memory, so that its sound is learnt whole should it be rejected; half of what
        # can be kept is left to the loud ones of the alarm that it may become.
        most = MAX_WINDOWS // 2
        self._above: deque[AnomalousWindow] = deque(maxlen=most - 1)
        self._every_s = max(settings.changed_after_s / most, window_s)
        self._kept_until_s = 0.0
        self._sound: deque[AudioBlock] = deque()
        self._sound_s = PRE_ROLL_S + history_s

    def hear(self, block: AudioBlock) -> None:
        """Keep the sound itself, as long as may be wanted."""
        if block.gap or (self._sound and self._sound[-1].rate_hz != block.rate_hz):
            self._sound.clear()
        self._sound.append(block)
        while self._sound[-1].end_s - self._sound[0].end_s > self._sound_s:
            self._sound.popleft()

    def begin(self, event: AlarmEvent, window: Window, embedding: Embedding) -> AlarmAudio:
        """Return what goes with the first event of an alarm, or of an episode."""
        latest = AnomalousWindow(window.start_s, window.end_s, event.level_dbfs, embedding)
        confirming = _disjoint([*(self._anomalous if event.episode is None else self._above), latest])
        self._kept_until_s = latest.end_s
        return AlarmAudio(window.samples, window.rate_hz, confirming, tuple(self._sound))

    def add(self, score: Score, embedding: Embedding) -> None:
        """Keep a window that is anomalous, or above the low line, for the start that may come."""
        latest = AnomalousWindow(score.start_s, score.end_s, score.level_dbfs, embedding)
        if score.exceeds:
            self._anomalous.append(latest)
        if score.above_low_line and (not self._above or latest.end_s >= self._above[-1].end_s + self._every_s):
            self._above.append(latest)

    def further(self, score: Score, embedding: Embedding) -> AnomalousWindow | None:
        """Return an anomalous window that is kept during an alarm or episode: disjoint from those before, or None."""
        if score.start_s < self._kept_until_s or not score.exceeds:
            return None
        self._kept_until_s = score.end_s
        return AnomalousWindow(score.start_s, score.end_s, score.level_dbfs, embedding)


def _disjoint(windows: Iterable[AnomalousWindow]) -> tuple[AnomalousWindow, ...]:
    """Return windows that share no sound, newest first."""
    chosen: list[AnomalousWindow] = []
    for window in sorted(windows, key=lambda each: each.end_s, reverse=True):
        if not chosen or window.end_s <= chosen[-1].start_s:
            chosen.append(window)
    return tuple(chosen)
