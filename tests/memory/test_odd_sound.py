"""A learnt sound unlike all others is named, with what to do."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from edge_monitor.memory.calibration import Calibration, calibrate
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.odd_sound import OddSound, odd_sound
from tests.memory.test_calibration import PLAIN, TEN_S, clips, sound


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 1.2, 3.0, 0.9], OddSound(2, 0.0, 3.0, 1.2)),
        ([1.0, 1.5, 3.0, 0.9], OddSound(2, 0.0, 3.0, 1.5)),  # twice as high
        ([1.0, 1.6, 3.0, 0.9], None),
        ([3.0], None),  # beside nothing, nothing stands out
    ],
)
def test_a_score_twice_the_next_stands_out(scores: list[float], expected: OddSound | None) -> None:
    """Twice the score of the next block is the bar."""
    assert odd_sound(np.array(scores), clips(len(scores))) == expected


def test_windows_of_one_block_vouch_for_nothing() -> None:
    """A fault of 30 s is three windows of 10 s, each as odd as the others: they are compared with other blocks."""
    recording, start_s = np.array([1, 1, 1, 1, 2, 2]), np.array([0.0, 30.0, 40.0, 50.0, 0.0, 10.0])
    layout = Layout(recording, (start_s // 30).astype(np.int64), start_s)
    found = odd_sound(np.array([1.0, 2.9, 3.0, 2.8, 1.1, 0.8]), layout)
    assert found == OddSound(1, 40.0, 3.0, 1.1)


def test_a_learnt_fault_is_named_in_the_caution() -> None:
    """Nineteen clips are alike and one is not: its recording is named, and the record keeps it."""
    vectors = sound(3, 20)
    vectors[7] += 9.0
    calibration = calibrate(vectors, clips(20), PLAIN, TEN_S)
    assert calibration.odd is not None
    assert calibration.odd.recording == 7
    assert calibration.caution().startswith("Caution: the sound of recording #7 at 0 s scores ")
    assert '`edge-monitor normals remove "#7"`' in calibration.caution()
    assert Calibration.from_json(calibration.to_json()) == calibration

    fields = json.loads(json.dumps(asdict(calibration)))
    del fields["odd"]  # an earlier version's
    assert Calibration.from_json(json.dumps(fields)).odd is None
