"""A covered microphone is told from a machine that stands, once it is known how quiet that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture import simulator_machine
from edge_monitor.capture.gate import Running, RunningGate, learn_gate, quietest_dbfs
from edge_monitor.capture.quality import level_dbfs
from edge_monitor.capture.standstill import Standstill
from edge_monitor.capture.windowing import WindowCutter, cut
from edge_monitor.records import AudioBlock
from tests.sounds import pump

if TYPE_CHECKING:
    from edge_monitor.records import Samples

RATE_HZ = 16_000
ROOMS_DBFS = (-70.0, -55.0, -40.0)


def stand(standstill: Standstill, level_dbfs: float, begin_s: int, end_s: int) -> list[str | None]:
    """Return what is said of windows of 10 s, one a second, that end from `begin_s` to before `end_s`."""
    said = []
    for at_s in range(begin_s, end_s):
        said.append(standstill.covered(level_dbfs, at_s))
        standstill.hear_standing(level_dbfs, at_s - 10.0, at_s)
    return said


def after_stops(standstill: Standstill, *levels_dbfs: float, lasting_s: int = 70) -> float | None:
    """Return what is learnt once there were stops of these levels after which the machine ran."""
    for each_dbfs in levels_dbfs:
        stand(standstill, each_dbfs, 10, lasting_s)
        standstill.hear_running()
    return standstill.quietest_dbfs


def test_far_below_the_quietest_stop_is_told_after_20_s() -> None:
    """Three stops teach the loudest; 11 dB below is a quiet stop, 30 dB below it is told, until it is back."""
    standstill = Standstill(None)
    assert after_stops(standstill, -60.0, -62.0) is None
    assert after_stops(standstill, -65.0) == -60.0
    assert stand(standstill, -71.0, 200, 300) == [None] * 100
    said = stand(standstill, -90.0, 300, 350)
    assert said[:20] == [None] * 20
    assert said[20:] == ["microphone covered or gone: 30 dB below the quietest that was learnt"] * 30
    assert standstill.covered(-70.0, 350.0) is not None  # 3 dB of hysteresis
    assert standstill.covered(-68.9, 351.0) is None


def test_nothing_is_told_before_a_stop_was_learnt() -> None:
    """Nor does a stop teach anything after which it never ran: a microphone may have died."""
    standstill = Standstill(None)
    assert set(stand(standstill, -60.0, 0, 60) + stand(standstill, -95.0, 60, 600)) == {None}
    assert standstill.quietest_dbfs is None


def test_a_cover_that_comes_off_is_not_learnt() -> None:
    """Nor are windows that reach into it; it is told the next time as it was before."""
    standstill = Standstill(-60.0)
    for begin_s in (0, 1000):
        stand(standstill, -60.0, begin_s, begin_s + 60)
        stand(standstill, -69.0, begin_s + 60, begin_s + 69)  # half covered
        assert stand(standstill, -90.0, begin_s + 70, begin_s + 200)[-1] is not None
        stand(standstill, -69.0, begin_s + 200, begin_s + 208)
        stand(standstill, -60.0, begin_s + 208, begin_s + 300)
        standstill.hear_running()
    assert standstill.quietest_dbfs == -60.0


@pytest.mark.parametrize("learnt", [None, -50.0])
def test_a_microphone_that_died_and_was_repaired_teaches_nothing(learnt: float | None) -> None:
    """However long it took, or if it was the first that was heard; nor do two covers within 12 dB lower the bar."""
    standstill = Standstill(learnt)
    after_stops(standstill, -80.0, -61.0, lasting_s=4000)
    assert after_stops(standstill, -50.0) == -50.0
    assert stand(standstill, -80.0, 10_000, 10_050)[-1] is not None


def test_quiet_nights_are_learnt_once_there_were_three() -> None:
    """What came in three stops, each of which ended in a machine that ran as ever, is the hall."""
    standstill = Standstill(-50.0)
    for _ in range(2):
        assert stand(standstill, -70.0, 0, 1000)[-1] is not None
        standstill.hear_running()
    assert after_stops(standstill, -72.0, lasting_s=100) == -70.0
    assert set(stand(standstill, -72.0, 3000, 4000)) == {None}


def test_short_stops_teach_nothing() -> None:
    """Of three times 40 s one does not know whether a hand lay on the microphone."""
    assert after_stops(Standstill(None), -60.0, -60.0, -60.0, lasting_s=40) is None


def test_without_a_stop_a_microphone_is_gone_40_db_below_the_gate_and_below_110_dbfs() -> None:
    """A quiet machine's own microphone may be as quiet; what three stops have taught decides."""
    for gate_dbfs, heard_dbfs, told in ((-40.0, -115.0, True), (-40.0, -105.0, False), (-80.0, -115.0, False)):
        said = stand(Standstill(None, gate_dbfs), heard_dbfs, 0, 60)
        assert (said[-1] is not None) is told
    assert stand(Standstill(None, -40.0), -115.0, 0, 60)[-1] == "microphone covered or gone: 75 dB below the level gate"
    standstill = Standstill(None, -40.0)
    assert after_stops(standstill, -95.0, -95.0, -95.0, lasting_s=100) == -95.0
    assert set(stand(standstill, -95.0, 1000, 1100)) == {None}


