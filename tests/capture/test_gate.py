"""A machine that stops is not broken, and one that grows quieter is not stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture.gate import Running, RunningGate, learn_gate, parse_run_signal, quietest_dbfs
from edge_monitor.capture.simulator import render
from edge_monitor.capture.windowing import WindowCutter, cut
from edge_monitor.config.machine import SimulatorSource
from edge_monitor.records import AudioBlock, Window

if TYPE_CHECKING:
    from edge_monitor.records import Samples

RATE_HZ = 16_000


def noise(seconds: float, dbfs: float, seed: int = 0) -> Samples:
    """Return white noise of this RMS level."""
    frames = round(seconds * RATE_HZ)
    return (10 ** (dbfs / 20) * np.random.default_rng(seed).standard_normal(frames)).astype(np.float32)


def verdicts(samples: Samples, gate: RunningGate, window_s: float = 2.0) -> list[tuple[float, Running]]:
    """Return (end of window in s, verdict) for windows of 2 s, one each half second."""
    cutter = WindowCutter("p", RATE_HZ, window_s, 0.5)
    judged = []
    for at in range(0, len(samples), 1600):
        block = AudioBlock("p", samples[at : at + 1600], RATE_HZ, at / RATE_HZ, gap=at == 0)
        gate.hear(block)
        judged += [(window.end_s, gate.judge(window)) for window in cutter.feed(block)]
    return judged


def test_a_stop_and_a_start_are_followed() -> None:
    """Running until the stop at 10 s, off until the start at 20 s, then settling for 5 s."""
    samples = np.concatenate([noise(10, -40), noise(10, -60), noise(15, -40)])
    by_end = dict(verdicts(samples, RunningGate(-50.0, settle_s=5.0)))
    assert all(by_end[end] is Running.RUNNING for end in (2.0, 5.0, 10.0))
    assert all(by_end[end] is Running.NOT_RUNNING for end in (10.5, 12.0, 20.0))
    assert all(by_end[end] is Running.SETTLING for end in (20.5, 22.0, 26.5))
    assert all(by_end[end] is Running.RUNNING for end in (27.5, 30.0, 35.0))


@pytest.mark.parametrize("stop_s", [9.6, 9.75, 9.9, 10.0, 10.1, 10.3])
def test_a_window_that_straddles_a_stop_is_not_scored(stop_s: float) -> None:
    """Wherever a stop falls, no window with more than a quarter second of stillness counts as running."""
    samples = np.concatenate([noise(stop_s, -40), noise(5, -60)])
    running = [end for end, verdict in verdicts(samples, RunningGate(-50.0, 0.0)) if verdict is Running.RUNNING]
    assert max(running) <= stop_s + 0.25


def test_a_level_just_above_the_gate_does_not_start_a_stopped_machine() -> None:
    """Hysteresis: a stop needs the level below the gate, a start 3 dB above it."""
    samples = np.concatenate([noise(5, -48), noise(5, -60), noise(5, -48.5), noise(5, -45)])
    by_end = dict(verdicts(samples, RunningGate(-50.0, settle_s=0.0)))
    assert by_end[5.0] is Running.RUNNING
    assert by_end[15.0] is Running.NOT_RUNNING
    assert by_end[20.0] is Running.RUNNING


def test_a_gap_does_not_start_a_stopped_machine() -> None:
    """What was off before sound was lost is still off, and settles, when it is heard running after it."""
    gate = RunningGate(-50.0, settle_s=5.0)
    gate.hear(AudioBlock("p", noise(1, -60), RATE_HZ, 0.0, gap=True))
    gate.hear(AudioBlock("p", noise(4, -40), RATE_HZ, 3.0, gap=True))
    (window,) = cut(noise(4, -40), RATE_HZ, 4.0, 4.0)
    assert gate.judge(window) is Running.SETTLING


def test_without_a_gate_the_machine_always_runs() -> None:
    """`gate = "off"`, or nothing learnt: silence is scored like anything else."""
    assert {verdict for _, verdict in verdicts(noise(5, -90), RunningGate(None, 10.0))} == {Running.RUNNING}


def test_the_gate_lies_6_db_below_the_quietest_normal_moment() -> None:
    """One dropout among hundreds of windows does not drag it down; few windows are all believed."""
    assert learn_gate([-40.0, -41.0, -42.5]) == -48.5
    assert learn_gate([-40.0] * 300 + [-90.0]) == -46.0
    assert learn_gate([]) is None


def test_the_quietest_quarter_second_is_found() -> None:
    """A dip of half a second is what counts, not the mean."""
    samples = np.concatenate([noise(2, -40), noise(0.5, -50), noise(2, -40)])
    assert quietest_dbfs(samples, RATE_HZ) == pytest.approx(-50.0, abs=0.3)


@pytest.mark.parametrize("machine", ["pump", "fan", "gearbox"])
@pytest.mark.parametrize("seed", range(2))
def test_a_learnt_gate_tells_a_stop_from_a_loss_of_flow(machine: str, seed: int) -> None:
    """Learnt from healthy sound, the gate sees a stopped machine and does not hide one that has lost its flow."""
    settings = SimulatorSource.model_validate({"kind": "simulator", "machine": machine, "seed": seed})
    healthy = render(settings, 180)
    gate = learn_gate(quietest_dbfs(window.samples, RATE_HZ) for window in cut(healthy, RATE_HZ, 10.0, 10.0))
    fresh = {"take": 1, "fault": "no-flow", "fault_at_s": 0.0, "fault_db": 12.0}
    without_flow = render(settings.model_copy(update=fresh), 60)
    assert {verdict for _, verdict in verdicts(without_flow, RunningGate(gate, 10.0))} == {Running.RUNNING}
    stopping = render(settings.model_copy(update={"take": 1, "stops": ((20.0, 40.0),)}), 60)
    by_end = dict(verdicts(stopping, RunningGate(gate, settle_s=5.0)))
    assert {by_end[end] for end in (10.0, 20.0)} == {Running.RUNNING}
    assert {by_end[end] for end in (25.0, 30.0, 39.5)} == {Running.NOT_RUNNING}
    assert by_end[60.0] is Running.RUNNING


@pytest.mark.parametrize(
    ("payload", "running"),
    [
        (b"1", True),
        (b"0", False),
        (b"1480.5", True),
        (b"0.2", False),
        (b"true", True),
        (b"OFF", False),
        (b'"running"', True),
        (b"stopped\n", False),
        (b"", None),
        (b"{}", None),
        (b"nan", None),
        (b"\xff\xfe", None),
    ],
)
def test_what_a_run_topic_says(payload: bytes, running: bool | None) -> None:
    """Numbers above the limit and the words PLC gateways write are understood; anything else says nothing."""
    assert parse_run_signal(payload, running_above=0.5) is running


def test_the_plant_outweighs_the_level() -> None:
    """A machine that the plant calls stopped is not running however loud it is, and settles after its start."""
    gate = RunningGate(gate_dbfs=-40.0, settle_s=10.0)
    loud = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)

    def second(start_s: int) -> Running:
        gate.hear(AudioBlock("pump", loud, 16_000, float(start_s)))
        return gate.judge(Window("pump", loud, 16_000, float(start_s), start_s + 1.0))

    assert second(0) is Running.RUNNING
    gate.tell(False)
    assert second(1) is Running.NOT_RUNNING
    gate.tell(True)
    assert [second(start_s) for start_s in (2, 11, 12)] == [Running.SETTLING, Running.SETTLING, Running.RUNNING]


def second(gate: RunningGate, start_s: int, dbfs: float) -> Running:
    """Hear a second of noise and judge it."""
    samples = noise(1.0, dbfs, seed=start_s)
    gate.hear(AudioBlock("pump", samples, RATE_HZ, float(start_s)))
    return gate.judge(Window("pump", samples, RATE_HZ, float(start_s), start_s + 1.0))


def test_a_topic_that_died_while_the_machine_runs_is_doubted_within_a_minute() -> None:
    """It says 0, and the machine is as loud as ever; once it says 1 nothing is doubted."""
    gate = RunningGate(-50.0, settle_s=10.0)
    gate.tell(False)
    verdicts_of = [(second(gate, at, -40.0), gate.doubt(at + 1.0)) for at in range(60)]
    assert {verdict for verdict, _ in verdicts_of} == {Running.NOT_RUNNING}
    assert next(at for at, (_, doubt) in enumerate(verdicts_of) if doubt) == 44
    assert "which is right?" in str(verdicts_of[-1][1])
    gate.tell(True)
    assert second(gate, 60, -40.0) is Running.SETTLING
    assert gate.doubt(61.0) is None


def test_a_hall_that_is_not_as_loud_as_the_machine_raises_no_doubt() -> None:
    """The topic is there for what the level cannot tell: above the gate, and below all that was learnt."""
    gate = RunningGate(-50.0, settle_s=10.0)
    gate.tell(False)
    assert {(second(gate, at, -46.0), gate.doubt(at + 1.0)) for at in range(120)} == {(Running.NOT_RUNNING, None)}


def test_what_the_topic_said_grows_old() -> None:
    """After `max_age_s` the level decides again."""
    gate = RunningGate(-50.0, settle_s=0.0, max_age_s=30.0)
    gate.tell(False)
    judged = [second(gate, at, -40.0) for at in range(40)]
    assert judged.index(Running.RUNNING) == 31
    gate.tell(False)
    assert second(gate, 40, -40.0) is Running.NOT_RUNNING


def test_a_machine_that_never_settles_is_doubted() -> None:
    """A start is not scored, and a topic that flips every five seconds starts for ever."""
    gate = RunningGate(-50.0, settle_s=10.0)
    doubts = []
    for at in range(60):
        gate.tell(at // 5 % 2 == 1)
        second(gate, at, -40.0)
        doubts.append(gate.doubt(at + 1.0))
    assert doubts[:45] == [None] * 45
    assert "never scored" in str(doubts[-1])
    gate.tell(True)
    assert [second(gate, at, -40.0) for at in range(60, 72)][-1] is Running.RUNNING
    assert gate.doubt(72.0) is None


def test_a_machine_that_runs_too_shortly_every_few_minutes_is_doubted_all_day() -> None:
    """It is never scored, however long it stands in between."""
    gate = RunningGate(-50.0, settle_s=10.0)
    doubts = []
    for at in range(1200):
        running = at % 200 >= 195
        gate.tell(running)
        second(gate, at, -40.0 if running else -60.0)
        doubts.append(gate.doubt(at + 1.0))
    third = 2 * 200 + 195
    assert set(doubts[:third]) == {None}
    assert None not in doubts[third:]


@pytest.mark.parametrize("last_word", [None, False], ids=str)
def test_a_machine_that_stands_after_some_jogs_is_not_doubted_all_night(last_word: bool | None) -> None:
    """Three starts too short to settle, then it stands, the topic lost or not; the next morning's start is one."""
    gate = RunningGate(-50.0, settle_s=10.0)
    doubts: list[str | None] = []

    def hear(told: bool | None, dbfs: float, seconds: int) -> None:
        gate.tell(told)
        for _ in range(seconds):
            second(gate, len(doubts), dbfs)
            doubts.append(gate.doubt(len(doubts) + 1.0))

    for _ in range(4):
        hear(False, -60.0, 15)
        hear(True, -40.0, 5)
    jogged = len(doubts)
    hear(last_word, -60.0, 120)
    hear(False, -60.0, 5)
    hear(True, -40.0, 10)
    assert "never scored" in str(doubts[jogged])
    assert set(doubts[jogged + 60 :]) == {None}


def test_since_when_it_has_not_run() -> None:
    """From the first quiet moment; None while it runs."""
    gate = RunningGate(-50.0, settle_s=0.0)
    second(gate, 0, -40.0)
    assert gate.off_since_s is None
    for at in range(1, 5):
        second(gate, at, -60.0)
    assert gate.off_since_s == pytest.approx(1.25)


def test_doors_that_slam_beside_a_standing_machine_raise_no_doubt() -> None:
    """A level flickers; the topic alone is taken at its word."""
    gate = RunningGate(-50.0, settle_s=10.0)
    for at in range(120):
        second(gate, at, -40.0 if at in {20, 50, 80} else -60.0)
        assert gate.doubt(at + 1.0) is None


def test_without_a_gate_a_topic_that_falls_silent_leaves_the_machine_running() -> None:
    """And nothing of how long it had not run."""
    gate = RunningGate(None, settle_s=0.0)
    gate.tell(False)
    assert second(gate, 0, -40.0) is Running.NOT_RUNNING
    gate.tell(None)
    assert second(gate, 1, -40.0) is Running.RUNNING
    assert gate.off_since_s is None
