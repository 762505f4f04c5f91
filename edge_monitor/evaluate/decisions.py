"""Measures decisions on a data set: how many healthy and faulty streams made of its clips raise an alarm."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import DatasetError, NormalsError
from edge_monitor.evaluate.decision_figures import Condition, DecisionFigures, DecisionRow, OwnSplit
from edge_monitor.evaluate.measure import hear, learnt_of, part_of, splits
from edge_monitor.evaluate.progress import Once
from edge_monitor.evaluate.roc import auc
from edge_monitor.evaluate.rules import ChallengeRule, ProductRule
from edge_monitor.evaluate.streams import LENGTHS, draw_stream, play
from edge_monitor.memory.calibration import CalibrationSettings, calibrate_scores
from edge_monitor.memory.coverage import assess
from edge_monitor.memory.distance import K
from edge_monitor.memory.leaveout import leave_block_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_monitor.evaluate.cache import FeatureExtractor
    from edge_monitor.evaluate.datasets import Dataset, Individual
    from edge_monitor.evaluate.detector import BundleDetector, Features
    from edge_monitor.evaluate.measure import FeaturesByPath, Part
    from edge_monitor.evaluate.progress import SplitProgress
    from edge_monitor.evaluate.roc import Scores
    from edge_monitor.evaluate.rules import DecisionRule
    from edge_monitor.evaluate.streams import Length, Tally
    from edge_monitor.memory.leaveout import Layout, LeftOut

    Tell = Callable[[str], None]

PER_DAY = (0.1,)  # false alarms wanted, as the product's default
SPLITS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    learn_s: tuple[float, ...] = ()  # normal sound to learn, seconds; empty: all that a split learns
    per_day: tuple[float, ...] = PER_DAY
    raise_m: int = 3  # of raise_n disjoint windows
    raise_n: int = 5
    splits: int = SPLITS
    streams: int = 10  # of each kind and length in a split
    seed: int = 0

    def settings(self, window_s: float) -> list[CalibrationSettings]:
        """Return what the product calibrates for, by wanted rate."""
        return [CalibrationSettings(window_s, rate, self.raise_m, self.raise_n) for rate in self.per_day]


def measure_decisions(
    dataset: Dataset,
    detectors: Sequence[BundleDetector],
    extractor: FeatureExtractor,
    complain: Tell,
    plan: Plan,
    *,
    progress: SplitProgress,
) -> DecisionFigures:
    """Return what the rules decide on streams of each machine id's clips; what cannot be measured is complained of.

    Raises DatasetError when nothing can be measured.
    """
    complain = Once(complain)
    rows: list[DecisionRow] = []
    own_splits: list[OwnSplit] = []
    for _, heard in hear(dataset, detectors, extractor, complain, resplit=True):
        for one, features in heard:
            for detector in detectors:
                found = _Measurement(one, features.get(detector.key, {}), detector, plan, complain)
                progress.begin(f"{one.label}: {detector.name}", plan.splits * max(1, len(plan.learn_s)))
                rows += found.rows(progress)
                own_splits += found.own_split()
    if not rows:
        raise DatasetError("no machine id can be measured", where=str(dataset.folder))
    return DecisionFigures(tuple(rows), tuple(own_splits), plan.splits, f"{plan.raise_m} of {plan.raise_n}")


@dataclass(frozen=True, slots=True)
class Learnt:
    """Learnt clips, as enrolling them does it: the leave-block-out scores that rules are made from."""

    layout: Layout
    left_out: LeftOut

    @classmethod
    def of(cls, clips: Sequence[Features], detector: BundleDetector) -> Learnt:
        """Return what is learnt. Raises NormalsError when it is too little."""
        layout = detector.layout(clips)
        vectors = np.concatenate([clip.to_learn for clip in clips])
        return cls(layout, leave_block_out(vectors, layout, detector.spec, k=K, window_s=detector.window_s))

    def product_rule(self, settings: CalibrationSettings) -> ProductRule:
        """Return the product's rule with the lines that enrolling would set. Raises NormalsError."""
        coverage = assess(self.left_out, self.layout.unit)
        found = calibrate_scores(self.left_out.score, self.layout, settings, coverage)
        line = None if found.low_line is None else found.low_line.value
        return ProductRule(found.threshold, settings.raise_m, settings.raise_n, line, settings.window_s)


