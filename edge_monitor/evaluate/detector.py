"""A detector: what a column of the table measures, the contract that every one keeps, and the one of a model bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.learnt import sound_windows, spec_of
from edge_monitor.memory.calibration import CalibrationSettings, calibrate
from edge_monitor.memory.distance import K
from edge_monitor.memory.leaveout import Layout, block_of
from edge_monitor.memory.scoring_methods import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.records import Samples

_EDGE_S = 1e-6  # a rounded start is no overlap


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


class BundleDetector:
    """A bundle's encoder, and a scorer over the normals as the node would have it.

    Windows lie side by side, the last one right-aligned; those that are not the machine's sound are passed over.
    """

    pooled = False

    def __init__(self, encoder: Encoder, scorer: str | None = None, *, name: str | None = None) -> None:
        """`scorer` is a name of `memory.scoring_methods`; None: the bundle's own."""
        self._encoder = encoder
        self.spec = spec_of(encoder) if scorer is None else replace(spec_of(encoder), scorer=scorer)
        self.name = name or encoder.bundle.name
        self.bundle = encoder.bundle
        self.key = encoder.bundle_hash
        self.sample_rate_hz = encoder.sample_rate_hz

    def check(self) -> None:
        """Raise NormalsError when the scorer does not suit the bundle's vectors, before hours of hearing."""
        fit(None, np.random.default_rng(0).normal(size=(K + 1, self._encoder.dim)), self.spec)

    def features(self, samples: Samples) -> Features:
        """Return the raw embedding of each window, (windows, dim)."""
        windows = sound_windows(samples, self._encoder)
        overlaps = len(windows) > 1 and windows[-1].start_s - windows[-2].start_s < self._encoder.window_s - _EDGE_S
        return Features(self._encoder.embed(np.stack([window.samples for window in windows])), overlaps)

    @property
    def window_s(self) -> float:
        """Return the bundle's window, seconds."""
        return self._encoder.window_s

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Return each test clip's score, the mean over its windows; as many normals are needed as for enrolling."""
        return np.array([scores.mean() for scores in self.window_scores(train, test)])

    def window_scores(self, train: Sequence[Features], test: Sequence[Features]) -> list[NDArray[np.float64]]:
        """Return the scores of each test clip's windows, (windows,). Raises DatasetError as `fit_score`."""
        vectors = np.concatenate([clip.to_learn for clip in train])  # (n, dim)
        if len(vectors) <= K:
            raise DatasetError(f"normal windows to learn: {len(vectors)}, needs {K + 1}")
        scores = fit(None, vectors, self.spec).scores(np.concatenate([clip.vectors for clip in test]))
        return np.split(scores, np.cumsum([len(clip.vectors) for clip in test])[:-1])

    def threshold(self, train: Sequence[Features]) -> float:
        """Return what enrolling these clips would set, at the default rate of false alarms."""
        settings = CalibrationSettings(window_s=self.window_s)
        vectors = np.concatenate([clip.to_learn for clip in train])
        return calibrate(vectors, self.layout(train), self.spec, settings).threshold

    def layout(self, train: Sequence[Features]) -> Layout:
        """Return what of the windows to learn is independent of what: each clip is a recording."""
        windows = [len(clip.to_learn) for clip in train]
        start_s = np.concatenate([np.arange(count) * self.window_s for count in windows])
        return Layout(
            recording=np.repeat(np.arange(len(train)), windows),
            block=np.array([block_of(start) for start in start_s]),
            start_s=start_s,
        )
