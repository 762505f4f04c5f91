"""ROC figures are those of scikit-learn and of pencil and paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from edge_monitor.evaluate.roc import auc, nearest_to_corner, operating_point, pauc, roc_curve

NORMAL = np.array([1.0, 2.0, 3.0, 4.0])
ANOMALOUS = np.array([3.0, 5.0])
SCORES = st.lists(st.integers(0, 12), min_size=1, max_size=40).map(lambda scores: np.array(scores, dtype=float))


@settings(deadline=None)
@given(SCORES, SCORES, st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_auc_and_pauc_are_those_of_scikit_learn(
    normal: np.ndarray[tuple[int], np.dtype[np.float64]],
    anomalous: np.ndarray[tuple[int], np.dtype[np.float64]],
    max_fpr: float,
) -> None:
    """Scores of 13 values in up to 40 clips tie often."""
    label = np.repeat([0, 1], [len(normal), len(anomalous)])
    scores = np.concatenate([normal, anomalous])
    assert auc(normal, anomalous) == pytest.approx(roc_auc_score(label, scores), abs=1e-12)
    assert pauc(normal, anomalous, max_fpr) == pytest.approx(roc_auc_score(label, scores, max_fpr=max_fpr), abs=1e-12)


def test_a_tie_counts_half() -> None:
    """Of eight pairs six are in order and one is equal, one is not."""
    assert auc(NORMAL, ANOMALOUS) == 6.5 / 8


def test_perfect_and_useless_scores() -> None:
    """1 and 0.5, for the partial area too."""
    assert (auc(NORMAL, NORMAL + 10), pauc(NORMAL, NORMAL + 10)) == (1.0, 1.0)
    assert auc(NORMAL, NORMAL) == 0.5
    assert pauc(np.full(5, 2.0), np.full(5, 2.0)) == 0.5


def test_the_curve_goes_from_corner_to_corner() -> None:
    """One point for each distinct score; a clip is anomalous strictly above the threshold."""
    roc = roc_curve(NORMAL, ANOMALOUS)
    assert roc.threshold.tolist() == [5.0, 4.0, 3.0, 2.0, 1.0, -np.inf]
    assert roc.false_alarm.tolist() == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    assert roc.hit.tolist() == [0.0, 0.5, 0.5, 1.0, 1.0, 1.0]


def test_the_papers_threshold_is_nearest_to_the_corner() -> None:
    """Two points are half away from (0, 1): the stricter one is taken, and it does what it says."""
    best = nearest_to_corner(NORMAL, ANOMALOUS)
    assert (best.threshold, best.false_alarm, best.miss) == (4.0, 0.0, 0.5)
    assert operating_point(NORMAL, ANOMALOUS, best.threshold) == best
    perfect = nearest_to_corner(NORMAL, NORMAL + 10)
    assert (perfect.threshold, perfect.false_alarm, perfect.miss) == (4.0, 0.0, 0.0)


@pytest.mark.parametrize("scores", [np.array([]), np.array([1.0, np.nan]), np.array([[1.0]])])
def test_what_is_no_score_is_refused(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """An empty class, a NaN, a matrix."""
    with pytest.raises(ValueError, match="scores must be finite"):
        auc(NORMAL, scores)
    with pytest.raises(ValueError, match="scores must be finite"):
        roc_curve(scores, ANOMALOUS)
