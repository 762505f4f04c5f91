"""Columns are compared on the same clips, each sound once; who hears nothing at all takes nothing with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

from edge_monitor.errors import AudioError
from tests.evaluate.loudness import Loudness
from tests.evaluate.sets import RATE_HZ
from tests.evaluate.test_measure import make, run

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.evaluate.detector import Features
    from edge_monitor.records import Samples


class Picky(Loudness):
    """Refuses sound above a level; by default the two loudest anomalies of `make`."""

    name = "picky"
    key = "picky-1"

    def __init__(self, most: float = 0.08, *, pooled: bool = False) -> None:
        super().__init__(pooled=pooled)
        self.most = most

    def features(self, samples: Samples) -> Features:
        """Return the level, as Loudness does."""
        if float(np.std(samples)) > self.most:
            raise AudioError("too loud")
        return super().features(samples)


def test_a_clip_that_one_detector_refuses_is_left_out_for_all(tmp_path: Path) -> None:
    """Otherwise the same seed would draw other splits for each, and their difference would not be paired."""
    folder = make(tmp_path / "set")
    loud = folder / "pump/train/normal_id_00_00000002.wav"
    samples, _ = soundfile.read(loud, dtype="float32")
    soundfile.write(loud, 4.0 * samples, RATE_HZ)
    first, picky = Loudness(), Picky(0.17)
    figures, lines = run(folder, first, picky, cache=tmp_path / "cache", resplits=10)
    assert lines == [
        f"left out: {loud}: too loud",
        "pump/train/normal_id_00_00000002.wav: left out for all: not heard by picky",
    ]
    assert first.learnt == picky.learnt == [5, *[5] * 10]
    assert [(row.n_train, row.n_normal, row.n_anomaly) for row in figures.rows] == [(5, 3, 3)] * 2
    (difference,) = figures.differences()
    assert (difference.auc, difference.interval) == (0.0, (0.0, 0.0))


def test_a_detector_that_hears_nothing_of_a_class_takes_the_others_clips_not_with_it(tmp_path: Path) -> None:
    """It has no figure for the machine id; the other has, of all its clips."""
    figures, lines = run(make(tmp_path / "set"), Loudness(), Picky(0.0), cache=tmp_path / "cache")
    assert [(row.detector, row.n_train, row.n_normal, row.n_anomaly) for row in figures.rows] == [
        ("loudness", 6, 3, 3),
    ]
    assert lines[-3:] == [
        f"pump id_00: no {kind} clip can be heard by picky" for kind in ("training", "normal test", "anomalous test")
    ]
    assert len(lines) == 12 + 3


def test_a_copy_in_another_encoding_counts_once_and_rather_as_learnt(tmp_path: Path) -> None:
    """A WAV file and the FLAC file made of it differ in every byte, and in no sample."""
    folder = make(tmp_path / "set")
    for origin, copy in (
        ("train/normal_id_00_00000000", "test/normal_id_00_00000020"),
        ("test/anomaly_id_00_00000000", "test/normal_id_00_00000021"),
    ):
        samples, _ = soundfile.read(folder / f"pump/{origin}.wav", dtype="int16")
        soundfile.write(folder / f"pump/{copy}.flac", samples, RATE_HZ)
    figures, lines = run(folder, Loudness(), cache=tmp_path / "cache")
    assert lines == [
        "pump/test/normal_id_00_00000020.flac: left out: the same sound as pump/train/normal_id_00_00000000.wav",
        "pump/test/anomaly_id_00_00000000.wav: left out: the same sound is normal and anomalous",
    ]
    (row,) = figures.rows
    assert (row.n_train, row.n_normal, row.n_anomaly) == (6, 3, 2)


def test_a_damaged_file_is_named_once_however_many_detectors_refuse_it(tmp_path: Path) -> None:
    """All of them for one reason."""
    folder = make(tmp_path / "set")
    damaged = folder / "pump/train/normal_id_00_00000000.wav"
    damaged.write_bytes(b"RIFF")
    _, lines = run(folder, Loudness(), Picky(1.0), cache=tmp_path / "cache")
    assert len(lines) == 1
    assert lines[0].startswith(f"left out: {damaged}: ")
