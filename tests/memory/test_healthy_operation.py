"""What calibration promises is kept: the stated upper bound on false alarms per day, on streams that resemble life."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bench.calibration import DEVELOPED_ON, PER_DAY, RULES, Process, Truth, alarms, calibrated, layout_of, truth
from bench.thresholds import ENOUGH
from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.memory.calibration import CalibrationSettings, calibrate_scores
from edge_monitor.memory.healthy_operation import (
    HealthyOperation,
    at_most_per_day,
    in_normals,
    in_operation,
    stretch_blocks,
)
from edge_monitor.memory.leaveout import Layout
from edge_monitor.records import EventKind, Score


@cache
def observed(process: Process) -> Truth:
    """Return how often the product's alarm starts over sixty days."""
    return truth(process, 60, thresholds=12)


@pytest.mark.parametrize("process", DEVELOPED_ON, ids=lambda process: process.name)
@pytest.mark.parametrize(("days", "wanted_per_day", "worst"), [(1 / 24, 0.1, 400), (1, 10.0, 25), (7, 1.0, 5)])
def test_stated_upper_bound_holds(process: Process, days: float, wanted_per_day: float, worst: float) -> None:
    """In 90 % of calibrations on an hour, a day or a week no more alarms come than stated, and little is stated."""
    scores = process.simulate(np.random.default_rng(2), round(days * PER_DAY), 30 if days > 1 else 60)
    found = [calibrated(score, wanted_per_day) for score in scores]
    stated = np.array([each.at_most_per_day for each in found])
    held = observed(process).at(np.array([each.threshold for each in found])) <= stated
    assert held.mean() >= 0.9
    assert 2.99 / days <= stated.min()
    assert stated.max() < worst


def test_alarms_near_exceeding_windows_are_all_there_are() -> None:
    """Playing only the windows around those that exceed starts as many alarms as playing all of them."""
    score = DEVELOPED_ON[1].simulate(np.random.default_rng(3), PER_DAY, 1)[0]
    machine = AlarmStateMachine("machine", RULES, lambda: "alarm", Restored())
    played = [
        machine.on_score(Score("machine", value, 1.4, 1, (), 10.0 * i, 10.0 * i + 10, -20.0), 0)
        for i, value in enumerate(score.tolist())
    ]
    started = sum(event is not None and event.kind is EventKind.START for event in played)
    assert alarms(score, 1.4) == started > 20


def test_alarm_level_is_the_third_of_the_last_five() -> None:
    """A threshold below the third largest of five windows raises the alarm; one slammed door is not among them."""
    score = np.array([1.0, 9.0, 1.0, 1.2, 1.1, 1.0, 1.3, 1.4, 1.0])
    heard = in_normals(score, layout_of(9), 3, 5, 10.0)
    assert heard.level.tolist() == [0.0, 1.1, 1.2]  # blocks of three windows
    assert heard.complete
    assert heard.seconds == 90.0


def test_short_recordings_show_alarms_in_proportion() -> None:
    """Three windows show the second largest for 3 of 5, one window itself; neither is taken for what was heard."""
    layout = Layout(np.array([1, 1, 1, 2]), np.zeros(4, dtype=np.int64), np.array([0.0, 10, 20, 0]))
    heard = in_normals(np.array([5.0, 3.0, 4.0, 2.0]), layout, 3, 5, 10.0)
    assert heard.level.tolist() == [5.0, 2.0]
    assert not heard.complete


def test_sound_that_resembles_itself_for_minutes_has_fewer_independent_blocks() -> None:
    """A day of blocks of 30 s: one each where windows are unrelated, tens of them where they are for minutes."""
    layout = layout_of(PER_DAY)
    unrelated = np.random.default_rng(4).lognormal(0, 0.25, PER_DAY)
    related = DEVELOPED_ON[1].simulate(np.random.default_rng(4), PER_DAY, 1)[0]
    assert stretch_blocks(unrelated, layout.unit) == 1
    assert 10 <= stretch_blocks(related, layout.unit) <= 30


