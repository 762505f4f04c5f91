"""Tones of a sound: what stands out of the noise around it, steady or wavering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.spectrum import floor_db, in_db

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MOST_TONES = 48
LEAST_DB = 3.0  # a wavering tone this far above the noise is listed: ten times what noise alone does
_LEAST_STEADY_DB = 6.0  # single bins of noise reach 4 dB above their neighbours in 10 s
_STEADY_BINS = 2  # each side: the main lobe of the Hann window
_WAVER = 0.02  # half width of a wavering tone relative to its frequency; belts and brakes waver that much
_WAVERING_FROM_HZ = 400.0  # below, a wavering tone is no wider than a steady one's main lobe


@dataclass(frozen=True, slots=True)
class Tone:
    """A peak of the spectrum that lasts for at least half of the sound."""

    hz: float
    level_db: float  # of the peak, dB re full scale
    prominence_db: float  # over the noise around it, in the same bandwidth
    swing_db: float  # its level's 10 to 90 % range over time


def find_tones(
    power: NDArray[np.float32], median: Array, step_hz: float, lowest_hz: float, highest_hz: float
) -> tuple[Tone, ...]:
    """Return the most prominent tones, lowest first, of a short-time power spectrum (frames, bins).

    `median` (bins,) is the spectrum's over time: what lasts for less than half of the time is no tone.
    """
    first, last = round(lowest_hz / step_hz), min(len(median), round(highest_hz / step_hz))
    floor = floor_db(in_db(median), first)
    places = np.arange(len(median))
    found: list[tuple[float, int, int]] = []  # prominence over what is least, peak, half width in bins
    for least_db, half in (
        (_LEAST_STEADY_DB, np.full(len(median), _STEADY_BINS)),
        (LEAST_DB, np.where(places * step_hz >= _WAVERING_FROM_HZ, np.rint(places * _WAVER).astype(int), 0)),
    ):
        total = np.concatenate([[0.0], np.cumsum(median, dtype=np.float64)])
        low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(median))
        above = in_db((total[high] - total[low]) / (high - low)) - floor
        above[(half == 0) | (places < first) | (places >= last)] = -np.inf
        found += [(float(above[peak]), int(peak), int(half[peak])) for peak in _peaks(above, half, least_db)]
    found = _told_apart(found)
    listed = sorted(found, reverse=True)[:MOST_TONES]
    tones = [_tone(power, median, floor, place, step_hz) for place in listed]
    return tuple(sorted(tones, key=lambda tone: tone.hz))


def _told_apart(found: list[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    """Return each tone once: a steady tone is seen by the wide search too, a wavering one is many narrow peaks."""
    steady = [tone for tone in found if tone[2] == _STEADY_BINS]
    wavering = [tone for tone in found if tone[2] > _STEADY_BINS]
    kept: list[tuple[float, int, int]] = []
    for prominence, peak, half in sorted(wavering, reverse=True):
        inside = [tone for tone in steady if abs(tone[1] - peak) <= half + _STEADY_BINS]
        most = max((_energy(*tone) for tone in inside), default=0.0)
        if most < 0.5 * _energy(prominence, peak, half) and all(abs(peak - at) > half + wide for _, at, wide in kept):
            kept.append((prominence, peak, half))
    narrow = [tone for tone in steady if all(abs(tone[1] - at) > 1.5 * wide for _, at, wide in kept)]
    return kept + narrow


def _energy(prominence_db: float, _: int, half: int) -> float:
    """Return a tone's power over the noise, in units of the noise in one bin."""
    return float((10.0 ** (prominence_db / 10) - 1) * (2 * half + 1))


def _peaks(above: Array, half: NDArray[np.int_], least_db: float) -> NDArray[np.intp]:
    """Return the bins that are at least `least_db` and the highest within their own half width."""
    candidates = np.flatnonzero(above >= least_db)
    highest = [p for p in candidates if above[p] >= above[max(0, p - half[p]) : p + half[p] + 1].max()]
    return np.array(highest, dtype=np.intp)


def _tone(
    power: NDArray[np.float32], median: Array, floor: Array, place: tuple[float, int, int], step_hz: float
) -> Tone:
    prominence, peak, half = place
    span = slice(max(0, peak - half), peak + half + 1)
    over = np.maximum(median[span] - 10 ** (floor[span] / 10), 0)
    places = np.arange(span.start, span.start + len(over))
    centre = float(np.sum(places * over) / np.sum(over)) if np.sum(over) > 0 else float(peak)
    levels = in_db(power[:, span].sum(axis=1))
    low, high = np.percentile(levels, (10, 90))
    return Tone(
        hz=centre * step_hz,
        level_db=float(in_db(np.atleast_1d(median[span].sum()))[0]),
        prominence_db=prominence,
        swing_db=float(high - low),
    )
