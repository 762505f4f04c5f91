"""The sound of a fault apart from any machine, to be mixed into recorded sound, and its level over that sound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.simulator_faults import make_fault
from edge_monitor.capture.simulator_machine import CHUNK_S, Chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.records import Samples

SHAFT_HZ = 24.5  # a four-pole motor at 50 Hz with slip, whatever the machine: recorded sound does not say it
DEFECT = 0  # the same defect for every machine: levels can be compared
_TONE_OF_FLOOR = 2.0  # a line of the spectrum by so much, in amplitude, over the floor around it is a tone
_FLOOR_HZ = 60.0  # on each side of a line, to find the floor by
_LINES_HZ = 4.0  # between two lines of the spectrum


def fault_band_hz(kind: str, rate_hz: int) -> tuple[float, float]:
    """Return where a fault is loud, whole Hz."""
    low, high = make_fault(kind, DEFECT, 0, rate_hz).band_hz
    return float(round(low)), float(round(high))


def fault_sound(kind: str, take: int, frames: int, rate_hz: int) -> Samples:
    """Return (frames,) float32 of a fault on a shaft of steady speed, at no particular level.

    Takes are stretches of one defect: they begin anywhere in a turn.
    """
    fault = make_fault(kind, DEFECT, take, rate_hz)
    chunk = round(CHUNK_S * rate_hz)
    speed, silence = np.ones(chunk), np.zeros(chunk, dtype=np.float32)
    first = float(np.random.default_rng((DEFECT, take, 5)).uniform(0, 1000))  # turns
    parts = []
    for begin in range(0, frames, chunk):
        turns = np.asarray(first + (begin + 1 + np.arange(chunk)) * (SHAFT_HZ / rate_hz), dtype=np.float64)
        parts.append(fault.next_chunk(Chunk(silence, turns, speed)))
    return np.concatenate(parts)[:frames]


def band_power(samples: Samples, rate_hz: int, band_hz: tuple[float, float]) -> float:
    """Return the mean power of (frames,) within a band, by its periodogram."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    hz = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    inside = (hz >= band_hz[0]) & (hz < band_hz[1])
    return float(2 * np.sum(np.abs(spectrum[inside]) ** 2) / len(samples) ** 2)


def gain_over(fault: float, healthy: float, level_db: float) -> float:
    """Return the gain that puts a fault of power > 0 in its band `level_db` over healthy sound's power there."""
    return math.sqrt(healthy / fault * 10 ** (level_db / 10))


def floor_gain(windows: Sequence[Samples], rate_hz: int, loss_db: float) -> NDArray[np.float64]:
    """Return the gain of each line of a window's spectrum, (frames // 2 + 1,), that takes its flow noise down.

    Loss of flow leaves the tones of shaft and blades and lowers the noise between them. Tones are the lines that stand
    out of the floor of the windows' mean spectrum, each (frames,), all of one length.
    """
    frames, size = len(windows[0]), round(rate_hz / _LINES_HZ)
    taper = np.hanning(size)
    power = np.zeros(size // 2 + 1)
    for window in windows:
        for begin in range(0, frames - size + 1, size):
            power += np.abs(np.fft.rfft(window[begin : begin + size] * taper)) ** 2
    around = round(_FLOOR_HZ / _LINES_HZ)
    padded = np.pad(np.sqrt(power), around, mode="reflect")
    floor = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1), axis=1)
    tone = np.sqrt(power) > _TONE_OF_FLOOR * floor
    gain = np.where(tone, 1.0, 10 ** (-loss_db / 20))
    hz, lines_hz = np.fft.rfftfreq(frames, 1 / rate_hz), np.fft.rfftfreq(size, 1 / rate_hz)
    return np.asarray(np.interp(hz, lines_hz, gain), dtype=np.float64)
