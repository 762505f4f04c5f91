"""What was measured of each detector, by machine id and on average, with intervals; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.evaluate.roc import nearest_to_corner, operating_point

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.evaluate.roc import OperatingPoint, Scores

_PERCENT = (2.5, 97.5)  # a 95 % interval


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The test clips' scores by the data set's own split."""

    normal: Scores  # (n,) higher = more anomalous
    anomalous: Scores  # (m,)
    n_train: int  # clips
    threshold: float | None  # from the training clips alone; None: the detector gives none

    @property
    def best(self) -> OperatingPoint:
        """Return the point nearest to (0, 1)."""
        return nearest_to_corner(self.normal, self.anomalous)

    @property
    def own(self) -> OperatingPoint | None:
        """Return what the threshold does; None: there is none."""
        if self.threshold is None:
            return None
        return operating_point(self.normal, self.anomalous, self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One machine id and one detector."""

    machine: str
    machine_id: str
    detector: str
    aucs: Scores  # (splits,) percent; one for the data set's own split
    paucs: Scores  # (splits,) percent
    n_train: int  # clips, as all of these
    n_normal: int
    n_anomaly: int
    curve: Curve | None  # None: the data set's own split lacks a class

    @property
    def auc(self) -> float:
        """Return the AUC, mean over the splits, percent."""
        return float(self.aucs.mean())

    @property
    def pauc(self) -> float:
        """Return the standardized partial AUC up to a false positive rate of 0.1, mean over the splits, percent."""
        return float(self.paucs.mean())

    @property
    def auc_spread(self) -> tuple[float, float] | None:
        """Return what 95 % of the splits' AUCs lie between, percent; None for one split: it has no spread."""
        return spread(self.aucs) if len(self.aucs) > 1 else None

    @property
    def auc_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean over the splits, percent; None for one split.

        It says what more splits of these clips would change, not what other clips would.
        """
        return interval(self.aucs[None, :], draws=2000) if len(self.aucs) > 1 else None


@dataclass(frozen=True, slots=True)
class Mean:
    """A figure over several machine ids, percent."""

    auc: float
    pauc: float
    ids: int


@dataclass(frozen=True, slots=True)
class AucDifference:
    """How much better a detector is than the first one, on the same splits of the same machine ids."""

    detector: str
    reference: str
    auc: float  # detector - reference, points
    interval: tuple[float, float] | None  # 95 %; None: one split of one machine id


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured; rows by machine id, then detector."""

    detectors: tuple[str, ...]
    rows: tuple[Row, ...]
    resplits: int | None  # None: the data set's own split

    def of(self, detector: str, machine: str | None = None) -> tuple[Row, ...]:
        """Return a detector's rows (of one machine)."""
        return tuple(row for row in self.rows if row.detector == detector and machine in {None, row.machine})

    def of_id(self, machine: str, machine_id: str) -> tuple[Row, ...]:
        """Return a machine id's rows."""
        return tuple(row for row in self.rows if (row.machine, row.machine_id) == (machine, machine_id))

    def mean(self, detector: str, machine: str | None = None) -> Mean | None:
        """Return the mean over a machine's ids; over the means of all machines, as Table I does, when none is named."""
        rows = self.of(detector, machine)
        if not rows:
            return None
        weight = id_weights([row.machine for row in rows])
        return Mean(
            auc=float(weight @ [row.auc for row in rows]),
            pauc=float(weight @ [row.pauc for row in rows]),
            ids=len(rows),
        )

    def interval(self, detector: str) -> tuple[float, float] | None:
        """Return the 95 % interval of the overall mean AUC; None without re-splits, and for one split of one id."""
        rows = self.of(detector)
        if self.resplits is None or not rows:
            return None
        return _interval(np.stack([row.aucs for row in rows]), id_weights([row.machine for row in rows]))

    def differences(self) -> Iterator[AucDifference]:
        """Yield the paired differences to the first detector; none without re-splits."""
        reference, *others = self.detectors
        first = {(row.machine, row.machine_id): row for row in self.of(reference)}
        for detector in others:
            rows = [row for row in self.of(detector) if (row.machine, row.machine_id) in first]
            if self.resplits is None or not rows:
                continue
            points = np.stack([row.aucs - first[row.machine, row.machine_id].aucs for row in rows])  # (ids, splits)
            weight = id_weights([row.machine for row in rows])
            mean = float(weight @ points.mean(axis=1))
            yield AucDifference(detector, reference, mean, _interval(points, weight))


def _interval(points: Scores, weights: Scores) -> tuple[float, float] | None:
    """Return the interval of the mean of (ids, splits) figures; None when there is only one: nothing varies."""
    return interval(points, weights) if points.size > 1 else None


def id_weights(machines: Sequence[str]) -> Scores:
    """Return what each id of a machine counts, (ids,), sum 1: every machine the same, and its ids the same in it."""
    return np.array([1.0 / (machines.count(machine) * len(set(machines))) for machine in machines])


def spread(points: Scores) -> tuple[float, float]:
    """Return what 95 % of one machine id's `(splits,)` figures lie between: how much the choice of clips moves it."""
    low, high = np.percentile(points, _PERCENT)
    return float(low), float(high)


def interval(
    points: Scores, weights: Scores | None = None, *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `(ids, splits)` figures, or of paired differences of such.

    `weights` (ids,) is what each id counts; None: all the same.
    A two-stage bootstrap: ids are drawn with replacement, then splits within each drawn id; 2.5 and 97.5 percentiles
    of the mean. It says how much the choice of machines and of learnt clips moves the mean.
    """
    generator = np.random.default_rng(seed)
    ids, count = points.shape
    drawn = generator.integers(ids, size=(draws, ids))
    weight = np.ones(ids)[drawn] if weights is None else weights[drawn]  # (draws, ids)
    weight /= weight.sum(axis=1, keepdims=True)
    means = np.empty(draws)
    for draw in range(draws):
        chosen = generator.integers(count, size=(ids, count))
        means[draw] = weight[draw] @ np.take_along_axis(points[drawn[draw]], chosen, axis=1).mean(axis=1)
    return spread(means)
