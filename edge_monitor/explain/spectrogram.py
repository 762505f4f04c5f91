"""A window's spectrogram in a few kilobytes: small enough to keep one with every normal."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import StorageError
from edge_monitor.explain.spectrum import frame_of, short_time_power

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import Samples

BANDS = 64
MAX_STEPS = 128
FLOOR_DB = -120.0  # stored levels: FLOOR_DB … 0 dBFS in 255 steps of 0.47 dB
LOW_HZ = 20.0  # lower edge of the first band
_FRAME_S = 0.064  # 1024 samples at 16 kHz: bins of 16 Hz, no wider than the lowest band
_HEADER = struct.Struct("<4sBBHIfff")  # magic, version, bands, steps, rate_hz, seconds, low_hz, high_hz
_MAGIC = b"EMSG"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class CompactSpectrogram:
    """Band levels over time. The bands are equally wide in mel, so rows are equally spaced on a mel axis."""

    db: NDArray[np.float32]  # (bands, steps), mean square per band in dB re full scale, FLOOR_DB … 0, low band first
    freqs_hz: NDArray[np.float64]  # (bands,) centres
    low_hz: float  # lower edge of the lowest band
    high_hz: float  # upper edge of the highest band
    seconds: float  # duration of the window
    rate_hz: int  # sample rate of the window


def mel(freq_hz: float) -> float:
    """Return a frequency (Hz) on the mel scale of O'Shaughnessy (1987)."""
    return 2595.0 * float(np.log10(1.0 + freq_hz / 700.0))


def compact(samples: Samples, rate_hz: int) -> bytes:
    """Return the spectrogram of a window, (frames,) float32 with full scale ±1, as about 6 kB.

    64 mel bands from 20 Hz to half the sample rate, at most 128 time steps of mean power, one byte each,
    deflated behind a header with version, rate, duration and frequency range.
    """
    frame = frame_of(_FRAME_S, rate_hz)
    power = short_time_power(np.asarray(samples, dtype=np.float32), frame, frame // 2)  # (frames, bins)
    bands = power @ _filters(power.shape[1], rate_hz).T  # (frames, bands)
    steps = min(MAX_STEPS, len(bands))
    starts = np.arange(steps) * len(bands) // steps
    counts = np.diff(np.append(starts, len(bands)))
    means = np.add.reduceat(bands, starts, axis=0) / counts[:, None]  # (steps, bands)
    level_db = 10.0 * np.log10(np.maximum(means.T, 10.0 ** (FLOOR_DB / 10.0)))
    levels = np.rint((np.clip(level_db, FLOOR_DB, 0.0) / -FLOOR_DB + 1.0) * 255.0).astype(np.uint8)
    seconds = len(samples) / rate_hz
    header = _HEADER.pack(_MAGIC, _VERSION, BANDS, steps, rate_hz, seconds, LOW_HZ, rate_hz / 2)
    return header + zlib.compress(levels.tobytes(), 9)


def expand(stored: bytes) -> CompactSpectrogram:
    """Return what `compact` stored, exact to 0.24 dB. Raises StorageError when the bytes are damaged."""
    try:
        magic, version, bands, steps, rate_hz, seconds, low_hz, high_hz = _HEADER.unpack_from(stored)
        size = bands * steps
        levels = zlib.decompressobj().decompress(stored[_HEADER.size :], size + 1)
    except (struct.error, zlib.error) as error:
        raise StorageError("a stored spectrogram is damaged") from error
    known = magic == _MAGIC and version == _VERSION
    if not known or not size or len(levels) != size or not 0 <= low_hz < high_hz < np.inf or not 0 < seconds < np.inf:
        raise StorageError("a stored spectrogram is damaged, or of a newer version")
    grid = np.frombuffer(levels, dtype=np.uint8).reshape(bands, steps)
    db = (grid.astype(np.float32) / 255.0 - 1.0) * np.float32(-FLOOR_DB)
    return CompactSpectrogram(db, mel_edges(low_hz, high_hz, bands)[1:-1], low_hz, high_hz, seconds, rate_hz)


def mel_edges(low_hz: float, high_hz: float, bands: int) -> NDArray[np.float64]:
    """Return the bands + 2 corner frequencies (Hz) of overlapping triangles, equally spaced in mel."""
    mels = np.linspace(mel(low_hz), mel(high_hz), bands + 2)
    return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))


def _filters(bins: int, rate_hz: int) -> NDArray[np.float32]:
    """Return triangular filters of height 1, (bands, bins): power between the outer centres is kept once."""
    freqs_hz = np.linspace(0.0, rate_hz / 2, bins)
    edges_hz = mel_edges(LOW_HZ, rate_hz / 2, BANDS)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (freqs_hz - low) / (centre - low)
    falling = (high - freqs_hz) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
