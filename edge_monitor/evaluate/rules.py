"""What decides on a stream of scores: the contract that every rule keeps, the product's rule, and the challenge's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_monitor.evaluate.gamma import gamma_quantile

if TYPE_CHECKING:
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
class WindowsOfLast:
    """The product's rule: an alarm when m of the last n windows are above the threshold, as `AlarmStateMachine`."""

    threshold: float
    m: int
    n: int

    @property
    def name(self) -> str:
        """Return m and n."""
        return f"{self.m} of {self.n}"

    @property
    def memory(self) -> int:
        """Return n."""
        return self.n

    def decide(self, scores: Scores) -> Decision:
        """Return the first window that makes m of n."""
        exceeds = scores > self.threshold
        return Decision(_first(np.convolve(exceeds, np.ones(self.n, dtype=np.intp))[: len(scores)] >= self.m))


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


def _first(reached: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int | None:
    """Return the first position that is true."""
    return int(np.argmax(reached)) if reached.any() else None
