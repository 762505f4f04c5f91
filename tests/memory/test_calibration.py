"""The threshold from normal sound alone: sane for few blocks and many, and honest about what it means."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_monitor.errors import NormalsError
from edge_monitor.memory.calibration import (
    Calibration,
    CalibrationSettings,
    allowed_exceedance,
    calibrate,
    not_refuted,
)
from edge_monitor.memory.leaveout import Layout, block_of, leave_block_out
from edge_monitor.memory.low_line import low_line
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.tail import TailFit, fit_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAIN = MetricSpec()
TEN_S = CalibrationSettings(window_s=10.0)
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)


def clips(count: int) -> Layout:
    """Return the layout of that many files of one window each."""
    return Layout(np.arange(count), np.zeros(count, dtype=np.int64), np.zeros(count))


def sound(seed: int, count: int, dim: int = 6) -> NDArray[np.float32]:
    """Return windows of a machine whose loudness varies a little, (count, dim) float32."""
    draw = np.random.default_rng(seed)
    return (10 + draw.standard_normal((count, dim)) * draw.lognormal(0, 0.2, (count, 1))).astype(np.float32)


def test_blocks_are_thirty_seconds_of_a_recording() -> None:
    """Windows of 10 s: three to a block."""
    assert [block_of(s) for s in (0, 10, 20, 29.9999999, 30, 59, 60)] == [0, 0, 0, 1, 1, 1, 2]


def test_a_block_is_scored_against_the_others_only() -> None:
    """Two files on a line, windows at 0, 1 and at 10, 11, 12: with k = 2, the first file's nearest are 10 and 11."""
    line = np.array([[0], [1], [10], [11], [12]], dtype=np.float32)
    layout = Layout(np.array([1, 1, 2, 2, 2]), np.zeros(5, dtype=np.int64), np.array([0.0, 10, 0, 10, 20]))
    left_out = leave_block_out(line, layout, PLAIN, k=2, window_s=10)
    assert left_out.score.tolist() == [10.5, 9.5, 9.5, 10.5, 11.5]


