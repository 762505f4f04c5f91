"""Ratios of works that take turns."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bench.pairs import Ratio, in_turns

SIZE = 20_000


def work(times: int = 1) -> None:
    """Do the same arithmetic so many times."""
    for _ in range(times):
        np.sort(np.arange(SIZE)[::-1] % 977)


def test_two_equal_works_are_equally_fast() -> None:
    """The ratio of a function to itself is 1 whatever else the box does."""
    taken = in_turns(work, work, seconds=0.0, fewest=201, most=201)
    ratio = Ratio.of(taken[:, 1], taken[:, 0])
    assert ratio.median == pytest.approx(1.0, abs=0.15)
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.pairs == 201


def test_a_work_done_three_times_is_three_times_dearer() -> None:
    """CPU time, so that a busy box does not count."""
    taken = in_turns(work, lambda: work(3), seconds=0.0, fewest=101, most=101, clock=time.thread_time)
    assert Ratio.of(taken[:, 1], taken[:, 0]).median == pytest.approx(3.0, rel=0.15)


def test_each_round_begins_with_another_work() -> None:
    """Who comes first changes, and the first round, to warm up, is not counted."""
    order: list[str] = []
    taken = in_turns(lambda: order.append("a"), lambda: order.append("b"), seconds=0.0, fewest=2, most=2)
    assert "".join(order) == "baabba"
    assert taken.shape == (2, 2)


def test_works_stop_when_their_time_is_over_and_not_before_six_rounds() -> None:
    """Works of 20 ms in 0.3 s are done some seven times; works of 100 ms in no time, six times."""
    begun_s = time.monotonic()
    assert 6 <= len(in_turns(lambda: time.sleep(0.02), lambda: time.sleep(0.02), seconds=0.3)) <= 8
    assert time.monotonic() - begun_s < 3.0
    assert len(in_turns(lambda: time.sleep(0.1), seconds=0.0)) == 6


@pytest.mark.parametrize(
    ("pairs", "low", "high"), [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)]
)
def test_the_interval_is_that_of_the_tables(pairs: int, low: int, high: int) -> None:
    """The ranks that bound a median with 95 % are the sign test's, as tables of order statistics have them."""
    ratio = Ratio.of(np.arange(1, pairs + 1), np.ones(pairs))
    assert (ratio.low, ratio.high) == (low, high)
    assert ratio.median == (pairs + 1) / 2


def test_above_one_is_cheaper() -> None:
    """Theirs 6 s, ours 2 s: three times cheaper."""
    assert Ratio.of([6.0], [2.0]) == Ratio(3.0, 3.0, 3.0, 1)
