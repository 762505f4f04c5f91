"""Decisions are measured with the product's own threshold, on splits and streams that all rules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import DatasetError
from edge_monitor.evaluate import decisions
from edge_monitor.evaluate.cache import FeatureCache, FeatureExtractor
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.decisions import Learnt, Plan, measure_decisions
from edge_monitor.evaluate.detector import BundleDetector, Features
from edge_monitor.evaluate.progress import SplitProgress
from edge_monitor.evaluate.streams import play
from edge_monitor.memory.calibration import CalibrationSettings, calibrate
from tests.evaluate.sets import noise, write
from tests.evaluate.test_measure import make

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.evaluate.decision_figures import DecisionFigures
    from edge_monitor.evaluate.roc import Scores
    from edge_monitor.evaluate.rules import DecisionRule
    from edge_monitor.evaluate.streams import Tally


@pytest.fixture(scope="module")
def detector() -> BundleDetector:
    """Return the embedded bundle's."""
    return BundleDetector(Encoder(find_bundle("spectral")))


def run(folder: Path, detector: BundleDetector, plan: Plan, cache: Path) -> tuple[DecisionFigures, list[str]]:
    """Return the figures and what was complained of."""
    lines: list[str] = []
    extractor = FeatureExtractor(FeatureCache(cache), lambda _: None, lines.append)
    progress = SplitProgress(lines.append)
    return measure_decisions(read_dataset(folder), [detector], extractor, lines.append, plan, progress=progress), lines


def test_the_threshold_is_what_enrolling_the_clips_sets(detector: BundleDetector) -> None:
    """For the rate and the m of n that are measured; a clip of several windows is one recording."""
    vectors = np.random.default_rng(0).normal(size=(24, 304)).astype(np.float32)
    clips = [Features(part) for part in np.split(vectors, 8)]
    for settings in (CalibrationSettings(10.0), CalibrationSettings(10.0, 0.01, 2, 6)):
        rule = Learnt.of(clips, detector).product_rule(settings)
        expected = calibrate(vectors, detector.layout(clips), detector.spec, settings).threshold
        assert (rule.threshold, rule.m, rule.n) == (expected, settings.raise_m, settings.raise_n)


def test_every_condition_has_a_row_of_counts(detector: BundleDetector, tmp_path: Path) -> None:
    """Nine normal clips, five learnt. Two rates and the challenge's rule, on streams of two lengths."""
    for number in range(3, 6):  # all anomalous clips are loud
        write(make(tmp_path / "set") / f"pump/test/anomaly_id_00_{number:08d}.wav", 4.0 * noise(number, 2.0))
    (tmp_path / "set/pump/test/anomaly_id_00_00000001.wav").unlink()
    figures, lines = run(tmp_path / "set", detector, Plan(per_day=(0.1, 10.0), splits=4, streams=3), tmp_path)
    assert lines == []
    assert [(row.condition.rule, row.condition.per_day, row.condition.length) for row in figures.rows] == [
        ("3 of 5", 0.1, "memory"),
        ("3 of 5", 10.0, "memory"),
        ("DCASE baseline", None, "memory"),
        ("3 of 5", 0.1, "passes"),
        ("3 of 5", 10.0, "passes"),
        ("DCASE baseline", None, "passes"),
    ]
    for row in figures.rows:
        assert (row.learnt_s, row.aucs.tolist()) == (50.0, [100.0] * 4)
        assert [each.streams for each in (*row.healthy, *row.faulty)] == [3] * 8
        assert row.condition.length == "passes" or [each.alarm for each in row.faulty] == [3] * 4  # above the low line
    delays = {
        (row.condition.rule, row.condition.per_day, row.condition.length): row.delay_windows for row in figures.rows
    }
    assert delays["3 of 5", 0.1, "memory"] == 864.0
    assert delays["3 of 5", 10.0, "memory"] == 4.0  # by 3 of 5
    assert delays["DCASE baseline", None, "passes"] == 1.0
    assert sum(each.alarm for each in figures.rows[0].healthy) == 0


