"""A trend is a rise that is sure, large and new; its line and its forecast are those of the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.alarm.trend import FEWEST, trend
from edge_monitor.records import Direction, Trend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

STEP_S = 600.0
TIME_S = 1_790_000_000.0 + STEP_S * np.arange(72, dtype=np.float64)
USUAL = 0.4


def seen(level: Array, **more: object) -> Trend:
    """Return the trend of ln(score / threshold), (n,), that ends with the last of `TIME_S`."""
    found = trend(TIME_S[-len(level) :], np.exp(level), step_s=STEP_S, usual=USUAL, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


def noise(seed: int = 0, spread: float = 0.02) -> Array:
    """Return noise of 12 hours, (72,)."""
    return spread * np.random.default_rng(seed).standard_normal(72)


def growing(per_hour: float, hours: float) -> Array:
    """Return ln(score / threshold) that is usual, and grows in the last `hours`, (72,)."""
    ago_h = np.arange(71, -1, -1) / 6
    return np.asarray(np.log(USUAL) + per_hour * np.maximum(hours - ago_h, 0.0))


@given(
    per_hour=st.floats(-0.5, 0.5),
    first=st.integers(0, 60),
    level=st.floats(-3.0, 3.0),
)
def test_the_slope_of_a_line_is_found_and_when_it_began(per_hour: float, first: int, level: float) -> None:
    """A level that becomes a line, without noise, at any median but the last five."""
    hours = np.maximum(np.arange(72) - first, 0) / 6
    found = seen(level + per_hour * hours)
    assert found.slope_per_s * 3600 == pytest.approx(per_hour, abs=1e-9)
    assert found.low_per_s <= found.slope_per_s + 1e-15
    assert found.high_per_s >= found.slope_per_s - 1e-15
    if abs(per_hour) > 1e-3:
        assert found.since_s == TIME_S[first]
        assert found.ratio == pytest.approx(np.exp(level + per_hour * (71 - first) / 6), rel=1e-6)


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_scores_in_another_unit_have_the_same_slope(factor: float, seed: int) -> None:
    """What is said of the line, but for where it is, does not depend on the score's unit."""
    level = growing(0.1, 4.0) + noise(seed)
    one, other = seen(level), seen(level + np.log(factor))
    for name in ("since_s", "slope_per_s", "low_per_s", "high_per_s"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6, abs=1e-12)
    assert other.ratio == pytest.approx(factor * one.ratio, rel=1e-6)


def test_a_fault_that_grows_is_rising_before_the_threshold_and_the_forecast_finds_it() -> None:
    """15 % an hour for five hours from 0.4 of the threshold: it is reached an hour and six minutes later."""
    found = seen(growing(0.15, 5.0) + noise())
    assert found.direction is Direction.RISING
    assert found.since_s == pytest.approx(TIME_S[-1] - 5 * 3600, abs=1200)
    assert found.forecast is not None
    reached_s = TIME_S[-1] + 3600 * (-np.log(USUAL) / 0.15 - 5.0)
    assert found.forecast.earliest_s <= reached_s <= found.forecast.latest_s
    assert found.forecast.at_s == pytest.approx(reached_s, abs=1200)
    over = seen(growing(0.3, 5.0) + noise())
    assert (over.direction, over.forecast, over.ratio > 1) == (Direction.RISING, None, True)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_small_a_step_or_known_is_not_rising(seed: int) -> None:
    """A slope that is sure but leads nowhere; a machine that was moved; a level that was there on an earlier day."""
    drifting, step = growing(0.03, 6.0), np.where(np.arange(72) < 40, np.log(USUAL), -0.2)
    assert seen(drifting + noise(seed)).direction is Direction.STEADY
    assert seen(step + noise(seed)).direction is Direction.STEADY
    assert seen(growing(0.15, 5.0) + noise(seed)).direction is Direction.RISING
    assert seen(growing(0.15, 5.0) + noise(seed), before=np.array([0.4, 0.95])).direction is Direction.STEADY
    # Above the threshold it was no healthy sound that would come again.
    assert seen(growing(0.15, 5.0) + noise(seed), before=np.array([0.4, 1.3])).direction is Direction.RISING


def test_a_repaired_machine_falls() -> None:
    """There is nothing to forecast."""
    found = seen(-growing(0.15, 5.0) + noise())
    assert (found.direction, found.forecast) == (Direction.FALLING, None)


def test_few_medians_say_nothing_and_a_flat_line_no_time() -> None:
    """Neither does what would reach the threshold only after ten times the time that the line has lasted."""
    assert trend(TIME_S[: FEWEST - 1], np.ones(FEWEST - 1), step_s=STEP_S, usual=USUAL) is None
    flat = np.log(0.7) + np.concatenate([np.zeros(36), 0.002 * np.arange(36) / 6])
    found = seen(flat)
    assert (found.direction, found.forecast) == (Direction.RISING, None)


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.90), (0.5, 0.88), (0.8, 0.84)])
def test_the_interval_holds_for_a_line_in_correlated_noise(correlation: float, least: float) -> None:
    """Of 200 lines of 12 hours so many slopes lie in their interval; 0.9 is meant."""
    draw, held, slope_per_s = np.random.default_rng(3), 0, 0.02 / STEP_S
    for _ in range(200):
        series = draw.standard_normal(72)
        for i in range(1, 72):
            series[i] = correlation * series[i - 1] + np.sqrt(1 - correlation**2) * series[i]
        found = seen(0.02 * np.arange(72) + 0.1 * series - 2.0)
        held += found.low_per_s <= slope_per_s <= found.high_per_s
    assert held >= 200 * least


def test_healthy_sound_is_never_rising() -> None:
    """300 half days of noise, with a spread of a quarter of the way to the threshold and correlated by 0.5."""
    draw, rising = np.random.default_rng(4), 0
    for _ in range(300):
        series = draw.standard_normal(72)
        for i in range(1, 72):
            series[i] = 0.5 * series[i - 1] + np.sqrt(0.75) * series[i]
        rising += seen(np.log(USUAL) * (1 - 0.25 * series)).direction is Direction.RISING
    assert rising == 0


def test_gaps_of_a_machine_that_stands_are_no_harm() -> None:
    """Eight hours of standstill in between: the line is the same."""
    kept = np.r_[0:12, 60:72]
    ratio = USUAL * np.exp(0.5 * np.maximum(TIME_S - TIME_S[60], 0) / 3600)
    found = trend(TIME_S[kept], np.asarray(ratio[kept]), step_s=STEP_S, usual=USUAL)
    assert found is not None
    assert found.slope_per_s * 3600 == pytest.approx(0.5)
    assert found.since_s == TIME_S[60]
