"""The log-mel spectrogram that the autoencoder baseline looks at; pure.

As librosa computes it with the settings of the DCASE 2020 Task 2 baseline, without needing librosa.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import Samples

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
