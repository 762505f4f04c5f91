"""The circuit breaker: when an LLM server that fails is left in peace, and for how long."""

from __future__ import annotations

import pytest

from edge_monitor.explain.breaker import CircuitBreaker


def test_two_failures_are_no_reason_to_rest() -> None:
    """Two may be chance."""
    breaker = CircuitBreaker()
    breaker.failed(10.0)
    breaker.failed(11.0)
    assert breaker.rest_s(11.0) == 0.0


def test_from_the_third_failure_in_a_row_rests_double_up_to_an_hour() -> None:
    """Each attempt after a rest that fails brings a rest twice as long."""
    breaker = CircuitBreaker()
    rests, now_s = [], 0.0
    for _ in range(1100):
        breaker.failed(now_s)
        rests.append(breaker.rest_s(now_s))
        now_s += rests[-1]
        assert breaker.rest_s(now_s) == 0.0
    assert rests[:11] == [0.0, 0.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0]
    assert rests[-1] == 3600.0


def test_a_rest_runs_down() -> None:
    """What is left is told, never below zero."""
    breaker = CircuitBreaker()
    for _ in range(3):
        breaker.failed(100.0)
    assert breaker.rest_s(130.0) == 30.0
    assert breaker.rest_s(161.0) == 0.0


def test_a_success_closes_it() -> None:
    """Failures are counted anew, and the next rest is the first one again."""
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(0.0)
    breaker.succeeded()
    assert breaker.rest_s(0.0) == 0.0
    for _ in range(3):
        breaker.failed(0.0)
    assert breaker.rest_s(0.0) == 60.0


@pytest.mark.parametrize(("after_s", "rest_s"), [(None, 0.0), (0.0, 0.0), (20.0, 20.0), (86_400.0, 3600.0)])
def test_the_servers_wish_is_heeded_up_to_an_hour(after_s: float | None, rest_s: float) -> None:
    """A single failure with a Retry-After brings that rest."""
    breaker = CircuitBreaker()
    breaker.failed(0.0, after_s)
    assert breaker.rest_s(0.0) == rest_s
