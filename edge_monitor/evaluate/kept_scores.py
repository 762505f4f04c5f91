"""Scores of a detector that learns for long, kept: what was learnt before an interrupt is not learnt again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.progress import Once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_monitor.evaluate.detector import Detector, Features
    from edge_monitor.evaluate.embeddings import FeatureCache
    from edge_monitor.records import Samples


class KeptScores:
    """A detector whose scores are kept by the clips that were learnt and tested, in their order.

    What cannot be kept is complained of once, and given all the same: it was learnt for long.
    """

    def __init__(self, detector: Detector, version: str, cache: FeatureCache, complain: Callable[[str], None]) -> None:
        """`version` names how `detector` learns, its seed included: another one for other scores of the same clips."""
        self._detector = detector
        self._version = version
        self._cache = cache
        self._complain = Once(complain)
        self.name = detector.name
        self.key = detector.key
        self.sample_rate_hz = detector.sample_rate_hz
        self.pooled = detector.pooled

    def features(self, samples: Samples) -> Features:
        """Return the detector's; see `Detector.features`."""
        return self._detector.features(samples)

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Return the scores that are kept, or learn and keep them; see `Detector.fit_score`."""
        digest = self._digest(train, test)
        kept = self._cache.load_scores(self.key, digest)
        if kept is not None and kept.shape == (len(test),):
            return kept
        scores = np.asarray(self._detector.fit_score(train, test), dtype=np.float64)
        try:
            self._cache.store_scores(self.key, digest, scores)
        except DatasetError as error:
            self._complain(f"{self.name}: its scores are not kept: {error.message}")
        return scores

    def threshold(self, train: Sequence[Features]) -> float | None:
        """Return the detector's; see `Detector.threshold`."""
        return self._detector.threshold(train)

    def _digest(self, train: Sequence[Features], test: Sequence[Features]) -> str:
        words = [self.name, self._version, "learnt", *(clip.digest for clip in train), "tested"]
        return hashlib.sha256("\n".join([*words, *(clip.digest for clip in test)]).encode()).hexdigest()
