"""The search for the faintest level, and what the sound is scored against."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_monitor.capture.fault_sound import band_power, fault_band_hz, fault_sound, floor_gain, gain_over
from edge_monitor.capture.simulator import RATE_HZ
from edge_monitor.capture.simulator_faults import ADDED_FAULTS
from edge_monitor.errors import NormalsError
from edge_monitor.memory.audibility import HIGHEST_DB, LOWEST_DB
from edge_monitor.memory.leaveout import Layout, leave_block_out
from edge_monitor.memory.low_line import LowLine
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.node.audibility import HeldOutScorer, Listener, measure
from tests.node.test_verdict import CALIBRATION
from tests.sounds import pump

if TYPE_CHECKING:
    from edge_monitor.memory.audibility import Audibility
    from edge_monitor.records import Samples, Vector

SECOND = RATE_HZ  # frames of the short window here
WINDOW = (0.01 * np.random.default_rng(1).standard_normal(SECOND)).astype(np.float32)  # white noise
SPEC = MetricSpec("euclidean", "none")


def measured(listener: Listener, windows: list[Samples]) -> tuple[Audibility, list[float]]:
    """Return what is heard, and the progress that was told."""
    steps, told = measure(windows, listener), []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def added_db(kind: str, level_db: int) -> float:
    """Return how loud a fault is in full, dBFS, that is `level_db` over WINDOW in its band."""
    fault, band_hz = fault_sound(kind, 0, SECOND, RATE_HZ), fault_band_hz(kind, RATE_HZ)
    gain = gain_over(band_power(fault, RATE_HZ, band_hz), band_power(WINDOW, RATE_HZ, band_hz), level_db)
    return float(20 * np.log10(gain * np.sqrt(np.mean(np.square(fault, dtype=np.float64)))))


LOUDNESS = {kind: [added_db(kind, each) for each in range(LOWEST_DB, HIGHEST_DB + 1)] for kind in ADDED_FAULTS}


@given(st.floats(-90, -30), st.floats(0.01, 20))  # louder, and samples are clipped
@settings(max_examples=20, deadline=None)
def test_bisection_finds_the_level_to_a_decibel(threshold_db: float, below_db: float) -> None:
    """Of an ear for which only loudness counts the faintest of all levels is found, by both rules, or none."""
    calibration = replace(
        CALIBRATION, threshold=threshold_db + 200, low_line=LowLine(threshold_db - below_db + 200, 1.0, 1.0)
    )

    def loudness(mixed: Samples) -> Vector:
        return np.array([20 * np.log10(np.std(mixed - WINDOW) + 1e-9)], dtype=np.float32)

    ear = Listener(loudness, lambda vectors: vectors[:, 0].astype(np.float64) + 200, calibration, RATE_HZ)
    found, told = measured(ear, [WINDOW])
    for level in found.faults:
        for value, line_db in ((level.minute_db, threshold_db), (level.three_hours_db, threshold_db - below_db)):
            heard = [each + LOWEST_DB for each, db in enumerate(LOUDNESS[level.fault]) if db > line_db]
            expected = heard[0] if heard else HIGHEST_DB + 1  # by rounding one more or less
            assert abs((HIGHEST_DB + 1 if value is None else value) - expected) <= 1
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] <= 1
    assert len(told) < 80  # 13 levels a fault are enough, and 20 windows at each


def test_where_no_low_line_is_known_three_hours_are_not_promised() -> None:
    """Too few blocks: the levels are those of m of n alone."""
    few = replace(CALIBRATION, low_line=None)
    ear = Listener(lambda mixed: mixed[:1], lambda vectors: np.full(len(vectors), 9.0), few, RATE_HZ)
    found, _ = measured(ear, [WINDOW])
    assert not found.low_line
    assert [(each.minute_db, each.three_hours_db) for each in found.faults] == [(LOWEST_DB, None)] * len(ADDED_FAULTS)


def test_sound_is_scored_as_if_its_block_had_never_been_heard() -> None:
    """Each normal scores at least as in calibration, which leaves its block and the guard out; too few are refused.

    A sound far from all that was enrolled scores no lower than by the whole memory.
    """
    vectors = np.random.default_rng(2).standard_normal((24, 6)).astype(np.float32)
    layout = Layout(
        np.arange(24) // 12, np.arange(24) % 12 // 3, np.asarray(np.arange(24) % 12 * 10.0, dtype=np.float64)
    )
    origin = list(zip(layout.recording.tolist(), layout.block.tolist(), strict=True))
    scorer = HeldOutScorer(vectors, layout, SPEC, origin, k=4, window_s=10.0)
    expected = leave_block_out(vectors, layout, SPEC, k=4, window_s=10.0).score
    assert scorer.scores(vectors) == pytest.approx(expected)
    assert (scorer.scores(vectors + 9) >= fit(None, vectors, SPEC, 4).scores(vectors + 9)).all()
    few = Layout(layout.recording[:6], layout.block[:6], layout.start_s[:6])
    with pytest.raises(NormalsError, match="too little normal sound"):
        HeldOutScorer(vectors[:6], few, SPEC, origin[:6], k=4, window_s=10.0)


@pytest.mark.parametrize("kind", ADDED_FAULTS)
def test_a_fault_s_takes_differ_and_its_defect_stays(kind: str) -> None:
    """Any two stretches are alike in level and differ in every sample; the same take is the same sound."""
    first, second = (fault_sound(kind, take, 10 * SECOND, RATE_HZ) for take in (1, 2))
    assert np.array_equal(first, fault_sound(kind, 1, 10 * SECOND, RATE_HZ))
    assert np.mean(first == second) < 0.9  # silence between impacts
    band_hz = fault_band_hz(kind, RATE_HZ)
    powers = [band_power(each, RATE_HZ, band_hz) for each in (first, second)]
    assert abs(10 * np.log10(powers[0] / powers[1])) < 3


def test_a_loss_of_flow_leaves_the_tones() -> None:
    """The pump's shaft tone stays, and the noise between its tones falls by what is asked."""
    window = pump(10)
    gain = floor_gain([window], RATE_HZ, 6.0)
    still = np.fft.irfft(np.fft.rfft(window) * gain, len(window)).astype(np.float32)
    for band_hz, change_db in (((45, 52), 0.0), ((2000, 6000), -6.0)):
        fall = band_power(still, RATE_HZ, band_hz) / band_power(window, RATE_HZ, band_hz)
        assert 10 * np.log10(fall) == pytest.approx(change_db, abs=1.0)
