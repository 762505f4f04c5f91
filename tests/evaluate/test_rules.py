"""The rules that are measured are the product's alarm and the challenge's decision."""

from __future__ import annotations

import numpy as np
import pytest

from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.config.machine import AlarmSettings
from edge_monitor.evaluate.rules import ChallengeRule, Decision, ProductRule
from edge_monitor.records import EventKind, Score


def alarm_of_the_product(scores: list[float], threshold: float, m: int, n: int) -> int | None:
    """Return the window, from 0, with which the product's alarm starts."""
    machine = AlarmStateMachine("pump", AlarmSettings.model_validate({"raise": [m, n]}), lambda: "id", Restored())
    for number, value in enumerate(scores):
        heard = Score("pump", value, threshold, 1, (), 10.0 * number, 10.0 * (number + 1), -20.0)
        if machine.on_score(heard, 0):
            return number
    return None


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (5, 5), (2, 12)])
def test_windows_of_the_last_decide_as_the_products_alarm(m: int, n: int) -> None:
    """On random streams of 1 to 40 windows, of which a fifth to four fifths exceed, or exactly reach, the threshold."""
    draw = np.random.default_rng(n)
    rule = ProductRule(1.0, m, n)
    assert (rule.name, rule.memory) == (f"{m} of {n}", 1080)
    found = set()
    for _ in range(300):
        part = draw.uniform(0.2, 0.8)
        scores = draw.choice([0.5, 1.0, 1.5], size=draw.integers(1, 41), p=[0.9 * (1 - part), 0.1 * (1 - part), part])
        decision, alarm = rule.decide(scores), alarm_of_the_product(scores.tolist(), 1.0, m, n)
        assert decision == Decision(alarm, changed=alarm)
        found.add(decision.alarm)
    assert len(found) > 5


def test_a_lasting_fault_is_found_changed_then_raises_the_alarm() -> None:
    """Below the threshold all the time: after four fifths of an hour and of three hours above the low line."""
    rule = ProductRule(9.0, 3, 5, low_line=1.0)
    assert rule.decide(np.full(2160, 2.0)) == Decision(alarm=863, changed=287)
    assert rule.decide(np.full(2160, 1.0)) == Decision(None)
    often = np.where(np.arange(2160) % 10 < 7, 2.0, 0.5)  # 70 %
    assert rule.decide(often) == Decision(None)


@pytest.mark.parametrize("window_s", [10.0, 7.0])
def test_the_long_memory_decides_as_the_products_alarm(window_s: float) -> None:
    """On random streams that dwell on either side of the low line, with memories of about ten and thirty windows."""
    settings = AlarmSettings.model_validate({"changed_after_s": 100.0, "alarm_after_s": 300.0})
    rule = ProductRule(9.0, 3, 5, 1.0, window_s, settings.changed_after_s, settings.alarm_after_s)
    draw, found = np.random.default_rng(3), set()
    for _ in range(400):
        stays = draw.random(90).cumsum() // draw.uniform(3.0, 20.0) % 2 == draw.integers(2)
        scores = np.where(stays ^ (draw.random(90) < 0.1), 2.0, 0.5) + 9.0 * (draw.random(90) < 0.02)
        machine = AlarmStateMachine("pump", settings, lambda: "id", Restored(), window_s)
        alarm = changed = None
        for number, value in enumerate(scores.tolist()):
            span = window_s * number, window_s * (number + 1)
            event = machine.on_score(Score("pump", value, 9.0, 1, (), *span, -20.0, 1.0), 0)
            if event is not None and event.kind is EventKind.START and alarm is None:
                alarm = number
            if event is not None and changed is None:
                changed = number
        assert rule.decide(scores) == Decision(alarm, changed)
        found.add((alarm is None, changed is None, alarm == changed))
    assert len(found) == 4  # nothing, changed alone, changed and then an alarm, an alarm at once


def test_the_challenges_rule_takes_every_window_by_itself() -> None:
    """About one in ten normal windows is above its threshold; the first one above decides."""
    normal = np.random.default_rng(0).gamma(9.0, size=4000)
    rule = ChallengeRule.learn(normal)
    assert (normal > rule.threshold).mean() == pytest.approx(0.1, abs=0.01)
    assert rule.decide(np.array([1.0, rule.threshold, rule.threshold + 1, 1.0])) == Decision(2)
    assert rule.decide(np.array([1.0, rule.threshold])) == Decision(None)


def test_a_normal_score_of_0_is_learnt() -> None:
    """A clip that is there twice."""
    assert np.isfinite(ChallengeRule.learn(np.array([0.0, 1.0, 1.1, 1.2, 0.9])).threshold)
