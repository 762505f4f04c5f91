"""Measures detectors on a data set: scores of every test clip, and what they are worth for each machine id."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import DatasetError, NormalsError
from edge_monitor.evaluate.datasets import surplus
from edge_monitor.evaluate.figures import Curve, Figures, Row
from edge_monitor.evaluate.progress import Once, SplitProgress
from edge_monitor.evaluate.roc import auc, pauc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.evaluate.cache import FeatureExtractor
    from edge_monitor.evaluate.datasets import Clip, Dataset, Individual
    from edge_monitor.evaluate.detector import Detector, Features
    from edge_monitor.evaluate.roc import Scores

    Tell = Callable[[str], None]
    FeaturesByPath = Mapping[Path, Features]
    Numbers = NDArray[np.intp]  # of clips

LEARNT = 0.6  # part of an individual machine's normal clips that is learnt; the others are tested


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
    complain, progress = Once(complain), progress or SplitProgress(lambda _: None)
    rows: list[Row] = []
    for machine, heard in hear(dataset, detectors, extractor, complain, resplit=resplits is not None):
        found: dict[tuple[str, str], Row] = {}
        for detector in detectors:
            parts = {one.machine_id: part_of(one, features.get(detector.key, {})) for one, features in heard}
            for row in _Machine(machine, parts, detector, complain, progress).rows(resplits, seed):
                found[row.machine_id, row.detector] = row
        order = [(one.machine_id, detector.name) for one, _ in heard for detector in detectors]
        rows += [found[place] for place in order if place in found]
    if not rows:
        raise DatasetError("no machine id can be measured", where=str(dataset.folder))
    return Figures(tuple(detector.name for detector in detectors), tuple(rows), resplits)


def hear(
    dataset: Dataset, detectors: Sequence[Detector], extractor: FeatureExtractor, complain: Tell, *, resplit: bool
) -> Iterator[tuple[str, list[tuple[Individual, dict[str, FeaturesByPath]]]]]:
    """Yield each machine with its individuals, and what the detectors heard of each by their keys; see `share`."""
    machines: dict[str, list[Individual]] = defaultdict(list)
    for individual in dataset.individuals:
        machines[individual.machine].append(individual)
    names = {detector.key: detector.name for detector in reversed(detectors)}  # of one key, the first
    root = dataset.folder.resolve()
    for machine, individuals in machines.items():
        clips = [clip for one in individuals for clip in (*one.train, *one.test)]
        heard: dict[str, FeaturesByPath] = {}  # detectors of one key share them
        for detector in detectors:
            if detector.key not in heard:
                heard[detector.key] = extractor.extract(detector, clips, machine)
        yield machine, [(one, share(one, heard, names, complain, resplit=resplit, root=root)) for one in individuals]


def share(
    one: Individual,
    heard: Mapping[str, FeaturesByPath],
    names: Mapping[str, str],
    complain: Tell,
    *,
    resplit: bool,
    root: Path,
) -> dict[str, FeaturesByPath]:
    """Return what each detector heard of the clips that all of them heard; what is left out is complained of.

    Detectors are told apart by their keys; `names` is for a person. One that heard nothing of a class takes no part
    and hinders nobody. The same sound in two encodings has the same features: it counts once, as the same bytes do.
    """
    able = [key for key in heard if _hears(one, heard[key], names[key], complain, resplit=resplit)]
    if not able:
        return {}
    groups: dict[tuple[str, ...], list[Clip]] = defaultdict(list)  # by what was heard
    for clip in (*one.train, *one.test):
        deaf = [names[key] for key in able if clip.path not in heard[key]]
        if not deaf:
            groups[tuple(heard[key][clip.path].digest for key in able)].append(clip)
        elif len(deaf) < len(able):  # a clip that none can hear was named when it was heard
            complain(f"{clip.path.relative_to(root)}: left out for all: not heard by {', '.join(deaf)}")
    kept: list[Path] = []
    for group in groups.values():
        others, lines = surplus(group, root)
        for line in lines:
            complain(line)
        kept += [clip.path for clip in group if clip not in others]
    return {key: {path: heard[key][path] for path in kept} for key in able}


def _hears(one: Individual, heard: FeaturesByPath, name: str, complain: Tell, *, resplit: bool) -> bool:
    """Return whether a detector heard something of each class that the machine id has."""
    normal, anomalous = one.tested(anomalous=False), one.tested(anomalous=True)
    classes: dict[str, Sequence[Clip]] = {"training": one.train, "normal test": normal, "anomalous test": anomalous}
    if resplit:
        classes = {"normal": [*one.train, *normal], "anomalous": anomalous}
    missing = [kind for kind, clips in classes.items() if clips and not any(clip.path in heard for clip in clips)]
    for kind in missing:
        complain(f"{one.label}: no {kind} clip can be heard by {name}")
    return not missing


def learnt_of(clips: int) -> int:
    """Return how many of so many normal clips are learnt."""
    return round(LEARNT * clips)


def splits(clips: int, count: int, seed: int = 0) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield `count` times (learnt, tested): numbers of normal clips, at random.

    One seed gives one series, so that detectors are compared on identical splits.
    """
    generator = np.random.default_rng(seed)
    for _ in range(count):
        learnt, tested = np.split(generator.permutation(clips), [learnt_of(clips)])
        yield learnt, tested


