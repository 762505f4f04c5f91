"""A model bundle as a detector: its encoder, and a scorer over the normals as the node would have it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.detector import Features
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


class BundleDetector:
    """Windows side by side, the last one right-aligned; those that are not the machine's sound are passed over."""

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

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Return each test clip's score, the mean over its windows; as many normals are needed as for enrolling."""
        vectors = np.concatenate([clip.to_learn for clip in train])  # (n, dim)
        if len(vectors) <= K:
            raise DatasetError(f"normal windows to learn: {len(vectors)}, needs {K + 1}")
        scores = fit(None, vectors, self.spec).scores(np.concatenate([clip.vectors for clip in test]))
        windows = np.array([len(clip.vectors) for clip in test])  # (test,)
        return np.asarray(np.add.reduceat(scores, np.cumsum(windows) - windows) / windows)

    def threshold(self, train: Sequence[Features]) -> float:
        """Return what enrolling these clips would set, at the default rate of false alarms."""
        windows = [len(clip.to_learn) for clip in train]
        start_s = np.concatenate([np.arange(count) * self._encoder.window_s for count in windows])
        layout = Layout(
            recording=np.repeat(np.arange(len(train)), windows),
            block=np.array([block_of(start) for start in start_s]),
            start_s=start_s,
        )
        settings = CalibrationSettings(window_s=self._encoder.window_s)
        return calibrate(np.concatenate([clip.to_learn for clip in train]), layout, self.spec, settings).threshold