@pytest.mark.parametrize("machine", ["pump", "fan", "gearbox"])
@pytest.mark.parametrize("room_dbfs", ROOMS_DBFS)
def test_no_stop_of_a_simulated_machine_is_a_covered_microphone(
    machine: str, room_dbfs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cycles of running and standing in halls of -70 to -40 dBFS, which differ by 6 dB from stop to stop: none is."""
    healthy = hall(monkeypatch, room_dbfs, machine, take=0)
    gate = learn_gate(quietest_dbfs(window.samples, RATE_HZ) for window in cut(healthy, RATE_HZ, 10.0, 10.0))
    stops = [[20.0, 90.0]]
    cycles = [
        hall(monkeypatch, room_dbfs + other_db, machine, take=take, stops=stops)
        for take, other_db in enumerate((-3.0, 3.0, -3.0, -3.0), start=1)
    ]
    standstill = Standstill(None, gate)
    said, stood, last_s = heard(np.concatenate(cycles), RunningGate(gate, 5.0), standstill)
    assert said == []
    assert standstill.quietest_dbfs == pytest.approx(min(stood), abs=1.0)
    covered = hall(monkeypatch, room_dbfs, machine, take=9, stops=[[0.0, 120.0]]) * np.float32(0.03)
    told, _, _ = heard(covered, RunningGate(gate, 5.0), standstill, last_s)
    assert told
    assert told[0] - last_s <= 60.0


def hall(monkeypatch: pytest.MonkeyPatch, room_dbfs: float, machine: str, **settings: object) -> Samples:
    """Return 120 s of a simulated machine in a hall of this level."""
    monkeypatch.setattr(simulator_machine, "_BACKGROUND_DB", room_dbfs - simulator_machine._LEVEL_DBFS)
    return pump(120, machine=machine, **settings)


def heard(
    samples: Samples, gate: RunningGate, standstill: Standstill, start_s: float = 0.0
) -> tuple[list[float], list[float], float]:
    """Return when it was told to be covered, s, the levels of windows in which it stood, and when it ended, s."""
    cutter = WindowCutter("m", RATE_HZ, 10.0, 1.0)
    told, stood = [], []
    for at in range(0, len(samples), 4000):
        block = AudioBlock("m", samples[at : at + 4000], RATE_HZ, start_s + at / RATE_HZ, gap=at == 0)
        gate.hear(block)
        for window in cutter.feed(block):
            level, running = level_dbfs(window.samples), gate.judge(window)
            if standstill.covered(level, window.end_s):
                told.append(window.end_s)
            if running is Running.NOT_RUNNING and gate.quiet(level):
                standstill.hear_standing(level, window.start_s, window.end_s)
                stood.append(level)
            elif running is Running.RUNNING:
                standstill.hear_running()
    return told, stood, start_s + len(samples) / RATE_HZ
