"""The detection benchmark counts right: its figures decide what ships."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from bench import detection
from edge_monitor.evaluate.detector import Features
from edge_monitor.memory.scaler import MetricSpec

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plain_detector_is_the_mean_distance_to_four_normals() -> None:
    """Its vector is the level's mean over time; distances 1, 2, 3, 4 and 9 give 2.5."""
    plain = detection.Plain("d", "d", lambda level: np.asarray(level.mean(0)), MetricSpec())
    memory = [Features(np.array([[0.0, distance]], dtype=np.float32)) for distance in (1.0, 2.0, 3.0, 4.0, 9.0)]
    test = [Features(np.zeros((1, 2), dtype=np.float32))]
    assert plain.fit_score(memory, test).tolist() == pytest.approx([2.5])


def test_the_benchmark_ends_with_0_on_an_easy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Knocks in steady noise, recorded in stereo at 48 kHz and 11 s long, are told apart by every part of the chain."""
    generator = np.random.default_rng(5)
    folder = tmp_path / "data" / "hammer"
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
    for i in range(8):
        sound = generator.normal(0.0, 0.02, (11 * 48_000, 2))
        soundfile.write(folder / "train" / f"normal_id_00_{i}.wav", sound, 48_000)
    for i in range(3):
        sound = generator.normal(0.0, 0.02, (11 * 48_000, 2))
        sound[::24_000] += 0.9
        soundfile.write(folder / "test" / f"anomaly_id_00_{i}.flac", sound, 48_000)
    options = ["--splits", "5", "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["detection.py", str(tmp_path / "data"), *options])
    assert detection.main() == 0
    assert "| hammer id_00 | 8 | 3 | 100.0 |" in capsys.readouterr().out
