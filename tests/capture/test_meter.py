"""The meter shows what is in front of the microphone."""

from __future__ import annotations

import numpy as np
import pytest

from edge_monitor.capture.meter import meter


def test_a_tone_stands_in_its_own_band() -> None:
    """A 1 kHz sine of amplitude 0.5 reads -9 dBFS, peak -6, all of it in the 1000 Hz band."""
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16_000)).astype(np.float32)
    reading = meter(tone, 16_000)
    assert reading.level_dbfs == pytest.approx(-9.03, abs=0.01)
    assert reading.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert reading.clipped_share == 0.0
    loudest = max(reading.bands, key=lambda band: band.level_dbfs)
    assert loudest.centre_hz == 1000
    assert loudest.level_dbfs == pytest.approx(-9.03, abs=0.1)
    assert reading.bars() == "        █     "


def test_clipping_is_written_out() -> None:
    """A square wave at full scale is 100 % at the rails."""
    square = np.sign(np.sin(2 * np.pi * 100 * (np.arange(8000) + 0.5) / 16_000)).astype(np.float32)
    assert "CLIPPING 100.0 %" in meter(square, 16_000).line()


def test_silence_and_broken_samples_read_as_the_floor() -> None:
    """Nothing, zeros and not-a-number give -150 dBFS and empty bars."""
    assert meter(np.zeros(0, np.float32), 16_000).level_dbfs == -150.0
    reading = meter(np.full(8000, np.nan, np.float32), 16_000)
    assert (reading.level_dbfs, reading.peak_dbfs) == (-150.0, -150.0)
    assert reading.bars().strip() == ""
