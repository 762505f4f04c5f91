"""The binomial and Student's t against published tables."""

from __future__ import annotations

import math

import pytest

from edge_monitor.memory.chance import at_least, exceedance, plausible_count, student_quantile, student_tail


@pytest.mark.parametrize(
    ("p", "dof", "t"),
    [
        (0.05, 1, 6.314),
        (0.025, 2, 4.303),
        (0.01, 5, 3.365),
        (0.0005, 10, 4.587),
        (0.005, 30, 2.750),
        (0.001, 120, 3.160),
        (0.025, 1000, 1.962),
        (0.5, 7, 0.0),
    ],
)
def test_student_quantiles_are_those_of_the_tables(p: float, dof: int, t: float) -> None:
    """Values as printed in the usual tables."""
    assert student_quantile(p, dof) == pytest.approx(t, abs=5e-4)


def test_student_tail_of_one_degree_is_cauchys() -> None:
    """P(T > 1) is 1/4 for one degree of freedom."""
    assert student_tail(1.0, 1) == pytest.approx(0.25)


def test_two_of_three_coins() -> None:
    """Two or more heads in three throws: 4 of 8."""
    assert at_least(2, 3, 0.5) == 0.5


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (5, 5), (10, 100)])
def test_exceedance_undoes_the_binomial(m: int, n: int) -> None:
    """The p that is found gives the rate that was asked for."""
    assert at_least(m, n, exceedance(m, n, 1.2e-5)) == pytest.approx(1.2e-5)


def test_three_of_five_allows_one_window_in_a_hundred() -> None:
    """0.1 false alarms per day with windows of 10 s: 10 p^3 is about 1.16e-5."""
    assert exceedance(3, 5, 0.1 * 10 / 86_400) == pytest.approx(0.0105, abs=1e-4)
    assert math.isclose(exceedance(1, 1, 0.25), 0.25)


def test_dependent_windows_exceed_together() -> None:
    """Between independence and full dependence: 10 p^3 = 1e-5 and p = 0.01 bound three of five at p = 0.01."""
    rates = [at_least(3, 5, 0.01, rho) for rho in (0.0, 0.3, 0.6, 0.9)]
    assert rates[0] == pytest.approx(1e-5, rel=0.02)
    assert rates == sorted(rates)
    assert rates[-1] < 0.01


def test_dependence_keeps_each_windows_own_probability() -> None:
    """One of one is p, whatever is shared; exceedance undoes it."""
    assert at_least(1, 1, 0.01, 0.5) == pytest.approx(0.01, rel=1e-6)
    assert exceedance(3, 5, 1.2e-5, 0.5) == pytest.approx(3.4e-4, rel=0.05)


def test_plausible_count_is_where_the_binomial_becomes_unlikely() -> None:
    """In three throws of a coin three heads have 1/8, two or more 1/2; in 100 000 at 1 % about 1052 have 5 %."""
    assert plausible_count(3, 0.5, 0.12) == 3
    assert plausible_count(3, 0.5, 0.13) == 2
    assert plausible_count(30, 0.0105, 0.05) == 1
    assert plausible_count(100_000, 0.01, 0.05) == pytest.approx(1052, abs=2)


@pytest.mark.parametrize("p", [1e-300, 1e-18, 1.0 - 1e-16])
def test_dependent_trials_of_extreme_probability(p: float) -> None:
    """A probability that one minus itself swallows is still one."""
    assert 0.0 <= at_least(3, 5, p, dependence=0.5) <= 1.0
