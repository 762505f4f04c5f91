"""The alarm of one machine: scores in, at most one event out. No clocks, files or threads."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge_monitor.alarm.growth import Growth
from edge_monitor.alarm.long_memory import SAME_INSTANT_S, LongMemory, Remembered
from edge_monitor.records import AlarmEvent, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config.machine import AlarmSettings
    from edge_monitor.records import Score


@dataclass(frozen=True, slots=True)
class Restored:
    """What survives a restart, read from the alarm history. The m-of-n history does not: it starts anew."""

    active: AlarmEvent | None = None  # the last event of the alarm, or episode, that has not ended
    cooldown_left_s: float = 0.0
    inhibit_left_s: float = 0.0
    memory: Remembered = field(default_factory=Remembered)


class AlarmStateMachine:
    """Raises when m of the last n disjoint windows exceed the threshold; clears with hysteresis and off-delay.

    Beside it the long memory: 80 % of an hour's windows above the low line begin an episode ("changed", no alarm), of
    three hours' they make it an alarm, as m of n do. What began as an episode ends when half of the hour's windows lie
    below the line (an alarm: and the last ones below the clear level); what began with m of n, as ever.

    Time is stream time in seconds and never decreases. One alarm keeps one id from its start to its end, also from the
    episode it came from. Windows that are not scored (a signal fault, a machine that stands) are not passed in: they
    count neither way, and an active alarm is held over them. So do, for the long memory, windows while inhibited.
    """

    def __init__(
        self,
        machine: str,
        settings: AlarmSettings,
        new_id: Callable[[], str],
        restored: Restored,
        window_s: float = 10.0,  # of the bundle
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._raise_m, self._raise_n = settings.raise_
        self._new_id = new_id
        self._history: deque[Score] = deque()
        self._memory = LongMemory(settings.changed_after_s, settings.alarm_after_s, window_s)
        self.above: bool | None = None  # whether the last window lay above the low line; None: it did not count
        self._active = restored.active
        self._growth = Growth()
        if self._active is not None:
            self._growth = Growth(self._active.first_ratio, growing=self._active.growing)
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
        """Return the last event of the active alarm, or of an episode that is none yet; or None."""
        return self._active

    @property
    def evidence(self) -> str:
        """Return in words what the long memory holds of the last hour, or however long the first memory is."""
        return self._memory.first.words

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
        if score.start_s > self._heard_until_s + SAME_INSTANT_S:
            self._below_since_s = None  # what was not heard between two windows is no evidence of health
        self._heard_until_s = score.end_s
        self._history.append(score)
        self.above = None if self.inhibited(score.end_s) else self._memory.hear(score)
        windows = self._last_disjoint()
        if self._active is None:
            return self._maybe_start(windows, wall_ms)
        self._highest_since_event = max(self._highest_since_event, score.value)
        self._highest_ratio_since_event = max(self._highest_ratio_since_event, score.ratio)
        ended = self._maybe_end(self._active, score, wall_ms)
        if ended is not None:
            return ended
        if not self._active.raised:
            return self._maybe_raise(self._active, windows, wall_ms)
        self._growth.add(score.ratio)
        return self._maybe_update(self._active, score, wall_ms)

    def tick(self, at_s: float) -> None:
        """Take note of stream time `at_s`, seconds; what was left of cooldown and inhibition runs from the first."""
        if self._clock_started:
            return
        self._clock_started = True
        if self._restored.cooldown_left_s > 0:
            self._cooldown_until_s = at_s + self._restored.cooldown_left_s
        if self._restored.inhibit_left_s > 0:
            self._inhibit_until_s = at_s + self._restored.inhibit_left_s
        self._memory.restore(self._restored.memory, at_s)

    def _last_disjoint(self) -> list[Score]:
        """Return the last n windows that share no sound, newest first, and forget what no later call can choose."""
        chosen: list[Score] = []
        for score in reversed(self._history):
            if not chosen or score.end_s <= chosen[-1].start_s + SAME_INSTANT_S:
                chosen.append(score)
                if len(chosen) == self._raise_n:
                    break
        # A later window's choices are never earlier than this one's.
        while len(chosen) == self._raise_n and self._history[0].end_s < chosen[-1].end_s:
            self._history.popleft()
        return chosen

    def _confirming(self, windows: list[Score]) -> list[Score]:
        """Return the windows that raise an alarm by m of n, newest first; none when they do not."""
        exceeding = [window for window in windows if window.exceeds]
        return exceeding if windows[0].exceeds and len(exceeding) >= self._raise_m else []

    def _by_n(self, confirming: list[Score]) -> str:
        return f"{len(confirming)} of the last {self._raise_n} disjoint windows exceed the threshold"

    def _cooling(self, at_s: float) -> bool:
        return self._cooldown_until_s is not None and at_s < self._cooldown_until_s

    def _maybe_start(self, windows: list[Score], wall_ms: int) -> AlarmEvent | None:
        score = windows[0]
        if self.inhibited(score.end_s):
            return None
        cooling = self._cooling(score.end_s)
        confirming = [] if cooling else self._confirming(windows)
        episode = None
        if confirming:
            reason = self._by_n(confirming)
        elif self.above and self._memory.changed:
            episode, reason = self._memory.first.told(0, wall_ms), self._memory.first.words
        else:
            return None
        alarm = episode is None or (self._settings.raise_on == "changed" and not cooling)
        rests_on = confirming or [score]
        return self._emit(
            AlarmEvent(
                machine=self._machine,
                alarm_id=self._new_id(),
                seq=0 if alarm else -1,
                kind=EventKind.START if alarm else EventKind.CHANGED,
                at_s=score.end_s,
                at_ms=wall_ms,
                since_ms=wall_ms,
                score=score.value,
                peak_score=max(window.value for window in rests_on),
                peak_ratio=max(window.ratio for window in rests_on),
                threshold=score.threshold,
                generation=score.generation,
                level_dbfs=score.level_dbfs,
                neighbours=score.neighbours,
                window_start_s=score.start_s,
                window_end_s=score.end_s,
                reason=reason,
                episode=episode,
            )
        )

    def _maybe_raise(self, active: AlarmEvent, windows: list[Score], wall_ms: int) -> AlarmEvent | None:
        """Make an episode an alarm."""
        score = windows[0]
        if self.inhibited(score.end_s) or self._cooling(score.end_s):
            return None
        memory, confirming = self._memory.first, self._confirming(windows)
        if confirming:
            reason = self._by_n(confirming)
        elif self.above and self._memory.second.reached:
            memory = self._memory.second
            reason = memory.words
        elif self.above and self._settings.raise_on == "changed" and memory.reached:
            reason = memory.words
        else:
            return None
        event = self._next(active, score, wall_ms, EventKind.START, reason)
        return self._emit(
            replace(
                event,
                since_ms=wall_ms,
                score=score.value,
                neighbours=score.neighbours,
                window_start_s=score.start_s,
                window_end_s=score.end_s,
                episode=active.episode and memory.told(active.episode.seq + 1, active.episode.since_ms),
            )
        )

    def _calm(self, active: AlarmEvent, score: Score) -> tuple[bool, str]:
        """Return whether this window says that it is over, and if so why."""
        quiet = score.ratio < self._settings.clear_ratio
        if active.episode is None or score.low_line is None:
            return quiet, f"below {self._settings.clear_ratio:g} of the threshold for {self._settings.off_delay_s:g} s"
        memory = self._memory.first
        return memory.cleared and (quiet or not active.raised), memory.cleared_words

    def _maybe_end(self, active: AlarmEvent, score: Score, wall_ms: int) -> AlarmEvent | None:
        calm, reason = self._calm(active, score)
        if not calm:
            self._below_since_s = None
            return None
        if self._below_since_s is None:
            self._below_since_s = score.end_s
        if score.end_s - self._below_since_s < self._settings.off_delay_s:
            return None
        event = self._next(active, score, wall_ms, EventKind.END, reason)
        if active.episode is not None:
            told = self._memory.first.told(active.episode.seq + 1, active.episode.since_ms)
            event = replace(event, episode=told)
        event = self._emit(event)
        self._active = None
        self._history.clear()
        self._memory.end()
        self._below_since_s = None
        if active.raised:
            self._cooldown_until_s = score.end_s + self._settings.cooldown_s
        return event

    def _maybe_update(self, active: AlarmEvent, score: Score, wall_ms: int) -> AlarmEvent | None:
        if self._last_event_s is None:  # restored: the interval starts with the first score
            self._last_event_s = score.end_s
        if score.end_s - self._last_event_s < self._settings.update_interval_s:
            return None
        self._growth.end_interval()
        event = self._next(active, score, wall_ms, EventKind.UPDATE, "still active")
        return self._emit(replace(event, first_ratio=self._growth.first_ratio, growing=self._growth.growing))

    def _next(self, active: AlarmEvent, score: Score, wall_ms: int, kind: EventKind, reason: str) -> AlarmEvent:
        return replace(
            active,
            seq=active.seq + 1 if active.raised or kind is EventKind.START else active.seq,
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
        if event.kind is EventKind.START:
            self._growth = Growth()
        self._active = event
        self._last_event_s = event.at_s
        self._highest_since_event = self._highest_ratio_since_event = 0.0
        return event
