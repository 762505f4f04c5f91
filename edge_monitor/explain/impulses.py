"""Impulses and rhythms of a sound, from the envelopes of its bands.

Kurtosis per band as in Antoni, The spectral kurtosis (2006); the envelope's spectrum as in Randall and Antoni, Rolling
element bearing diagnostics - a tutorial (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.spectrum import floor_db, in_db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_monitor.records import Samples

    Array = NDArray[np.float64]

MOST_RHYTHMS = 6  # per band
MOST_MOMENTS = 8  # per band
LEAST_RHYTHM_DB = 6.0  # the envelope of plain noise has peaks up to this far above its neighbours in 10 s
FASTEST_HZ = 500.0  # rhythms; the ear hears them as roughness
SLOWEST_HZ = 3.0  # of a slower one 10 s hold too few turns
_LOWEST_HZ = 500.0  # lower edge of the lowest band
_LINE = 4.0  # amplitude over its surroundings to which a line of the spectrum is held down: a tone is no impulse
_EDGE_S = 0.02  # faded in and out, and left out of the figures
_SMOOTH_S = 0.0015  # energy is averaged over this before impulses are counted
_LOUD = 12.0  # energy over its median that makes an impulse: noise does it once in seconds
_APART_S = 0.004  # what follows faster belongs to the same impulse
_ENVELOPE_HZ = 1200.0  # least rate of the envelope for its spectrum
_RHYTHM_FRAME_S = 2.0
_RHYTHM_PART = 10  # bins at least whose median is the floor: envelopes have more slow swings than fast ones


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A line in an envelope's spectrum."""

    per_s: float
    depth: float  # of the modulation, 0 to 1 and above: amplitude of the swing over the mean
    prominence_db: float  # over the envelope's spectrum around it


@dataclass(frozen=True, slots=True)
class Impulsiveness:
    """How one band's envelope behaves."""

    low_hz: float
    high_hz: float
    crest_db: float  # highest energy over the mean
    kurtosis_db: float  # 0 for noise, above for impulses, -3 for a tone
    per_s: float  # moments with twelve times the median energy, 1/s
    moments_s: tuple[float, ...]  # the loudest of them, seconds from the start
    rhythms: tuple[Rhythm, ...]  # most prominent first


def find_impulses(samples: Samples, rate_hz: int) -> tuple[Impulsiveness, ...]:
    """Return each band's impulsiveness, lowest band first: octaves from 500 Hz up, half overlapping."""
    return tuple(_describe(*band) for band in _envelopes(samples, rate_hz))