@dataclass(slots=True)
class _Splits:
    """What one condition gave in each split."""

    aucs: list[float] = field(default_factory=list)
    learnt_s: list[float] = field(default_factory=list)
    healthy: list[Tally] = field(default_factory=list)
    faulty: list[Tally] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Measurement:
    """One machine id and one detector."""

    one: Individual
    heard: FeaturesByPath
    detector: BundleDetector
    plan: Plan
    complain: Tell

    def rows(self, progress: SplitProgress) -> Iterator[DecisionRow]:
        """Yield a row for each condition that the clips allow."""
        part = part_of(self.one, self.heard)
        normals = len(part.train) + len(part.normal)
        if not part.anomalous or not 0 < learnt_of(normals) < normals:
            return
        drawn = [part.split(*chosen) for chosen in splits(normals, self.plan.splits, self.plan.seed)]
        most_s = min(self._heard_s(each.train) for each in drawn)
        for learn_s in self.plan.learn_s or (None,):
            if learn_s is not None and learn_s > most_s:
                self.complain(f"{self.one.label}: {learn_s:g} s are not learnt: there are {most_s:g} s to learn from")
                continue
            found: dict[Condition, _Splits] = defaultdict(_Splits)
            try:
                for number, each in enumerate(drawn):
                    clips = each.train if learn_s is None else self._first(each.train, learn_s)
                    self._split(replace(each, train=clips), learn_s, number, found)
                    progress.split()
            except (DatasetError, NormalsError) as error:
                self._complain("left out", error)
                continue
            for condition, gathered in found.items():
                yield DecisionRow(
                    machine=self.one.machine,
                    machine_id=self.one.machine_id,
                    condition=condition,
                    learnt_s=float(np.mean(gathered.learnt_s)),
                    aucs=np.array(gathered.aucs),
                    healthy=tuple(gathered.healthy),
                    faulty=tuple(gathered.faulty),
                )

    def own_split(self) -> Iterator[OwnSplit]:
        """Yield the test clips' scores by the data set's own split, if it has one that can be measured."""
        part = part_of(self.one, self.heard)
        if not part.train or not (part.normal or part.anomalous):
            return
        try:
            learnt = Learnt.of(part.train, self.detector)
            scores = _finite(self.detector.fit_score(part.train, [*part.normal, *part.anomalous]))
        except (DatasetError, NormalsError) as error:
            self._complain("no files of the challenge", error)
            return
        clips = [*self.one.tested(anomalous=False), *self.one.tested(anomalous=True)]
        paths = [clip.path for clip in clips if clip.path in self.heard]
        single = len({path.name for path in paths}) == len(paths)  # in MIMII normal and abnormal clips share names
        names = [path.name if single else f"{path.parent.name}/{path.name}" for path in paths]
        recording = learnt.layout.recording
        of_clips = np.bincount(recording, learnt.left_out.score) / np.bincount(recording)  # (clips,) mean scores
        yield OwnSplit(
            machine=self.one.machine,
            machine_id=self.one.machine_id,
            detector=self.detector.name,
            scores=dict(sorted(zip(names, scores.tolist(), strict=True))),
            threshold=ChallengeRule.learn(of_clips).threshold,
        )

    def _split(self, part: Part, learn_s: float | None, number: int, found: dict[Condition, _Splits]) -> None:
        """Add what the split of that number gives. Raises DatasetError or NormalsError."""
        detector, plan = self.detector, self.plan
        learnt = Learnt.of(part.train, detector)
        rules: dict[float | None, DecisionRule] = {
            each.false_alarms_per_day: learnt.product_rule(each) for each in plan.settings(detector.window_s)
        }
        rules[None] = ChallengeRule.learn(learnt.left_out.score)  # a stream is decided on window by window
        memory = max(rule.memory for rule in rules.values())
        tested = [*part.normal, *part.anomalous]
        scores = [_finite(each) for each in detector.window_scores(part.train, tested)]
        normals = len(part.normal)
        clip_scores = np.array([each.mean() for each in scores])  # (tested,)
        disjoint = [each[: len(clip.to_learn)] for each, clip in zip(scores, tested, strict=True)]
        for length in LENGTHS:
            healthy = self._streams(disjoint[:normals], length, memory, (plan.seed, number, 0))
            faulty = self._streams(disjoint[normals:], length, memory, (plan.seed, number, 1))
            for rate, rule in rules.items():
                each = found[Condition(detector.name, rule.name, rate, learn_s, length)]
                each.aucs.append(100 * auc(clip_scores[:normals], clip_scores[normals:]))
                each.learnt_s.append(self._heard_s(part.train))
                each.healthy.append(play(rule, healthy))
                each.faulty.append(play(rule, faulty))

    def _streams(
        self, clips: Sequence[Scores], length: Length, memory: int, seed: tuple[int, int, int]
    ) -> list[Scores]:
        """Return a split's streams of one kind; every detector, rule and length of sound learnt has the same orders."""
        draw = np.random.default_rng(seed)
        return [draw_stream(clips, length, memory, draw) for _ in range(self.plan.streams)]

    def _heard_s(self, clips: Sequence[Features]) -> float:
        """Return how much sound of clips is learnt, seconds."""
        return sum(len(clip.to_learn) for clip in clips) * self.detector.window_s

    def _first(self, clips: Sequence[Features], learn_s: float) -> list[Features]:
        """Return as few of the first clips as hold `learn_s` seconds."""
        heard_s = np.cumsum([len(clip.to_learn) for clip in clips]) * self.detector.window_s
        return list(clips[: int(np.searchsorted(heard_s, learn_s)) + 1])

    def _complain(self, what: str, why: object) -> None:
        self.complain(f"{self.one.label}: {what}: {self.detector.name}: {why}")


def _finite(scores: Scores) -> Scores:
    """Return scores as they are. Raises DatasetError for one that is not finite."""
    if not np.isfinite(scores).all():
        raise DatasetError("a score is not finite")
    return scores
