"""One machine's way from blocks to events: resample, cut, check, gate, embed, score, decide."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from edge_monitor.alarm.state_machine import AlarmStateMachine
from edge_monitor.capture.gate import Running, RunningGate
from edge_monitor.capture.quality import check, level_dbfs
from edge_monitor.capture.repetition import RepetitionWatch
from edge_monitor.capture.resampling import StreamResampler
from edge_monitor.capture.sensor import SensorLook
from edge_monitor.capture.standstill import Standstill
from edge_monitor.capture.windowing import WindowCutter
from edge_monitor.config.machine import MicrophoneSource
from edge_monitor.memory.generations import hear_alike
from edge_monitor.pipeline.alarm_audio import KeptSound
from edge_monitor.pipeline.sensor_check import SensorWatch
from edge_monitor.records import AudioLoss, Embedding, MachineState, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.alarm.history import AnomalousWindow
    from edge_monitor.alarm.state_machine import Restored
    from edge_monitor.capture.sensor import SensorProfile
    from edge_monitor.config.machine import AlarmSettings, MachineSettings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.memory.generations import Generation
    from edge_monitor.memory.scorer import GenerationScorer
    from edge_monitor.pipeline.alarm_audio import AlarmAudio
    from edge_monitor.records import AlarmEvent, AudioBlock, Window

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Learnt:
    """What scoring depends on, swapped as one: a generation's scorer, its gate and the microphone's profile."""

    scorer: GenerationScorer
    gate_dbfs: float | None  # None: no gate was learnt
    sensor: SensorProfile | None = None  # None: too few normals were measured to know the microphone by

    @property
    def generation(self) -> int:
        """Return the generation's number."""
        return self.scorer.generation.number


