"""One machine's stream at the rate the bundle listens at."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from edge_monitor.records import AudioBlock, Samples

_QUALITY = "HQ"  # 20 bits of precision: below the noise of any microphone


class StreamResampler:
    """Resamples one machine's blocks, from whatever rate they come at, to `rate_hz`.

    Filter delay is taken out: output sample n sounds n / rate_hz after the first input sample since the last gap.
    The filter starts anew after a gap, so nothing leaks across it; the few milliseconds it still held go with it.
    A not-a-number spoils the 30 ms around it and no more (measured). Blocks already at `rate_hz` pass untouched.
    The filter takes what lies outside the sound for zeros: a DC offset would begin and end with a click, so it goes
    round the filter.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._stream: soxr.ResampleStream | None = None
        self._input_hz = 0
        self._offset: np.float32 = np.float32(0)
        self._origin: AudioBlock | None = None  # the block whose gap the next output carries
        self._taken = 0  # input frames since the stream began anew
        self._given = 0  # output frames since then

    def feed(self, block: AudioBlock) -> AudioBlock | None:
        """Return what has become available, or None while the filter fills; a `last` block always returns one."""
        if block.rate_hz == self.rate_hz:
            self._stream = None
            return block
        if self._stream is None or block.gap or block.rate_hz != self._input_hz:
            self._stream = soxr.ResampleStream(block.rate_hz, self.rate_hz, 1, dtype="float32", quality=_QUALITY)
            self._input_hz = block.rate_hz
            self._offset = _offset(block.samples)
            self._origin = None
            self._taken = self._given = 0
        self._taken += len(block.samples)
        centred = block.samples - self._offset
        samples: Samples = self._stream.resample_chunk(centred, last=block.last) + self._offset
        if block.last:
            # Flushing may round up by a frame: the output is not longer than the sound that went in.
            samples = samples[: round(self._taken * self.rate_hz / block.rate_hz) - self._given]
            self._stream = None
        origin = self._origin or block
        if not len(samples) and not block.last:
            self._origin = origin
            return None
        self._origin = None
        # Counted back from the newest block's label: a live label may follow the clock without a gap.
        behind_s = self._taken / block.rate_hz - self._given / self.rate_hz
        self._given += len(samples)
        return replace(
            block,
            samples=samples,
            rate_hz=self.rate_hz,
            start_s=block.end_s - behind_s,
            recording_start_s=block.recording_start_s + len(block.samples) / block.rate_hz - behind_s,
            gap=origin.gap,
            dropped_frames=round(origin.dropped_frames * self.rate_hz / block.rate_hz),
        )


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Return a whole clip (frames,) float32 at another rate; the same array when the rates are equal."""
    if from_hz == to_hz:
        return samples
    offset = _offset(samples)
    out: Samples = soxr.resample(samples - offset, from_hz, to_hz, quality=_QUALITY) + offset
    return out


def _offset(samples: Samples) -> np.float32:
    """Return the DC offset of (frames,); 0 where there is none to be known."""
    mean = float(np.mean(samples, dtype=np.float64)) if len(samples) else 0.0
    return np.float32(mean if math.isfinite(mean) else 0.0)
