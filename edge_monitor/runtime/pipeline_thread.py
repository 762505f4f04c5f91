"""The pipeline thread: takes audio to its end, machine by machine, and outlives whatever goes wrong with one window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import AudioBlock, MachineState
from edge_monitor.runtime.supervision import SupervisedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_monitor.pipeline.machine_pipeline import MachinePipeline
    from edge_monitor.records import AudioLoss, Score
    from edge_monitor.runtime.alarm_recorder import AlarmRecorder
    from edge_monitor.runtime.audio_queue import AudioQueue
    from edge_monitor.runtime.machine_states import MachineStates
    from edge_monitor.runtime.score_minutes_recorder import ScoreMinutesRecorder
    from edge_monitor.runtime.standstill_recorder import StandstillRecorder
    from edge_monitor.runtime.taps import Taps

log = structlog.get_logger()
IDLE_S = 0.5
# So much of a machine's sound may wait before its windows are skipped. The queue itself, at 10 s, drops sound, and each
# gap costs a whole window; a skipped window costs one hop.
BEHIND_S = 1.5
_COMPLAIN_S = 60.0  # a window that fails again and again is logged once a minute


@dataclass(eq=False)
class PipelineThread:
    """Runs the pipelines of all machines in one thread, until the audio ends or is closed.

    `publish_score` is called with each score and how far it is behind its sound, seconds (0.0 for a recording).
    """

    audio: AudioQueue
    pipelines: Mapping[str, MachinePipeline]
    recorder: AlarmRecorder
    states: MachineStates
    minutes: ScoreMinutesRecorder
    standstills: StandstillRecorder
    taps: Taps
    publish_score: Callable[[Score, float], None]

    def __post_init__(self) -> None:
        """Make the thread."""
        self.windows_dropped = 0  # not scored because scoring was too slow
        self.turned_s = clock.now().monotonic_s  # when the thread last took something, or found nothing to take
        self._complained_s = self.turned_s - _COMPLAIN_S
        self.thread = SupervisedThread("pipeline", self._run)

    def _run(self) -> None:
        while not self.audio.closed and not self.audio.exhausted:
            item = self.audio.get(timeout_s=IDLE_S)
            self.turned_s = clock.now().monotonic_s
            if item is not None:
                self.taps.put(item)
                try:
                    self._take(item)
                except Exception as error:  # noqa: BLE001 - one machine's window must not deafen the others
                    self._survive(item, error)
            self.minutes.flush_when_due()
        self.minutes.flush()

    def _take(self, item: AudioBlock | AudioLoss) -> None:
        pipeline = self.pipelines[item.machine]
        live = item.machine in self.audio.live
        behind = self.audio.behind_s(item.machine) > BEHIND_S
        for result in pipeline.process(item, lambda: clock.now().wall_ms, skip=behind):
            if result.event is not None:
                self.recorder.commit(result.event, result.proof)
            if result.anomalous is not None and pipeline.alarm.active is not None:
                self.recorder.keep_window(pipeline.alarm.active.alarm_id, result.anomalous)
            self.states.update(result, live=live)
            self.minutes.add(result)
            self.standstills.add(result)
            if result.score is not None:
                self.publish_score(result.score, max(0.0, clock.now().monotonic_s - result.end_s) if live else 0.0)
            self.taps.put(result)
        self.windows_dropped += pipeline.take_skipped()

    def _survive(self, item: AudioBlock | AudioLoss, error: Exception) -> None:
        """Show that this machine cannot be judged, and go on."""
        text = f"a window could not be judged: {error}"
        if clock.now().monotonic_s - self._complained_s >= _COMPLAIN_S:
            self._complained_s = clock.now().monotonic_s
            log.error("service.window_failed", machine=item.machine, exc_info=error)
        at_s = item.end_s if isinstance(item, AudioBlock) else item.at_s
        self.states.update(WindowResult(item.machine, MachineState.SIGNAL_FAULT, at_s, text))
