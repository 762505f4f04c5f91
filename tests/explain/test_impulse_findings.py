"""What is said of events and swells whose rates are known: regular or not, slow or fast, high or low."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import compare, spread_of
from tests.explain.test_acoustics import AT_S, RATE_HZ, noise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.comparison import Spread
    from edge_monitor.explain.difference import Difference


@cache
def healthy() -> tuple[tuple[Acoustics, ...], Spread]:
    """Return four neighbours and the spread of thirty windows of white noise."""
    normals = [measure(noise(seed, rms=0.02), RATE_HZ) for seed in range(30)]
    return tuple(normals[:4]), spread_of(normals)


def explained(sound: np.ndarray) -> Difference:
    """Return what is said of a sound beside white noise."""
    return compare(measure(sound.astype(np.float32), RATE_HZ), *healthy())


def knocks(at_s: Iterable[float], hz: float, decay_s: float) -> np.ndarray:
    """Return knocks that ring at a frequency, in noise, (frames,)."""
    sound = noise(100, rms=0.02).astype(np.float64)
    ring_s = AT_S[: round(8 * decay_s * RATE_HZ)]
    ring = 0.3 * np.exp(-ring_s / decay_s) * np.sin(2 * np.pi * hz * ring_s)
    for start in (round(at * RATE_HZ) for at in at_s):
        sound[start : start + len(ring)] += ring
    return sound


@pytest.mark.parametrize(
    ("per_s", "hz", "decay_s"),
    [(0.5, 3000, 0.001), (1, 3000, 0.001), (2, 3000, 0.001), (3, 3000, 0.001), (1, 300, 0.01), (5, 300, 0.01)],
)
def test_regular_events_are_told_as_regular_with_their_rate(per_s: float, hz: float, decay_s: float) -> None:
    """Clicks at 3 kHz and knocks at 300 Hz, one in two seconds to five in one, are not called irregular."""
    found = explained(knocks(np.arange(0.3, 9.8, 1 / per_s), hz, decay_s))
    first = found.findings[0]
    assert first.name == "rhythmic-impulses"
    assert found.sentence.startswith("Regular impulses at ")
    assert first.value == pytest.approx(per_s, rel=0.02)
    assert first.band_hz is not None
    assert first.band_hz[0] < hz < first.band_hz[1]
    clicking = found.counterparts["Rhythmic Clicking or Tapping"]
    assert clicking is not None
    assert clicking > 1


@pytest.mark.parametrize("per_s", [7.3, 23, 45, 60, 90])
def test_fast_impulses_are_told_with_their_rate(per_s: float) -> None:
    """Clicks at 3 kHz, seven to ninety in a second."""
    [first, *_] = explained(knocks(np.arange(0.3, 9.8, 1 / per_s), 3000, 0.001)).findings
    assert first.name == "rhythmic-impulses"
    assert first.value == pytest.approx(per_s, rel=0.01)


def test_impulses_that_wax_and_wane_with_a_shaft_are_told_by_their_own_rate() -> None:
    """Of 190 faint clicks a second, louder and fainter 47.7 times a second, a quarter of that, 190 is the rate."""
    at_s = np.arange(0.1, 9.9, 1 / 190) + np.random.default_rng(3).normal(0, 0.0001, 1863)
    clicks = np.zeros(len(AT_S))
    np.add.at(clicks, np.round(at_s * RATE_HZ).astype(int), 0.06 * (1 + 0.6 * np.sin(2 * np.pi * 47.7 * at_s)))
    ring = np.exp(-AT_S[:160] / 0.0012) * np.sin(2 * np.pi * 3000 * AT_S[:160])
    [first, *_] = explained(noise(100, rms=0.02) + np.convolve(clicks, ring)[: len(AT_S)]).findings
    assert first.name == "rhythmic-impulses"
    assert first.value == pytest.approx(190, rel=0.01)


def test_a_tick_and_a_tock_are_regular() -> None:
    """Two clicks a second at uneven intervals, the same in each second, are regular."""
    at_s = sorted([*np.arange(0.3, 9.8, 1), *np.arange(0.6, 9.8, 1)])
    assert explained(knocks(at_s, 3000, 0.001)).sentence.startswith(
        "Regular impulses at 2.00 per second in 2.2-3.6 kHz"
    )


@pytest.mark.parametrize(("count", "hz", "decay_s"), [(12, 3000, 0.001), (30, 3000, 0.001), (60, 300, 0.01)])
def test_events_at_random_times_are_told_as_irregular(count: int, hz: float, decay_s: float) -> None:
    """Clicks and knocks at random times are counted, and irregularity is what is measured of them."""
    at_s = np.sort(np.random.default_rng(count).uniform(0.2, 9.8, count))
    found = explained(knocks(at_s, hz, decay_s))
    assert found.findings[0].name == "irregular-impulses"
    assert found.findings[0].value == pytest.approx(count / 10, rel=0.15)
    assert found.sentence.startswith("Irregular impulses in ")


@pytest.mark.parametrize("per_s", [0.5, 1, 2, 4, 8])
@pytest.mark.parametrize("depth", [0.3, 0.9])
def test_a_sound_that_swells_and_fades_is_told_so_with_rate_and_depth(per_s: float, depth: float) -> None:
    """Noise whose amplitude a sine modulates has no impulses, however deep the swell."""
    found = explained(noise(100, rms=0.02) * (1 + depth * np.sin(2 * np.pi * per_s * AT_S)))
    first = found.findings[0]
    assert first.name == "modulation"
    assert first.value == pytest.approx(per_s, rel=0.02)
    assert found.sentence.startswith("The sound in 120 Hz to 7.5 kHz swells and fades at ")
    assert float(first.text.split()[-2]) == pytest.approx(100 * depth, abs=5)
    assert all(finding.name in {"modulation", "band-level"} for finding in found.findings)
    popping = found.counterparts["Popping or Knocking Sounds"]
    assert popping is not None
    assert popping < 1


def test_a_low_sound_that_swells_is_told_with_its_band() -> None:
    """Noise from 100 to 400 Hz that swells eight times a second is louder there, and swells there."""
    spectrum = np.fft.rfft(noise(101, rms=0.04))
    spectrum[:1000] = spectrum[4000:] = 0
    low = np.fft.irfft(spectrum, len(AT_S)) * (1 + 0.9 * np.sin(2 * np.pi * 8 * AT_S))
    level, swell = explained(noise(100, rms=0.02) + low).findings
    assert (level.name, swell.name) == ("band-level", "modulation")
    assert swell.value == pytest.approx(8, rel=0.02)
    assert swell.band_hz == (125.0, 500.0)


def test_where_there_were_no_impulses_there_are_not_fewer() -> None:
    """Noise that is clipped to ±1 has fewer peaks than noise; but it had no impulses before."""
    clipped = np.clip(1000 * noise(100, rms=0.02), -1, 1)
    assert [finding.name for finding in explained(clipped).findings] == ["band-level"]
