"""Eq. 1, the metric and near-duplicates, on numbers that can be checked by eye."""

from __future__ import annotations

import numpy as np
import pytest

from edge_monitor.errors import NormalsError
from edge_monitor.memory.distance import distances, scores
from edge_monitor.memory.index import ExactIndex, HnswIndex
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.thinning import distinct

LINE = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [9.0, 12.0], [60.0, 80.0]], dtype=np.float32)


def test_score_is_the_mean_distance_to_the_four_nearest() -> None:
    """From the origin the distances are 0, 5, 10, 15 and 100: the mean of the first four is 7.5."""
    assert scores(np.zeros((1, 2)), LINE) == pytest.approx([7.5])


def test_distances_are_euclidean() -> None:
    """A 3-4-5 triangle has a hypotenuse of 5."""
    assert distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 2.0]])).tolist() == [[5.0, 2.0]]


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_index_returns_roots_not_squares(kind: str) -> None:
    """Hnswlib's l2 space gives 25 where the distance is 5."""
    index = ExactIndex(LINE) if kind == "exact" else HnswIndex.build(LINE, 4)
    assert index is not None
    found = index.query(np.zeros(2, dtype=np.float32), 4)
    assert found.distance == pytest.approx([0, 5, 10, 15])
    assert found.position.tolist() == [0, 1, 2, 3]


def test_standardizing_divides_by_std_plus_floor() -> None:
    """Values 0 and 4 have mean 2 and std 2; with a floor of 2 a step of 4 becomes 1."""
    raw = np.array([[0.0, 7.0], [4.0, 7.0]], dtype=np.float32)
    scaler = MetricSpec("standardized-euclidean", "none", (2.0, 1.0)).fit(raw)
    assert scaler.apply(raw).tolist() == [[-0.5, 0.0], [0.5, 0.0]]


def test_plain_metric_leaves_vectors_alone() -> None:
    """`euclidean` without normalization is the identity."""
    assert MetricSpec().fit(LINE).apply(LINE).tolist() == LINE.tolist()


def test_unit_normalization_makes_length_one() -> None:
    """(3, 4) becomes (0.6, 0.8), and nothing stays nothing."""
    apply = MetricSpec("euclidean", "unit").fit(LINE).apply
    assert apply(np.array([[3, 4], [0, 0]], dtype=np.float32)) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_dimension_that_never_varies_needs_a_floor() -> None:
    """Without a floor the distance along it would be infinite."""
    with pytest.raises(NormalsError, match="dimension 1 never varies"):
        MetricSpec("standardized-euclidean").fit(np.array([[0, 7], [4, 7]], dtype=np.float32))


def test_floor_of_another_dimension_is_refused() -> None:
    """A manifest's list of floors must be as long as its vectors."""
    with pytest.raises(NormalsError, match="does not fit vectors of 2"):
        MetricSpec("standardized-euclidean", "none", (1.0, 1.0, 1.0)).fit(LINE)


def test_sound_stored_twice_is_thinned() -> None:
    """Copies, even slightly re-encoded ones, are dropped; the first stays."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((40, 64)).astype(np.float32)
    copies = vectors[:5] + 1e-3 * draw.standard_normal((5, 64)).astype(np.float32)
    assert distinct(np.concatenate([vectors[10:], copies]), vectors[:10]).tolist() == [True] * 30 + [False] * 5


def test_digital_loop_is_thinned_to_one_turn() -> None:
    """Three windows played ten times over are three windows."""
    turn = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    keep = distinct(np.tile(turn, (10, 1)), np.empty((0, 64), dtype=np.float32))
    assert keep.tolist() == [True] * 3 + [False] * 27


def test_real_neighbours_are_not_thinned() -> None:
    """Windows of a steady machine resemble each other and all stay."""
    steady = 50 + np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    assert distinct(steady, steady[:0]).all()
