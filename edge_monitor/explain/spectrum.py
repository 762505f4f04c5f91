"""Levels of a sound over frequency and time: band edges, short-time power, the noise floor under the tones."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import Samples

    Array = NDArray[np.float64]

SILENCE = 1e-13  # mean square of -130 dBFS: what is quieter counts as this
_LOWEST_HZ = 20.0  # microphones roll off below
_TOP = 0.46  # of the sample rate: the anti-aliasing filter lies above
_THIRD = 2 ** (1 / 3)
_CHUNK_SAMPLES = 65_536  # transformed at once: all frames of a long sound would take 20 MB


def band_edges(rate_hz: int) -> Array:
    """Return the bands' edges in Hz, (bands + 1,): third octaves (IEC 61260, base two), wider below 90 Hz."""
    edges = [_LOWEST_HZ, 40.0, 63.0, 1000 * 2 ** (-21 / 6)]  # the last one is 88.4 Hz, a third-octave edge
    while edges[-1] * _THIRD <= _TOP * rate_hz:
        edges.append(edges[-1] * _THIRD)
    return np.array(edges)


def short_time_power(samples: Samples, frame: int, hop: int) -> NDArray[np.float32]:
    """Return mean square per frame and bin, (frames, frame / 2 + 1): over the bins it sums to the frame's mean square.

    Hann window; a sound shorter than a frame is continued with silence.
    """
    if len(samples) < frame:
        samples = np.pad(samples, (0, frame - len(samples)))
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    scale = np.float32(2 / (frame * float(np.sum(window**2))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop]
    power = np.empty((len(frames), frame // 2 + 1), dtype=np.float32)
    rows = max(1, _CHUNK_SAMPLES // frame)
    for begin in range(0, len(frames), rows):
        spectrum = np.fft.rfft(frames[begin : begin + rows] * window, axis=1)
        power[begin : begin + rows] = (spectrum.real**2 + spectrum.imag**2) * scale
    power[:, 0] /= 2
    return power


def frame_of(seconds: float, rate_hz: int) -> int:
    """Return the power of two nearest to this duration, in frames."""
    return int(2 ** round(np.log2(seconds * rate_hz)))


def bin_range(low: float, high: float, step: float) -> slice:
    """Return the bins from `low` to below `high`, at least one; all three in the same unit."""
    first = int(np.ceil(low / step))
    return slice(first, max(first + 1, int(np.ceil(high / step))))


def in_db(power: NDArray[np.floating]) -> Array:
    """Return mean squares in dB re full scale, not below -130."""
    return np.asarray(10 * np.log10(np.maximum(power, SILENCE).astype(np.float64)))


def floor_db(levels_db: Array, first: int, least: int = 24) -> Array:
    """Return the floor under the peaks of a spectrum in dB, (bins,): medians of sixth octaves, joined by lines.

    Below bin `first` there is nothing to see; a part is at least `least` bins wide, so that tones do not fill it.
    """
    edges = [max(1, first)]
    while edges[-1] < len(levels_db):
        edges.append(max(edges[-1] + least, round(edges[-1] * 2 ** (1 / 6))))
    parts = [(low, min(high, len(levels_db))) for low, high in pairwise(edges)]
    if len(parts) > 1 and parts[-1][1] - parts[-1][0] < least // 2:
        parts[-2:] = [(parts[-2][0], parts[-1][1])]
    centres = [(low + high - 1) / 2 for low, high in parts]
    medians = [float(np.median(levels_db[low:high])) for low, high in parts]
    return np.interp(np.arange(len(levels_db)), centres, medians)
