"""One individual machine's normals in memory, and what comes nearest to a test clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.quality import check
from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.capture.windowing import cut
from edge_monitor.errors import AudioError, DatasetError
from edge_monitor.memory.distance import K
from edge_monitor.memory.index import ExactIndex
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.node.clips import require_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.evaluate.datasets import Clip
    from edge_monitor.records import Embedding, Samples, Window


def spec_of(encoder: Encoder) -> MetricSpec:
    """Return how a bundle's manifest says its vectors are compared."""
    own = encoder.bundle.manifest.scorer
    return MetricSpec(encoder.metric, encoder.scoring_normalize, encoder.standardization_floor, own.bands, own.name)


def sound_windows(samples: Samples, encoder: Encoder) -> list[Window]:
    """Return the windows of a clip (frames,) at the bundle's rate, side by side, that are the machine's sound.

    The last one is right-aligned. Raises AudioError when there is none, and for less sound than enrolment takes.
    """
    require_length(len(samples) / encoder.sample_rate_hz, encoder)
    windows = list(cut(samples, encoder.sample_rate_hz, encoder.window_s, encoder.window_s))
    faults = [check(window) for window in windows]
    if not (kept := [window for window, fault in zip(windows, faults, strict=True) if fault is None]):
        raise AudioError(faults[0].detail if faults and faults[0] else "no sound")
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class ClipWindow:
    """One window of a clip."""

    clip: Clip
    start_s: float  # position in the clip, seconds
    embedding: Embedding


@dataclass(frozen=True, slots=True, eq=False)
class ScoredClip:
    """A test clip beside the normals."""

    clip: Clip
    score: float  # mean over its windows, >= 0, higher = more anomalous
    worst: ClipWindow  # its window of the highest score
    neighbours: tuple[ClipWindow, ...]  # the k normals nearest to that window, nearest first


class ClipEncoder:
    """Hears clips as the node would: one channel (from 1), windows side by side, the last one right-aligned."""

    def __init__(self, encoder: Encoder, channel: int = 1) -> None:
        self._encoder = encoder
        self.channel = channel

    @property
    def spec(self) -> MetricSpec:
        """Return the bundle's own metric."""
        return spec_of(self._encoder)

    def encode(self, clip: Clip) -> tuple[ClipWindow, ...]:
        """Return a clip's windows that are the machine's sound. Raises AudioError when it cannot be heard."""
        return tuple(
            ClipWindow(clip, window.recording_start_s, self._encoder.embed_window(window))
            for window in self._windows(clip)
        )

    def window(self, heard: ClipWindow) -> Window:
        """Return the sound of a window that was heard before, at the bundle's rate. Raises AudioError."""
        return next(window for window in self._windows(heard.clip) if window.recording_start_s == heard.start_s)

    def _windows(self, clip: Clip) -> list[Window]:
        samples, rate_hz = read_clip(clip.path, self.channel)
        try:
            return sound_windows(resample(samples, rate_hz, self._encoder.sample_rate_hz), self._encoder)
        except AudioError as error:
            raise AudioError(error.message, where=str(clip.path), hint=error.hint) from error


class LearntNormals:
    """Normals of one individual machine; compared one by one, no index approximates.

    Raises DatasetError for fewer than k + 1 normals: such a machine would not be enrolled either.
    """

    def __init__(self, label: str, normals: Sequence[ClipWindow], spec: MetricSpec) -> None:
        if len(normals) <= K:
            raise DatasetError(f"left out: {len(normals)} normal windows to learn, needs {K + 1}", where=label)
        self.normals = tuple(normals)
        raw = np.stack([normal.embedding.vector for normal in normals])  # (normal, dim)
        self._fitted = fit(None, raw, spec)
        self._index = ExactIndex(self._fitted.scaler.apply(raw))

    def score(self, windows: Sequence[ClipWindow]) -> ScoredClip:
        """Return the score of a clip, given all its windows."""
        raw = np.stack([window.embedding.vector for window in windows])  # (window, dim)
        scores = self._fitted.scores(raw)  # (window,)
        worst = int(np.argmax(scores))
        found = self._index.query(self._fitted.scaler.apply(raw[worst]), K)
        neighbours = tuple(self.normals[position] for position in found.position)
        return ScoredClip(windows[worst].clip, float(np.mean(scores)), windows[worst], neighbours)
