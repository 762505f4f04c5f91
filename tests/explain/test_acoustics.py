"""What is measured on a window: sounds whose figures are known beforehand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edge_monitor.errors import ExplainError
from edge_monitor.explain.acoustics import Acoustics, measure
from edge_monitor.explain.spectrum import band_edges

RATE_HZ = 16_000
AT_S = np.arange(10 * RATE_HZ) / RATE_HZ  # (frames,)


def noise(seed: int = 1, rms: float = 0.1) -> np.ndarray:
    """Return 10 s of white noise, (frames,) float32."""
    return (rms * np.random.default_rng(seed).standard_normal(len(AT_S))).astype(np.float32)


def clicks(per_s: float, size: float, jitter_s: float = 0.0005) -> np.ndarray:
    """Return clicks that ring at 3 kHz for a millisecond, (frames,) float32."""
    sound = np.zeros(len(AT_S), dtype=np.float32)
    random = np.random.default_rng(5)
    ring = np.exp(-AT_S[:80] / 0.001) * np.sin(2 * np.pi * 3000 * AT_S[:80])
    for at_s in np.arange(0.1, 9.9, 1 / per_s):
        start = round((at_s + random.normal(0, jitter_s)) * RATE_HZ)
        sound[start : start + 80] += size * ring
    return sound


def test_white_noise_measures_as_white_noise() -> None:
    """Noise of RMS 0.1 is -20 dBFS, has no tone, no impulses, and each third octave its share of 8 kHz."""
    found = measure(noise(), RATE_HZ)
    assert found.level_dbfs == pytest.approx(-20.0, abs=0.1)
    assert found.centroid_hz == pytest.approx(4000, rel=0.02)
    assert [tone for tone in found.tones if tone.prominence_db > 7] == []
    assert [round(band.kurtosis_db, 1) for band in found.impulses] == pytest.approx([0.0] * 8, abs=0.15)
    assert all(band.per_s < 0.5 for band in found.impulses)
    edges = band_edges(RATE_HZ).tolist()
    band = next(i for i, edge in enumerate(edges) if edge > 850)
    assert edges[band : band + 2] == pytest.approx([890.9, 1122.5], abs=0.1)
    assert found.noise_db[band] == pytest.approx(-35.4, abs=0.4)  # -20 + 10 log10(231.6 / 8000)


def test_a_tone_is_found_where_it_is() -> None:
    """A sine of amplitude 0.05 at 1234.5 Hz has -29 dBFS; 0.02 at 50.3 Hz has -37."""
    sound = noise(rms=0.02) + 0.05 * np.sin(2 * np.pi * 1234.5 * AT_S) + 0.02 * np.sin(2 * np.pi * 50.3 * AT_S)
    low, high = (tone for tone in measure(sound.astype(np.float32), RATE_HZ).tones if tone.prominence_db > 10)
    assert low.hz == pytest.approx(50.3, abs=0.3)
    assert low.level_db == pytest.approx(-37.0, abs=0.5)
    assert high.hz == pytest.approx(1234.5, abs=0.5)
    assert high.level_db == pytest.approx(-29.0, abs=0.3)


def test_a_wavering_squeal_is_one_tone() -> None:
    """A tone at 2 kHz that wavers by 2 % ten times a second is one tone at 2 kHz, not the many lines it consists of."""
    phase = 2 * np.pi * np.cumsum(2000 * (1 + 0.02 * np.sin(2 * np.pi * 10 * AT_S))) / RATE_HZ
    sound = noise() + (0.06 * np.sin(phase)).astype(np.float32)
    tones = [tone for tone in measure(sound, RATE_HZ).tones if 1700 < tone.hz < 2300]
    assert len(tones) == 1
    assert tones[0].hz == pytest.approx(2000, rel=0.01)


def test_clicks_are_counted_and_their_rhythm_is_found() -> None:
    """Ringing clicks at 3 kHz, 25 a second, are counted, and the envelope's spectrum has their rate."""
    band = measure(noise(rms=0.01) + clicks(25, 0.3), RATE_HZ).impulses[5]
    assert [band.low_hz, band.high_hz] == pytest.approx([2000, 4000])
    assert band.per_s == pytest.approx(25, abs=1.0)
    assert band.kurtosis_db > 6
    assert min(band.rhythms, key=lambda rhythm: rhythm.per_s).per_s == pytest.approx(25, abs=0.2)
    assert len(band.moments_s) == 8