def test_neighbouring_window_of_the_next_block_is_guarded() -> None:
    """The windows beside a held-out block of the same recording say nothing about it and are left out."""
    line = np.arange(9, dtype=np.float32)[:, None]
    layout = Layout(np.ones(9, dtype=np.int64), np.arange(9) // 3, 10.0 * np.arange(9, dtype=np.float64))
    left_out = leave_block_out(line, layout, PLAIN, k=1, window_s=10)
    # block 1 is windows 3, 4, 5; without 2 and 6 the nearest of 3 is 1, of 4 is 2 windows further, of 5 is 7
    assert left_out.score.tolist() == [4.0, 3.0, 2.0, 2.0, 3.0, 2.0, 2.0, 3.0, 4.0]


def test_scaler_is_refitted_without_the_held_out_block() -> None:
    """One loud file must not widen the scale it is judged by: 0 and 2 have std 1, so 100 is 98 / (1 + 1) away."""
    line = np.array([[0], [2], [100]], dtype=np.float32)
    spec = MetricSpec("standardized-euclidean", "none", 1.0)
    left_out = leave_block_out(line, clips(3), spec, k=1, window_s=10)
    assert left_out.score[2] == pytest.approx(49.0)


def test_fewer_than_five_normals_are_not_enrolled() -> None:
    """One more than k normals are the least."""
    with pytest.raises(NormalsError, match="not enrolled: 4 normals, needs at least 5"):
        calibrate(sound(0, 4), clips(4), PLAIN, TEN_S)


@quick
@given(seeds, st.integers(5, 60))
def test_the_lines_are_above_the_normal_scores_and_within_reach(seed: int, count: int) -> None:
    """Neither everything nor nothing is anomalous: the low line is near the largest score, the threshold above it."""
    found = calibrate(sound(seed, count), clips(count), PLAIN, TEN_S)
    assert found.low_line is not None
    assert found.median_score < found.low_line.value < 2 * found.max_score
    assert found.low_line.value < found.threshold


@quick
@given(seeds, st.integers(5, 40), st.floats(1e-3, 1e3), st.floats(1.0, 100.0))
def test_fewer_false_alarms_need_a_higher_threshold(seed: int, count: int, wanted: float, factor: float) -> None:
    """The threshold never falls when the wanted rate falls."""
    often, rarely = (
        calibrate(sound(seed, count), clips(count), PLAIN, CalibrationSettings(10.0, rate)).threshold
        for rate in (wanted * factor, wanted)
    )
    assert rarely >= often * (1 - 1e-12)


@quick
@given(seeds, st.integers(5, 40), st.floats(1e-3, 1e3))
def test_threshold_scales_with_the_vectors(seed: int, count: int, factor: float) -> None:
    """In other units of the embedding the same windows are anomalous."""
    vectors = sound(seed, count).astype(np.float64)
    one, other = (calibrate(v, clips(count), PLAIN, TEN_S).threshold for v in (vectors, factor * vectors))  # type: ignore[arg-type] # float64: the property is about scale, not rounding
    assert other == pytest.approx(factor * one, rel=1e-6)


@quick
@given(seeds, st.sampled_from([[5], [6], [5, 5], [1, 1, 1, 1, 1], [3, 1, 1], [2] * 30]))
def test_threshold_is_finite_for_any_split_into_blocks(seed: int, sizes: list[int]) -> None:
    """One live stretch of 50 s or thirty files: always a number."""
    block = np.repeat(np.arange(len(sizes)), sizes)
    layout = Layout(np.ones(len(block), dtype=np.int64), block, 10.0 * np.arange(len(block), dtype=np.float64))
    found = calibrate(sound(seed, len(block)), layout, PLAIN, TEN_S)
    assert math.isfinite(found.threshold)
    assert found.expected_low_per_day <= found.expected_per_day <= found.expected_high_per_day


def test_one_outlier_does_not_set_the_low_line() -> None:
    """With the maximum as line one slammed door during enrolment would silence the monitor."""
    vectors = sound(1, 60)
    clean = calibrate(vectors, clips(60), PLAIN, TEN_S).low_line
    vectors[7] += 100
    found = calibrate(vectors, clips(60), PLAIN, TEN_S)
    assert clean is not None
    assert found.low_line is not None
    assert found.low_line.value < 1.5 * clean.value
    assert found.odd is not None  # which says that the threshold is raised by it


def test_heavy_tail_raises_the_threshold_above_the_fit() -> None:
    """When three windows in a hundred score 9, a fitted threshold of 4 contradicts one in five hundred."""
    score = np.concatenate([np.linspace(0.99, 1.01, 97), np.linspace(9.0, 9.1, 3)])
    p = allowed_exceedance(TEN_S)
    assert fit_tail(score, clips(100).unit).quantile(p) < 8.0
    assert 9.0 < not_refuted(score, p) < 9.1


@pytest.mark.parametrize("count", [8, 20, 60])
def test_new_normal_windows_hardly_exceed(count: int) -> None:
    """Over 200 machines of one kind, of 4000 new windows: the threshold none, the low line a third or so."""
    exceeded = np.zeros(2, dtype=np.int64)
    for seed in range(200):
        vectors = sound(seed, count + 20)
        found = calibrate(vectors[:count], clips(count), PLAIN, TEN_S)
        assert found.low_line is not None
        distances = np.linalg.norm(vectors[count:, None] - vectors[None, :count], axis=2)
        new = np.sort(distances, axis=1)[:, :4].mean(axis=1)
        exceeded += (new > found.threshold).sum(), (new > found.low_line.value).sum()
    assert exceeded[0] == 0
    assert 40 <= exceeded[1] <= 1500


def test_windows_that_resemble_their_neighbours_raise_the_threshold() -> None:
    """The same windows, in blocks that are loud or quiet as a whole: three of five exceed together, so fewer may."""
    draw = np.random.default_rng(0)
    loud = np.repeat(draw.lognormal(0, 0.3, 40), 3)[:, None]
    together = (loud * draw.standard_normal((120, 20))).astype(np.float32)
    block = np.repeat(np.arange(40), 3)
    start_s = np.tile([0.0, 10.0, 20.0], 40)
    shuffled = draw.permutation(120)
    related = calibrate(together, Layout(block, np.zeros(120, dtype=np.int64), start_s), PLAIN, TEN_S)
    unrelated = calibrate(together[shuffled], Layout(block, np.zeros(120, dtype=np.int64), start_s), PLAIN, TEN_S)
    assert related.dependence > 0.5
    assert unrelated.dependence < 0.2
    assert related.p < 0.0001
    assert unrelated.p > 0.001
    assert related.threshold > unrelated.threshold
    assert "correlated by 0.7" in related.sentence()


def test_one_stretch_repeated_is_refused() -> None:
    """Identical windows have no spread to learn from."""
    with pytest.raises(NormalsError, match="most normal windows are identical"):
        calibrate(np.ones((10, 3), dtype=np.float32), clips(10), PLAIN, TEN_S)


def test_rule_of_three_says_what_nobody_can_promise() -> None:
    """From 100 clips of 10 s, 1000 s: -ln(5 %) / (1000 / 86400) = 258.8 per day, near 3 / days."""
    found = calibrate(sound(0, 100), clips(100), PLAIN, TEN_S)
    assert found.cannot_promise_below_per_day == pytest.approx(258.83, abs=0.01)
    assert "cannot promise fewer than 259 per day" in found.sentence()
    assert "model's extrapolation (95 % interval " in found.sentence()
    assert len(found.sentence().splitlines()) == 3


def test_calibration_survives_json() -> None:
    """What is stored with a generation comes back equal."""
    found = calibrate(sound(0, 20), clips(20), PLAIN, TEN_S)
    assert Calibration.from_json(found.to_json()) == found
    with pytest.raises(NormalsError, match="stored calibration cannot be read"):
        Calibration.from_json('{"threshold": 1}')
    with pytest.raises(NormalsError, match="stored calibration cannot be read"):
        Calibration.from_json("[]")


def test_calibration_of_an_earlier_version_is_read() -> None:
    """Generations outlive versions: what was not counted then is not promised now."""
    fields = json.loads(calibrate(sound(0, 20), clips(20), PLAIN, TEN_S).to_json())
    for new in ("at_most_per_day", "independent_blocks", "operation_days", "low_line"):
        del fields[new]
    found = Calibration.from_json(json.dumps(fields))
    assert found.at_most_per_day is None
    assert Calibration.from_json(json.dumps(fields | {"low_line": 2.5})) == found  # a bare number promises nothing
    assert "200 s of normal sound (20 independent blocks) cannot promise fewer than 1294 per day" in found.sentence()


def test_a_wish_beyond_any_data_still_has_a_line() -> None:
    """A machine that may hardly ever be found changed, whose scores spread widely."""
    fit = TailFit(centre=0.0, spread=2.0, blocks=5, dof=6, dependence=0.1)
    line = low_line(fit, np.ones(500), per_month=1e-200, memory_s=3600.0, window_s=10.0)
    assert line is not None
    assert math.isfinite(line.value)
    assert line.per_month > 0


def test_few_blocks_are_not_enough() -> None:
    """Seven clips: more normal sound is asked for."""
    found = calibrate(sound(0, 7), clips(7), PLAIN, TEN_S).coverage
    assert not found.enough
    assert found.sentence.startswith("More normal sound is needed: 7 independent blocks")


def test_a_steady_machine_is_covered_and_a_drifting_one_is_not() -> None:
    """Scores that no longer fall as the memory grows are enough; a machine that never repeats itself is not."""
    assert calibrate(sound(0, 60, dim=30), clips(60), PLAIN, TEN_S).coverage.enough
    drift = (np.arange(60)[:, None] + sound(0, 60, dim=30) / 10).astype(np.float32)
    found = calibrate(drift, clips(60), PLAIN, TEN_S).coverage
    assert not found.enough
    assert "with half of it forgotten" in found.sentence


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_s": 0.0},
        {"window_s": 10.0, "false_alarms_per_day": 0.0},
        {"window_s": 10.0, "raise_m": 6},
        {"window_s": 10.0, "changed_per_month": math.inf},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    """A window of nothing, no false alarm ever, six of five, always changed."""
    with pytest.raises(NormalsError):
        CalibrationSettings(**wrong)  # type: ignore[arg-type] # raise_m is an int in this table
