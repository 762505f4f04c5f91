"""Impulses and rhythms of a sound, from the envelopes of its bands.

Kurtosis per band as in Antoni, The spectral kurtosis (2006); the envelope's spectrum as in Randall and Antoni, Rolling
element bearing diagnostics - a tutorial (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.spectrum import bin_range, floor_db, in_db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_monitor.records import Samples

    Array = NDArray[np.float64]

MOST_RHYTHMS = 6  # per band
MOST_MOMENTS = 8  # per band
LEAST_RHYTHM_DB = 6.0  # the envelope of plain noise has peaks up to this far above its neighbours in 10 s
FASTEST_HZ = 500.0  # rhythms; the ear hears them as roughness
SLOWEST_HZ = 3.0  # slower ones are swells, looked for in the whole sound at once
_SLOWEST_SWELL_HZ = 0.3
_SWELL_TURNS = 3  # a swell is told from a drift by so many turns
_SWELL_FLOOR_HZ = 8.0  # a swell's surroundings reach up to here
_LEAST_SWELL_DB = 13.0  # over the median: plain noise does it in a band of one window in 2500
_LOW_BAND_HZ = (125.0, 500.0)  # two octaves: in less, noise itself goes up and down like slow impulses
_LINE = 4.0  # amplitude over its surroundings to which a line of the spectrum is held down: a tone is no impulse
_EDGE_S = 0.02  # faded in and out, and left out of the figures
_SMOOTH_S = 0.0015  # energy is averaged over this before impulses are counted; in narrow bands over two correlations
_LOUD = 12.0  # energy over its median that makes an impulse: noise does it once in seconds
_APART_S = 0.004  # what follows faster belongs to the same impulse; in narrow bands, within four of their correlations
_AROUND_S = 0.1  # the energy around an impulse is the median over this, so that swells are not counted
_AROUND_PARTS = 20  # steps in which it is followed
_LEAST_AROUND = 0.25  # of the median over all: what stirs in a pause is no impulse
_LEAST_COUNTED = 5  # impulses whose intervals say something
_LEAST_PAIRS = 8  # impulses whose intervals to the next but one do: a tick and a tock are regular too
_REGULAR, _IRREGULAR = 0.1, 0.5  # variation of the intervals; of random moments it is about 1
_USUAL = 0.25  # intervals so near to the median are averaged
_RUN_TOGETHER_HZ = 150.0  # impulses that follow faster ring into each other
_STRUCK_DB = 0.1  # and still raise the kurtosis by this
_ENVELOPE_HZ = 1200.0  # least rate of the envelope for its spectrum
_RHYTHM_FRAME_S = 2.0
_FAST_FRAMES = 256  # a frame is so many, or a multiple: of a prime length the transform takes ten times as long
_HARMONICS = 4
_RHYTHM_PART = 10  # bins at least whose median is the floor: envelopes have more slow swings than fast ones


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A line in an envelope's spectrum."""

    per_s: float
    depth: float  # of the modulation, 0 to 1 and above: amplitude of the swing over the mean
    prominence_db: float  # over the envelope's spectrum around it


@dataclass(frozen=True, slots=True)
class Impulsiveness:
    """How one band's envelope behaves; crest, kurtosis and impulses are over the energy around, which may swell."""

    low_hz: float
    high_hz: float
    crest_db: float  # highest energy over the mean
    kurtosis_db: float  # 0 for noise, above for impulses, -3 for a tone
    per_s: float  # moments with twelve times the median energy, 1/s
    usual_per_s: float  # 1 over the usual interval from one of them to the next, 1/s; 0 for fewer than five
    variation: float  # of the intervals: their interquartile range over the median, as a standard deviation; or 0
    moments_s: tuple[float, ...]  # the loudest of them, seconds from the start
    rhythms: tuple[Rhythm, ...]  # from 3 per second up, most prominent first
    swells: tuple[Rhythm, ...]  # the deepest of the slower ones, at most one

    @property
    def regular(self) -> bool:
        """Return whether there are impulses at even intervals."""
        return self.usual_per_s > 0 and self.variation < _REGULAR

    @property
    def irregular(self) -> bool:
        """Return whether there are impulses at quite uneven intervals."""
        return self.usual_per_s > 0 and self.variation > _IRREGULAR

    def struck(self, rhythm: Rhythm) -> bool:
        """Return whether a rhythm is one of impulses.

        Impulses raise the kurtosis well above what a sine of the same depth does when it swells noise.
        """
        if rhythm.per_s >= _RUN_TOGETHER_HZ:
            return self.kurtosis_db >= _STRUCK_DB
        return self.kurtosis_db >= max(_STRUCK_DB, 2 * _swollen_kurtosis_db(rhythm.depth))

    @property
    def swollen(self) -> bool:
        """Return whether what looks like impulses are the loudest moments of a sound that swells."""
        return any(not self.struck(rhythm) for rhythm in (*self.swells, *self.rhythms))


