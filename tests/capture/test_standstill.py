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


def test_far_below_the_quietest_stop_is_told_after_20_s() -> None:
    """Stops of -60 and -55 dBFS teach -60; 11 dB below is a quiet stop, 30 dB below it is told, until it is back."""
    standstill = Standstill(None)
    stand(standstill, -60.0, 0, 60)
    assert standstill.hear_running()
    stand(standstill, -55.0, 100, 160)
    assert not standstill.hear_running()
    assert standstill.quietest_dbfs == -60.0
    assert stand(standstill, -71.0, 200, 300) == [None] * 100
    said = stand(standstill, -90.0, 300, 350)
    assert said[:20] == [None] * 20
    assert said[20:] == ["microphone covered or gone: 30 dB below the quietest that was learnt"] * 30
    assert standstill.covered(-70.0, 350.0) is not None  # 3 dB of hysteresis
    assert standstill.covered(-68.9, 351.0) is None


def test_nothing_is_told_before_a_stop_was_learnt() -> None:
    """How loud it runs says nothing; nor does a stop after which it never ran: a microphone may have died."""
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
        assert not standstill.hear_running()


def test_a_quiet_night_is_learnt_once_it_is_over() -> None:
    """What was below for half an hour in all, before the machine ran as ever, was the hall: the next says nothing."""
    standstill = Standstill(-50.0)
    assert stand(standstill, -70.0, 0, 1000)[-1] is not None
    assert not standstill.hear_running()
    assert stand(standstill, -70.0, 1500, 2500)[-1] is not None
    assert standstill.hear_running()
    assert set(stand(standstill, -72.0, 3000, 4000)) == {None}


@pytest.mark.parametrize("machine", ["pump", "fan", "gearbox"])
@pytest.mark.parametrize("room_dbfs", ROOMS_DBFS)
def test_no_stop_of_a_simulated_machine_is_a_covered_microphone(
    machine: str, room_dbfs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cycles of running and standing in halls of -70 to -40 dBFS, which differ by 6 dB from stop to stop: none is."""
    healthy = hall(monkeypatch, room_dbfs, machine, take=0)
    gate = learn_gate(quietest_dbfs(window.samples, RATE_HZ) for window in cut(healthy, RATE_HZ, 10.0, 10.0))
    stops = [[20.0, 50.0]]
    cycles = [
        hall(monkeypatch, room_dbfs + other_db, machine, take=take, stops=stops)
        for take, other_db in enumerate((0.0, 3.0, -3.0, 0.0), start=1)
    ]
    standstill = Standstill(None)
    said, stood, last_s = heard(np.concatenate(cycles), RunningGate(gate, 5.0), standstill)
    assert said == []
    assert standstill.quietest_dbfs == pytest.approx(min(stood))
    covered = hall(monkeypatch, room_dbfs, machine, take=9, stops=[[0.0, 60.0]]) * np.float32(0.03)
    told, _, _ = heard(covered, RunningGate(gate, 5.0), standstill, last_s)
    assert told
    assert told[0] - last_s <= 60.0


def hall(monkeypatch: pytest.MonkeyPatch, room_dbfs: float, machine: str, **settings: object) -> Samples:
    """Return 90 s of a simulated machine in a hall of this level."""
    monkeypatch.setattr(simulator_machine, "_BACKGROUND_DB", room_dbfs - simulator_machine._LEVEL_DBFS)
    return pump(90, machine=machine, **settings)


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
