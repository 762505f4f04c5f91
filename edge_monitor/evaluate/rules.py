"""What decides on a stream of scores: the contract that every rule keeps, the product's rule, and the challenge's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_monitor.alarm.long_memory import FRESH
from edge_monitor.evaluate.gamma import gamma_quantile
from edge_monitor.records import long_memory_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.evaluate.roc import Scores

CHALLENGE = "DCASE baseline"
_QUANTILE = 0.9  # decision_threshold in the baselines of the challenge's Task 2 from 2021


@dataclass(frozen=True, slots=True)
class Decision:
    """The window of a stream, from 0, with which a decision was made; None: it was not."""

    alarm: int | None
    changed: int | None = None


class DecisionRule(Protocol):
    """A rule that has learnt a machine's normal sound."""

    @property
    def name(self) -> str:
        """Return what the tables call it."""

    @property
    def memory(self) -> int:
        """Return how many disjoint windows it looks back at most."""

    def decide(self, scores: Scores) -> Decision:
        """Return when it first decides on a stream of disjoint windows' scores, (windows,)."""


@dataclass(frozen=True, slots=True)
class ProductRule:
    """The product's rule, as `AlarmStateMachine` has it.

    Changed when most windows of a memory lie above the low line; an alarm when m of the last n windows are above the
    threshold or, of a changed machine, most of a longer memory above the low line.
    """

    threshold: float
    m: int
    n: int
    low_line: float | None = None  # None: so little was learnt that there is none
    window_s: float = 10.0
    changed_after_s: float = 3600.0
    alarm_after_s: float = 10_800.0

    @property
    def name(self) -> str:
        """Return m and n."""
        return f"{self.m} of {self.n}"

    @property
    def memory(self) -> int:
        """Return the longest memory."""
        return max(self.n, long_memory_windows(self.alarm_after_s, self.window_s)[0])

    def decide(self, scores: Scores) -> Decision:
        """Return the first windows that make an alarm, and a changed machine."""
        exceeds = scores > self.threshold
        alarm = _first(exceeds & (_counted(exceeds, self.n) >= self.m))
        changed = None
        if self.low_line is not None:
            above = scores > self.low_line
            hour, of_late, three_hours = (
                _reached(above, *long_memory_windows(memory_s, self.window_s))
                for memory_s in (self.changed_after_s, FRESH * self.changed_after_s, self.alarm_after_s)
            )
            changed = _first(above & hour & of_late)
            if changed is not None:
                later = np.arange(len(scores)) > changed
                alarm = _earlier(alarm, _first(above & three_hours & later))
        return Decision(alarm, _earlier(alarm, changed))


@dataclass(frozen=True, slots=True)
class ChallengeRule:
    """The rule of DCASE's baseline: each window above a threshold is anomalous by itself."""

    threshold: float
    name: str = CHALLENGE
    memory: int = 1

    @classmethod
    def learn(cls, scores: Scores) -> ChallengeRule:
        """Return the rule for normal scores, (n,): above the 0.9 quantile of a gamma distribution fitted to them."""
        return cls(gamma_quantile(np.maximum(scores, np.finfo(float).tiny), _QUANTILE))

    def decide(self, scores: Scores) -> Decision:
        """Return the first window above the threshold."""
        return Decision(_first(scores > self.threshold))


def _counted(true: NDArray[np.bool_], windows: int) -> NDArray[np.intp]:
    """Return how many of the last so many values are true, at each position."""
    total = np.concatenate([np.zeros(windows, dtype=np.intp), np.cumsum(true)])
    return np.asarray(total[windows:] - total[:-windows])


def _reached(above: NDArray[np.bool_], windows: int, least: int) -> NDArray[np.bool_]:
    """Return whether so many of the last windows lie above the line, at each position."""
    return np.asarray(_counted(above, windows) >= least)


def _earlier(one: int | None, other: int | None) -> int | None:
    """Return the earlier of two decisions."""
    return min((each for each in (one, other) if each is not None), default=None)


def _first(reached: NDArray[np.bool_]) -> int | None:
    """Return the first position that is true."""
    return int(np.argmax(reached)) if reached.any() else None
