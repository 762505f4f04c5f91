"""A window that is not the machine's sound is named as such; a quiet machine is not."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture.quality import check, level_dbfs
from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.records import FaultKind, Window
from tests.sounds import pump

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.records import Samples, SignalFault

RATE_HZ = 16_000


def noise(level: float) -> Samples:
    """Return ten seconds of white noise with this RMS."""
    return (level * np.random.default_rng(0).standard_normal(10 * RATE_HZ)).astype(np.float32)


def judge(samples: Samples) -> SignalFault | None:
    """Check a window of these samples, from 5 s on."""
    return check(Window("p", samples.astype(np.float32), RATE_HZ, 5.0, 15.0))


def with_part(samples: Samples, value: float, frames: int) -> Samples:
    """Return the samples with a stretch set to one value."""
    samples = samples.copy()
    samples[40_000 : 40_000 + frames] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "kind", "figure"),
    [
        (noise(0.0), FaultKind.SILENCE, "nothing but digital silence"),
        (with_part(noise(0.01), 0.0, 8000), FaultKind.SILENCE, "digital silence for 0.5"),
        (noise(0.0)[: RATE_HZ * 2 + 7], FaultKind.SILENCE, "nothing but digital silence"),
        (noise(1e-7), FaultKind.SILENCE, "nothing but digital silence"),  # the last bit of 24
        (noise(0.0) + 0.2, FaultKind.FLAT, "stands still at 0.2000"),
        (with_part(noise(0.01), 0.125, 8000), FaultKind.FLAT, "stands still at 0.1250"),
        (noise(0.01) + 0.3, FaultKind.DC, "DC offset of 0.30"),
        (np.clip(noise(0.6), -1, 1), FaultKind.CLIPPING, "9.9 % of the samples"),
        (with_part(noise(0.01), np.nan, 1), FaultKind.NOT_FINITE, "1 samples"),
        (with_part(noise(0.01), np.inf, 3), FaultKind.NOT_FINITE, "3 samples"),
    ],
)
def test_each_fault_is_named_with_its_figure(samples: Samples, kind: FaultKind, figure: str) -> None:
    """The fault's kind, its span and a measured figure are reported."""
    fault = judge(samples)
    assert fault is not None
    assert fault.kind is kind
    assert figure in fault.detail
    assert (fault.start_s, fault.end_s) == (5.0, 15.0)


@pytest.mark.parametrize(
    "samples",
    [
        noise(10 ** (-60 / 20)),
        np.round(noise(10 ** (-75 / 20)) * 32_768) / 32_768,
        noise(0.01) + 0.1,
        with_part(noise(0.01), 1.0, 100),
        with_part(noise(0.01), 0.0, 800),
        0.9 * np.sin(2 * np.pi * 50 * np.arange(10 * RATE_HZ) / RATE_HZ),
    ],
    ids=["quiet", "quiet at 16 bit", "offset of a cheap microphone", "one loud knock", "50 ms of zeros", "loud hum"],
)
def test_unusual_but_honest_sound_passes(samples: Samples) -> None:
    """Quiet machines, cheap microphones and single knocks are the scorer's business, not a signal fault."""
    assert judge(samples) is None


@pytest.mark.parametrize("bits", [16, 24, None])
@pytest.mark.parametrize("dither", [False, True])
@pytest.mark.parametrize("dbfs", [-92, -98, -105])
def test_a_quiet_microphone_is_no_broken_one(dbfs: int, bits: int | None, *, dither: bool) -> None:
    """The noise of a digital microphone in a quiet hall, white or pink, through any converter, at 48 kHz or 16 kHz."""
    for rate_hz, seed in itertools.product((RATE_HZ, 48_000), range(2)):
        random = np.random.default_rng(seed)
        white = random.standard_normal(10 * rate_hz)
        for sound in (white, pink(white, rate_hz)):
            quiet = 10 ** (dbfs / 20) * sound
            if bits is not None:
                triangular = random.random(len(quiet)) - random.random(len(quiet)) if dither else 0.0
                quiet = np.round(quiet * 2 ** (bits - 1) + triangular) / 2 ** (bits - 1)
            assert judge(resample(quiet.astype(np.float32), rate_hz, RATE_HZ)) is None


def pink(white: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Return noise whose power falls by 3 dB an octave from 20 Hz on, of RMS 1."""
    hz = np.fft.rfftfreq(len(white), 1 / rate_hz)
    sound = np.fft.irfft(np.where(hz >= 20, np.fft.rfft(white) / np.sqrt(np.maximum(hz, 20)), 0), len(white))
    return np.asarray(sound / sound.std())


def test_a_knock_beside_a_quiet_microphone_changes_nothing() -> None:
    """Noise of -105 dBFS in 16 bits stands still now and then; a slammed door does not make that a fault."""
    random = np.random.default_rng(0)
    quiet = np.round(10 ** (-105 / 20) * pink(random.standard_normal(10 * RATE_HZ), RATE_HZ) * 32_768) / 32_768
    quiet[80_000:88_000] += 0.05 * random.standard_normal(8000)
    assert judge(quiet.astype(np.float32)) is None


@pytest.mark.parametrize("offset", [-0.2, 0.2])
def test_an_offset_changes_no_verdict(offset: float) -> None:
    """Healthy sound keeps its level on it, faults are the same faults, and the rails are where they were."""
    pump_sound = pump(10)
    assert judge(pump_sound + offset) is None
    assert level_dbfs(pump_sound + np.float32(offset)) == pytest.approx(level_dbfs(pump_sound), abs=0.001)
    assert judge(noise(10 ** (-105 / 20)) + offset) is None
    dropout = judge(with_part(noise(0.01), 0.0, 8000) + offset)
    assert dropout is not None
    assert dropout.kind is FaultKind.FLAT
    clipped = judge(np.clip(noise(0.6) + offset, -1, 1))
    assert clipped is not None
    assert clipped.kind is FaultKind.CLIPPING


def test_level_is_rms_without_dc() -> None:
    """A sine of full scale is -3 dBFS, with or without an offset; silence is -150."""
    sine = np.sin(2 * np.pi * 100 * np.arange(16_000) / 16_000).astype(np.float32)
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(sine + np.float32(0.2)) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(np.zeros(10, np.float32)) == -150.0
    assert level_dbfs(np.zeros(0, np.float32)) == -150.0


@pytest.mark.recordings
def test_real_factory_recordings_pass(recordings: Path) -> None:
    """None of the MIMII clips, which are quiet (-46 to -35 dBFS), is mistaken for a signal fault."""
    paths = sorted(recordings.rglob("*.flac"))
    assert len(paths) > 100
    faults = {}
    for path in paths:
        samples, rate_hz = read_clip(path)
        fault = check(Window("m", samples, rate_hz, 0.0, 10.0))
        if fault:
            faults[path.name] = fault
    assert faults == {}
