"""Measures detectors on a data set: scores of every test clip, and what they are worth for each machine id."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import DatasetError, NormalsError
from edge_monitor.evaluate.figures import Curve, Figures, Row
from edge_monitor.evaluate.progress import Once, SplitProgress
from edge_monitor.evaluate.resplit import learnt_of, splits
from edge_monitor.evaluate.roc import auc, pauc
from edge_monitor.evaluate.shared_clips import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.errors import EdgeMonitorError
    from edge_monitor.evaluate.datasets import Clip, Dataset, Individual
    from edge_monitor.evaluate.detector import Detector, Features
    from edge_monitor.evaluate.embeddings import FeatureExtractor

    Scores = NDArray[np.float64]
    Tell = Callable[[str], None]
    FeaturesByPath = Mapping[Path, Features]


def measure(
    dataset: Dataset,
    detectors: Sequence[Detector],
    extractor: FeatureExtractor,
    complain: Tell,
    *,
    resplits: int | None = None,
    seed: int = 0,
    progress: SplitProgress | None = None,
) -> Figures:
    """Return the figures of each detector; what cannot be measured is complained of and left out.

    Without `resplits` by the data set's own split; with, as many random splits of each machine id's normal clips,
    the same ones for every detector, of the clips that all of them heard. Machine by machine: only one machine's
    features are in memory. `progress` is told which split is learnt.
    Raises DatasetError when nothing can be measured.
    """
    machines: dict[str, list[Individual]] = defaultdict(list)
    for individual in dataset.individuals:
        machines[individual.machine].append(individual)
    complain, progress = Once(complain), progress or SplitProgress(lambda _: None)
    names = {detector.key: detector.name for detector in reversed(detectors)}  # of one key, the first
    root = dataset.folder.resolve()
    rows: list[Row] = []
    for machine, individuals in machines.items():
        clips = [clip for one in individuals for clip in (*one.train, *one.test)]
        heard: dict[str, FeaturesByPath] = {}  # detectors of one key share them
        for detector in detectors:
            if detector.key not in heard:
                heard[detector.key] = extractor.extract(detector, clips, machine)
        shared = [share(one, heard, names, complain, resplit=resplits is not None, root=root) for one in individuals]
        found: dict[tuple[str, str], Row] = {}
        for detector in detectors:
            mine = {path: features for each in shared for path, features in each.get(detector.key, {}).items()}
            for row in _Machine(individuals, detector, mine, complain, progress).rows(resplits, seed):
                found[row.machine_id, row.detector] = row
        order = [(one.machine_id, detector.name) for one in individuals for detector in detectors]
        rows += [found[place] for place in order if place in found]
    if not rows:
        raise DatasetError("no machine id can be measured", where=str(dataset.folder))
    return Figures(tuple(detector.name for detector in detectors), tuple(rows), resplits)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is learnt and what is tested of one machine id."""

    train: list[Features]
    normal: list[Features]
    anomalous: list[Features]


