"""The autoencoder baseline of DCASE 2020 Challenge Task 2, Table I's first column; it needs torch.

After the challenge's description (Koizumi et al., arXiv 2006.05822). It was run in Keras 2.1 (its README), so what the
description leaves open is as Keras has it: Glorot initialization, the constants of batch normalization and Adam, and
which vectors are held out. Its log-mel spectrogram is computed as librosa does, without needing librosa.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import AudioError, DatasetError, EdgeMonitorError
from edge_monitor.evaluate.detector import Features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from edge_monitor.records import Samples

    Frames = NDArray[np.float32]  # (frames, 128), dB: one clip's log-mel spectrogram

RATE_HZ = 16_000
BANDS = 128
_FRAME = 1024  # samples, Hann
_HOP = 512  # samples
_EPSILON = sys.float_info.epsilon  # added to a band's power: digital silence reads -156.5 dB

# Slaney's mel scale (Auditory Toolbox, 1998): 3 mel to 200 Hz up to 1 kHz, from there 27 mel to a factor of 6.4.
_LINEAR_HZ = 200.0 / 3.0
_CORNER_HZ = 1000.0
_CORNER_MEL = _CORNER_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0

CONTEXT = 5  # frames in one vector of 640
SHORTEST = 2048  # samples: the shortest clip of so many frames
WIDTHS = (128, 128, 128, 128, 8, 128, 128, 128, 128)  # of the hidden layers, each with batch normalization and ReLU
EPOCHS = 100
BATCH = 512  # vectors
LEARNING_RATE = 1e-3
VERSION = "1"  # of all of this: another one for other scores of the same clips
HELD_OUT = 0.1  # the last part of the vectors is not learnt; the baseline only watches its loss

# Keras's defaults where torch has others.
_NORM_EPSILON = 1e-3
_NORM_MOMENTUM = 0.01  # of the newest batch; Keras calls it 0.99
_ADAM_EPSILON = 1e-7
_FEWEST = 2  # vectors that batch normalization makes sense of


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained autoencoder and how it got there."""

    network: nn.Module
    loss: NDArray[np.float64]  # (epochs,) dB², mean squared error of the learnt vectors while they were learnt
    held_out_loss: NDArray[np.float64]  # (epochs,) dB², of the held-out vectors after each epoch

    def score(self, clip: Frames) -> float:
        """Return a clip's anomaly score, >= 0, higher = more anomalous: its vectors' mean squared error, dB²."""
        return _mean_error(self.network, *_vectors([clip]))


class Autoencoder:
    """The baseline as a detector: one network for all ids of a type of machine.

    `progress` is told (epochs done, epochs) while a network is trained. Raises EdgeMonitorError without torch.
    """

    name = "autoencoder"
    key = "log-mel-128-1"
    sample_rate_hz = RATE_HZ
    pooled = True

    def __init__(self, *, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> None:
        _torch()
        self._seed = seed
        self._progress = progress

    def features(self, samples: Samples) -> Features:
        """Return a clip's log-mel spectrogram; see `Detector.features`."""
        if len(samples) < SHORTEST:
            raise AudioError(f"too short for the autoencoder: {len(samples)} samples at 16 kHz, needs {SHORTEST}")
        if not np.isfinite(samples).all():
            raise AudioError("some samples are not numbers")
        return Features(log_mel(samples))

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Train a network and score `test`; see `Detector.fit_score`."""
        trained = fit([clip.vectors for clip in train], seed=self._seed, progress=self._progress)
        return np.array([trained.score(clip.vectors) for clip in test])

    def threshold(self, train: Sequence[Features]) -> float | None:  # noqa: ARG002 - the contract's argument
        """Return None: the baseline of 2020 has no threshold."""
        return None


def fit(
    clips: Sequence[Frames],
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a network on clips' log-mel spectrograms, in the order given; the same call gives the same network.

    Raises DatasetError for fewer than two vectors to learn, and EdgeMonitorError without torch.
    """
    torch = _torch()
    stream, starts = _vectors(clips)
    learnt, held_out = starts.tensor_split([int(len(starts) * (1.0 - HELD_OUT))])
    if len(learnt) < _FEWEST:
        raise DatasetError(f"too little for the autoencoder to learn: {len(starts)} vectors of {CONTEXT} frames")
    generator = torch.Generator().manual_seed(seed)
    network = _network(torch, generator)
    adam = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, eps=_ADAM_EPSILON, fused=True)
    loss, held_out_loss = np.zeros(epochs), np.zeros(epochs)
    for epoch in range(epochs):
        network.train()
        order = learnt[torch.randperm(len(learnt), generator=generator)]
        # one vector left over: another one next epoch
        batches = [batch for batch in order.split(BATCH) if len(batch) >= _FEWEST]
        for batch in batches:
            vectors = stream.index_select(0, batch)  # (batch, 640)
            error = torch.nn.functional.mse_loss(network(vectors), vectors)
            adam.zero_grad()
            error.backward()
            adam.step()
            loss[epoch] += error.item() * len(batch)
        loss[epoch] /= sum(map(len, batches))
        held_out_loss[epoch] = _mean_error(network, stream, held_out)
        if progress:
            progress(epoch + 1, epochs)
    network.eval()
    return Trained(network, loss, held_out_loss)