def _envelopes(samples: Samples, rate_hz: int) -> Iterator[tuple[float, float, Array, float]]:
    """Yield low edge and high edge in Hz, energy envelope (n,), its rate in Hz."""
    seconds = len(samples) / rate_hz
    fade = min(len(samples) // 4, round(_EDGE_S * rate_hz))
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)).astype(np.float32)
    faded = samples - samples.mean(dtype=np.float64).astype(np.float32)
    faded[:fade] *= ramp
    faded[len(faded) - fade :] *= ramp[::-1]
    spectrum = _flattened(np.fft.rfft(faded), 1 / seconds)
    low = _LOWEST_HZ
    top = 0.47 * rate_hz
    while low * 2**0.5 < top:
        high = min(2 * low, top)
        part = spectrum[round(low * seconds) : round(high * seconds)]
        slope = max(1, len(part) // 10)
        weights = np.ones(len(part))
        weights[:slope] = np.sin(np.pi / 2 * (np.arange(slope) + 0.5) / slope)
        weights[-slope:] = weights[:slope][::-1]
        count = int(2 ** np.ceil(np.log2(2 * len(part))))
        envelope = np.fft.ifft(part * weights, count)
        energy = envelope.real**2 + envelope.imag**2
        edge = int(np.ceil(1.5 * _EDGE_S * count / seconds))
        yield low, high, energy[edge : len(energy) - edge].astype(np.float64), count / seconds
        low *= 2**0.5


def _flattened(spectrum: NDArray[np.complexfloating], step_hz: float) -> NDArray[np.complexfloating]:
    """Return the spectrum with its noise made white and its lines held down."""
    part = max(4, round(40.0 / step_hz))
    size = np.abs(spectrum)
    parts = len(size) // part
    if parts < 2:  # noqa: PLR2004 - too short to have surroundings
        return spectrum
    medians = np.median(size[: parts * part].reshape(parts, part), axis=1)
    around = np.interp(np.arange(len(size)), (np.arange(parts) + 0.5) * part, medians)
    around = np.maximum(around, 1e-9 * max(float(size.max()), 1e-30))
    return np.asarray(spectrum / np.maximum(around, size / _LINE))


def _describe(low_hz: float, high_hz: float, energy: Array, rate_hz: float) -> Impulsiveness:
    mean = float(energy.mean())
    if mean <= 0:
        return Impulsiveness(low_hz, high_hz, 0.0, 0.0, 0.0, (), ())
    per_s, moments = _count(energy, rate_hz)
    return Impulsiveness(
        low_hz=low_hz,
        high_hz=high_hz,
        crest_db=10 * float(np.log10(energy.max() / mean)),
        # For Gaussian noise the energy is exponentially distributed: its mean square is twice its squared mean.
        kurtosis_db=10 * float(np.log10(np.mean(energy**2) / (2 * mean**2))),
        per_s=per_s,
        moments_s=moments,
        rhythms=_rhythms(np.sqrt(energy), rate_hz),
    )


def _count(energy: Array, rate_hz: float) -> tuple[float, tuple[float, ...]]:
    """Return impulses per second and the times of the loudest, from an energy envelope (n,)."""
    width = max(1, round(_SMOOTH_S * rate_hz))
    total = np.concatenate([[0.0], np.cumsum(energy)])
    smooth = (total[width:] - total[:-width]) / width
    loud = np.flatnonzero(smooth > _LOUD * np.median(smooth))
    if not len(loud):
        return 0.0, ()
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > _APART_S * rate_hz) + 1)
    peaks = np.array([group[np.argmax(smooth[group])] for group in groups])
    loudest = peaks[np.argsort(smooth[peaks])[::-1][:MOST_MOMENTS]]
    moments = sorted(float(at) / rate_hz + 1.5 * _EDGE_S for at in loudest)
    return len(groups) * rate_hz / len(energy), tuple(moments)


def _rhythms(envelope: Array, rate_hz: float) -> tuple[Rhythm, ...]:
    """Return the lines in the spectrum of an amplitude envelope (n,)."""
    block = max(1, int(rate_hz / _ENVELOPE_HZ))
    slow = envelope[: len(envelope) // block * block].reshape(-1, block).mean(axis=1)
    slow_hz = rate_hz / block
    frame = min(len(slow), round(_RHYTHM_FRAME_S * slow_hz))
    window = np.hanning(frame + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(slow / slow.mean() - 1, frame)[:: max(1, frame // 2)]
    power = np.mean(np.abs(np.fft.rfft(frames * window, axis=1)) ** 2, axis=0) * (2 / window.sum()) ** 2
    step_hz = slow_hz / frame
    first, last = int(np.ceil(SLOWEST_HZ / step_hz)), min(len(power) - 1, int(FASTEST_HZ / step_hz))
    levels = in_db(power)
    above = levels - floor_db(levels, first, _RHYTHM_PART)
    inner = above[first:last]
    peaks = first + np.flatnonzero(
        (inner >= LEAST_RHYTHM_DB) & (inner >= above[first - 1 : last - 1]) & (inner > above[first + 1 : last + 1])
    )
    rhythms = []
    for peak in sorted(peaks, key=lambda p: -above[p])[:MOST_RHYTHMS]:
        left, middle, right = levels[peak - 1 : peak + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0  # the parabola through three points in dB
        depth = float(np.sqrt(power[peak]))
        rhythms.append(Rhythm(float(peak + shift) * step_hz, depth, float(above[peak])))
    return tuple(rhythms)