def evidence(level: list[float], days: float, **fields: float) -> HealthyOperation:
    """Return evidence of these stretches over so many days."""
    return HealthyOperation(np.array(level), complete=True, seconds=days * 86_400, **fields)


@pytest.mark.parametrize(("disturbed", "expected"), [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.962)])
def test_bound_is_the_poisson_one(disturbed: int, expected: float) -> None:
    """Garwood's table: after so many in one day, the expected count is below this with 95 % confidence."""
    heard = evidence([2.0] * disturbed + [0.5] * 100, 1.0)
    assert at_most_per_day([heard], 1.0) == pytest.approx(expected, abs=0.001)


def test_the_stretch_that_set_the_threshold_counts() -> None:
    """A threshold moved up to the loudest stretch's own level was chosen so that none is above: that proves nothing."""
    heard = evidence([2.0, *([0.5] * 99)], 1.0)
    assert at_most_per_day([heard], 2.0) == pytest.approx(4.744, abs=0.001)


def test_alarms_that_come_in_pairs_double_the_bound() -> None:
    """Stretches are independent, alarms in one of them are not."""
    heard = evidence([0.5] * 100, 3.0, alarms_per_stretch=2.0)
    assert at_most_per_day([heard], math.inf) == pytest.approx(1.997, abs=0.001)


def test_operation_counts_beside_the_normals() -> None:
    """One day of normals and nine of operation with two false alarms: 6.3 in ten days, above the threshold used."""
    normals = evidence([0.5] * 100, 1.0)
    live = in_operation([1.5, 1.2], 9 * 86_400, 1.1)
    assert at_most_per_day([normals, live], 1.15) == pytest.approx(0.630, abs=0.001)
    assert at_most_per_day([normals, live], 1.3) == pytest.approx(0.474, abs=0.001)


def test_operation_says_nothing_of_a_lower_threshold() -> None:
    """What 2.0 kept quiet, 1.5 might not have: those days neither promise nor count as heard."""
    score = np.random.default_rng(5).lognormal(0, 0.1, 600)
    days = in_operation([], 10 * 86_400, 2.0)
    settings = CalibrationSettings(10.0, 10.0, operation=(days,))
    above = calibrate_scores(score, layout_of(600), replace(settings, threshold=2.5), ENOUGH)
    below = calibrate_scores(score, layout_of(600), replace(settings, threshold=1.9), ENOUGH)
    assert (above.operation_days, below.operation_days) == (10.0, 0.0)
    assert above.at_most_per_day == pytest.approx(2.996 / (10 + 600 / 8640), abs=0.001)
    assert below.cannot_promise_below_per_day == pytest.approx(2.996 * 8640 / 600, abs=0.01)


@pytest.mark.parametrize(
    ("fitted", "wanted", "expected"),
    [
        (1.0, 10.0, 84.0),  # in ten days 100 are due and 116 still plausible: above 84 there are 116
        (500.0, 10.0, 116.0),  # 84 are plausible too: no need to be deafer than that
        (100.5, 10.0, 100.5),
        (500.0, 0.1, 500.0),  # one is due, none is plausible: nothing says that it is too high
    ],
)
def test_threshold_moves_only_where_alarms_heard_refute_it(fitted: float, wanted: float, expected: float) -> None:
    """Stretches reach 1, 2, … 200 out of 2000 in ten days; the threshold stays among what they do not contradict."""
    heard = evidence([*range(1, 201), *([0.0] * 1800)], 10.0)
    assert heard.decide(fitted, wanted) == expected


def test_quiet_days_say_nothing_against_a_lower_threshold() -> None:
    """What 2.0 kept quiet for ten days: more alarms may be wanted, or the same by a threshold rounded otherwise."""
    days = in_operation([], 10 * 86_400, 2.0)
    assert days.decide(1.5, 10.0) == 1.5
    assert days.decide(2.5, 10.0) == 2.0  # ten a day are due, none came
    assert days.decide(2.0 - 1e-12, 0.1) == 2.0


def test_a_rate_too_small_to_write_down_moves_nothing() -> None:
    """Less than one alarm since the universe began."""
    assert evidence([0.5] * 100, 1.0).decide(1.0, 1e-15) == 1.0
