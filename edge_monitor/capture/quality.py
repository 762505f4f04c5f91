"""Is a window the machine's sound at all? Pure signal checks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.records import FaultKind, SignalFault

if TYPE_CHECKING:
    from edge_monitor.records import Samples, Window

FLOOR_DBFS = -150.0  # what `level_dbfs` says of perfect silence

# The self-noise of a MEMS measurement microphone, 29 dB(A) SPL, against its overload point of 120 dB SPL. A quieter
# window has no microphone on it. 192 MIMII clips lie between -46 and -35 dBFS.
_SILENT_DBFS = -90.0
# A converter does not repeat itself: in 192 MIMII clips (16 bit, down to -46 dBFS) no value repeats for more than
# 4 samples (0.25 ms). The span allowed is a sixteenth of a 16-bit step.
_STUCK_SPAN = 2e-6
_STUCK_BLOCK_S = 0.05
_STUCK_S = 0.1
# A quarter of the range lost to DC is a broken bias or input. In the MIMII clips it is below 0.00001; cheap I2S
# microphones that work well show up to 0.1.
_DC_FULL_SCALE = 0.25
# At the rails for 10 ms of a 10 s window; a single knock is at most a few ms. In the MIMII clips: never.
_RAIL = 0.99
_CLIPPED_SHARE = 0.001


def level_dbfs(samples: Samples) -> float:
    """Return the RMS level without DC of (frames,), dB re full scale (a full-scale sine is -3), at least -150."""
    if not len(samples):
        return FLOOR_DBFS
    centred = samples - np.float32(np.mean(samples, dtype=np.float64))
    power = float(np.dot(centred, centred)) / len(samples)  # the variance, in half the time of np.var
    return max(FLOOR_DBFS, 10 * math.log10(power)) if power > 0 else FLOOR_DBFS


def clipped_share(samples: Samples) -> float:
    """Return the share of samples at the rails, 0 to 1."""
    return float(np.count_nonzero(np.abs(samples) >= _RAIL)) / max(1, len(samples))


def check(window: Window) -> SignalFault | None:
    """Return why this window says nothing about the machine, or None when it can be scored."""
    found = _find(window.samples, window.rate_hz)
    if found is None:
        return None
    kind, detail = found
    return SignalFault(window.machine, kind, window.start_s, window.end_s, detail)


def _find(samples: Samples, rate_hz: int) -> tuple[FaultKind, str] | None:
    broken = len(samples) - int(np.count_nonzero(np.isfinite(samples)))
    if broken:
        return FaultKind.NOT_FINITE, f"{broken} samples are not finite numbers"
    stuck_s, value = _longest_stuck(samples, rate_hz)
    # Short sound is repeated until it fills a window: then the length of the silence is the window's, not the sound's.
    throughout = stuck_s + _STUCK_BLOCK_S > len(samples) / rate_hz
    mean = float(np.mean(samples, dtype=np.float64))
    level = level_dbfs(samples)
    share = clipped_share(samples)
    checks = (
        (
            stuck_s >= _STUCK_S and abs(value) > _STUCK_SPAN,
            FaultKind.FLAT,
            f"the signal stands still at {value:.4f} of full scale" + ("" if throughout else f" for {stuck_s:.2f} s"),
        ),
        (
            stuck_s >= _STUCK_S,
            FaultKind.SILENCE,
            "nothing but digital silence" if throughout else f"digital silence for {stuck_s:.2f} s",
        ),
        (abs(mean) > _DC_FULL_SCALE, FaultKind.DC, f"DC offset of {mean:.2f} of full scale"),
        (level < _SILENT_DBFS, FaultKind.SILENCE, f"level {level:.0f} dBFS is below any microphone's own noise"),
        (share > _CLIPPED_SHARE, FaultKind.CLIPPING, f"{100 * share:.1f} % of the samples are at full scale"),
    )
    return next(((kind, detail) for found, kind, detail in checks if found), None)


def _longest_stuck(samples: Samples, rate_hz: int) -> tuple[float, float]:
    """Return the longest stretch that stands still, in seconds to the nearest 50 ms, and the value it stands at."""
    size = max(2, round(_STUCK_BLOCK_S * rate_hz))
    blocks = samples[: len(samples) // size * size].reshape(-1, size)  # (block, frame)
    if not len(blocks):
        return 0.0, 0.0
    stuck = np.ptp(blocks, axis=1) <= _STUCK_SPAN
    edges = np.flatnonzero(np.diff(np.concatenate(([0], stuck.view(np.int8), [0]))))
    if not len(edges):
        return 0.0, 0.0
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return float((ends - starts)[longest] * size / rate_hz), float(blocks[starts[longest], 0])
