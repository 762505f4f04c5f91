"""What rules decided on streams, by machine id and on average, with intervals; pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.evaluate.figures import id_weights, interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.evaluate.roc import Scores
    from edge_monitor.evaluate.streams import Length, Tally

_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Condition:
    """What is the same in the rows that are averaged."""

    detector: str
    rule: str
    per_day: float | None  # false alarms wanted; None: the rule aims at no rate
    learn_s: float | None  # normal sound to learn, seconds; None: all that a split learns
    length: Length


@dataclass(frozen=True, slots=True, eq=False)
class DecisionRow:
    """One machine id under one condition."""

    machine: str
    machine_id: str
    condition: Condition
    learnt_s: float  # normal sound that was learnt, mean over the splits, seconds
    aucs: Scores  # (splits,) of the clips, percent
    healthy: tuple[Tally, ...]  # of each split
    faulty: tuple[Tally, ...]

    @property
    def delay_windows(self) -> float | None:
        """Return how many windows of a faulty stream were heard until the alarm, median; None: there was none."""
        return _median([self])


@dataclass(frozen=True, slots=True)
class Share:
    """A mean over machine ids, percent."""

    percent: float
    interval: tuple[float, float] | None  # 95 %, over splits and ids; None: one split of one machine id


@dataclass(frozen=True, slots=True)
class DecisionMean:
    """A condition's figures over its machine ids: every machine counts the same, and its ids the same within it."""

    condition: Condition
    ids: int
    learnt_s: float
    auc: Share
    healthy_streams: int
    healthy_alarm: Share
    healthy_changed: Share
    faulty_streams: int
    faulty_alarm: Share
    faulty_changed: Share
    delay_windows: float | None


@dataclass(frozen=True, slots=True)
class OwnSplit:
    """The test clips' scores by the data set's own split, for the challenge's files."""

    machine: str
    machine_id: str
    detector: str
    scores: dict[str, float]  # file name -> score, in name order
    threshold: float  # of the challenge's rule on clips, learnt from normal clips' mean scores


@dataclass(frozen=True)
class DecisionFigures:
    """All that was measured; rows by machine id, then condition. Without slots: its means stay once asked for."""

    rows: tuple[DecisionRow, ...]
    own_splits: tuple[OwnSplit, ...]
    splits: int
    product_rule: str

    @cached_property
    def means(self) -> tuple[DecisionMean, ...]:
        """Return the figures of each condition: by detector, then by length of stream, rule, rate and sound learnt."""
        found = dict.fromkeys(row.condition for row in self.rows)
        detectors = list(dict.fromkeys(condition.detector for condition in found))
        order = sorted(
            found,
            key=lambda one: (
                detectors.index(one.detector),
                one.length,
                one.rule != self.product_rule,
                -(one.per_day or 0.0),
                one.learn_s or 0.0,
            ),
        )
        return tuple(_mean(one, [row for row in self.rows if row.condition == one]) for one in order)

    def is_own(self, condition: Condition) -> bool:
        """Return whether the product's rule decided, on streams of twice its memory: what the others stand beside."""
        return condition.rule == self.product_rule and condition.length == "memory"


def _mean(condition: Condition, rows: Sequence[DecisionRow]) -> DecisionMean:
    weight = id_weights([row.machine for row in rows])

    def share(points: Sequence[Scores]) -> Share:
        each = np.stack(points)  # (ids, splits) percent
        between = interval(each, weight, draws=_DRAWS) if each.size > 1 else None
        return Share(float(weight @ each.mean(axis=1)), between)

    def of(kind: Callable[[DecisionRow], Sequence[Tally]], count: Callable[[Tally], int]) -> Share:
        return share([np.array([100 * count(each) / each.streams for each in kind(row)]) for row in rows])

    return DecisionMean(
        condition=condition,
        ids=len(rows),
        learnt_s=float(weight @ [row.learnt_s for row in rows]),
        auc=share([row.aucs for row in rows]),
        healthy_streams=sum(each.streams for row in rows for each in row.healthy),
        healthy_alarm=of(lambda row: row.healthy, lambda each: each.alarm),
        healthy_changed=of(lambda row: row.healthy, lambda each: each.changed),
        faulty_streams=sum(each.streams for row in rows for each in row.faulty),
        faulty_alarm=of(lambda row: row.faulty, lambda each: each.alarm),
        faulty_changed=of(lambda row: row.faulty, lambda each: each.changed),
        delay_windows=_median(rows),
    )


def _median(rows: Sequence[DecisionRow]) -> float | None:
    delays = [delay for row in rows for each in row.faulty for delay in each.delays]
    return float(np.median(delays)) if delays else None
