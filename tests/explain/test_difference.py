"""What is said of a window beside its normals."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import ExplainError
from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import REFERENCE_TEXTS, compare, spread_of
from tests.explain.test_acoustics import AT_S, RATE_HZ, clicks

if TYPE_CHECKING:
    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.difference import Difference


def machine(seed: int, hum: float = 0.02) -> np.ndarray:
    """Return noise with a hum at 100 Hz; loudness varies a little from one seed to the next."""
    random = np.random.default_rng(seed)
    sound = 0.02 * random.standard_normal(len(AT_S)) + hum * np.sin(2 * np.pi * 100 * AT_S)
    return np.asarray(sound * 10 ** (random.normal(0, 0.5) / 20), dtype=np.float32)


@cache
def normals() -> tuple[Acoustics, ...]:
    """Return twelve healthy windows."""
    return tuple(measure(machine(seed), RATE_HZ) for seed in range(12))


def explained(sound: np.ndarray) -> Difference:
    """Return what is said of a sound."""
    return compare(measure(sound.astype(np.float32), RATE_HZ), normals()[:4], normals())


def high_part(sound: np.ndarray, from_hz: float) -> np.ndarray:
    """Return what a sound has above a frequency."""
    spectrum = np.fft.rfft(sound)
    spectrum[: round(from_hz * len(sound) / RATE_HZ)] = 0
    return np.fft.irfft(spectrum, len(sound))


def test_healthy_beside_healthy_says_that_nothing_stands_out() -> None:
    """Another healthy window has no finding, and the sentence names the largest difference all the same."""
    found = explained(machine(100))
    assert found.findings == ()
    assert found.sentence.startswith("Nothing stands out from the nearest normal sounds. The largest difference is ")
    assert all(value is None or abs(value) < 1 for value in found.counterparts.values())


def test_a_new_tone_is_named_with_its_frequency_and_prominence() -> None:
    """A whistle at 2 kHz is the one finding, in figures and in words."""
    found = explained(machine(100) + 0.004 * np.sin(2 * np.pi * 2000 * AT_S))
    assert found.sentence == "A new tone at 2.00 kHz, 13 dB above the noise around it."
    assert [(f.name, f.value, f.normal, f.unit) for f in found.findings] == [("tone", 2000.0, None, "Hz")]
    assert found.findings[0].deviation > 1
    squeal = found.counterparts["High-frequency Squealing or Screeching"]
    assert squeal is not None
    assert squeal > 1


def test_a_lost_tone_is_named() -> None:
    """A hum that has gone is a finding that has a normal frequency and no own one."""
    found = explained(machine(100, hum=0.0))
    assert found.sentence.startswith("The tone at 100 Hz is missing.")
    assert found.findings[0].value is None
    assert found.findings[0].normal == pytest.approx(100, abs=0.2)
    hum = found.counterparts["Low-frequency Humming"]
    assert hum is not None
    assert hum < -1


def test_neighbouring_bands_that_rise_together_are_one_finding() -> None:
    """Noise that is 6 dB louder above 2 kHz is one finding from there up, not one for each third octave."""
    sound = machine(100)
    found = explained(sound + high_part(machine(101), 2000) * 1.73)
    assert [f.name for f in found.findings] == ["band-level"]
    finding = found.findings[0]
    assert finding.text == "the noise in 1.8-7.1 kHz is 6 dB louder"
    assert finding.value is not None
    assert finding.normal is not None
    assert finding.value - finding.normal == pytest.approx(6.0, abs=1.0)
    grinding = found.counterparts["Grinding Sounds"]
    assert grinding is not None
    assert grinding > 1


def test_regular_impulses_come_first_and_explain_what_they_raise() -> None:
    """Clicks 30 times a second are named by rate and band; the level they raise is said with them, not again."""
    found = explained(machine(100) + clicks(30, 0.5))
    assert [f.name for f in found.findings] == ["rhythmic-impulses"]
    assert found.findings[0].value == pytest.approx(30, abs=0.3)
    assert found.sentence.startswith(
        "Regular impulses at 30.0 per second in 2.2-3.6 kHz, normally none; the loud moments"
    )
    rhythm = found.counterparts["Rhythmic Clicking or Tapping"]
    assert rhythm is not None
    assert rhythm > 1
    assert found.counterparts["Popping or Knocking Sounds"] == 0.0


def test_the_largest_difference_comes_first_be_it_a_rhythm_or_not() -> None:
    """Faint clicks with a loud whistle come after it; loud clicks with the same whistle before."""
    whistle = 0.02 * np.sin(2 * np.pi * 700 * AT_S)
    faint = explained(machine(100) + whistle + clicks(30, 0.08)).findings
    assert [f.name for f in faint] == ["tone", "rhythmic-impulses"]
    loud = explained(machine(100) + whistle + clicks(30, 0.5)).findings
    assert [f.name for f in loud] == ["rhythmic-impulses", "tone"]
    assert all(each[0].deviation > each[1].deviation for each in (faint, loud))


def test_a_few_knocks_are_impulses_with_their_times() -> None:
    """Three knocks at 2.0, 3.1 and 7.4 s are counted, and their times are given; regular or not, three do not say."""
    sound = machine(100)
    ring = np.exp(-AT_S[:400] / 0.004) * np.sin(2 * np.pi * 1800 * AT_S[:400])
    for at_s in (2.0, 3.1, 7.4):
        sound[round(at_s * RATE_HZ) : round(at_s * RATE_HZ) + 400] += 0.6 * ring
    first = explained(sound).findings[0]
    assert first.name == "impulses"
    assert first.value == pytest.approx(0.3, abs=0.02)
    assert [(start + end) / 2 for start, end in first.times_s] == pytest.approx([2.0, 3.1, 7.4], abs=0.02)


def test_a_quiet_sound_is_lower_at_all_frequencies_and_a_silence() -> None:
    """A window a little louder than most, 12 dB down, is 11 dB weaker in all bands: one finding, and a silence."""
    found = explained(machine(100) * 0.25)
    assert found.sentence.startswith("The noise in 20 Hz to 7.1 kHz is 11 dB weaker.")
    silence = found.counterparts["Unexpected Silence"]
    assert silence is not None
    assert silence > 1


def test_all_eight_reference_texts_have_a_counterpart_in_the_papers_order() -> None:
    """The keys are the paper's texts; the prompts' tests have them letter by letter."""
    assert list(explained(machine(100)).counterparts) == list(REFERENCE_TEXTS)


def test_five_normals_do_not_make_everything_stand_out() -> None:
    """With the fewest normals there can be, at most two of forty healthy windows have a finding."""
    sounds = [measure(machine(seed), RATE_HZ) for seed in range(300, 330)]
    found = []
    for first in (0, 5, 10, 15):
        few = sounds[first : first + 5]
        found += [compare(sound, few[:4], spread_of(few)) for sound in sounds[20:]]
    assert len(found) == 40
    assert sum(bool(each.findings) for each in found) <= 2


def test_a_spread_made_beforehand_changes_nothing() -> None:
    """The statistics over all normals may be kept from one alarm to the next."""
    anomaly = measure(machine(100) + clicks(30, 0.5), RATE_HZ)
    assert compare(anomaly, normals()[:4], spread_of(normals())) == compare(anomaly, normals()[:4], normals())


def test_what_cannot_be_compared_is_refused() -> None:
    """Four normals, no neighbours, or another sample rate are errors of their own kind."""
    anomaly = normals()[0]
    with pytest.raises(ExplainError, match="4 normals with measured figures are too few"):
        compare(anomaly, normals()[:4], normals()[:4])
    with pytest.raises(ExplainError, match="no nearest normals"):
        compare(anomaly, (), normals())
    with pytest.raises(ExplainError, match="measured at 8000 Hz"):
        compare(measure(machine(0)[::2], 8000), normals()[:4], normals())


@pytest.mark.parametrize("rate_hz", [1500, 8000, 48_000])
def test_sounds_at_any_rate_are_compared(rate_hz: int) -> None:
    """Too low a rate has no bands for impulses, and is compared by the rest."""
    random = np.random.default_rng(9)
    sounds = [(0.01 * random.standard_normal(3 * rate_hz)).astype(np.float32) for _ in range(7)]
    usual = [measure(sound, rate_hz) for sound in sounds[:6]]
    louder = compare(measure(4 * sounds[6], rate_hz), usual[:4], usual)
    assert louder.findings[0].name == "band-level"
    assert "12 dB louder" in louder.sentence
