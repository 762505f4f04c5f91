"""Acoustics of one window: the figures by which a sound is compared with others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import ExplainError
from edge_monitor.explain.impulses import Impulsiveness, Rhythm, find_impulses
from edge_monitor.explain.spectrum import band_edges, bin_range, frame_of, in_db, short_time_power
from edge_monitor.explain.tones import Tone, find_tones

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import Samples

VERSION = 2  # of the figures: those of another version are not compared
_LONG_S, _SHORT_S = 0.5, 0.064  # spectra for tones and steady noise (bins of 2 Hz), for loud moments
_LOUD_FROM_HZ = 140.0  # a third octave is then at least two bins of the short spectra
_LOUD_PERCENTILE = 98.0  # loud moments: what is exceeded 2 % of the time, 0.2 s of 10
LOW_HZ = (20.0, 160.0)  # where vibration is heard
_LEAST_S = 2.0
_MOST_HZ = 1_000_000  # more is no sample rate of sound


@dataclass(frozen=True, slots=True)
class Acoustics:
    """What is measured on one window."""

    rate_hz: int
    level_dbfs: float  # RMS without DC, dB re full scale
    variability_db: float  # standard deviation over time of the short-time level
    low_db: float  # level from 20 to 160 Hz with its tones, dB re full scale
    centroid_hz: float  # centre of gravity of the power spectrum
    noise_db: tuple[float, ...]  # each band's level without its tones and brief sounds (medians), dB re full scale
    loud_db: tuple[float, ...]  # each band's level that is exceeded 2 % of the time; of the bands from 140 Hz up
    tones: tuple[Tone, ...]  # lowest first
    impulses: tuple[Impulsiveness, ...]  # per band, lowest first

    def to_json(self) -> str:
        """Return the figures as compact JSON, under 6 kB."""
        return json.dumps(_rounded({"version": VERSION, **asdict(self)}), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Acoustics:
        """Return what `to_json` wrote. Raises ExplainError when it is of another version or damaged."""
        try:
            figures = json.loads(text)
            if figures.pop("version") != VERSION:
                raise ExplainError("the stored figures are of another version", hint="enrol the recordings anew")
            tones = tuple(Tone(*tone) for tone in figures.pop("tones"))
            impulses = tuple(_impulsiveness(band) for band in figures.pop("impulses"))
            figures |= {name: tuple(figures[name]) for name in ("noise_db", "loud_db")}
            found = cls(**figures, tones=tones, impulses=impulses)
            _check_bands(found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExplainError("the stored figures are damaged", hint="enrol the recordings anew") from error
        return found


def measure(samples: Samples, rate_hz: int) -> Acoustics:
    """Return the figures of a window, (frames,) float32 with full scale ±1, as short as they are stored.

    Raises ExplainError when it is shorter than two seconds or not finite.
    """
    if len(samples) < _LEAST_S * rate_hz:
        raise ExplainError(f"{len(samples) / rate_hz:.2g} s of sound are too short to measure", hint="2 s at least")
    sound = np.asarray(samples, dtype=np.float32)
    if not np.isfinite(sound).all():
        raise ExplainError("the sound has values that are not finite")
    sound = _without_dc(sound)
    edges = band_edges(rate_hz)
    power, step_hz = _long_power(sound, rate_hz)
    median = _over_time(power)
    mean = power.mean(axis=0, dtype=np.float64)
    short = frame_of(_SHORT_S, rate_hz)
    brief = short_time_power(sound, short, short // 2)
    loud = [
        np.percentile(brief[:, bin_range(low, high, rate_hz / short)].sum(axis=1), _LOUD_PERCENTILE)
        for low, high in pairwise(edges)
        if low >= _LOUD_FROM_HZ
    ]
    total = float(mean.sum())
    whole = Acoustics(
        rate_hz=rate_hz,
        level_dbfs=_one_db(float(np.mean(np.square(sound, dtype=np.float64)))),
        variability_db=float(np.std(in_db(brief.sum(axis=1)))),
        low_db=_one_db(float(mean[bin_range(*LOW_HZ, step_hz)].sum())),
        centroid_hz=float(np.sum(mean * np.arange(len(mean)))) * step_hz / total if total > 0 else 0.0,
        noise_db=_steady_noise_db(median, step_hz, rate_hz),
        loud_db=tuple(in_db(np.array(loud)).tolist()),
        tones=find_tones(power, median, step_hz, float(edges[0]), float(edges[-1])),
        impulses=find_impulses(sound, rate_hz),
    )
    return Acoustics.from_json(whole.to_json())


def steady_noise_db(samples: Samples, rate_hz: int) -> tuple[float, ...]:
    """Return `Acoustics.noise_db` alone, in a quarter of the time: for every window, not only for an alarm's."""
    power, step_hz = _long_power(_without_dc(samples), rate_hz)
    return _steady_noise_db(_over_time(power), step_hz, rate_hz)


