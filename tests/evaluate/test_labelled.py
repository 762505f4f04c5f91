"""Labelled clips of a machine that a node knows: which are taken, and how they are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.labelled import compare, find_individual, score
from edge_monitor.evaluate.learnt import ClipEncoder
from tests.evaluate.sets import noise, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.records import Vector


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a set of two normal clips, one of them in two windows, two anomalous ones and one that is damaged."""
    for number, (label, gain, seconds) in enumerate(
        [("normal", 1.0, 12.0), ("normal", 2.0, 2.0), ("anomaly", 3.0, 2.0), ("anomaly", 4.0, 2.0)]
    ):
        write(tmp_path / f"pump/test/{label}_id_00_{number:08d}.wav", gain * noise(number, seconds))
    (tmp_path / "pump/test/anomaly_id_00_00000009.wav").write_bytes(b"RIFF")
    return tmp_path


def test_all_clips_are_scored_at_one_asking(folder: Path) -> None:
    """Asking loads all that was learnt; the mean over a clip's windows goes back to its clip."""
    asked: list[int] = []

    def score_windows(vectors: Sequence[Vector]) -> Sequence[float]:
        asked.append(len(vectors))
        return [10.0, 20.0, 30.0, 40.0, 50.0]

    individual, _ = find_individual(folder, None)
    normal, anomalous, unheard = score(individual, ClipEncoder(Encoder(find_bundle("spectral"))), score_windows)
    assert asked == [5]
    assert anomalous.tolist() == [10.0, 20.0]
    assert normal.tolist() == [35.0, 50.0]
    assert len(unheard) == 1


def test_the_two_thresholds_stand_beside_each_other(folder: Path) -> None:
    """AUC and rates in percent."""
    individual, _ = find_individual(folder, "id_00")
    found = compare(individual, np.array([1.0, 2.0]), np.array([3.0, 4.0]), threshold=3.5)
    assert found == {
        "id": "pump id_00",
        "normal_clips": 2,
        "anomalous_clips": 2,
        "auc": 100.0,
        "threshold": 2.0,
        "false_alarm_percent": 0.0,
        "miss_percent": 0.0,
        "normal_only": {"threshold": 3.5, "false_alarm_percent": 0.0, "miss_percent": 50.0},
    }


def test_a_set_without_a_usable_clip_says_why(tmp_path: Path) -> None:
    """Its only clip is empty."""
    path = tmp_path / "pump/test/normal_id_00_00000000.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(DatasetError, match=r"no clip can be used \(pump/test/.*: left out: the file is empty\)"):
        find_individual(tmp_path, None)
