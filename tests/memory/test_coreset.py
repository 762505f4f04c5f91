"""The coreset: below its size nothing changes, above it the work has a bound and rare sound stays known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.coreset import coreset
from edge_monitor.memory.covariance import shrunk_covariance
from edge_monitor.memory.generations import active_generation, build_generation
from edge_monitor.memory.leaveout import Layout, leave_block_out
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.memory.scoring_methods import EQUATION_1, SCORING_METHODS, NeighbourScorer, fit
from edge_monitor.records import Embedding
from tests.memory.conftest import BUNDLE
from tests.memory.memory import Memory, run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.memory.conftest import Enrol

SPEC = MetricSpec("standardized-euclidean", floor=0.35, bands=4)


def noise(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Return (rows, 8) normal variables."""
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


@pytest.mark.parametrize("name", SCORING_METHODS)
def test_up_to_its_size_scores_are_the_same_to_the_last_digit(name: str) -> None:
    """300 normals, a coreset of at most 300 or none at all."""
    normals, queries = noise(300), 2 * noise(20, seed=1)
    found = [fit(name, normals, replace(SPEC, max_normals=most)).scores(queries).tolist() for most in (300, None)]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", sorted(EQUATION_1))
def test_eq_1_is_exact_whatever_was_enrolled(name: str) -> None:
    """Its neighbours come from the index of all normals: no coreset comes between."""
    normals, queries = noise(300), 2 * noise(20, seed=1)
    found = [fit(name, normals, replace(SPEC, max_normals=most)).scores(queries).tolist() for most in (40, None)]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", sorted(set(SCORING_METHODS) - EQUATION_1))
def test_beyond_its_size_a_window_is_compared_with_the_coreset_alone(name: str) -> None:
    """The statistics of the metric are those of all normals."""
    normals, queries = noise(300), 2 * noise(20, seed=1)
    fitted = fit(name, normals, replace(SPEC, max_normals=40))
    chosen = fitted.scaler.apply(normals[coreset(normals, 40)])
    assert fitted.scaler.scale == pytest.approx(normals.std(axis=0) + 0.35)
    if isinstance(fitted.scaled, NeighbourScorer):
        assert {len(part) for part in fitted.scaled.vectors} == {40}
    else:
        expected = shrunk_covariance(chosen).scores(fitted.scaler.apply(queries))
        assert fitted.scores(queries).tolist() == expected.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 9))
def test_the_same_normals_are_chosen_in_whatever_order_they_came(count: int, most: int, seed: int) -> None:
    """So many of them, or all; a rebuilt or imported memory compares with the same ones."""
    normals, order = noise(count, seed), np.random.default_rng(seed).permutation(count)
    chosen = coreset(normals, most)
    assert chosen.sum() == min(count, most)
    assert coreset(normals[order], most).tolist() == chosen[order].tolist()


@pytest.mark.parametrize("one_in", [100, 400])
def test_a_rare_mode_is_still_normal(one_in: int) -> None:
    """5,000 normals, 50 or 13 of another mode: compared with 1,000, fresh sound of it scores like all other sound."""
    draw = np.random.default_rng(3)
    normals = draw.standard_normal((5000, 8)).astype(np.float32)
    normals[::one_in] += 12.0
    scorer = fit("sub-band-density", normals, replace(SPEC, max_normals=1000))
    usual = scorer.scores(draw.standard_normal((500, 8)))
    rare = scorer.scores(draw.standard_normal((500, 8)) + 12.0)
    unknown = scorer.scores(draw.standard_normal((500, 8)) - 12.0)
    assert np.median(rare) < 1.2 * np.median(usual)
    assert unknown.min() > 2 * max(rare.max(), usual.max())


def test_calibration_remembers_the_coreset_in_each_fold() -> None:
    """Every normal is scored, each by those of the coreset that are of other blocks; nearness by eq. 1 of the same."""
    normals = noise(60)
    layout = Layout(np.arange(60) // 6, np.zeros(60, dtype=np.int64), 10.0 * (np.arange(60, dtype=np.float64) % 6))
    spec = replace(SPEC, scorer="sub-band-density", max_normals=30)
    found = leave_block_out(normals, layout, spec, k=4, window_s=10.0)
    held = layout.recording == 3
    remembered = normals[coreset(normals, 30) & ~held]
    assert found.score[held].tolist() == fit(None, remembered, spec).scores(normals[held]).tolist()
    assert found.near[held].tolist() == fit(None, remembered, SPEC).scores(normals[held]).tolist()
    assert np.isfinite(found.score).all()


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


def test_a_generation_keeps_the_size_it_was_calibrated_with(store: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """18 normals, a coreset of 10: it scores as `fit` does; one of an older version compares with all."""
    enrol(store, 6)
    spec = replace(SPEC, scorer="sub-band-density", max_normals=10)
    build(store, spec)
    raw, query = store.vectors(store.ids()), np.full(8, 0.3, dtype=np.float32)
    for most in (10, None):
        generation = active_generation(store.connection, "pump-3")
        scorer = load_scorer(store.connection, "pump-3", tmp_path)
        assert generation is not None
        assert scorer is not None
        assert generation.max_normals == most
        assert len(scorer.normals) == 18
        expected = fit(None, raw, replace(spec, max_normals=most)).scores(query[None, :])[0]
        assert scorer.score(Embedding(query, BUNDLE)).value == pytest.approx(expected, rel=1e-5)
        run(store.store, "UPDATE generations SET max_normals = NULL")
