"""Re-splits are the same for every detector, and intervals say what they claim."""

from __future__ import annotations

import numpy as np

from edge_monitor.evaluate.figures import interval, spread
from edge_monitor.evaluate.measure import learnt_of, splits


def test_every_split_learns_sixty_percent_and_tests_the_rest() -> None:
    """No clip is both."""
    found = list(splits(30, 100, seed=3))
    assert len(found) == 100
    for learnt, tested in found:
        assert (len(learnt), len(tested)) == (18, 12)
        assert sorted([*learnt, *tested]) == list(range(30))
    assert learnt_of(11) == 7


def test_a_seed_gives_one_series() -> None:
    """Two detectors see identical splits; another seed gives others."""
    first, again, other = ([learnt.tolist() for learnt, _ in splits(20, 5, seed=seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_figures_that_never_vary_have_no_width() -> None:
    """All ids and all splits agree."""
    assert interval(np.full((3, 10), 80.0), draws=100) == (80.0, 80.0)
    assert spread(np.full(10, 80.0)) == (80.0, 80.0)


def test_the_interval_covers_the_mean_of_machines_in_19_of_20_cases() -> None:
    """Twelve ids from a population of mean 80, deviation 6, ten splits each with deviation 3: 95 % within noise."""
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        points = draw.normal(80.0, 6.0, (12, 1)) + draw.normal(0.0, 3.0, (12, 10))
        low, high = interval(points, draws=100)
        covered += low <= 80.0 <= high
    assert 0.85 <= covered / 100 <= 0.99


def test_ids_count_what_their_weights_say() -> None:
    """One id that counts half among fifty others moves the mean; counted as one of them it hardly does."""
    points = np.array([[100.0], *[[60.0]] * 50])
    assert interval(points, np.array([0.5, *[0.01] * 50]), draws=1000)[1] > 80.0
    assert interval(points, draws=1000)[1] < 65.0
