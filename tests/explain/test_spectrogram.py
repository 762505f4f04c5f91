"""A compact spectrogram keeps level, frequency and time, and is refused when damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.errors import StorageError
from edge_monitor.explain.spectrogram import compact, expand

RATE_HZ = 16_000


def sine(freq_hz: float, amplitude: float, seconds: float = 2.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Return a sine, float32."""
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * freq_hz * time_s)).astype(np.float32)


@pytest.mark.parametrize(("freq_hz", "rate_hz"), [(100, 16_000), (1000, 16_000), (5000, 44_100), (30_000, 96_000)])
def test_a_tone_is_found_at_its_frequency_with_its_level(freq_hz: int, rate_hz: int) -> None:
    """A tone of amplitude 0.1 has a mean square of -23 dBFS, in the band around its frequency."""
    spectrogram = expand(compact(sine(freq_hz, 0.1, rate_hz=rate_hz), rate_hz))
    power = 10 ** (spectrogram.db.mean(axis=1) / 10)
    peak = int(power.argmax())
    assert spectrogram.freqs_hz[peak - 1 if peak else 0] <= freq_hz <= spectrogram.freqs_hz[min(peak + 1, 63)]
    assert 10 * np.log10(power.sum()) == pytest.approx(-23.0, abs=0.5)


def test_shape_time_and_rate_are_kept() -> None:
    """Ten seconds at 16 kHz are 64 bands by 128 steps in a few kilobytes."""
    noise = np.random.default_rng(1).normal(0, 0.1, 160_000).astype(np.float32)
    stored = compact(noise, RATE_HZ)
    spectrogram = expand(stored)
    assert spectrogram.db.shape == (64, 128)
    assert spectrogram.seconds == 10.0
    assert spectrogram.rate_hz == RATE_HZ
    assert (spectrogram.low_hz, spectrogram.high_hz) == (20.0, 8000.0)
    assert len(stored) < 8500


def test_a_burst_stands_at_its_time() -> None:
    """A burst at 3 s of 4 s is loudest three quarters along."""
    samples = np.zeros(64_000, np.float32)
    samples[48_000:48_800] = np.random.default_rng(1).normal(0, 0.3, 800)
    db = expand(compact(samples, RATE_HZ)).db
    assert db.mean(axis=0).argmax() / db.shape[1] == pytest.approx(0.75, abs=0.02)


def test_silence_is_the_floor() -> None:
    """Digital silence is -120 dBFS, not minus infinity."""
    assert set(expand(compact(np.zeros(16_000, np.float32), RATE_HZ)).db.ravel()) == {-120.0}


def test_a_window_shorter_than_a_frame_has_one_step() -> None:
    """A few samples still give a picture."""
    assert expand(compact(np.full(100, 0.1, np.float32), RATE_HZ)).db.shape == (64, 1)


def test_the_same_sound_gives_the_same_bytes() -> None:
    """Two enrolments of one file keep one picture."""
    assert compact(sine(440, 0.5), RATE_HZ) == compact(sine(440, 0.5), RATE_HZ)


@given(cut=st.integers(0, 200), flip=st.integers(0, 199))
def test_damaged_bytes_are_refused(cut: int, flip: int) -> None:
    """Neither truncation nor a flipped byte raises anything but StorageError."""
    stored = bytearray(compact(sine(440, 0.5, 0.5), RATE_HZ))
    with pytest.raises(StorageError):
        expand(bytes(stored[: min(cut, len(stored) - 10)]))
    stored[flip] ^= 0xFF
    try:
        spectrogram = expand(bytes(stored))
    except StorageError:
        return
    assert spectrogram.db.ndim == 2
