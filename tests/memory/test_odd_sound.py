"""A learnt sound unlike all others is named, with what to do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.memory.calibration import Calibration, calibrate
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.odd_sound import standing_out
from tests.memory.test_calibration import PLAIN, TEN_S, clips, sound

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 1.2, 3.0, 0.9], 2),
        ([1.0, 1.5, 3.0, 0.9], 2),  # twice as high
        ([1.0, 1.6, 3.0, 0.9], None),
        ([3.0], None),  # beside nothing, nothing stands out
    ],
)
def test_a_score_twice_the_next_stands_out(scores: list[float], expected: int | None) -> None:
    """Twice the score of the next block is the bar."""
    found = standing_out(np.array(scores), clips(len(scores)))
    assert (found and found[0]) == expected


def test_windows_of_one_block_vouch_for_nothing() -> None:
    """A fault of 30 s is three windows of 10 s, each as odd as the others: they are compared with other blocks."""
    recording, start_s = np.array([1, 1, 1, 1, 2, 2]), np.array([0.0, 30.0, 40.0, 50.0, 0.0, 10.0])
    layout = Layout(recording, (start_s // 30).astype(np.int64), start_s)
    found = standing_out(np.array([1.0, 2.9, 3.0, 2.8, 1.1, 0.8]), layout)
    assert found is not None
    assert (found[0], found[1].tolist()) == (2, [True, False, False, False, True, True])


def with_a_fault(count: int) -> NDArray[np.float32]:
    """Return the windows of a machine, the eighth unlike all others."""
    vectors = sound(3, count)
    vectors[7] += 9.0
    return vectors


def test_a_learnt_fault_is_named_in_the_caution() -> None:
    """Nineteen clips are alike and one is not: it is named, with the others' threshold, and the record keeps it."""
    calibration = calibrate(with_a_fault(20), clips(20), PLAIN, TEN_S)
    odd = calibration.odd
    assert odd is not None
    assert (odd.recording, odd.start_s, odd.score) == (7, 0.0, calibration.max_score)
    assert odd.threshold_without < calibration.threshold / 1.2
    without = calibrate(np.delete(with_a_fault(20), 7, axis=0), clips(19), PLAIN, TEN_S)
    assert odd.threshold_without == pytest.approx(without.threshold, rel=0.2)  # there, the others know it not either
    assert without.odd is None
    assert calibration.caution("pump").startswith("Caution: the sound of recording #7 at 0 s scores ")
    assert "`edge-monitor normals remove --machine pump '#7'`" in calibration.caution("pump")
    assert Calibration.from_json(calibration.to_json()) == calibration

    fields = json.loads(json.dumps(asdict(calibration)))
    del fields["odd"]  # an earlier version's
    assert Calibration.from_json(json.dumps(fields)).odd is None


def test_one_among_a_thousand_and_a_given_threshold_are_no_matter() -> None:
    """It is named only where it makes a difference."""
    assert calibrate(with_a_fault(1000), clips(1000), PLAIN, TEN_S).odd is None
    assert calibrate(with_a_fault(20), clips(20), PLAIN, replace(TEN_S, threshold=1.0)).odd is None