def loud_edges(rate_hz: int) -> list[tuple[float, float]]:
    """Return the bands of `loud_db`, each from and to in Hz."""
    edges = band_edges(rate_hz)
    return [(float(a), float(b)) for a, b in pairwise(edges) if a >= _LOUD_FROM_HZ]


def _check_bands(found: Acoustics) -> None:
    if not 0 < found.rate_hz <= _MOST_HZ or len(found.noise_db) != len(band_edges(found.rate_hz)) - 1:
        raise ValueError("not the bands of the rate")
    if not np.isfinite([found.level_dbfs, *found.noise_db]).all():
        raise ValueError("levels that are not finite")


def _impulsiveness(figures: dict[str, Any]) -> Impulsiveness:
    rows = {name: tuple(Rhythm(*row) for row in figures.pop(name)) for name in ("rhythms", "swells")}
    return Impulsiveness(**figures | {"moments_s": tuple(figures["moments_s"])} | rows)


def _without_dc(samples: Samples) -> Samples:
    return samples - np.float32(samples.mean(dtype=np.float64))


def _long_power(sound: Samples, rate_hz: int) -> tuple[NDArray[np.float32], float]:
    """Return the power of the long spectra (frames, bins), and the width of their bins in Hz."""
    frame = frame_of(_LONG_S, rate_hz)
    return short_time_power(sound, frame, frame // 4), rate_hz / frame


def _over_time(power: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each bin's median: what brief sounds leave as it is."""
    return np.median(np.ascontiguousarray(power.T), axis=1).astype(np.float64)


def _steady_noise_db(median: NDArray[np.float64], step_hz: float, rate_hz: int) -> tuple[float, ...]:
    bands = [bin_range(low, high, step_hz) for low, high in pairwise(band_edges(rate_hz))]
    # log 2: the median of noise's power is that much of its mean; the bins' median leaves tones out
    power = [float(np.median(median[band]) / np.log(2) * (band.stop - band.start)) for band in bands]
    return tuple(in_db(np.array(power)).tolist())


def _one_db(power: float) -> float:
    return float(in_db(np.array([power]))[0])


def _rounded(figures: object) -> object:
    """Return the same with tones and rhythms as plain rows and all figures short."""
    match figures:
        case float():
            return float(f"{figures:.5g}") if abs(figures) >= 100 else round(figures, 2)  # noqa: PLR2004 - 5 digits
        case {"hz": hz, "level_db": level, "prominence_db": prominence, "swing_db": swing}:
            return [round(hz, 1), round(level, 1), round(prominence, 1), round(swing, 1)]
        case {"per_s": rate, "depth": depth, "prominence_db": prominence}:
            return [round(rate, 2), round(depth, 3), round(prominence, 1)]
        case dict():
            return {name: _rounded(value) for name, value in figures.items()}
        case list() | tuple():
            return [_rounded(value) for value in figures]
    return figures