def _network(torch: Any, generator: Any) -> nn.Module:  # noqa: ANN401 - torch is not there when types are checked
    layers: list[nn.Module] = []
    inputs = CONTEXT * BANDS
    for width in (*WIDTHS, CONTEXT * BANDS):
        dense = torch.nn.Linear(inputs, width)
        torch.nn.init.xavier_uniform_(dense.weight, generator=generator)
        torch.nn.init.zeros_(dense.bias)
        norm = torch.nn.BatchNorm1d(width, eps=_NORM_EPSILON, momentum=_NORM_MOMENTUM)
        layers += [dense, norm, torch.nn.ReLU(inplace=True)]
        inputs = width
    return torch.nn.Sequential(*layers[:-2])  # the output is linear


def _vectors(clips: Sequence[Frames]) -> tuple[Tensor, Tensor]:
    """Return all clips' frames as overlapping vectors (n, 640), without copies, and which of them lie in one clip."""
    torch = _torch()
    frames = torch.from_numpy(np.concatenate(clips))  # (frames, 128)
    stream = frames.as_strided((len(frames) - CONTEXT + 1, CONTEXT * BANDS), (BANDS, 1))
    ends = np.cumsum([len(clip) for clip in clips])
    starts = [np.arange(end - len(clip), end - CONTEXT + 1) for clip, end in zip(clips, ends, strict=True)]
    return stream, torch.from_numpy(np.concatenate(starts))


def _mean_error(network: nn.Module, stream: Tensor, starts: Tensor) -> float:
    """Return the mean squared error of some vectors, dB²."""
    torch = _torch()
    network.eval()
    with torch.inference_mode():
        batches = (stream.index_select(0, batch) for batch in starts.split(BATCH))
        errors = [((network(vectors) - vectors) ** 2).mean(1) for vectors in batches]
    return float(torch.cat(errors).double().mean())


def _torch() -> Any:  # noqa: ANN401 - torch is not there when types are checked
    try:
        import torch
    except ImportError as error:
        raise EdgeMonitorError(
            "the autoencoder baseline needs torch", hint="pip install 'edge-monitor[baseline]'"
        ) from error
    return torch


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """Return `(frames, 128)` band powers in dB of `samples` (n,) float32 at 16 kHz, n >= 1.

    Frame t is centred on sample 512 t; beyond its ends the sound is mirrored. There are 1 + n // 512 frames.
    """
    padded = np.pad(samples.astype(np.float64), _FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    hann = np.hanning(_FRAME + 1)[:-1]  # periodic
    power = np.abs(np.fft.rfft(frames * hann)) ** 2  # (frame, bin)
    return np.asarray(10.0 * np.log10(power @ _triangles() + _EPSILON), dtype=np.float32)


@cache
def _triangles() -> NDArray[np.float64]:
    """Return the `(bins, 128)` weights of triangles evenly spaced in mel from 0 to 8 kHz, each of area 1 (Hz)."""
    top_mel = _CORNER_MEL + np.log(RATE_HZ / 2 / _CORNER_HZ) / _LOG_STEP
    mel = np.linspace(0.0, top_mel, BANDS + 2)
    above_hz = _CORNER_HZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    edges = np.where(mel < _CORNER_MEL, _LINEAR_HZ * mel, above_hz)  # (bands + 2,) Hz
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(_FRAME // 2 + 1)[:, None] * RATE_HZ / _FRAME
    rise = (bins - low) / (middle - low)
    fall = (high - bins) / (high - middle)
    return np.asarray(np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (high - low))