@dataclass(frozen=True, slots=True)
class NotLearnt:
    """Why a machine is not scored."""

    reason: str = "no normal sound is known"
    damaged: bool = False  # there is a generation, and nothing can be scored with it


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What one window, or the loss of sound, came to."""

    machine: str
    state: MachineState
    end_s: float  # stream time, seconds
    text: str  # one line for a person
    level_dbfs: float | None = None
    window: Window | None = None
    embedding: Embedding | None = None
    score: Score | None = None
    event: AlarmEvent | None = None
    proof: AlarmAudio | None = None  # with the start of an alarm, or of an episode
    anomalous: AnomalousWindow | None = None  # during one: another window to be kept with it
    above: bool | None = None  # whether it lies above the low line; None: it does not count in the long memory
    standing_dbfs: float | None = None  # how quiet it is when the machine stands; None: nothing new was learnt of that


class MachinePipeline:
    """Turns one machine's audio into what it means.

    Belongs to one thread. What others ask for (`swap`, `inhibit`, `tell_running`) is done between two blocks.
    """

    def __init__(
        self,
        settings: MachineSettings,
        encoder: Encoder,
        *,
        hop_s: float,
        learnt: Learnt | NotLearnt,
        restored: Restored,
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.learning = False  # True: windows are being enrolled, none raises an alarm
        self.learnt = learnt
        self._orders: deque[Callable[[float], None]] = deque()  # each takes the stream time, seconds
        self._skipped = 0
        self._encoder = encoder
        self._resampler = StreamResampler(encoder.sample_rate_hz)
        self._cutter = WindowCutter(settings.name, encoder.sample_rate_hz, encoder.window_s, hop_s)
        self.alarm = AlarmStateMachine(settings.name, settings.alarm, new_id, restored, encoder.window_s)
        running = settings.running
        self._gate = RunningGate(self._gate_level(learnt), running.settle_s, max_age_s=running.max_age_s)
        self._stands_too_long = False
        self._sensor = SensorWatch()
        self._standstill = _standstill(learnt)
        self._kept_standing_dbfs = self._standstill.quietest_dbfs  # what the generation has of it
        # What plays recordings may play one again.
        self._repetition = RepetitionWatch() if isinstance(settings.source, MicrophoneSource) else None
        self._kept = KeptSound(settings.alarm, window_s=encoder.window_s, hop_s=hop_s)

    def swap(self, learnt: Learnt | NotLearnt) -> None:
        """Score with this from the next block on."""

        def change(_at_s: float) -> None:
            fresh, before, self.learnt = _standstill(learnt), self.learnt, learnt
            self._gate.gate_dbfs = self._gate_level(learnt)
            self._kept_standing_dbfs = fresh.quietest_dbfs
            alike = (
                isinstance(before, Learnt)
                and isinstance(learnt, Learnt)
                and hear_alike(before.scorer.generation, learnt.scorer.generation)
            )
            if not alike or (self._standstill.quietest_dbfs is None and fresh.quietest_dbfs is not None):
                self._standstill = fresh

        self._orders.append(change)

    def inhibit(self, seconds: float) -> None:
        """Raise no new alarm for so long from the next block on; 0: raise them again."""

        def change(at_s: float) -> None:
            if seconds > 0:
                self.alarm.inhibit(at_s, seconds)
            else:
                self.alarm.resume()

        self._orders.append(change)

    def tell_running(self, running: bool | None) -> None:
        """Take what the plant says of the machine (None: it cannot be heard), from the next block on."""

        def change(_at_s: float) -> None:
            self._gate.tell(running)

        self._orders.append(change)

    def take_skipped(self) -> int:
        """Return how many windows were skipped since the last call."""
        skipped, self._skipped = self._skipped, 0
        return skipped

    def _gate_level(self, learnt: Learnt | NotLearnt) -> float | None:
        gate = self.settings.running.gate
        if gate == "learnt":
            return learnt.gate_dbfs if isinstance(learnt, Learnt) else None
        return None if gate == "off" else gate

    def process(
        self, item: AudioBlock | AudioLoss, wall_ms: Callable[[], int], *, skip: bool = False
    ) -> Iterator[WindowResult]:
        """Yield what each completed window, or a loss of sound, came to.

        With `skip` completed windows are counted and not judged: scoring is behind the audio.
        """
        at_s = item.at_s if isinstance(item, AudioLoss) else item.end_s
        self.alarm.tick(at_s)
        while self._orders:
            self._orders.popleft()(at_s)
        if isinstance(item, AudioLoss):
            self.alarm.on_audio_loss()
            yield WindowResult(item.machine, MachineState.NO_AUDIO, item.at_s, item.reason)
            return
        if self.settings.evidence == "audio":
            self._kept.hear(item)
        if self._repetition is not None:
            self._repetition.hear(item)
        block = self._resampler.feed(item)
        if block is None:
            return
        self._gate.hear(block)
        for window in self._cutter.feed(block):
            if skip:
                self._skipped += 1
            else:
                yield self._judge(window, wall_ms)

    def _judge(self, window: Window, wall_ms: Callable[[], int]) -> WindowResult:
        broken = self._broken(window)
        if broken is not None:
            return WindowResult(window.machine, MachineState.SIGNAL_FAULT, window.end_s, broken, window=window)
        level = level_dbfs(window.samples)
        unfit = self._unfit(window, level)
        if unfit is not None:
            return WindowResult(window.machine, unfit[0], window.end_s, unfit[1], level_dbfs=level, window=window)
        embedding, learnt = self._encoder.embed_window(window), self.learnt
        state, text = MachineState.LEARNING, "learning the normal sound"
        if isinstance(learnt, NotLearnt) and not self.learning:
            state, text = MachineState.NOT_ENROLLED, learnt.reason
        heard = WindowResult(
            window.machine, state, window.end_s, text, level_dbfs=level, window=window, embedding=embedding
        )
        if self.learning or isinstance(learnt, NotLearnt):
            return heard
        score = self._score(learnt, window, embedding, level)
        unusual = score.exceeds or score.value > learnt.scorer.generation.usual_score
        look = self._look(window, level) if unusual else SensorLook()
        if look.changed is not None:
            return replace(heard, state=MachineState.SENSOR_CHANGED, text=look.changed, embedding=None)
        self._kept.add(score, embedding)
        event = self.alarm.on_score(score, wall_ms())
        hint = "" if look.alike_db is None else f"all bands alike by {look.alike_db:+.0f} dB: microphone or flow?"
        if event is not None and hint:
            event = replace(event, hint=hint)
        state, text = self._standing(score)
        if state is MachineState.ALARM and hint:
            text = f"{text}; {hint}"
        return replace(
            heard,
            state=state,
            text=text,
            score=score,
            event=event,
            above=self.alarm.above,
            proof=self._kept.begin(event, window, embedding) if event is not None and event.begins else None,
            anomalous=None if self.alarm.active is None else self._kept.further(score, embedding),
            standing_dbfs=None if score.exceeds else self._learn_standing(),
        )

    def _learn_standing(self) -> float | None:
        self._standstill.hear_running()
        kept_dbfs, self._kept_standing_dbfs = self._kept_standing_dbfs, self._standstill.quietest_dbfs
        return None if self._kept_standing_dbfs == kept_dbfs else self._kept_standing_dbfs

    def _broken(self, window: Window) -> str | None:
        """Return in one line why the signal is none of a machine; None when it may be one."""
        fault = check(window)
        if fault is not None:
            return fault.detail
        return None if self._repetition is None else self._repetition.repeats(window.start_s)

    def _unfit(self, window: Window, level_dbfs: float) -> tuple[MachineState, str] | None:
        """Return state and text when a window says nothing about the running machine; None when it is to be scored."""
        # Before the gate: a gain that was turned down must not pass for a machine that stands still.
        changed = self._look(window, level_dbfs, unless_usual=True).changed
        running = self._gate.judge(window)
        covered = self._standstill.covered(level_dbfs, window.end_s)
        if covered is not None and changed is None and not self.learning:
            return MachineState.SENSOR_CHANGED, covered
        if running is Running.NOT_RUNNING and changed is None and self._gate.quiet(level_dbfs):
            self._standstill.hear_standing(level_dbfs, window.start_s, window.end_s)
        if running is not Running.RUNNING and (changed is None or self._gate.told is False):
            if doubt := self._gate.doubt(window.end_s):
                return MachineState.SIGNAL_FAULT, doubt
            return MachineState.NOT_RUNNING, self._standing_still(running, window.end_s)
        if changed is not None and not self.learning:
            return MachineState.SENSOR_CHANGED, changed
        return None

    def _standing_still(self, running: Running, at_s: float) -> str:
        if running is Running.SETTLING:
            return "the machine is starting"
        most_s, since_s = self.settings.running.not_running_max_s, self._gate.off_since_s
        stood_s = 0.0 if since_s is None else at_s - since_s
        before, self._stands_too_long = self._stands_too_long, most_s is not None and stood_s > most_s
        if not self._stands_too_long:
            return "the machine does not run"
        if not before:
            log.warning("machine.not_run_too_long", machine=self.settings.name, not_running_max_s=most_s)
        return f"the machine has not run for {stood_s / 3600:.1f} h, longer than it may (not_running_max_s)"

    def _look(self, window: Window, level_dbfs: float, *, unless_usual: bool = False) -> SensorLook:
        sensor = self.learnt.sensor if isinstance(self.learnt, Learnt) else None
        if sensor is None or (unless_usual and sensor.usual(level_dbfs)):
            return SensorLook()
        return self._sensor.look(sensor, window, level_dbfs)

    def _standing(self, score: Score) -> tuple[MachineState, str]:
        """Return the state and its text after a scored window."""
        text = f"score {score.ratio:.2f} of the threshold"
        active = self.alarm.active
        if active is not None and active.raised:
            if score.exceeds:
                return MachineState.ALARM, f"anomalous sound, {text}"
            if active.episode is not None:
                return MachineState.ALARM, f"{self.alarm.evidence}, {text}"
            return MachineState.ALARM, f"{text}; the alarm ends below {self.settings.alarm.clear_ratio:.2f}"
        if self.alarm.inhibited(score.end_s):
            return MachineState.INHIBITED, "alarms are inhibited"
        if active is not None:
            return MachineState.NORMAL, f"changed: {self.alarm.evidence}, {text}"
        return MachineState.NORMAL, text

    def _score(self, learnt: Learnt, window: Window, embedding: Embedding, level_dbfs: float) -> Score:
        scored = learnt.scorer.score(embedding)
        return Score(
            machine=window.machine,
            value=scored.value,
            threshold=threshold_of(self.settings.alarm, learnt.scorer.generation),
            generation=learnt.scorer.generation.number,
            neighbours=scored.neighbours,
            start_s=window.start_s,
            end_s=window.end_s,
            level_dbfs=level_dbfs,
            low_line=learnt.scorer.generation.low_line,
        )


def _standstill(learnt: Learnt | NotLearnt) -> Standstill:
    if isinstance(learnt, NotLearnt):
        return Standstill(None)
    return Standstill(learnt.scorer.generation.standing_dbfs, learnt.gate_dbfs)


def threshold_of(alarm: AlarmSettings, generation: Generation) -> float:
    """Return the configured number while the generation it was chosen for is active, else the calibrated threshold."""
    if alarm.threshold != "calibrated" and alarm.threshold_generation == generation.number:
        return alarm.threshold
    return generation.threshold
