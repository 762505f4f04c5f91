"""The pipeline thread takes the audio to its end, whatever one machine's window does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import AudioBlock, MachineState, Score, Window
from edge_monitor.runtime.alarm_recorder import AlarmRecorder
from edge_monitor.runtime.audio_queue import AudioQueue
from edge_monitor.runtime.machine_states import MachineStates
from edge_monitor.runtime.pipeline_thread import PipelineThread
from edge_monitor.runtime.score_minutes_recorder import ScoreMinutesRecorder
from edge_monitor.runtime.standstill_recorder import StandstillRecorder
from edge_monitor.runtime.taps import Taps
from tests.runtime.parts import FAN, MESSAGES, NODE, PUMP, Plant, alarm, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.store.store import Store

SILENCE = np.zeros(16_000, dtype=np.float32)


class Recording:
    """A source of one machine's sound, one second a block."""

    live = False

    def __init__(self, machine: str, seconds: int) -> None:
        self.machines = (machine,)
        self._seconds = seconds

    def items(self) -> Iterator[AudioBlock]:
        """Yield it."""
        for second in range(self._seconds):
            yield AudioBlock(self.machines[0], SILENCE, 16_000, float(second))

    def close(self) -> None:
        """Do nothing."""


class Pipeline:
    """Makes a window of every block: the third one raises an alarm. With `broken` it can make none."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.alarm = type("Quiet", (), {"active": None})

    def process(self, item: AudioBlock, *_: object, **__: object) -> Iterator[WindowResult]:
        """Yield it."""
        if self.broken:
            raise RuntimeError("a bug")
        score = Score(item.machine, 0.5, 1.0, 1, (), item.start_s, item.end_s, -30.0)
        window = Window(item.machine, item.samples, item.rate_hz, item.start_s, item.end_s)
        event = alarm(1, item.machine) if item.start_s == 2.0 else None
        yield WindowResult(item.machine, MachineState.NORMAL, item.end_s, "", window=window, score=score, event=event)

    def take_skipped(self) -> int:
        """Return that one was skipped with every block."""
        return 1


@pytest.fixture
def scores() -> list[Score]:
    """Return what was published."""
    return []


@pytest.fixture
def thread(store: Store, scores: list[Score]) -> PipelineThread:
    """Return the thread of a pump whose windows fail and a fan whose do not, not started."""
    states = MachineStates(NODE, (PUMP, FAN), lambda *_: None)
    recorder = AlarmRecorder(store, states, MESSAGES, Plant(), ("measured",), lambda *_: None)
    pipelines = {"pump": Pipeline(broken=True), "fan": Pipeline()}
    minutes = ScoreMinutesRecorder(store, recorder.note_disk)
    standstills = StandstillRecorder(store, recorder.note_disk)
    audio = AudioQueue()

    def publish(score: Score, _lag_s: float) -> None:
        scores.append(score)

    for machine in pipelines:
        audio.follow(Recording(machine, 5))  # type: ignore[arg-type]  # it has what the queue uses
    return PipelineThread(audio, pipelines, recorder, states, minutes, standstills, Taps(), publish)  # type: ignore[arg-type]  # as above


def test_one_machine_s_failing_window_costs_the_others_nothing(
    store: Store, thread: PipelineThread, scores: list[Score]
) -> None:
    """The fan's five windows are scored, published and counted, its alarm is stored; the pump shows a fault."""
    thread.thread.start()
    thread.thread.join(20.0)
    thread.recorder.settle(5.0)
    store.commit(lambda _: None)  # what was submitted before is committed
    assert not thread.thread.is_alive()
    assert [score.machine for score in scores] == ["fan"] * 5
    assert thread.windows_dropped == 5
    assert rows(store, "SELECT machine, sum(windows) FROM score_minutes GROUP BY machine") == [("fan", 5)]
    assert rows(store, "SELECT machine FROM alarms") == [("fan",)]
    pump, fan = thread.states.snapshot()
    assert (pump["state"], pump["text"]) == ("signal-fault", "a window could not be judged: a bug")
    assert (fan["state"], fan["windows"]) == ("alarm", 5)
    assert thread.thread.health().restarts == 0


def test_it_ends_when_the_audio_is_closed(thread: PipelineThread, scores: list[Score]) -> None:
    """A stop does not wait for what is left in the queue."""
    thread.audio.close()
    thread.thread.start()
    thread.thread.join(5.0)
    assert not thread.thread.is_alive()
    assert scores == []
