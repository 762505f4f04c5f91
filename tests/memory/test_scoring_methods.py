"""Scoring methods against plain computations, and what must hold for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_monitor.config.settings import ScorerName
from edge_monitor.errors import NormalsError
from edge_monitor.memory import scoring_methods
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.covariance import oas, shrunk_covariance
from edge_monitor.memory.coverage import assess
from edge_monitor.memory.distance import scores
from edge_monitor.memory.generations import active_generation, build_generation
from edge_monitor.memory.leaveout import Layout, leave_block_out
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.memory.scoring_methods import SCORING_METHODS, fit, sub_bands
from edge_monitor.records import Embedding
from tests.memory.conftest import BUNDLE
from tests.memory.memory import Memory, run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.memory.conftest import Enrol


PLAIN = MetricSpec(bands=4)
LINE = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [14, 0]], dtype=np.float32)


def noise(rows: int, dim: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Return (rows, dim) normal variables."""
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def test_the_configuration_knows_every_scoring_method() -> None:
    """`[model] scorer` takes the names of the methods that can be fitted, and each is described with its source."""
    assert get_args(ScorerName) == SCORING_METHODS
    for name in SCORING_METHODS:
        assert fit(name, noise(6), PLAIN).method == name
        assert f"- {name}: " in str(scoring_methods.__doc__)


def test_whether_more_sound_is_needed_is_asked_of_eq_1_whatever_scores() -> None:
    """Forgetting half the blocks says the same by every scorer, though scores by local density hardly change."""
    vectors = noise(60)
    layout = Layout(np.arange(60), np.zeros(60, dtype=np.int64), np.zeros(60))
    by_distance, by_density = (
        leave_block_out(vectors, layout, MetricSpec(scorer=name), k=4, window_s=10.0)
        for name in (None, "local-density")
    )
    assert by_density.near.tolist() == by_distance.near.tolist() == by_distance.score.tolist()
    assert by_density.halved.tolist() == by_distance.halved.tolist()
    assert assess(by_density, layout.unit) == assess(by_distance, layout.unit)
    assert not assess(by_density, layout.unit).enough


def test_without_a_name_the_bundle_decides() -> None:
    """Eq. 1 in the manifest's metric, or the scorer that the manifest names."""
    assert fit(None, LINE, MetricSpec()).method == "euclidean"
    assert fit(None, LINE, MetricSpec("euclidean", "unit")).method == "euclidean-unit"
    assert fit(None, LINE, MetricSpec("standardized-euclidean", "none", 1.0)).method == "standardized-euclidean"
    assert fit(None, LINE, MetricSpec(scorer="mahalanobis")).method == "mahalanobis"


def test_eq_1_on_raw_and_on_unit_vectors() -> None:
    """Normals 0, 1, 2, 3 are nearest to 0: mean 1.5; vectors of length 1 that point the same way are not apart."""
    assert fit("euclidean", LINE, MetricSpec("euclidean", "unit")).scores(LINE[:1]) == pytest.approx([1.5])
    assert fit("euclidean-unit", LINE[1:], PLAIN).scores(LINE[5:]) == pytest.approx([0.0])


def test_local_density_measures_in_each_normals_own_neighbourhood() -> None:
    """Two neighbours: radii 1.5, 1, 1, 1, 1.5 and 10.5; from 16 the outlier is 2 / 10.5 away, the next 12 / 1.5."""
    fitted = fit("local-density", LINE, PLAIN, k=2)
    assert fitted.scores(np.array([[16, 0]], dtype=np.float32)) == pytest.approx([(2 / 10.5 + 12 / 1.5) / 2])


def test_radii_are_those_of_a_plain_computation_far_from_the_origin() -> None:
    """Levels near -60 dB with copies among them, where float32 squares have few digits left for what is near."""
    normals = noise(300) - 60.0
    normals[1] = normals[0]
    apart = np.linalg.norm(normals[:, None, :].astype(np.float64) - normals[None, :, :], axis=2)  # (n, n)
    radius = np.sort(apart, axis=1)[:, 1:5].mean(axis=1)  # the nearest one is itself
    queries = noise(5, seed=1) - 60.0
    to = np.linalg.norm(queries[:, None, :].astype(np.float64) - normals[None, :, :], axis=2)  # (q, n)
    expected = np.sort(to / radius, axis=1)[:, :4].mean(axis=1)
    assert fit("local-density", normals, PLAIN).scores(queries) == pytest.approx(expected, rel=1e-5)


