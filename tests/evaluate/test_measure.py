"""Each machine id gets the figures of its own clips; whatever is missing takes nothing else with it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.cache import FeatureCache, FeatureExtractor
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.detector import BundleDetector, Features
from edge_monitor.evaluate.measure import measure
from edge_monitor.memory.calibration import CalibrationSettings, calibrate
from edge_monitor.memory.leaveout import Layout
from tests.evaluate.loudness import Loudness
from tests.evaluate.sets import noise, write

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.evaluate.detector import Detector
    from edge_monitor.evaluate.figures import Figures

DCASE = "{machine}/{split}/{label}_{id}_{number:08d}.wav"
SECTIONS = "{machine}/{split}/section_{id}_source_{split}_{label}_{number:04d}.wav"
MIMII = "6_dB_{machine}/{machine}/{id}/{label}/{number:08d}.wav"


def make(folder: Path, machine: str = "pump", machine_id: str = "id_00", layout: str = DCASE) -> Path:
    """Write six normal clips to learn, three to test and three anomalous ones, of which two are much louder."""
    abnormal = "abnormal" if layout == MIMII else "anomaly"
    clips = [("train", "normal", number, 1.0) for number in range(6)]
    clips += [("test", "normal", number, 1.0 + number / 100) for number in range(6, 9)]
    clips += [("test", abnormal, number, gain) for number, gain in enumerate((2.0, 1.0, 3.0))]
    for seed, (split, label, number, gain) in enumerate(clips):
        name = layout.format(machine=machine, split=split, label=label, id=machine_id, number=number)
        write(folder / name, gain * noise(zlib.crc32(f"{machine} {machine_id}".encode()) + seed, seconds=2.0))
    return folder


def run(folder: Path, *detectors: Detector, cache: Path, resplits: int | None = None) -> tuple[Figures, list[str]]:
    """Return the figures and what was complained of."""
    lines: list[str] = []
    extractor = FeatureExtractor(FeatureCache(cache), lambda _: None, lines.append)
    found = measure(read_dataset(folder), detectors, extractor, lines.append, resplits=resplits)
    return found, lines


@pytest.mark.parametrize(("layout", "machine_id"), [(DCASE, "id_00"), (SECTIONS, "00"), (MIMII, "id_00")])
def test_auc_and_pauc_are_scikit_learns_on_the_same_scores(tmp_path: Path, layout: str, machine_id: str) -> None:
    """In every layout, with the embedded bundle."""
    make(tmp_path / "set", machine_id=machine_id, layout=layout)
    figures, lines = run(tmp_path / "set", BundleDetector(Encoder(find_bundle("spectral"))), cache=tmp_path / "cache")
    (row,) = figures.rows
    assert lines == []
    assert (row.machine, row.detector, row.n_train, row.n_normal, row.n_anomaly) == ("pump", "spectral", 6, 3, 3)
    assert row.curve is not None
    label = [0, 0, 0, 1, 1, 1]
    scores = np.concatenate([row.curve.normal, row.curve.anomalous])
    assert row.auc == pytest.approx(100 * roc_auc_score(label, scores))
    assert row.pauc == pytest.approx(100 * roc_auc_score(label, scores, max_fpr=0.1))
    assert row.auc > 60


def test_a_machine_counts_as_much_as_another_however_many_ids_it_has(tmp_path: Path) -> None:
    """As in Table I: the mean over a machine's ids, then over the machines."""
    for machine, machine_id in (("fan", "id_00"), ("fan", "id_02"), ("pump", "id_00")):
        make(tmp_path / "set", machine, machine_id)
    figures, _ = run(tmp_path / "set", Loudness(), cache=tmp_path / "cache")
    fan, other, pump = (row.auc for row in figures.rows)
    mean = figures.mean("loudness")
    assert mean is not None
    assert mean.ids == 3
    assert mean.auc == pytest.approx(((fan + other) / 2 + pump) / 2)
    only = figures.mean("loudness", "fan")
    assert only is not None
    assert only.auc == pytest.approx((fan + other) / 2)


def test_a_pooled_detector_learns_all_ids_of_a_machine_at_once(tmp_path: Path) -> None:
    """The challenge's baseline has one network for each type of machine."""
    for machine, machine_id in (("fan", "id_00"), ("fan", "id_02"), ("pump", "id_00")):
        make(tmp_path / "set", machine, machine_id)
    each, together = Loudness(), Loudness(pooled=True)
    figures, _ = run(tmp_path / "set", each, cache=tmp_path / "cache")
    assert each.learnt == [6, 6, 6]
    pooled, _ = run(tmp_path / "set", together, cache=tmp_path / "cache")
    assert together.learnt == [12, 6]
    assert [(row.machine_id, row.n_train) for row in pooled.rows] == [(row.machine_id, 6) for row in figures.rows]


def test_resplits_pool_the_normal_clips_and_are_the_same_for_every_detector(tmp_path: Path) -> None:
    """Nine normal clips: five learnt, four tested. A detector against itself differs by nothing."""
    make(tmp_path / "set")
    first, twin = Loudness(), Loudness(pooled=True)
    twin.name = "twin"
    figures, lines = run(tmp_path / "set", first, twin, cache=tmp_path / "cache", resplits=20)
    assert lines == []
    row = figures.rows[0]
    assert (len(row.aucs), row.n_train, row.n_normal, row.n_anomaly) == (20, 5, 4, 3)
    assert row.auc_spread is not None
    assert row.auc_spread[0] <= row.auc <= row.auc_spread[1]
    (difference,) = figures.differences()
    assert (difference.detector, difference.auc, difference.interval) == ("twin", 0.0, (0.0, 0.0))
    assert row.curve is not None
    assert (row.curve.n_train, len(row.curve.normal)) == (6, 3)


