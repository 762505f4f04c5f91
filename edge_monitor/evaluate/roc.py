"""How well scores tell anomalous clips from normal ones: the ROC curve, its area and partial area; pure.

A score is higher where a clip is more anomalous, and a clip counts as anomalous when its score is above a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

MAX_FPR = 0.1  # DCASE 2020 Challenge Task 2: pAUC over false positive rates from 0 to 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """One point for each distinct score, the strictest threshold first: from (0, 0) to (1, 1)."""

    threshold: Scores  # (points,) falling; the last one is -inf
    false_alarm: Scores  # (points,) fraction of normal clips above it
    hit: Scores  # (points,) fraction of anomalous clips above it


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and what it does."""

    threshold: float
    false_alarm: float  # fraction of normal clips above it, 0 to 1
    miss: float  # fraction of anomalous clips not above it, 0 to 1


def auc(normal: Scores, anomalous: Scores) -> float:
    """Return the area under the ROC curve of (n,) and (m,) scores, 0 to 1: P(anomalous > normal) + P(equal) / 2."""
    ordered = np.sort(_checked(normal))
    anomalous = _checked(anomalous)
    below, not_above = (np.searchsorted(ordered, anomalous, side=side) for side in ("left", "right"))
    return float((below + not_above).sum() / (2 * len(ordered) * len(anomalous)))


def pauc(normal: Scores, anomalous: Scores, max_fpr: float = MAX_FPR) -> float:
    """Return the area under the ROC curve up to a false positive rate, standardized so that chance gives 0.5.

    After McClish (Medical Decision Making 1989), as scikit-learn's `roc_auc_score(max_fpr=)` and the challenge.
    """
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be above 0 and at most 1, got {max_fpr}")
    roc = roc_curve(normal, anomalous)
    end = int(np.searchsorted(roc.false_alarm, max_fpr, side="right"))
    x = np.append(roc.false_alarm[:end], max_fpr)
    y = np.append(roc.hit[:end], np.interp(max_fpr, roc.false_alarm, roc.hit))
    area = float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
    least = max_fpr**2 / 2
    return 0.5 * (1 + (area - least) / (max_fpr - least))


def roc_curve(normal: Scores, anomalous: Scores) -> Roc:
    """Return the ROC curve of (n,) and (m,) scores. Raises ValueError when a class is empty or a score not finite."""
    normal, anomalous = _checked(normal), _checked(anomalous)
    threshold = np.append(np.unique(np.concatenate([normal, anomalous]))[::-1], -np.inf)
    return Roc(threshold, _above(normal, threshold), _above(anomalous, threshold))


def operating_point(normal: Scores, anomalous: Scores, threshold: float) -> OperatingPoint:
    """Return what a threshold does to (n,) and (m,) scores."""
    false_alarm, hit = (float((_checked(scores) > threshold).mean()) for scores in (normal, anomalous))
    return OperatingPoint(threshold, false_alarm, 1.0 - hit)


def nearest_to_corner(normal: Scores, anomalous: Scores) -> OperatingPoint:
    """Return the ROC point nearest to (0, 1), the strictest of several: the paper's threshold (section II).

    It is chosen on the very clips it is judged by, labels included: what could at best be reached.
    """
    roc = roc_curve(normal, anomalous)
    best = int(np.argmin(np.hypot(roc.false_alarm, 1.0 - roc.hit)))
    return OperatingPoint(float(roc.threshold[best]), float(roc.false_alarm[best]), 1.0 - float(roc.hit[best]))


def _above(scores: Scores, threshold: Scores) -> Scores:
    """Return the fraction of scores above each threshold, (points,)."""
    return np.asarray((len(scores) - np.searchsorted(np.sort(scores), threshold, side="right")) / len(scores))


def _checked(scores: Scores) -> Scores:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0 or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite, (n,) and at least one, got shape {scores.shape}")
    return scores
