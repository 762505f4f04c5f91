"""The bench's whole-array rule decides as the alarm's state machine does."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calibration import PER_DAY, RULES, WINDOW_S
from bench.false_alarms import play
from bench.processes import LEARNT, PROCESSES
from bench.thresholds import product
from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.memory.calibration import Calibration, CalibrationSettings
from edge_monitor.records import EventKind, Score

DAYS, INSTALLATIONS = 2, 8


def begun(scores: np.ndarray[tuple[int], np.dtype[np.float64]], found: Calibration) -> tuple[int, int]:
    """Return how many alarms and how many episodes of level 2 the product's state machine begins."""
    machine = AlarmStateMachine("pump", RULES, lambda: "id", Restored(), WINDOW_S)
    line = None if found.low_line is None else found.low_line.value
    alarms = episodes = 0
    for i, value in enumerate(scores.tolist()):
        heard = Score("pump", value, found.threshold, 1, (), WINDOW_S * i, WINDOW_S * (i + 1), -20.0, line)
        event = machine.on_score(heard, 0)
        alarms += event is not None and event.kind is EventKind.START
        episodes += event is not None and event.kind is EventKind.CHANGED and event.begins
    return alarms, episodes


@pytest.mark.parametrize("name", ["loads 2 apart, 1 h", "shifts 1 apart", "Pareto"])
def test_the_bench_counts_as_the_state_machine(name: str) -> None:
    """Of installations that learnt five minutes; the fresh evidence that a second episode needs makes a few fewer."""
    [process] = (each for each in PROCESSES if each.name == name)
    draw = np.random.default_rng(5)
    score = process.simulate(draw, (1 + DAYS) * PER_DAY, INSTALLATIONS)
    found = [product(*LEARNT["5 min"](each, draw), CalibrationSettings(WINDOW_S)) for each in score[:, :PER_DAY]]
    alarms, episodes = play(score[:, PER_DAY:], found)
    expected = np.array([begun(each, one) for each, one in zip(score[:, PER_DAY:], found, strict=True)])
    counted = np.stack([alarms, episodes], axis=1).sum(axis=0)
    assert counted.sum() > 0
    assert np.all(np.abs(counted - expected.sum(axis=0)) <= 1 + 0.15 * counted), (counted, expected.sum(axis=0))
