"""The gamma fit is SciPy's, without SciPy on the box."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edge_monitor.evaluate.gamma import gamma_quantile


@pytest.mark.parametrize("shape", [0.5, 3.0, 40.0, 900.0])
@pytest.mark.parametrize("count", [6, 200])
def test_the_quantile_is_that_of_the_maximum_likelihood_fit(shape: float, count: int) -> None:
    """With the location 0, from heavy tails to nearly no spread, in any unit."""
    scores = 7.0 * np.random.default_rng(count).gamma(shape, size=count)
    expected = stats.gamma.ppf(0.9, *stats.gamma.fit(scores, floc=0))
    assert gamma_quantile(scores, 0.9) == pytest.approx(expected, rel=1e-6)


def test_scores_that_are_all_the_same_are_their_own_quantile() -> None:
    """Within the least spread that is fitted, a hundredth."""
    assert gamma_quantile(np.full(7, 2.0), 0.9) == pytest.approx(2.0, rel=0.02)