def test_mahalanobis_is_the_distance_by_the_inverted_covariance() -> None:
    """With fewer normals than dimensions and with more, as a dense inverse gives it."""
    for rows in (5, 40):
        normals, queries = noise(rows).astype(np.float64), noise(3, seed=1).astype(np.float64)
        found = shrunk_covariance(normals)
        sample = np.cov(normals.T, bias=True)
        dense = (1 - found.shrinkage) * sample + found.shrinkage * np.trace(sample) / 8 * np.eye(8)
        apart = queries - normals.mean(axis=0)
        expected = np.sqrt(np.einsum("qd,de,qe->q", apart, np.linalg.inv(dense), apart))
        assert found.scores(queries) == pytest.approx(expected)


def test_oas_shrinkage_is_equation_23() -> None:
    """S = diag(3, 1) of 10 vectors: tr S = 4, tr S² = 10: (0 + 16) / ((11 - 1) (10 - 8)) = 0.8; of S = I: all of it."""
    assert oas(4.0, 10.0, count=10, dim=2) == pytest.approx(0.8)
    assert oas(2.0, 2.0, count=10, dim=2) == 1.0


def test_sub_bands_join_what_lies_at_the_same_frequency() -> None:
    """Two blocks of 4 bands: each sub-band has its dimension of both; 128 bands go into 8 times 16."""
    assert [dims.tolist() for dims in sub_bands(8, 4)] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert [len(dims) for dims in sub_bands(256, 128)] == [32] * 8
    assert sub_bands(256, 128)[1][:17].tolist() == [*range(16, 32), 144]


def test_a_last_shorter_block_is_cut_as_the_others_are() -> None:
    """Six values for each of 8 sub-bands after two blocks of 128 bands; what cannot be cut evenly is refused."""
    second = sub_bands(304, 128)[1].tolist()
    assert second == [*range(16, 32), *range(144, 160), *range(262, 268)]
    for dim, bands in ((303, 128), (100, 128)):
        with pytest.raises(NormalsError, match="which dimensions belong to which frequencies"):
            sub_bands(dim, bands)


@given(bands=st.integers(1, 40), blocks=st.integers(1, 3), values=st.integers(0, 4))
def test_each_dimension_lies_in_one_sub_band(bands: int, blocks: int, values: int) -> None:
    """Whatever the blocks, and in the order of the bands."""
    last = values * min(8, bands)
    dim = blocks * bands + (last if last < bands else 0)
    parts = sub_bands(dim, bands)
    assert sorted(np.concatenate(parts).tolist()) == list(range(dim))
    assert [part.min() for part in parts] == sorted(part.min() for part in parts)


def test_each_sub_band_has_its_own_neighbours() -> None:
    """A query that has one normal's low band and another's high band is like the normals; eq. 1 finds it 1 away."""
    normals = np.array([[0, 9], [9, 0], [5, 5]], dtype=np.float32)
    spec, query = MetricSpec(bands=2), np.array([[0, 0]], dtype=np.float32)
    assert fit("sub-band", normals, spec, k=1).scores(query) == pytest.approx([0.0])
    assert fit("euclidean", normals, spec, k=1).scores(query) == pytest.approx([np.sqrt(50)])
    far = np.array([[0, -6]], dtype=np.float32)  # 0 and 6 away: root mean square
    assert fit("sub-band", normals, spec, k=1).scores(far) == pytest.approx([np.sqrt(18)])


def test_sub_bands_are_refused_where_the_bundle_has_none() -> None:
    """One clear line, for no bands and for bands that do not divide the vector; and for a name that is none."""
    for bands in (None, 3):
        with pytest.raises(NormalsError, match="which dimensions belong to which frequencies"):
            fit("sub-band", noise(6), MetricSpec(bands=bands))
    with pytest.raises(NormalsError, match="no scorer is named 'cosine'"):
        fit("cosine", noise(6), PLAIN)