def test_one_seed_gives_one_result(tmp_path: Path) -> None:
    """Run twice, from the cache or not."""
    make(tmp_path / "set")
    first, again = (run(tmp_path / "set", Loudness(), cache=tmp_path / name, resplits=5)[0] for name in "ab")
    assert first.rows[0].aucs.tolist() == again.rows[0].aucs.tolist()


def test_a_machine_id_that_lacks_a_class_takes_nothing_else_with_it(tmp_path: Path) -> None:
    """By its own split it has no row; re-split it has, where normal clips to learn are there all the same."""
    make(tmp_path / "set")
    for path in make(tmp_path / "set", "fan").glob("fan/test/normal*"):
        path.unlink()
    assert read_dataset(tmp_path / "set").warnings == ("fan id_00: no normal test clips",)
    figures, lines = run(tmp_path / "set", Loudness(), cache=tmp_path / "cache")
    assert ([row.machine for row in figures.rows], lines) == (["pump"], [])
    figures, _ = run(tmp_path / "set", Loudness(), cache=tmp_path / "cache", resplits=3)
    assert [(row.machine, row.curve is None) for row in figures.rows] == [("fan", True), ("pump", False)]


def test_a_class_of_which_nothing_can_be_heard_is_told(tmp_path: Path) -> None:
    """Its files are damaged: each is named, then the machine id."""
    make(tmp_path / "set")
    make(tmp_path / "set", "fan")
    for number, path in enumerate((tmp_path / "set").glob("fan/test/anomaly*")):
        path.write_bytes(b"no sound %d" % number)
    figures, lines = run(tmp_path / "set", Loudness(), cache=tmp_path / "cache")
    assert [row.machine for row in figures.rows] == ["pump"]
    assert len(lines) == 4
    assert lines[-1] == "fan id_00: no anomalous test clip can be heard by loudness"


def test_one_clip_to_learn_is_too_few(tmp_path: Path) -> None:
    """The machine id is named with what it lacks; the others are measured."""
    make(tmp_path / "set")
    for path in list(make(tmp_path / "set", "fan").glob("fan/train/*"))[1:]:
        path.unlink()
    figures, lines = run(tmp_path / "set", BundleDetector(Encoder(find_bundle("spectral"))), cache=tmp_path / "cache")
    assert [row.machine for row in figures.rows] == ["pump"]
    assert lines == ["fan id_00: left out: spectral: normal windows to learn: 1, needs 5"]


def test_a_set_with_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    """One clip only."""
    write(tmp_path / "set/pump/train/normal_id_00_00000000.wav", noise(1))
    with pytest.raises(DatasetError, match="no machine id can be measured"):
        run(tmp_path / "set", Loudness(), cache=tmp_path / "cache")


def test_an_overlapping_last_window_is_scored_but_not_learnt() -> None:
    """Clips of 15 s in windows of 10 s: two each, of which the second repeats 5 s of the first."""
    detector = BundleDetector(Encoder(find_bundle("spectral")))
    long = detector.features(noise(1, seconds=15.0))
    assert (long.vectors.shape, long.overlaps, len(long.to_learn)) == ((2, 304), True, 1)
    whole = detector.features(noise(1, seconds=20.0))
    assert (len(whole.vectors), whole.overlaps) == (2, False)
    learnt = [detector.features(noise(seed, seconds=10.0)) for seed in range(2, 8)]
    both, first = detector.fit_score(learnt, [long, learnt[0]])
    assert both == pytest.approx(
        np.mean([detector.fit_score(learnt, [type(long)(long.vectors[at : at + 1])])[0] for at in (0, 1)])
    )
    assert first < both


def test_the_threshold_is_what_enrolling_the_clips_would_set() -> None:
    """A clip of a minute is two blocks of 30 s, as it is for the node."""
    detector = BundleDetector(Encoder(find_bundle("spectral")))
    vectors = np.random.default_rng(0).normal(size=(48, 304)).astype(np.float32)
    clips = [Features(part) for part in np.split(vectors, 8)]
    layout = Layout(np.repeat(np.arange(8), 6), np.tile([0, 0, 0, 1, 1, 1], 8), np.tile(10.0 * np.arange(6), 8))
    expected = calibrate(vectors, layout, detector.spec, CalibrationSettings(10.0)).threshold
    assert detector.threshold(clips) == pytest.approx(expected)


@pytest.mark.recordings
def test_the_embedded_bundle_on_the_recordings(recordings: Path, tmp_path: Path) -> None:
    """Eight machine ids, 20 re-splits: near the 88 % that were measured when it was designed."""
    figures, lines = run(recordings, BundleDetector(Encoder(find_bundle("spectral"))), cache=tmp_path, resplits=20)
    mean = figures.mean("spectral")
    assert mean is not None
    assert (len(figures.rows), lines, mean.ids) == (8, [], 8)
    assert 84 <= mean.auc <= 97