def find_impulses(samples: Samples, rate_hz: int) -> tuple[Impulsiveness, ...]:
    """Return each band's impulsiveness, lowest band first: 125 to 500 Hz, then octaves, half overlapping."""
    return tuple(_describe(*band) for band in _envelopes(samples, rate_hz))


def _swollen_kurtosis_db(depth: float) -> float:
    """Return the kurtosis of noise whose amplitude a sine modulates by this depth."""
    square = min(depth, 1.0) ** 2
    return 10 * float(np.log10((1 + 3 * square + 0.375 * square**2) / (1 + square / 2) ** 2))


def _bands(top_hz: float) -> list[tuple[float, float]]:
    """Return from and to of each band in Hz, lowest first."""
    bands = [_LOW_BAND_HZ] if _LOW_BAND_HZ[1] <= top_hz else []
    low = _LOW_BAND_HZ[1]
    while low * 2**0.5 < top_hz:
        bands.append((low, min(2 * low, top_hz)))
        low *= 2**0.5
    return bands


def _envelopes(samples: Samples, rate_hz: int) -> Iterator[tuple[float, float, Array, float]]:
    """Yield low edge and high edge in Hz, energy envelope (n,), its rate in Hz."""
    seconds = len(samples) / rate_hz
    fade = min(len(samples) // 4, round(_EDGE_S * rate_hz))
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)).astype(np.float32)
    faded = samples - samples.mean(dtype=np.float64).astype(np.float32)
    faded[:fade] *= ramp
    faded[len(faded) - fade :] *= ramp[::-1]
    spectrum = _flattened(np.fft.rfft(faded), 1 / seconds)
    for low, high in _bands(0.47 * rate_hz):
        part = spectrum[round(low * seconds) : round(high * seconds)]
        slope = max(1, len(part) // 10)
        weights = np.ones(len(part), dtype=np.float32)
        weights[:slope] = np.sin(np.pi / 2 * (np.arange(slope) + 0.5) / slope)
        weights[-slope:] = weights[:slope][::-1]
        count = int(2 ** np.ceil(np.log2(max(len(part), _ENVELOPE_HZ * seconds))))
        envelope = np.fft.ifft(part * weights, count)
        energy = envelope.real**2 + envelope.imag**2
        edge = int(np.ceil(1.5 * _EDGE_S * count / seconds))
        yield low, high, energy[edge : len(energy) - edge].astype(np.float64), count / seconds


def _flattened(spectrum: NDArray[np.complexfloating], step_hz: float) -> NDArray[np.complexfloating]:
    """Return the spectrum with its noise made white and its lines held down."""
    part = max(4, round(40.0 / step_hz))
    size = np.abs(spectrum)
    parts = len(size) // part
    if parts < 2:  # noqa: PLR2004 - too short to have surroundings
        return spectrum
    medians = np.median(size[: parts * part].reshape(parts, part), axis=1)
    around = np.interp(np.arange(len(size)), (np.arange(parts) + 0.5) * part, medians)
    around = np.maximum(around, 1e-9 * max(float(size.max()), 1e-20))
    return np.asarray(spectrum / np.maximum(around, size / _LINE).astype(np.float32))


def _describe(low_hz: float, high_hz: float, energy: Array, rate_hz: float) -> Impulsiveness:
    if energy.mean() <= 0:
        return Impulsiveness(low_hz, high_hz, 0.0, 0.0, 0.0, 0.0, 0.0, (), (), ())
    width = max(1, round(max(_SMOOTH_S, 2 / (high_hz - low_hz)) * rate_hz))
    total = np.concatenate([[0.0], np.cumsum(energy)])
    smooth = (total[width:] - total[:-width]) / width
    energy_over, smooth_over = _over_surroundings(energy, smooth, rate_hz)
    mean = float(energy_over.mean())
    peaks = _peaks(smooth_over, max(_APART_S, 4 / (high_hz - low_hz)) * rate_hz)
    loudest = peaks[np.argsort(smooth_over[peaks])[::-1][:MOST_MOMENTS]]
    amplitude = np.sqrt(energy)
    return Impulsiveness(
        low_hz,
        high_hz,
        crest_db=10 * float(np.log10(energy_over.max() / mean)),
        # For Gaussian noise the energy is exponentially distributed: its mean square is twice its squared mean.
        kurtosis_db=10 * float(np.log10(np.mean(energy_over**2) / (2 * mean**2))),
        per_s=len(peaks) * rate_hz / len(energy),
        **_intervals(peaks / rate_hz),
        moments_s=tuple(sorted(float(at) / rate_hz + 1.5 * _EDGE_S for at in loudest)),
        rhythms=_rhythms(amplitude, rate_hz),
        swells=_swells(amplitude, rate_hz),
    )


def _over_surroundings(energy: Array, smooth: Array, rate_hz: float) -> tuple[Array, Array]:
    """Return an energy envelope and its smoothed one over the median around each moment."""
    step = max(1, round(_AROUND_S / _AROUND_PARTS * rate_hz))
    block = step * _AROUND_PARTS
    blocks = max(1, len(smooth) // block)
    medians = np.median(smooth[: blocks * block].reshape(blocks, -1), axis=1)
    medians = np.maximum(medians, _LEAST_AROUND * np.median(medians))
    centres = (np.arange(blocks) + 0.5) * block
    around = np.interp((np.arange(-(-len(energy) // step)) + 0.5) * step, centres, medians)
    around = np.repeat(np.maximum(around, 1e-12 * energy.max()), step)
    return energy / around[: len(energy)], smooth / around[: len(smooth)]


def _peaks(smooth: Array, apart: float) -> NDArray[np.intp]:
    """Return the loudest place of each impulse; what is less than `apart` from the one before belongs to it."""
    loud = np.flatnonzero(smooth > _LOUD)
    if not len(loud):
        return loud
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > apart) + 1)
    return np.array([group[np.argmax(smooth[group])] for group in groups])


def _intervals(at_s: Array) -> dict[str, float]:
    """Return the usual interval of impulses at these times, and how much the intervals vary."""
    if len(at_s) < _LEAST_COUNTED:
        return {"usual_per_s": 0.0, "variation": 0.0}
    single = _spread(at_s[1:] - at_s[:-1])
    if single["variation"] >= _REGULAR and len(at_s) >= _LEAST_PAIRS:
        double = _spread(at_s[2:] - at_s[:-2])
        if double["variation"] < _REGULAR:
            return double | {"usual_per_s": 2 * double["usual_per_s"]}
    return single


def _spread(intervals_s: Array) -> dict[str, float]:
    low, middle, high = np.percentile(intervals_s, (25, 50, 75)).tolist()
    usual = intervals_s[np.abs(intervals_s - middle) <= _USUAL * middle]  # without what an extra or missed one makes
    interval_s = float(usual.mean()) if len(usual) else middle
    return {"usual_per_s": 1 / interval_s, "variation": (high - low) / (1.349 * middle)}


def _swells(envelope: Array, rate_hz: float) -> tuple[Rhythm, ...]:
    """Return the strongest line slower than `SLOWEST_HZ` in the spectrum of a whole amplitude envelope (n,)."""
    block = max(1, int(rate_hz / (4 * _SWELL_FLOOR_HZ)))
    slow = envelope[: len(envelope) // block * block].reshape(-1, block).mean(axis=1)
    if len(slow) < 2:  # noqa: PLR2004 - a line needs two points
        return ()
    at = np.linspace(-1, 1, len(slow))
    swing = slow / slow.mean() - 1
    swing -= at * float(at @ swing) / float(at @ at)  # without its drift
    window = np.hanning(len(slow) + 1)[:-1]
    count = int(2 ** np.ceil(np.log2(4 * len(slow))))
    power = np.abs(np.fft.rfft(swing * window, count)) ** 2 * (2 / window.sum()) ** 2
    step_hz = rate_hz / block / count
    slowest_hz = max(_SLOWEST_SWELL_HZ, _SWELL_TURNS * rate_hz / len(envelope))
    searched = bin_range(0.95 * slowest_hz, 1.05 * SLOWEST_HZ, step_hz)
    floor = float(np.median(power[bin_range(slowest_hz, _SWELL_FLOOR_HZ, step_hz)]))
    peak = searched.start + int(np.argmax(power[searched]))
    above_db = float(in_db(power[peak : peak + 1] / max(floor, 1e-12))[0])
    if above_db < _LEAST_SWELL_DB or power[peak - 1] > power[peak] or power[peak + 1] > power[peak]:
        return ()
    return (Rhythm(peak * step_hz, float(np.sqrt(power[peak])), above_db),)


def _rhythms(envelope: Array, rate_hz: float) -> tuple[Rhythm, ...]:
    """Return the lines in the spectrum of an amplitude envelope (n,)."""
    block = max(1, int(rate_hz / _ENVELOPE_HZ))
    slow = envelope[: len(envelope) // block * block].reshape(-1, block).mean(axis=1)
    slow_hz = rate_hz / block
    frame = min(len(slow), _FAST_FRAMES * round(_RHYTHM_FRAME_S * slow_hz / _FAST_FRAMES))
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
    # The first one is to be the fundamental: of impulses all multiples are there, and any of them may be highest.
    together = np.zeros(len(peaks))
    lines = np.where(above >= LEAST_RHYTHM_DB, 10 ** (above / 20), 0.0)
    for multiple in range(1, _HARMONICS + 1):
        near = multiple * peaks
        together += [lines[at - 1 : at + 2].max(initial=0.0) for at in near]
    rhythms = []
    for peak in peaks[np.argsort(-together, kind="stable")][:MOST_RHYTHMS]:
        left, middle, right = levels[peak - 1 : peak + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0  # the parabola through three points in dB
        depth = float(np.sqrt(power[peak]))
        rhythms.append(Rhythm(float(peak + shift) * step_hz, depth, float(above[peak])))
    return tuple(rhythms)