@dataclass(frozen=True, slots=True)
class Part:
    """What is learnt and what is tested of one machine id."""

    train: list[Features]
    normal: list[Features]
    anomalous: list[Features]

    def split(self, learnt: Numbers, tested: Numbers) -> Part:
        """Return the same with other normal clips to learn and to test."""
        normal = [*self.train, *self.normal]
        return Part([normal[i] for i in learnt], [normal[i] for i in tested], self.anomalous)


def part_of(one: Individual, heard: FeaturesByPath) -> Part:
    """Return what was heard of a machine id, by the data set's own split."""
    groups = one.train, one.tested(anomalous=False), one.tested(anomalous=True)
    return Part(*([heard[clip.path] for clip in clips if clip.path in heard] for clips in groups))


@dataclass(frozen=True, slots=True)
class _Machine:
    """One type of machine and one detector."""

    name: str
    parts: Mapping[str, Part]  # by machine id
    detector: Detector
    complain: Tell
    progress: SplitProgress

    def rows(self, resplits: int | None, seed: int) -> Iterator[Row]:
        """Yield a row for each machine id that can be measured."""
        label = f"{self.name}: {self.detector.name}"
        self.progress.begin(label, 1)
        own = {name: part for name, part in self.parts.items() if part.train and part.normal and part.anomalous}
        curves = dict(self._curves(own, "left out" if resplits is None else "no curves"))
        if resplits is None:
            for name, curve in curves.items():
                yield self._row(name, [_points(curve.normal, curve.anomalous)], curve.n_train, curve)
            return
        normals = {name: len(part.train) + len(part.normal) for name, part in self.parts.items() if part.anomalous}
        usable = {name: count for name, count in normals.items() if 0 < learnt_of(count) < count}
        all_points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.progress.begin(label, resplits)
        for chosen in zip(*(splits(count, resplits, seed) for count in usable.values()), strict=True):
            drawn = {name: self.parts[name].split(*one) for name, one in zip(usable, chosen, strict=True)}
            for name, scores in self._scores(drawn, "left out"):
                all_points[name].append(_points(*scores))
            self.progress.split()
        for name, found in all_points.items():
            if len(found) == resplits:
                yield self._row(name, found, learnt_of(normals[name]), curves.get(name))

    def _row(self, name: str, points: list[tuple[float, float]], n_train: int, curve: Curve | None) -> Row:
        part = self.parts[name]
        aucs, paucs = np.array(points).T
        return Row(
            machine=self.name,
            machine_id=name,
            detector=self.detector.name,
            aucs=aucs,
            paucs=paucs,
            n_train=n_train,
            n_normal=len(part.train) + len(part.normal) - n_train,
            n_anomaly=len(part.anomalous),
            curve=curve,
        )

    def _curves(self, parts: Mapping[str, Part], otherwise: str) -> Iterator[tuple[str, Curve]]:
        for name, (normal, anomalous) in self._scores(parts, otherwise):
            learnt = parts.values() if self.detector.pooled else [parts[name]]
            threshold = None
            try:
                threshold = self.detector.threshold([clip for part in learnt for clip in part.train])
            except NormalsError as error:
                self._complain([name], "no threshold", error)
            yield name, Curve(normal, anomalous, len(parts[name].train), threshold)

    def _scores(self, parts: Mapping[str, Part], otherwise: str) -> Iterator[tuple[str, tuple[Scores, Scores]]]:
        """Yield each machine id's scores of normal and of anomalous clips; `otherwise` is told of those without."""
        groups = [list(parts)] if self.detector.pooled else [[name] for name in parts]
        for names in groups:
            train = [clip for name in names for clip in parts[name].train]
            tests = [part for name in names for part in (parts[name].normal, parts[name].anomalous)]
            if not train:
                continue
            try:
                scores = self.detector.fit_score(train, [clip for test in tests for clip in test])
            except (DatasetError, NormalsError) as error:
                self._complain(names, otherwise, error)
                continue
            if not np.isfinite(scores).all():
                self._complain(names, otherwise, "a score is not finite")
                continue
            pieces = np.split(scores, np.cumsum([len(test) for test in tests])[:-1])
            yield from zip(names, zip(pieces[::2], pieces[1::2], strict=True), strict=True)

    def _complain(self, names: Sequence[str], what: str, why: object) -> None:
        self.complain(f"{self.name} {', '.join(names)}: {what}: {self.detector.name}: {why}")


def _points(normal: Scores, anomalous: Scores) -> tuple[float, float]:
    """Return AUC and partial AUC, percent."""
    return 100 * auc(normal, anomalous), 100 * pauc(normal, anomalous)
