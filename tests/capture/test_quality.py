"""A window that is not the machine's sound is named as such; a quiet machine is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture.quality import check, level_dbfs
from edge_monitor.capture.recording import read_clip
from edge_monitor.records import FaultKind, Window

if TYPE_CHECKING:
    from pathlib import Path

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
        (noise(1e-5), FaultKind.SILENCE, "level -100 dBFS"),
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