@dataclass(frozen=True, slots=True)
class _Machine:
    """One type of machine and one detector."""

    individuals: Sequence[Individual]
    detector: Detector
    heard: FeaturesByPath
    complain: Tell
    progress: SplitProgress

    def rows(self, resplits: int | None, seed: int) -> Iterator[Row]:
        """Yield a row for each machine id that can be measured."""
        parts = {one.machine_id: self._part(one) for one in self.individuals}
        label = f"{self.individuals[0].machine}: {self.detector.name}"
        self.progress.begin(label, 1)
        own = {name: part for name, part in parts.items() if part.train and part.normal and part.anomalous}
        curves = dict(self._curves(own, "left out" if resplits is None else "no curves"))
        if resplits is None:
            for name, curve in curves.items():
                points = _points(curve.normal, curve.anomalous)
                yield self._row(name, parts[name], np.array([points]), curve.n_train, curve)
            return
        normals = {name: len(part.train) + len(part.normal) for name, part in parts.items()}
        usable = {
            name: part
            for name, part in parts.items()
            if part.anomalous and 0 < learnt_of(normals[name]) < normals[name]
        }
        series = [splits(normals[name], resplits, seed) for name in usable]
        all_points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.progress.begin(label, resplits)
        for chosen in zip(*series, strict=True):
            drawn = {name: _split(part, *one) for (name, part), one in zip(usable.items(), chosen, strict=True)}
            for name, scores in self._scores(drawn, "left out"):
                all_points[name].append(_points(*scores))
            self.progress.split()
        for name, found in all_points.items():
            if len(found) == resplits:
                yield self._row(name, parts[name], np.array(found), learnt_of(normals[name]), curves.get(name))

    def _row(self, name: str, part: _Part, points: Scores, n_train: int, curve: Curve | None) -> Row:
        return Row(
            machine=self.individuals[0].machine,
            machine_id=name,
            detector=self.detector.name,
            aucs=points[:, 0],
            paucs=points[:, 1],
            n_train=n_train,
            n_normal=len(part.train) + len(part.normal) - n_train,
            n_anomaly=len(part.anomalous),
            curve=curve,
        )

    def _curves(self, parts: Mapping[str, _Part], otherwise: str) -> Iterator[tuple[str, Curve]]:
        for name, (normal, anomalous) in self._scores(parts, otherwise):
            learnt = parts.values() if self.detector.pooled else [parts[name]]
            threshold = self._threshold(name, [clip for part in learnt for clip in part.train])
            yield name, Curve(normal, anomalous, len(parts[name].train), threshold)

    def _threshold(self, name: str, train: Sequence[Features]) -> float | None:
        try:
            return self.detector.threshold(train)
        except NormalsError as error:
            self._complain([name], "no threshold", error)
            return None

    def _scores(self, parts: Mapping[str, _Part], otherwise: str) -> Iterator[tuple[str, tuple[Scores, Scores]]]:
        """Yield each machine id's scores of normal and of anomalous clips; `otherwise` is told of those without."""
        groups = [list(parts)] if self.detector.pooled else [[name] for name in parts]
        for names in groups:
            train = [clip for name in names for clip in parts[name].train]
            tests = [part for name in names for part in (parts[name].normal, parts[name].anomalous)]
            if not train:
                continue
            try:
                scores = self._finite(train, [clip for test in tests for clip in test])
            except (DatasetError, NormalsError) as error:
                self._complain(names, otherwise, error)
                continue
            pieces = np.split(scores, np.cumsum([len(test) for test in tests])[:-1])
            yield from zip(names, zip(pieces[::2], pieces[1::2], strict=True), strict=True)

    def _finite(self, train: Sequence[Features], test: Sequence[Features]) -> Scores:
        scores = self.detector.fit_score(train, test)
        if not np.isfinite(scores).all():
            raise DatasetError("a score is not finite")
        return scores

    def _complain(self, names: Sequence[str], what: str, error: EdgeMonitorError) -> None:
        label = f"{self.individuals[0].machine} {', '.join(names)}"
        self.complain(f"{label}: {what}: {self.detector.name}: {error}")

    def _part(self, one: Individual) -> _Part:
        """Return what was heard of a machine id, by the data set's own split."""
        return _Part(*map(self._of, (one.train, one.tested(anomalous=False), one.tested(anomalous=True))))

    def _of(self, clips: Sequence[Clip]) -> list[Features]:
        return [self.heard[clip.path] for clip in clips if clip.path in self.heard]


def _split(part: _Part, learnt: NDArray[np.intp], tested: NDArray[np.intp]) -> _Part:
    normal = [*part.train, *part.normal]
    return _Part([normal[i] for i in learnt], [normal[i] for i in tested], part.anomalous)


def _points(normal: Scores, anomalous: Scores) -> tuple[float, float]:
    """Return AUC and partial AUC, percent."""
    return 100 * auc(normal, anomalous), 100 * pauc(normal, anomalous)
