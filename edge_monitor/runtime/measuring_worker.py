"""The measuring worker: what was measured of each alarm's sound, then its picture, after the alert is out."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.encode.session import trim_memory
from edge_monitor.errors import EdgeMonitorError
from edge_monitor.explain import jobs
from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import compare
from edge_monitor.explain.spectrogram import compact
from edge_monitor.memory.normals import Normals
from edge_monitor.pipeline.normal_acoustics import load_normal_acoustics
from edge_monitor.pipeline.repetition import load_repetition
from edge_monitor.records import Explanation
from edge_monitor.runtime.supervision import SupervisedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.difference import Difference
    from edge_monitor.explain.evidence import EvidenceStore
    from edge_monitor.pipeline.alarm_audio import AlarmAudio
    from edge_monitor.pipeline.normal_acoustics import NormalAcoustics
    from edge_monitor.records import AlarmEvent, AudioBlock, Finding
    from edge_monitor.runtime.explanation_recorder import ExplanationRecorder
    from edge_monitor.store.store import Store

log = structlog.get_logger()
SOUND_BYTES = 128_000_000  # of alarms that wait: 200 windows of 10 s at 16 kHz, or 20 with 30 s kept at 48 kHz
PATIENCE_S = 2.0  # of an explanation with windows that wait: on a box that never catches up, it must come all the same
_LOOK_S = 0.05
_STOPPED = "the node stopped before the sound was measured"
_LET_GO = "the sound was let go before it was measured: too many alarms at once, or the disk failed"


@dataclass(frozen=True, slots=True)
class _Alarm:
    """An alarm that waits; without its sound it can only be called unavailable."""

    event: AlarmEvent
    proof: AlarmAudio | None

    @property
    def sound_bytes(self) -> int:
        """Return how much memory its sound takes, bytes."""
        if self.proof is None:
            return 0
        return self.proof.samples.nbytes + sum(block.samples.nbytes for block in self.proof.sound)


@dataclass(eq=False)
class MeasuringWorker:
    """Measures, draws and keeps sound, one alarm after the other, never in the way of the audio.

    It waits for `caught_up` before each piece of work; `on_measured` is called when something may be worded.
    """

    store: Store
    evidence: EvidenceStore
    machines: Mapping[str, MachineSettings]
    bundle: Bundle
    recorder: ExplanationRecorder
    caught_up: Callable[[], bool]
    on_measured: Callable[[], None]

    def __post_init__(self) -> None:
        """Make what is its own."""
        self.evidence_lost = 0  # alarms whose picture or sound could not be kept
        self._normals: dict[str, NormalAcoustics] = {}  # by machine, of the generation last asked for
        self._active: dict[str, int] = {}  # by machine, generations to get ready for
        self._changed = threading.Condition()
        self._waiting: deque[_Alarm] = deque()
        self._untidy = self._busy = self._closing = False
        with self.store.reading() as connection:  # before the first alarm: these are the last run's
            self._unmeasured = jobs.waiting(connection, worded=False)
        self.thread = SupervisedThread("measuring", self._run)

    def explain(self, event: AlarmEvent, proof: AlarmAudio | None) -> None:
        """Queue the start of an alarm whose row is committed. What passes SOUND_BYTES costs the oldest their sound."""
        with self._changed:
            self._waiting.append(_Alarm(event, proof))
            surplus = sum(alarm.sound_bytes for alarm in self._waiting) - SOUND_BYTES
            for place in range(len(self._waiting) - 1):  # the newest keeps its own, whatever its size
                if surplus <= 0:
                    break
                surplus -= self._waiting[place].sound_bytes
                self._waiting[place] = replace(self._waiting[place], proof=None)
            self._changed.notify_all()

    def prepare(self, machine: str, generation: int) -> None:
        """Have what is known of a generation's normals read before its first alarm, in this worker's thread."""
        with self._changed:
            self._active[machine] = generation
            self._changed.notify_all()

    def tidy(self) -> None:
        """Have the retention caps kept, in this worker's thread."""
        with self._changed:
            self._untidy = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Return how many alarms wait to be measured."""
        with self._changed:
            return len(self._waiting) + self._busy

    @property
    def idle(self) -> bool:
        """Return whether nothing waits and nothing is being explained."""
        with self._changed:
            return not (self._waiting or self._busy or self._unmeasured)

    def close(self, timeout_s: float) -> None:
        """Finish what is queued, for at most `timeout_s` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.thread.join(timeout_s)

    def _run(self) -> None:
        self._end_unmeasured()
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._waiting or self._active or self._untidy or self._closing)
                if not self._waiting and self._closing:
                    return
                untidy, self._untidy = self._untidy, False
                alarm = self._waiting.popleft() if self._waiting else None
                active = self._active.popitem() if self._active and alarm is None else None
                self._busy = untidy or alarm is not None
            try:
                if untidy:
                    self.evidence.enforce()
                if alarm is not None:
                    self._explain(alarm)
                    trim_memory()  # or what it took for a moment stays for good, in pieces between what is kept
                if active is not None:
                    self._known(*active)
            except Exception as error:  # noqa: BLE001 - one alarm that fails must not cost the next ones
                self.evidence_lost += alarm is not None
                log.warning("explain.evidence_failed" if alarm else "explain.upkeep_failed", error=str(error))

    def _end_unmeasured(self) -> None:
        """Say of the alarms whose sound went with the last run that nothing was measured."""
        for job in self._unmeasured:
            try:
                self.recorder.record(jobs.unavailable(job, _STOPPED))
            except Exception as error:  # noqa: BLE001 - as above
                log.error("explain.not_told", alarm_id=job.alarm_id, error=str(error))
        with self._changed:
            self._unmeasured = []
        self.on_measured()

    def _explain(self, alarm: _Alarm) -> None:
        event, proof = alarm.event, alarm.proof
        self._give_way()
        findings = self._measure(event, proof)
        if self.machines[event.machine].evidence == "off":
            return
        if proof is None:
            self.evidence_lost += 1
            return
        self._give_way()
        self._illustrate(event, proof, findings)

    def _give_way(self) -> None:
        """Let the windows that wait be judged first: many machines may fail at the same moment."""
        end_s = clock.now().monotonic_s + PATIENCE_S
        with self._changed:
            while not (self._closing or self.caught_up()) and clock.now().monotonic_s < end_s:
                self._changed.wait(_LOOK_S)

    def _measure(self, event: AlarmEvent, proof: AlarmAudio | None) -> tuple[Finding, ...]:
        """Record how the sound differs as measured, or why that is not known; return what stands out."""
        explanation = Explanation(event.alarm_id, event.machine, 0, jobs.MEASURED, event.generation, None)
        acoustics: str | None = None
        try:
            if proof is None:
                explanation = replace(explanation, reason=_LET_GO)
            else:
                measured = measure(proof.samples, proof.rate_hz)
                acoustics = measured.to_json()
                difference = self._compare(measured, event)
                explanation = replace(explanation, text=difference.sentence, findings=difference.findings)
        except EdgeMonitorError as error:
            explanation = replace(explanation, reason=str(error))
        except Exception as error:  # the plant is told that there is no explanation, not left to wait
            log.exception("explain.measuring_failed", machine=event.machine, alarm_id=event.alarm_id)
            explanation = replace(explanation, reason=f"measuring failed: {error}")
        if self.machines[event.machine].evidence == "off":
            acoustics = None
        latency_s = max(clock.now().wall_ms - event.at_ms, 0) / 1000
        self.recorder.record(replace(explanation, latency_s=latency_s), acoustics=acoustics)
        self.on_measured()
        return explanation.findings

    def _compare(self, measured: Acoustics, event: AlarmEvent) -> Difference:
        """Compare with the nearest normals and the spread of all."""
        nearest = [neighbour.normal_id for neighbour in event.neighbours]
        known = self._known(event.machine, event.generation)
        with self.store.reading() as connection:
            healthy = known.beside(connection, nearest)
            window = history.raising_window(connection, event.alarm_id)
            scored = (event.machine, event.generation, nearest, window)
            repetition = load_repetition(connection, *scored, bundle=self.bundle)
        return compare(measured, *healthy.compared_with(nearest), repetition)

    def _known(self, machine: str, generation: int) -> NormalAcoustics:
        """Return how a generation's normals sound, read once: of many it takes as long as measuring a sound does."""
        healthy = self._normals.get(machine)
        if healthy is None or healthy.generation != generation:
            with self.store.reading() as connection:
                healthy = self._normals[machine] = load_normal_acoustics(connection, machine, generation)
        return healthy

    def _illustrate(self, event: AlarmEvent, proof: AlarmAudio, findings: tuple[Finding, ...]) -> None:
        files: dict[str, str] = {}
        try:
            files["picture"] = self._draw(event, proof, findings)
        finally:
            if proof.sound:
                files["audio"] = self.evidence.write_audio(event, _joined(proof.sound), proof.sound[0].rate_hz)
            if files:
                self.store.submit(lambda connection: history.set_evidence(connection, event.alarm_id, files))
                log.info("explain.evidence_written", machine=event.machine, alarm_id=event.alarm_id, **files)

    def _draw(self, event: AlarmEvent, proof: AlarmAudio, findings: tuple[Finding, ...]) -> str:
        machine = self.machines[event.machine]
        normal = None
        if event.neighbours:
            with self.store.reading() as connection:
                normal = Normals(connection, machine.name).spectrogram(event.neighbours[0].normal_id)
        anomaly = compact(proof.samples, proof.rate_hz)
        return self.evidence.write_picture(event, machine.title, anomaly, normal, findings)


def _joined(blocks: tuple[AudioBlock, ...]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([block.samples for block in blocks])
