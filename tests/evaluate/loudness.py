"""A small real detector: how far a clip's level is from the middle of the normal clips' levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import AudioError, DatasetError
from edge_monitor.evaluate.detector import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.records import Samples


class Loudness:
    """Scores are in dB. It needs two clips to learn, and counts what it hears and how often it learns."""

    name = "loudness"
    key = "level-1"
    sample_rate_hz = 16_000

    def __init__(self, *, pooled: bool = False) -> None:
        self.pooled = pooled
        self.heard = 0
        self.learnt: list[int] = []  # clips, each time

    def features(self, samples: Samples) -> Features:
        """Return the level, (1, 1) dB re full scale."""
        power = float(np.mean(samples.astype(np.float64) ** 2))
        if power == 0.0:
            raise AudioError("silent")
        self.heard += 1
        return Features(np.array([[10 * np.log10(power)]], dtype=np.float32))

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Return the distance of each clip's level to the median level, (test,) dB."""
        if len(train) < 2:
            raise DatasetError(f"{len(train)} clips to learn, needs 2")
        self.learnt.append(len(train))
        middle = np.median([clip.vectors.mean() for clip in train])
        return np.array([abs(clip.vectors.mean() - middle) for clip in test], dtype=np.float64)

    def threshold(self, train: Sequence[Features]) -> float | None:
        """Return 6 dB, once there is anything to learn."""
        return 6.0 if train else None