def test_a_duration_that_the_clips_do_not_hold_is_told_and_the_others_are_measured(
    detector: BundleDetector, tmp_path: Path
) -> None:
    """Eighteen clips to learn from, windows of 10 s: 55 s are six of them; 200 s are not there."""
    make(tmp_path / "set")
    for number in range(20, 41):
        write(tmp_path / f"set/pump/train/normal_id_00_{number:08d}.wav", noise(number, 2.0))
    figures, lines = run(tmp_path / "set", detector, Plan(learn_s=(55.0, 180.0, 200.0), splits=2), tmp_path)
    assert lines == ["pump id_00: 200 s are not learnt: there are 180 s to learn from"]
    learnt = {(row.condition.learn_s, row.learnt_s) for row in figures.rows}
    assert learnt == {(55.0, 60.0), (180.0, 180.0)}


def test_streams_hold_no_sound_twice(detector: BundleDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of 15 s are two windows of 10 s that share 5 s: three passes over four healthy clips are 12 windows."""
    for number in range(9):
        write(tmp_path / f"set/pump/train/normal_id_00_{number:08d}.wav", noise(number, 15.0))
    for number in range(3):
        write(tmp_path / f"set/pump/test/anomaly_id_00_{number:08d}.wav", noise(20 + number, 15.0))
    lengths: set[int] = set()

    def played(rule: DecisionRule, streams: Sequence[Scores]) -> Tally:
        lengths.update(map(len, streams))
        return play(rule, streams)

    monkeypatch.setattr(decisions, "play", played)
    figures, _ = run(tmp_path / "set", detector, Plan(splits=1), tmp_path)
    assert lengths == {2160, 12, 9}
    assert {row.learnt_s for row in figures.rows} == {50.0}


def test_one_seed_gives_one_result(detector: BundleDetector, tmp_path: Path) -> None:
    """Another one other streams."""
    make(tmp_path / "set")
    first, again, other = (
        run(tmp_path / "set", detector, Plan(splits=3, seed=seed), tmp_path)[0].rows for seed in (0, 0, 7)
    )
    assert [row.faulty for row in first] == [row.faulty for row in again]
    assert [row.aucs.tolist() for row in first] != [row.aucs.tolist() for row in other]


def test_the_challenges_files_have_every_test_clip(detector: BundleDetector, tmp_path: Path) -> None:
    """By the data set's own split; MIMII's normal and abnormal clips of one name are told apart."""
    make(tmp_path / "set")
    own = run(tmp_path / "set", detector, Plan(splits=1), tmp_path)[0].own_splits[0]
    assert list(own.scores) == [
        *(f"anomaly_id_00_0000000{number}.wav" for number in range(3)),
        *(f"normal_id_00_0000000{number}.wav" for number in range(6, 9)),
    ]
    assert own.scores["anomaly_id_00_00000002.wav"] > own.threshold > 0  # three times as loud
    for label in ("normal", "abnormal"):
        for number in range(9 if label == "normal" else 2):
            seed = 100 + number + 50 * (label == "abnormal")
            write(tmp_path / f"mimii/6_dB_fan/fan/id_00/{label}/{number:08d}.wav", noise(seed, 2.0))
    own = run(tmp_path / "mimii", detector, Plan(splits=1), tmp_path)[0].own_splits[0]
    assert list(own.scores) == [f"{each}/0000000{number}.wav" for each in ("abnormal", "normal") for number in (0, 1)]


def test_too_little_to_learn_is_told(detector: BundleDetector, tmp_path: Path) -> None:
    """Three windows, where enrolling takes five: nothing is left to measure."""
    make(tmp_path / "set")
    with pytest.raises(DatasetError, match="no machine id can be measured"):
        run(tmp_path / "set", detector, Plan(learn_s=(30.0,), splits=2), tmp_path)


@pytest.mark.recordings
def test_lasting_faults_of_the_recordings_are_found(recordings: Path, tmp_path: Path) -> None:
    """Most faulty streams raise the alarm, hardly a healthy one is found changed."""
    detector = BundleDetector(Encoder(find_bundle("spectral")))
    figures, lines = run(recordings, detector, Plan(splits=5), tmp_path)
    (mean,) = (each for each in figures.means if figures.is_own(each.condition))
    assert (mean.ids, lines) == (8, [])
    assert mean.faulty_changed.percent >= mean.faulty_alarm.percent >= 60
    assert mean.healthy_changed.percent <= 3
