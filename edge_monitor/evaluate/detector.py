"""A detector: what a column of the table measures, and the contract that every one keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_monitor.records import Samples


@dataclass(frozen=True, eq=False)
class Features:
    """What a detector keeps of a clip. Without slots: its digest stays once it was asked for."""

    vectors: NDArray[np.float32]  # (rows, dim): one row per window (or frame), in order of time; at least one row
    overlaps: bool = False  # True: the last row repeats sound of the one before; it is scored, but not learnt

    @property
    def to_learn(self) -> NDArray[np.float32]:
        """Return the rows that are learnt, (rows, dim): each stretch of sound once."""
        return self.vectors[:-1] if self.overlaps else self.vectors

    @cached_property
    def digest(self) -> str:
        """Return the hex SHA-256 of all there is: the same sound has the same."""
        found = hashlib.sha256(f"{self.vectors.dtype} {self.vectors.shape} {self.overlaps} ".encode())
        found.update(self.vectors.tobytes())
        return found.hexdigest()


class Detector(Protocol):
    """A way from clips to anomaly scores."""

    @property
    def name(self) -> str:
        """Return the column's name: `spectral`, `spectral+mahalanobis`, `autoencoder`."""

    @property
    def key(self) -> str:
        """Return what names its features in the cache: letters, digits and dashes; another one for other features."""

    @property
    def sample_rate_hz(self) -> int:
        """Return the rate at which `features` takes sound, Hz."""

    @property
    def pooled(self) -> bool:
        """Return whether one model learns all ids of a type of machine together, as the challenge's baseline does."""

    def features(self, samples: Samples) -> Features:
        """Return what is kept of a clip: `samples` (frames,) float32, mono, full scale ±1, at `sample_rate_hz`.

        Called from several threads at once. Raises AudioError when the clip is not a machine's sound.
        """

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Learn the normal clips `train`; return one score for each clip of `test`, (test,), higher = more anomalous.

        A clip's score is the mean over its rows. The same clips give the same scores.
        Raises DatasetError when there is too little to learn.
        """

    def threshold(self, train: Sequence[Features]) -> float | None:
        """Return the threshold that the normal clips alone give, in the unit of the scores; None: it has none."""
