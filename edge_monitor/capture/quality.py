"""Is a window the machine's sound at all? Pure signal checks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.records import FaultKind, SignalFault

if TYPE_CHECKING:
    from edge_monitor.records import Samples, Window

FLOOR_DBFS = -150.0  # what `level_dbfs` says of perfect silence

# No level is too low for a microphone: digital ones have -92 to -105 dBFS of their own noise in a quiet hall. What is
# too quiet for this machine is told by what was learnt of it (`standstill.py`).
# A converter does not repeat itself: in 192 MIMII clips (16 bit, down to -46 dBFS) no value repeats for more than
# 4 samples (0.25 ms). The span allowed is a sixteenth of a 16-bit step: below it lies no microphone (-130 dBFS).
_STUCK_SPAN = 2e-6
_STUCK_BLOCK_S = 0.05
_STUCK_S = 0.1
# Noise of less than a 16-bit step is a row of equal values with a step here and there: pink noise of -105 dBFS stands
# still in 6 % of its blocks, and the others span a step or two; from -98 dBFS on it never does. So a stretch within
# such sound is no fault; a quarter of the blocks decides, since a knock makes a few of them loud.
_QUIET_SPAN = 3 / 32_768
_QUIET_QUANTILE = 0.25
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
    stuck_s, value, span = _longest_stuck(samples, rate_hz)
    # Short sound is repeated until it fills a window: then the length of the silence is the window's, not the sound's.
    throughout = stuck_s + _STUCK_BLOCK_S > len(samples) / rate_hz
    stuck = stuck_s >= _STUCK_S and (throughout or span > _QUIET_SPAN)
    mean = float(np.mean(samples, dtype=np.float64))
    share = clipped_share(samples)
    checks = (
        (
            stuck and abs(value) > _STUCK_SPAN,
            FaultKind.FLAT,
            f"the signal stands still at {value:.4f} of full scale" + ("" if throughout else f" for {stuck_s:.2f} s"),
        ),
        (
            stuck,
            FaultKind.SILENCE,
            "nothing but digital silence" if throughout else f"digital silence for {stuck_s:.2f} s",
        ),
        (abs(mean) > _DC_FULL_SCALE, FaultKind.DC, f"DC offset of {mean:.2f} of full scale"),
        (share > _CLIPPED_SHARE, FaultKind.CLIPPING, f"{100 * share:.1f} % of the samples are at full scale"),
    )
    return next(((kind, detail) for found, kind, detail in checks if found), None)


def _longest_stuck(samples: Samples, rate_hz: int) -> tuple[float, float, float]:
    """Return the longest stretch that stands still, seconds to the nearest 50 ms, its value, and a span.

    The span is the largest less the smallest sample that a quarter of the moving blocks does not exceed.
    """
    size = max(2, round(_STUCK_BLOCK_S * rate_hz))
    blocks = samples[: len(samples) // size * size].reshape(-1, size)  # (block, frame)
    spans = np.ptp(blocks, axis=1)
    stuck = spans <= _STUCK_SPAN
    edges = np.flatnonzero(np.diff(np.concatenate(([0], stuck.view(np.int8), [0]))))
    if not len(edges):
        return 0.0, 0.0, 0.0
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    span = 0.0 if stuck.all() else float(np.quantile(spans[~stuck], _QUIET_QUANTILE))
    return float((ends - starts)[longest] * size / rate_hz), float(blocks[starts[longest], 0]), span
