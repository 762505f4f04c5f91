"""The detection benchmark counts right: its figures decide what ships."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from bench import detection

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("normal", "anomaly", "expected"),
    [
        ([1.0, 2.0], [3.0, 4.0], 1.0),
        ([3.0, 4.0], [1.0, 2.0], 0.0),
        ([1.0, 3.0], [2.0, 4.0], 0.75),
        ([1.0, 1.0], [1.0], 0.5),
        ([1.0, 2.0, 2.0], [2.0, 3.0], 5.0 / 6.0),
    ],
)
def test_auc_counts_pairs_and_halves_ties(normal: list[float], anomaly: list[float], expected: float) -> None:
    """AUC is the share of (normal, anomaly) pairs in the right order."""
    assert detection.auc(np.array(normal), np.array(anomaly)) == pytest.approx(expected, abs=1e-12)


def test_windows_lie_side_by_side_and_the_last_is_right_aligned() -> None:
    """Ten samples in windows of four: 0-3, 4-7, 6-9."""
    windows = detection.windows_of(np.arange(10, dtype=np.float32), 4)
    assert windows.tolist() == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [6.0, 7.0, 8.0, 9.0]]
    assert detection.windows_of(np.arange(4, dtype=np.float32), 4).tolist() == [[0.0, 1.0, 2.0, 3.0]]
    assert detection.windows_of(np.arange(2, dtype=np.float32), 4).tolist() == [[0.0, 1.0]]


def test_a_score_is_the_mean_distance_to_four_normals() -> None:
    """Distances 1, 2, 3, 4 and 9 give 2.5; a floor of 1 on a spread of 0 leaves them."""
    memory = np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [0.0, 4.0], [0.0, 9.0]])
    plain = detection.Detector("d", "d", detection.mean_features, None)
    assert detection.distances(memory, np.zeros((1, 2)), plain).tolist() == pytest.approx([2.5])
    spread = memory[:, 1].std()
    floored = detection.Detector("d", "d", detection.mean_features, np.array([1.0, 1.0]))
    assert detection.distances(memory, np.zeros((1, 2)), floored).tolist() == pytest.approx([2.5 / (spread + 1.0)])


def test_the_interval_of_equal_differences_is_a_point() -> None:
    """Without scatter there is nothing to draw."""
    assert detection.interval(np.full((8, 10), 1.5), draws=100) == (1.5, 1.5)


def test_any_machine_and_file_type_is_found(tmp_path: Path) -> None:
    """Folder names and the number of ids are the data set's; ids without anomalies are left out."""
    for name in (
        *(f"ToyCar/train/normal_id_01_{i}.wav" for i in range(5)),
        "ToyCar/test/anomaly_id_01_0.flac",
        *(f"ToyCar/train/normal_id_02_{i}.wav" for i in range(5)),
        "ToyCar/train/readme.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (one,) = detection.find_clips(tmp_path)
    assert (one.label, len(one.normal), len(one.anomaly)) == ("ToyCar id_01", 5, 1)


def test_the_benchmark_ends_with_0_on_an_easy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Knocks in steady noise, recorded in stereo at 48 kHz and 11 s long, are told apart by every part of the chain."""
    generator = np.random.default_rng(5)
    folder = tmp_path / "hammer"
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
    for i in range(8):
        sound = generator.normal(0.0, 0.02, (11 * 48_000, 2))
        soundfile.write(folder / "train" / f"normal_id_00_{i}.wav", sound, 48_000)
    for i in range(3):
        sound = generator.normal(0.0, 0.02, (11 * 48_000, 2))
        sound[::24_000] += 0.9
        soundfile.write(folder / "test" / f"anomaly_id_00_{i}.flac", sound, 48_000)
    cache = str(tmp_path / "cache")
    monkeypatch.setattr(sys, "argv", ["detection.py", str(tmp_path), "--splits", "5", "--cache", cache])
    assert detection.main() == 0
    assert "| hammer id_00 | 8 | 3 | 100.0 |" in capsys.readouterr().out
