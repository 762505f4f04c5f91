"""The alarm of one machine: scores in, at most one event out. No clocks, files or threads."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_monitor.records import AlarmEvent, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config.machine import AlarmSettings
    from edge_monitor.records import Score

# Stream times are sums of sample counts; a microsecond is far below one sample and far above rounding.
_SAME_INSTANT_S = 1e-6


@dataclass(frozen=True, slots=True)
class Restored:
    """What survives a restart, read from the alarm history. The m-of-n history does not: it starts anew."""

    active: AlarmEvent | None = None  # the last event of the alarm that has not ended
    cooldown_left_s: float = 0.0
    inhibit_left_s: float = 0.0


class AlarmStateMachine:
    """Raises when m of the last n disjoint windows exceed the threshold; clears with hysteresis and off-delay.

    Time is stream time in seconds and never decreases. One alarm keeps one id from its start to its end. Windows that
    are not scored (a signal fault, a machine that stands) are not passed in: they count neither way, and an active
    alarm is held over them.
    """

    def __init__(self, machine: str, settings: AlarmSettings, new_id: Callable[[], str], restored: Restored) -> None:
        self._machine = machine
        self._settings = settings
        self._raise_m, self._raise_n = settings.raise_
        self._new_id = new_id
        self._history: deque[Score] = deque()
        self._active = restored.active
        self._restored = restored
        self._cooldown_until_s: float | None = None
        self._inhibit_until_s: float | None = None
        self._clock_started = False
        self._below_since_s: float | None = None
        self._last_event_s: float | None = None
        self._highest_since_event = self._highest_ratio_since_event = 0.0
        self._heard_until_s = 0.0  # end of the last scored window

    @property
    def active(self) -> AlarmEvent | None:
        """Return the last event of the active alarm, or None."""
        return self._active

    def inhibited(self, at_s: float) -> bool:
        """Return whether new alarms are inhibited at stream time `at_s` (seconds)."""
        self.tick(at_s)
        return self._inhibit_until_s is not None and at_s < self._inhibit_until_s

    def inhibit(self, at_s: float, duration_s: float) -> None:
        """Raise no new alarm for `duration_s` seconds of stream time; an active one goes on to its end."""
        self.tick(at_s)
        self._inhibit_until_s = at_s + duration_s

    def resume(self) -> None:
        """End an inhibition."""
        self._inhibit_until_s = None
        self._restored = replace(self._restored, inhibit_left_s=0.0)

    def on_audio_loss(self) -> None:
        """Take note that sound is missing: an active alarm is held, the m-of-n history starts anew."""
        self._history.clear()
        self._below_since_s = None

    def on_score(self, score: Score, wall_ms: int) -> AlarmEvent | None:
        """Take the next window's score; return what happened to the alarm, if anything did.

        `wall_ms` (milliseconds since 1970-01-01 UTC) only labels the event.
        """
        self.tick(score.end_s)
        if score.start_s > self._heard_until_s + _SAME_INSTANT_S:
            self._below_since_s = None  # what was not heard between two windows is no evidence of health
        self._heard_until_s = score.end_s
        self._history.append(score)
        windows = self._last_disjoint()
        if self._active is None:
            return self._maybe_start(windows, wall_ms)
        self._highest_since_event = max(self._highest_since_event, score.value)
        self._highest_ratio_since_event = max(self._highest_ratio_since_event, score.ratio)
        return self._maybe_end(self._active, score, wall_ms) or self._maybe_update(self._active, score, wall_ms)

    def tick(self, at_s: float) -> None:
        """Take note of stream time `at_s`, seconds; what was left of cooldown and inhibition runs from the first."""
        if self._clock_started:
            return
        self._clock_started = True
        if self._restored.cooldown_left_s > 0:
            self._cooldown_until_s = at_s + self._restored.cooldown_left_s
        if self._restored.inhibit_left_s > 0:
            self._inhibit_until_s = at_s + self._restored.inhibit_left_s

    def _last_disjoint(self) -> list[Score]:
        """Return the last n windows that share no sound, newest first, and forget what no later call can choose."""
        chosen: list[Score] = []
        for score in reversed(self._history):
            if not chosen or score.end_s <= chosen[-1].start_s + _SAME_INSTANT_S:
                chosen.append(score)
                if len(chosen) == self._raise_n:
                    break
        # A later window's choices are never earlier than this one's.
        while len(chosen) == self._raise_n and self._history[0].end_s < chosen[-1].end_s:
            self._history.popleft()
        return chosen

    def _maybe_start(self, windows: list[Score], wall_ms: int) -> AlarmEvent | None:
        score = windows[0]
        if not score.exceeds or self.inhibited(score.end_s):
            return None
        if self._cooldown_until_s is not None and score.end_s < self._cooldown_until_s:
            return None
        confirming = [window for window in windows if window.exceeds]
        if len(confirming) < self._raise_m:
            return None
        return self._emit(
            AlarmEvent(
                machine=self._machine,
                alarm_id=self._new_id(),
                seq=0,
                kind=EventKind.START,
                at_s=score.end_s,
                at_ms=wall_ms,
                since_ms=wall_ms,
                score=score.value,
                peak_score=max(window.value for window in confirming),
                peak_ratio=max(window.ratio for window in confirming),
                threshold=score.threshold,
                generation=score.generation,
                level_dbfs=score.level_dbfs,
                neighbours=score.neighbours,
                window_start_s=score.start_s,
                window_end_s=score.end_s,
                reason=f"{len(confirming)} of the last {self._raise_n} disjoint windows exceed the threshold",
            )
        )

    def _maybe_end(self, active: AlarmEvent, score: Score, wall_ms: int) -> AlarmEvent | None:
        if score.ratio >= self._settings.clear_ratio:
            self._below_since_s = None
            return None
        if self._below_since_s is None:
            self._below_since_s = score.end_s
        if score.end_s - self._below_since_s < self._settings.off_delay_s:
            return None
        reason = f"below {self._settings.clear_ratio:g} of the threshold for {self._settings.off_delay_s:g} s"
        event = self._emit(self._next(active, score, wall_ms, EventKind.END, reason))
        self._active = None
        self._history.clear()
        self._below_since_s = None
        self._cooldown_until_s = score.end_s + self._settings.cooldown_s
        return event

    def _maybe_update(self, active: AlarmEvent, score: Score, wall_ms: int) -> AlarmEvent | None:
        if self._last_event_s is None:  # restored: the interval starts with the first score
            self._last_event_s = score.end_s
        if score.end_s - self._last_event_s < self._settings.update_interval_s:
            return None
        return self._emit(self._next(active, score, wall_ms, EventKind.UPDATE, "still active"))

    def _next(self, active: AlarmEvent, score: Score, wall_ms: int, kind: EventKind, reason: str) -> AlarmEvent:
        return replace(
            active,
            seq=active.seq + 1,
            kind=kind,
            at_s=score.end_s,
            at_ms=wall_ms,
            score=self._highest_since_event,
            peak_score=max(active.peak_score, self._highest_since_event),
            peak_ratio=max(active.peak_ratio, self._highest_ratio_since_event),
            threshold=score.threshold,
            generation=score.generation,
            level_dbfs=score.level_dbfs,
            reason=reason,
        )

    def _emit(self, event: AlarmEvent) -> AlarmEvent:
        self._active = event
        self._last_event_s = event.at_s
        self._highest_since_event = self._highest_ratio_since_event = 0.0
        return event