@pytest.mark.parametrize("name", SCORING_METHODS)
def test_the_order_of_normals_and_of_queries_is_of_no_account(name: str) -> None:
    """Shuffled normals give the same scores, shuffled queries the same in their new places."""
    normals, queries, order = noise(20), noise(6, seed=1), np.random.default_rng(2).permutation(20)
    spec = MetricSpec("standardized-euclidean", "none", 0.5, bands=4)
    expected = fit(name, normals, spec).scores(queries)
    assert fit(name, normals[order], spec).scores(queries[::-1])[::-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["local-density", "mahalanobis", "sub-band-density"])
def test_a_louder_scale_of_vectors_leaves_relative_scores(name: str) -> None:
    """Normals and queries a thousand times larger have the same score."""
    normals, queries = noise(20), noise(6, seed=1)
    expected = fit(name, normals, PLAIN).scores(queries)
    assert fit(name, 1000 * normals, PLAIN).scores(1000 * queries) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", SCORING_METHODS)
def test_farther_is_more_anomalous(name: str) -> None:
    """Away from the normals, in a direction they do not have, the score grows with every step."""
    normals = np.abs(noise(20)) + 1.0
    steps = normals.mean(axis=0) + np.outer([1, 2, 4, 8], [-3, 0, 0, 0, 2, 0, 0, -1])
    assert (np.diff(fit(name, normals, PLAIN).scores(steps.astype(np.float32))) > 0).all()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SCORING_METHODS)),
    st.integers(5, 12),
    st.integers(0, 8),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_scores_are_finite(name: str, count: int, constant: int, distinct: int, seed: int) -> None:
    """With k + 1 normals, copies among them or nothing else, and dimensions that never vary."""
    normals = noise(distinct, seed=seed)[np.arange(count) % distinct]
    normals[:, :constant] = -7.0
    queries = np.concatenate([normals, 1e4 * noise(3, seed=seed + 1), np.zeros((1, 8), dtype=np.float32)])
    for spec in (PLAIN, MetricSpec("standardized-euclidean", "none", 0.35, bands=4)):
        found = fit(name, normals, spec).scores(queries)
        assert found.shape == (len(queries),)
        assert np.isfinite(found).all()
        assert (found >= 0).all()


def build(store: Memory, spec: MetricSpec) -> None:
    """Build the pump's next generation."""
    build_generation(
        store.store,
        "pump-3",
        bundle_hash=BUNDLE,
        spec=spec,
        settings=CalibrationSettings(10.0),
        gate_dbfs=None,
        reason="enroll",
    )


@pytest.mark.parametrize("name", SCORING_METHODS)
def test_a_generation_scores_by_the_scorer_it_was_frozen_with(
    name: str, store: Memory, enrol: Enrol, tmp_path: Path
) -> None:
    """As `fit` does over its normals; the neighbours are those of the metric, whatever scores."""
    enrol(store, 6)
    spec = MetricSpec("standardized-euclidean", "none", 0.5, bands=4, scorer=name)
    build(store, spec)
    scorer = load_scorer(store.connection, "pump-3", tmp_path)
    assert scorer is not None
    assert scorer.generation.scorer == name
    query = np.full(8, 0.3, dtype=np.float32)
    scored = scorer.score(Embedding(query, BUNDLE))
    raw = store.vectors(store.ids())
    fitted = fit(name, raw, replace(spec, scorer=None))
    assert scored.value == pytest.approx(fitted.scores(query[None, :])[0], rel=1e-5)
    near = scores(fitted.scaler.apply(query[None, :]), fitted.scaler.apply(raw), 4)
    assert np.mean([neighbour.distance for neighbour in scored.neighbours]) == pytest.approx(near[0], rel=1e-5)


def test_a_generation_of_an_older_version_keeps_eq_1(store: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """Where the database says nothing of a scorer, it was eq. 1 in the generation's metric."""
    enrol(store, 6)
    spec = MetricSpec("standardized-euclidean", "none", 0.5)
    build(store, spec)
    run(store.store, "UPDATE generations SET scorer = NULL, bands = NULL")
    found = active_generation(store.connection, "pump-3")
    assert found is not None
    assert found.scorer == "standardized-euclidean"
    scorer = load_scorer(store.connection, "pump-3", tmp_path)
    assert scorer is not None
    scored = scorer.score(Embedding(np.full(8, 0.3, dtype=np.float32), BUNDLE))
    assert scored.value == pytest.approx(np.mean([neighbour.distance for neighbour in scored.neighbours]))
