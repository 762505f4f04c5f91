"""What a person sees while placing a microphone: level, peak, clipping and bands; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.quality import FLOOR_DBFS, clipped_share, level_dbfs

if TYPE_CHECKING:
    from edge_monitor.records import Samples

# Nominal half-octave centres, IEC 61260-1:2014 (base ten: 10^0.15 apart, 1 kHz among them).
_CENTRES_HZ = (63, 90, 125, 180, 250, 355, 500, 710, 1000, 1400, 2000, 2800, 4000, 5600, 8000)
_HALF_BAND = 10**0.075
_BARS = " ▁▂▃▄▅▆▇█"
_QUIETEST_DBFS, _LOUDEST_DBFS = -90.0, -20.0  # of a band: an empty bar and a full one


@dataclass(frozen=True, slots=True)
class Band:
    """One half-octave band."""

    centre_hz: int
    level_dbfs: float


@dataclass(frozen=True, slots=True)
class Meter:
    """One reading of the meter."""

    level_dbfs: float  # RMS without DC, dB re full scale
    peak_dbfs: float  # highest sample
    clipped_share: float  # samples at the rails, 0 to 1
    bands: tuple[Band, ...]  # lowest first; those below 0.45 of the sample rate

    def bars(self) -> str:
        """Return one character per band, blank at -90 dBFS and below, full at -20 dBFS and above."""
        step = (_LOUDEST_DBFS - _QUIETEST_DBFS) / (len(_BARS) - 1)
        heights = (round((band.level_dbfs - _QUIETEST_DBFS) / step) for band in self.bands)
        return "".join(_BARS[min(len(_BARS) - 1, max(0, height))] for height in heights)

    def line(self) -> str:
        """Return the reading as one line of text."""
        clipping = f"  CLIPPING {100 * self.clipped_share:.1f} %" if self.clipped_share else ""
        ends = f"{self.bands[0].centre_hz} Hz |{self.bars()}| {self.bands[-1].centre_hz} Hz" if self.bands else ""
        return f"{self.level_dbfs:6.1f} dBFS  peak {self.peak_dbfs:6.1f}  {ends}{clipping}"


def meter(samples: Samples, rate_hz: int) -> Meter:
    """Return the reading of (frames,) float32; a quarter second or more tells the lowest bands apart.

    Samples that are not finite count as zero.
    """
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(np.max(np.abs(samples), initial=0.0))
    return Meter(
        level_dbfs=level_dbfs(samples),
        peak_dbfs=20 * math.log10(peak) if peak > 0 else FLOOR_DBFS,
        clipped_share=clipped_share(samples),
        bands=_bands(samples, rate_hz),
    )


def _bands(samples: Samples, rate_hz: int) -> tuple[Band, ...]:
    frames = len(samples)
    if not frames:
        return ()
    window = np.hanning(frames)
    spectrum = np.fft.rfft((samples - samples.mean()) * window)
    # Parseval: twice the one-sided power over the window's own gives the mean square.
    power = 2 * np.abs(spectrum) ** 2 / (frames * max(float(np.sum(window**2)), 1e-12))
    hz = np.fft.rfftfreq(frames, 1 / rate_hz)
    bands = []
    for centre in _CENTRES_HZ:
        if centre > 0.45 * rate_hz:
            break
        inside = (hz >= centre / _HALF_BAND) & (hz < centre * _HALF_BAND)
        total = float(np.sum(power[inside]))
        bands.append(Band(centre, max(FLOOR_DBFS, 10 * math.log10(total)) if total > 0 else FLOOR_DBFS))
    return tuple(bands)