def test_noise_that_swells_has_a_rhythm_and_its_depth() -> None:
    """Noise modulated by 50 %, 8 times a second, says so; a tone beside it is no rhythm and no impulse."""
    sound = noise() * (1 + 0.5 * np.sin(2 * np.pi * 8 * AT_S)) + 0.3 * np.sin(2 * np.pi * 3000 * AT_S)
    band = measure(sound.astype(np.float32), RATE_HZ).impulses[5]
    assert band.rhythms[0].per_s == pytest.approx(8, abs=0.1)
    assert band.rhythms[0].depth == pytest.approx(0.5, abs=0.05)
    assert band.per_s < 1


@pytest.mark.parametrize("sound", [np.zeros(160_000, np.float32), np.full(160_000, 0.3, np.float32)])
def test_silence_is_measured_without_a_fault(sound: np.ndarray) -> None:
    """Digital silence and a constant have -130 dBFS, no tones and no impulses."""
    found = measure(sound, RATE_HZ)
    assert found.level_dbfs == -130.0
    assert found.tones == ()
    assert all(band.per_s == 0.0 for band in found.impulses)
    assert np.isfinite(json.loads(found.to_json())["noise_db"]).all()


@pytest.mark.parametrize(("rate_hz", "seconds"), [(16_000, 10), (44_100, 7), (8_000, 3)])
def test_figures_are_read_back_as_they_were_written(rate_hz: int, seconds: int) -> None:
    """JSON, read and written again, is the same, and small even for a sound full of tones and clicks."""
    at_s = np.arange(rate_hz * seconds) / rate_hz
    sound = sum(0.01 * np.sin(2 * np.pi * hz * at_s) for hz in range(60, rate_hz // 2, 70))
    sound = sound + 0.01 * np.random.default_rng(2).standard_normal(len(at_s))
    sound[:: rate_hz // 30] += 0.5
    text = measure(np.asarray(sound, dtype=np.float32), rate_hz).to_json()
    assert Acoustics.from_json(text).to_json() == text
    assert len(text) < 6000


@pytest.mark.parametrize(
    ("noise_db", "rate_hz"),
    [([-60.0] * 5, 16_000), ([-60.0] * 22, 8000), ([math.nan] * 22, 16_000), ([-60.0] * 22, math.inf)],
)
def test_figures_of_other_bands_than_the_rates_are_refused(noise_db: list[float], rate_hz: float) -> None:
    """They could be compared with no others."""
    figures = json.loads(measure(noise(), 16_000).to_json())
    assert len(figures["noise_db"]) == 22
    with pytest.raises(ExplainError, match="stored figures are damaged"):
        Acoustics.from_json(json.dumps(figures | {"noise_db": noise_db, "rate_hz": rate_hz}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version":1}', '{"version":2,"rate_hz":16000}'])
def test_damaged_or_foreign_figures_are_refused(text: str) -> None:
    """What `to_json` of this version did not write is an error of its own kind."""
    with pytest.raises(ExplainError, match="stored figures"):
        Acoustics.from_json(text)


@pytest.mark.parametrize(
    ("sound", "why"),
    [(np.zeros(16_000, np.float32), "too short"), (np.full(160_000, np.nan, np.float32), "not finite")],
)
def test_what_cannot_be_measured_is_refused(sound: np.ndarray, why: str) -> None:
    """A second of sound, or values that are not finite, are an error of their own kind."""
    with pytest.raises(ExplainError, match=why):
        measure(sound, RATE_HZ)
